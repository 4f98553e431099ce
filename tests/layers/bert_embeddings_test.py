import numpy as np
from absl.testing import parameterized

from keras_bert_lib.layers import BertEmbeddings
from tests.layers.layer_test_case import LayerTestCase

RNG = np.random.default_rng(0)
ARGUMENTS = {
    "vocab_size": 20,
    "hidden_size": 8,
    "max_position_embeddings": 9,
    "type_vocab_size": 3,
    "dropout": 0.2,
    "layer_norm_eps": 1e-6,
    "initializer_range": 0.3,
}


class BertEmbeddingsTest(LayerTestCase):
    @parameterized.parameters("learned", "sinusoidal")
    def test_layer(self, position_embedding_type):
        inputs = {
            "token_ids": RNG.integers(0, 20, (3, 6)).astype("int32"),
            "segment_ids": RNG.integers(0, 3, (3, 6)).astype("int32"),
        }
        arguments = ARGUMENTS | {"position_embedding_type": position_embedding_type}
        self.check_layer(BertEmbeddings, arguments, inputs, (3, 6, 8), "bfloat16")

    def test_is_the_normalized_sum_of_the_three(self):
        layer = BertEmbeddings(**ARGUMENTS)
        token_ids = np.array([[4, 1, 7]], "int32")
        segment_ids = np.array([[0, 2, 1]], "int32")
        outputs = layer(token_ids, segment_ids)
        tokens = layer.token_embedding.numpy()[token_ids]
        segments = layer.segment_embedding.numpy()[segment_ids]
        x = tokens + segments + layer.position_embedding.numpy()[:3]
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        np.testing.assert_allclose(outputs, x, atol=1e-5)

    def test_without_segments_every_token_is_in_segment_0(self):
        layer = BertEmbeddings(**ARGUMENTS)
        token_ids = RNG.integers(0, 20, (2, 5)).astype("int32")
        np.testing.assert_allclose(
            layer(token_ids), layer(token_ids, np.zeros_like(token_ids)), atol=1e-6
        )

    def test_sinusoids(self):
        layer = BertEmbeddings(**ARGUMENTS | {"position_embedding_type": "sinusoidal"})
        layer.build((None, None))
        table = layer.position_embedding.numpy()
        self.assertNotIn("position_embedding", [w.name for w in layer.trainable_weights])
        # Position 3, pair 1 of 4: the rate is 10000^(-2/8).
        np.testing.assert_allclose(table[3, 2], np.sin(3 / 10000**0.25), atol=1e-6)
        np.testing.assert_allclose(table[3, 3], np.cos(3 / 10000**0.25), atol=1e-6)

    def test_dropout_is_on_in_training_only(self):
        layer = BertEmbeddings(**ARGUMENTS)
        token_ids = RNG.integers(0, 20, (4, 9)).astype("int32")
        self.assertFalse(np.any(np.asarray(layer(token_ids)) == 0))
        dropped = np.asarray(layer(token_ids, training=True)) == 0
        self.assertBetween(dropped.mean(), 0.1, 0.3)

    def test_too_long(self):
        with self.assertRaisesRegex(ValueError, r"9 positions.*Received: .*\(1, 10\)"):
            BertEmbeddings(**ARGUMENTS)(np.ones([1, 10], "int32"))

    def test_bad_arguments(self):
        with self.assertRaisesRegex(ValueError, "Received: .*'rotary'"):
            BertEmbeddings(20, 8, position_embedding_type="rotary")
        with self.assertRaisesRegex(ValueError, "even.*Received: hidden_size=7"):
            BertEmbeddings(20, 7, position_embedding_type="sinusoidal")
