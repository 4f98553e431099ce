"""Element-wise chains as programs: values, gradients, and where they stay as they are."""

from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from keras import ops

from keras_bert_lib.layers import fused as fused_module
from keras_bert_lib.layers.activations import get_activation
from keras_bert_lib.layers.fused import fused


def chain(x, y, ids, power):
    """Of two float tensors and one of integers."""
    x = ops.where(ids > 2, x, 0.5 * x)
    return ops.tanh(x) ** power * y, x + y


def values_and_gradients(function, *args, floats=2):
    @tf.function(autograph=False)
    def run():
        tensors = [tf.constant(x) for x in args]
        with tf.GradientTape() as tape:
            tape.watch(tensors[:floats])
            result = function(*tensors)
        return result, tape.gradient(result, tensors[:floats])

    return [np.asarray(x) for x in tf.nest.flatten(run())]


class FusedTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        rng = np.random.default_rng(0)
        self.x, self.y = rng.normal(size=(2, 5, 7)).astype("float32")
        self.ids = rng.integers(0, 5, (5, 7)).astype("int16")

    @parameterized.parameters(2, 3)
    def test_values_and_gradients(self, power):
        def plain(*args):
            return chain(*args, power)

        expected = values_and_gradients(plain, self.x, self.y, self.ids)
        function = fused(chain)
        with mock.patch.object(fused_module, "_programs", wraps=fused_module._programs) as programs:
            result = values_and_gradients(
                lambda *args: function(*args, power=power), self.x, self.y, self.ids
            )
        programs.assert_called_once_with(chain, power=power)
        for a, b in zip(result, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)  # the order of float32 sums

    def test_one_compilation_serves_all_calls(self):
        assert fused_module._programs(chain, power=2) is fused_module._programs(chain, power=2)

    def test_shapes_that_are_not_known_stay_as_they_are(self):
        function = fused(chain)

        @tf.function(input_signature=[tf.TensorSpec([None, 7])], autograph=False)
        def run(x):
            return function(x, x, tf.zeros_like(x, tf.int16), power=2)

        with mock.patch.object(fused_module, "_programs", side_effect=AssertionError):
            result = run(self.x)
        np.testing.assert_allclose(result[0], np.tanh(0.5 * self.x) ** 2 * self.x, rtol=1e-5)

    def test_machines_with_an_accelerator(self):
        devices = [tf.config.PhysicalDevice(f"/physical_device:{x}:0", x) for x in ("CPU", "GPU")]
        with (
            mock.patch.object(tf.config, "get_visible_devices", return_value=devices),
            mock.patch.object(fused_module, "_programs", side_effect=AssertionError),
        ):
            result = fused(chain)(self.x, self.y, self.ids, power=2)
        x = np.where(self.ids > 2, self.x, 0.5 * self.x)
        np.testing.assert_allclose(result[1], x + self.y, rtol=1e-5)

    def test_symbolic_tensors(self):
        x = keras.KerasTensor((2, 3))
        assert fused(lambda a: ops.cast(ops.tanh(a), "float32"))(x).shape == (2, 3)

    @parameterized.parameters(
        ("float64", 1e-14), ("float32", 1e-6), ("bfloat16", 1e-2), ("float16", 1e-3)
    )
    def test_gelu(self, dtype, tolerance):  # as near as the bits of each are
        x = np.linspace(-9, 9, 1001)
        gelu = get_activation("gelu")
        y, gradient = values_and_gradients(
            lambda x: gelu(tf.cast(x, dtype), training=True), x, floats=1
        )
        assert y.dtype == tf.as_dtype(dtype).as_numpy_dtype
        x = tf.constant(np.asarray(tf.cast(tf.cast(x, dtype), tf.float64)))
        with tf.GradientTape() as tape:
            tape.watch(x)
            expected = 0.5 * x * (1 + tf.math.erf(x / 2**0.5))
        np.testing.assert_allclose(y.astype("float64"), expected, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(
            gradient.astype("float64"), tape.gradient(expected, x), rtol=tolerance, atol=tolerance
        )
