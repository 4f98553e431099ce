"""The check that every layer passes."""

import json
import os
import tempfile

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from keras import ops


class LayerTestCase(parameterized.TestCase):
    def check_layer(self, layer_class, arguments, inputs, output_shape, output_dtype="float32"):
        """Checks what Keras asks of a layer, and what training and export ask of it.

        Args:
            layer_class: the layer's class.
            arguments: dict, arguments of its constructor.
            inputs: dict of arrays, the layer's call arguments in order, all with a leading batch
                dimension except 2-D float tables that the layer shares (`token_embedding`).
            output_shape: tuple, the shape of the output for `inputs`.
            output_dtype: the dtype of the output under mixed_bfloat16.
        """
        self.check_config(layer_class, arguments)
        layer = layer_class(**arguments)
        outputs = layer(**inputs)
        self.assertEqual(tuple(outputs.shape), output_shape)
        self.assertTrue(np.all(np.isfinite(outputs)))
        self.assertGreater(np.std(outputs), 0)
        self.check_build(layer_class, arguments, inputs, len(layer.weights))
        self.check_output_spec(layer, inputs, outputs)
        self.check_unknown_dimensions(layer, inputs, outputs)
        self.check_gradients(layer, inputs)
        self.check_keras_file(layer, inputs, outputs)
        self.check_mixed_precision(layer_class, arguments, inputs, layer, outputs, output_dtype)
        self.check_fit(layer_class, arguments, inputs, outputs)

    def check_config(self, layer_class, arguments):
        layer = layer_class(**arguments)
        config = layer.get_config()
        self.assertEqual({name: config[name] for name in arguments}, arguments)
        self.assertEqual(
            layer_class.from_config(json.loads(json.dumps(config))).get_config(), config
        )
        serialized = keras.saving.serialize_keras_object(layer)
        self.assertEqual(serialized["registered_name"], f"keras_bert_lib>{layer_class.__name__}")
        self.assertEqual(keras.saving.deserialize_keras_object(serialized).get_config(), config)

    def check_build(self, layer_class, arguments, inputs, num_weights):
        layer = layer_class(**arguments)
        layer.build(tuple(next(iter(inputs.values())).shape))
        self.assertLen(layer.weights, num_weights)

    def check_output_spec(self, layer, inputs, outputs):
        spec = layer.compute_output_spec(
            **{name: keras.KerasTensor(x.shape, str(x.dtype)) for name, x in inputs.items()}
        )
        self.assertEqual(spec.shape, tuple(outputs.shape))
        self.assertEqual(spec.dtype, keras.backend.standardize_dtype(outputs.dtype))

    def check_unknown_dimensions(self, layer, inputs, outputs):
        for unknown in ((0,), (1,), (0, 1)):
            signature = {
                name: tf.TensorSpec(
                    [
                        None if i in unknown and name != "token_embedding" else size
                        for i, size in enumerate(x.shape)
                    ],
                    x.dtype,
                )
                for name, x in inputs.items()
            }
            call = tf.function(lambda x: layer(**x), input_signature=[signature])
            np.testing.assert_allclose(call(inputs), outputs, rtol=1e-5, atol=1e-6)

    def check_gradients(self, layer, inputs):
        with tf.GradientTape() as tape:
            outputs = layer(**inputs)
            # A plain sum would not do: LayerNorm's outputs have a constant one.
            loss = tf.reduce_sum(outputs * np.random.normal(size=outputs.shape).astype("float32"))
        gradients = tape.gradient(loss, layer.trainable_weights)
        for weight, gradient in zip(layer.trainable_weights, gradients):
            self.assertIsNotNone(gradient, weight.path)
            gradient = tf.convert_to_tensor(gradient).numpy()
            self.assertTrue(np.all(np.isfinite(gradient)), weight.path)
            self.assertGreater(np.abs(gradient).max(), 0, weight.path)

    def model(self, layer, inputs):
        """Returns a functional model of the layer; only the floats' widths are fixed."""
        symbolic = {}
        for name, x in inputs.items():
            width = x.shape[-1:] if x.dtype == "float32" else (None,)
            free = (None,) * (x.ndim - 1)
            shape = x.shape if name == "token_embedding" else free + width
            symbolic[name] = keras.Input(batch_shape=shape, dtype=str(x.dtype), name=name)
        return keras.Model(symbolic, layer(**symbolic))

    def check_keras_file(self, layer, inputs, outputs):
        path = os.path.join(tempfile.mkdtemp(), "layer.keras")
        self.model(layer, inputs).save(path)
        loaded = keras.models.load_model(path)
        np.testing.assert_array_equal(loaded(inputs), outputs)

    def check_mixed_precision(self, layer_class, arguments, inputs, layer, outputs, output_dtype):
        mixed = layer_class(**arguments, dtype="mixed_bfloat16")
        mixed.build(tuple(next(iter(inputs.values())).shape))
        for weight in mixed.weights:
            self.assertEqual(weight.dtype, "float32")
        mixed.set_weights(layer.get_weights())
        mixed_outputs = mixed(**inputs)
        self.assertEqual(keras.backend.standardize_dtype(mixed_outputs.dtype), output_dtype)
        # bfloat16 has 8 bits.
        np.testing.assert_allclose(
            ops.cast(mixed_outputs, "float32"), outputs, atol=0.05 * np.abs(outputs).max()
        )

    def check_fit(self, layer_class, arguments, inputs, outputs):
        layer = layer_class(**arguments)
        model = self.model(layer, inputs)
        before = [weight.numpy() for weight in layer.trainable_weights]
        model.compile(keras.optimizers.SGD(0.1), "mse")
        target = np.random.normal(size=outputs.shape).astype("float32")
        loss = model.train_on_batch(inputs, target)
        self.assertTrue(np.isfinite(loss))
        for weight, old in zip(layer.trainable_weights, before):
            self.assertGreater(np.abs(weight.numpy() - old).max(), 0, weight.path)
