"""Layer normalization in training, beside Keras' own and float64."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from keras import ops

from keras_bert_lib.layers.dropout import Dropout, scaled_draws
from keras_bert_lib.layers.layer_normalization import LayerNormalization


def make(width, dtype="float32", epsilon=1e-12):
    layer = LayerNormalization(epsilon=epsilon, dtype=dtype)
    layer.build((None, width))
    rng = np.random.default_rng(1)
    layer.gamma.assign(rng.normal(1, 0.3, width))
    layer.beta.assign(rng.normal(0, 0.3, width))
    return layer


def outputs_and_gradients(function, inputs, weights, upstream):
    """Of a layer, within one `tf.function` as in a step."""

    @tf.function(autograph=False)
    def run():
        tensors = [tf.constant(x) for x in inputs]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            y = function(*tensors)
        return y, tape.gradient(y, [*tensors, *(w.value for w in weights)], upstream)

    return [np.asarray(x, "float64") for x in tf.nest.flatten(run())]


def reference(inputs, layer, upstream, scale=None):
    """In float64, by TensorFlow's operations."""
    tensors = [tf.cast(x, tf.float64) for x in inputs]
    gamma, beta = (tf.constant(w.numpy(), tf.float64) for w in (layer.gamma, layer.beta))
    with tf.GradientTape() as tape:
        tape.watch([*tensors, gamma, beta])
        x = tensors[0] if scale is None else tensors[0] + tensors[1] * scale
        centered = x - tf.reduce_mean(x, -1, keepdims=True)
        variance = tf.reduce_mean(centered**2, -1, keepdims=True)
        y = centered / tf.sqrt(variance + layer.epsilon) * gamma + beta
    gradients = tape.gradient(y, [*tensors, gamma, beta], tf.cast(upstream, tf.float64))
    return [np.asarray(x) for x in (y, *gradients)]


class LayerNormalizationTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        rng = np.random.default_rng(0)
        self.x, self.residual, self.upstream = rng.normal(2, 3, (3, 4, 6, 16)).astype("float32")

    # Sums over 24 rows: float32 is off by some 1e-6, bfloat16 by some 1e-2 of their size.
    @parameterized.parameters(("float32", 1e-5), ("mixed_bfloat16", 3e-2))
    def test_training_is_that_of_float64(self, dtype, tolerance):
        layer = make(16, dtype)
        x = tf.cast(self.x, layer.compute_dtype)
        upstream = tf.cast(self.upstream, layer.compute_dtype)
        weights = [layer.gamma, layer.beta]
        result = outputs_and_gradients(lambda x: layer(x, training=True), [x], weights, upstream)
        expected = reference([x], layer, upstream)
        for a, b in zip(result, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())

    @parameterized.parameters(("float64", 1e-6), ("float32", 1e-5), ("mixed_bfloat16", 3e-2))
    def test_of_sum(self, dtype, tolerance):
        layer, dropout = make(16, dtype), Dropout(0.25, seed=3, dtype=dtype)
        seed = dropout.draw()
        inputs = [tf.cast(x, layer.compute_dtype) for x in (self.residual, self.x)]
        upstream = tf.cast(self.upstream, layer.compute_dtype)

        def function(residual, x):
            return layer.of_sum(residual, x, dropout, training=True, seed=seed)

        result = outputs_and_gradients(function, inputs, [layer.gamma, layer.beta], upstream)
        scale = tf.cast(scaled_draws(dropout.draws(self.x.shape, seed), 0.25), tf.float64)
        assert 0.1 < np.mean(scale == 0) < 0.4
        expected = reference(inputs, layer, upstream, scale)
        for a, b in zip(result, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())
        # What the parts compute one after the other, with the same draws.
        x = inputs[0] + dropout(inputs[1], training=True, seed=seed)
        np.testing.assert_allclose(
            result[0], tf.cast(layer(x, training=True), tf.float64), rtol=tolerance, atol=tolerance
        )

    def test_without_training_it_is_that_of_keras(self):
        layer, dropout = make(16), Dropout(0.25)
        own = keras.layers.LayerNormalization(epsilon=layer.epsilon)
        own.build((None, 16))
        own.set_weights(layer.get_weights())
        np.testing.assert_array_equal(layer(self.x), own(self.x))
        np.testing.assert_array_equal(
            layer.of_sum(self.residual, self.x, dropout), own(self.residual + self.x)
        )

    def test_extremes_in_training(self):
        layer = make(16)
        x = np.zeros([3, 16], "float32")
        x[1], x[2, ::2] = 1e4, 1e-20
        y = ops.convert_to_numpy(layer(x, training=True))
        assert np.isfinite(y).all()
        np.testing.assert_allclose(y[0], layer.beta, rtol=1e-6)
