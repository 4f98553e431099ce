"""Dropout by 16 random bits a value."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from keras_bert_lib.layers.dropout import Dropout, scaled_draws


class DropoutTest(parameterized.TestCase):
    @parameterized.parameters(0.1, 0.5, 0.9, 0.00001, 1.0)
    def test_every_draw_has_its_place(self, rate):
        draws = np.arange(-(2**15), 2**15).astype("int16")  # each number once
        scales = np.asarray(scaled_draws(tf.constant(draws), rate), "float64")
        dropped = np.sum(scales == 0)
        assert abs(dropped / 2**16 - rate) <= 1 / 2**16
        np.testing.assert_allclose(scales.mean(), 1, rtol=1e-6)  # nothing is gained or lost
        assert len(np.unique(scales[scales > 0])) == 1

    @parameterized.parameters("float32", "bfloat16")
    def test_share_and_scale(self, dtype):
        keras.utils.set_random_seed(0)
        x = tf.ones([1000, 333], dtype)  # an odd number of values
        y = tf.cast(Dropout(0.1)(x, training=True), "float32").numpy()
        # 333,000 draws: the share's standard deviation is 0.0005.
        assert abs((y == 0).mean() - 0.1) < 0.0025
        np.testing.assert_allclose(y[y > 0], 1 / 0.9, rtol=1e-4 if dtype == "float32" else 4e-3)
        # Neither along rows nor along columns, nor from one half of a word to the other.
        kept = (y > 0) - 0.9
        for other in (kept[:, 1:] * kept[:, :-1], kept[1:] * kept[:-1]):
            assert abs(other.mean()) < 0.0008  # of a variance 0.09: five deviations

    def test_seeds_that_follow_each_other_draw_what_is_independent(self):
        layer, shape = Dropout(0.1), (64, 4096)
        seeds = [[3, n] for n in range(12)] + [[4, 0], [1 << 31, 0]]
        draws = [layer.draws(shape, tf.constant(seed, tf.uint32)).numpy() for seed in seeds]
        # 4,096 values of each of 64 sizes; the squared deviations sum to 63 +- 11.
        for x in draws:
            counts = np.bincount((x.ravel().astype("int32") >> 10) + 32, minlength=64)
            assert np.sum((counts - 4096) ** 2 / 4096) < 63 + 5 * 11
        kept = [np.ravel(scaled_draws(x, 0.1) > 0) - 0.9 for x in draws]
        correlations = np.corrcoef(kept)[np.triu_indices(len(kept), 1)]
        assert np.abs(correlations).max() < 4.5 / np.sqrt(64 * 4096)
        for x in kept:  # nor does one tell of another that is some places on
            for lag in (1, 2, 7, 64, 128, 512, 4096):
                assert abs(np.mean(x[lag:] * x[:-lag])) < 4.5 * 0.09 / np.sqrt(x.size - lag)

    def test_a_seed_tells_what_is_dropped(self):
        layer = Dropout(0.3, seed=1)
        x = tf.random.normal([7, 9])
        first, second = layer.draw(), layer.draw()
        again = [layer(x, training=True, seed=s) for s in (first, second, first)]
        np.testing.assert_array_equal(again[0], again[2])
        assert np.any(again[0] != again[1])
        # Without one, each call draws its own.
        assert np.any(layer(x, training=True) != layer(x, training=True))

    def test_gradient_is_zero_where_dropped(self):
        layer = Dropout(0.4, seed=1)
        x = tf.random.normal([50, 40])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        gradient = tape.gradient(y, x)
        np.testing.assert_allclose(gradient * x, y, rtol=1e-6)
        assert 0.3 < np.mean(gradient == 0) < 0.5

    @parameterized.parameters((0.5, False), (0.0, True))
    def test_nothing_is_dropped(self, rate, training):
        x = tf.random.normal([4, 5])
        np.testing.assert_array_equal(Dropout(rate)(x, training=training), x)

    def test_shapes_that_are_not_known(self):
        layer = Dropout(0.5, seed=1)

        @tf.function(input_signature=[tf.TensorSpec([None, None])])
        def run(x):
            return layer(x, training=True)

        for shape in [(3, 5), (0, 4), (1, 1)]:
            y = run(tf.ones(shape)).numpy()
            assert y.shape == shape
            assert set(np.unique(y)) <= {0.0, 2.0}
