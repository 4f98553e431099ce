import numpy as np
from absl.testing import parameterized

from keras_bert_lib.layers import TransformerEncoderBlock
from tests.layers.layer_test_case import LayerTestCase

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 6, 12)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]], "int32")


class TransformerEncoderBlockTest(LayerTestCase):
    @parameterized.product(norm_first=[False, True], hidden_act=["gelu", "gelu_new", "relu"])
    def test_layer(self, norm_first, hidden_act):
        arguments = {
            "num_heads": 3,
            "intermediate_size": 20,
            "hidden_act": hidden_act,
            "hidden_dropout": 0.2,
            "attention_dropout": 0.3,
            "layer_norm_eps": 1e-6,
            "initializer_range": 0.3,
            "norm_first": norm_first,
        }
        inputs = {"inputs": X, "padding_mask": MASK}
        self.check_layer(TransformerEncoderBlock, arguments, inputs, (3, 6, 12), "bfloat16")

    def test_the_order_of_its_parts(self):
        for norm_first in (False, True):
            block = TransformerEncoderBlock(
                3, 20, "relu", initializer_range=0.3, norm_first=norm_first
            )
            block.build(X.shape)
            block.set_weights([RNG.normal(0, 0.3, w.shape) for w in block.weights])

            def feed_forward(x, block=block):
                return block.output_dense(np.maximum(block.intermediate_dense(x), 0))

            if norm_first:
                x = X + block.attention(block.attention_norm(X), MASK)
                expected = x + feed_forward(block.output_norm(x))
            else:
                x = block.attention_norm(X + block.attention(X, MASK))
                expected = block.output_norm(x + feed_forward(x))
            np.testing.assert_allclose(block(X, MASK), expected, atol=1e-5)

    def test_padding_does_not_change_the_other_tokens(self):
        block = TransformerEncoderBlock(3, 20, initializer_range=0.3)
        padded = np.asarray(block(X, MASK))[1, :3]
        alone = np.asarray(block(X[1:2, :3]))[0]
        np.testing.assert_allclose(padded, alone, atol=1e-5)

    def test_returns_attention(self):
        block = TransformerEncoderBlock(3, 20)
        outputs, attention = block(X, padding_mask=MASK, return_attention=True)
        np.testing.assert_array_equal(outputs, block(X, padding_mask=MASK))
        self.assertEqual(tuple(attention.shape), (3, 3, 6, 6))

    def test_bad_activation(self):
        with self.assertRaisesRegex(ValueError, "gelu, gelu_new.*Received: hidden_act='swish'"):
            TransformerEncoderBlock(3, 20, hidden_act="swish")
