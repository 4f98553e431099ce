import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from keras_bert_lib.layers import SelfAttention
from tests.layers.layer_test_case import LayerTestCase

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 6, 12)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 1, 0]], "int32")


def reference(layer, x, mask):
    """Softmax(QK^T / sqrt(d)) V, one head at a time."""
    d = x.shape[-1] // layer.num_heads
    query, key, value = np.split(x @ layer.qkv.kernel.numpy() + layer.qkv.bias.numpy(), 3, axis=-1)
    contexts, attentions = [], []
    for head in range(layer.num_heads):
        columns = slice(head * d, (head + 1) * d)
        scores = query[..., columns] @ key[..., columns].swapaxes(1, 2) / np.sqrt(d)
        scores = np.where(mask[:, np.newaxis] == 1, scores, -np.inf)  # [b, s, s]
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights = weights / weights.sum(-1, keepdims=True)
        contexts.append(weights @ value[..., columns])
        attentions.append(weights)
    kernel, bias = layer.output_dense.kernel.numpy(), layer.output_dense.bias.numpy()
    return np.concatenate(contexts, -1) @ kernel + bias, np.stack(attentions, 1)


class SelfAttentionTest(LayerTestCase):
    @parameterized.parameters({"masked": True}, {"masked": False})
    def test_layer(self, masked):
        inputs = {"inputs": X, "padding_mask": MASK} if masked else {"inputs": X}
        arguments = {"num_heads": 3, "dropout": 0.2, "initializer_range": 0.3}
        self.check_layer(SelfAttention, arguments, inputs, (3, 6, 12), "bfloat16")

    @parameterized.parameters(1, 3, 12)
    def test_equals_the_formula(self, num_heads):
        layer = SelfAttention(num_heads, initializer_range=0.5)
        layer.build(X.shape)
        layer.set_weights([RNG.normal(0, 0.5, w.shape) for w in layer.weights])
        outputs, attention = layer(X, padding_mask=MASK, return_attention=True)
        expected_outputs, expected_attention = reference(layer, X, MASK)
        np.testing.assert_allclose(outputs, expected_outputs, atol=1e-5)
        np.testing.assert_allclose(attention, expected_attention, atol=1e-6)

    def test_padding_gets_exactly_no_attention(self):
        layer = SelfAttention(3, initializer_range=1.0)
        _, attention = layer(X, padding_mask=MASK, return_attention=True)
        attention = np.asarray(attention)  # [b, n, s, s]
        self.assertEqual(attention.transpose(0, 3, 1, 2)[MASK == 0].max(), 0)
        np.testing.assert_allclose(attention.sum(-1), 1, atol=1e-6)

    def test_no_mask_operation_without_a_mask(self):
        layer = SelfAttention(3)
        layer.build(X.shape)

        def operations(*signature):
            graph = tf.function(lambda *x: layer(*x)).get_concrete_function(*signature).graph
            return sum(op.type in ("Sub", "AddV2") for op in graph.get_operations())

        x, mask = tf.TensorSpec([None, None, 12]), tf.TensorSpec([None, None], tf.int32)
        self.assertEqual(operations(x, mask) - operations(x), 2)

    def test_softmax_is_float32_under_mixed_precision(self):
        layer = SelfAttention(3, dtype="mixed_float16")
        outputs, attention = layer(X, padding_mask=MASK, return_attention=True)
        self.assertEqual(keras.backend.standardize_dtype(outputs.dtype), "float16")
        self.assertEqual(keras.backend.standardize_dtype(attention.dtype), "float32")
        np.testing.assert_allclose(np.asarray(attention).sum(-1), 1, atol=1e-6)

    def test_heads_must_divide_the_width(self):
        with self.assertRaisesRegex(ValueError, "Received: num_heads=5, width=12"):
            SelfAttention(5)(X)
