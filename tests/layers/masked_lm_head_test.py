import numpy as np
from absl.testing import parameterized

from keras_bert_lib.layers import MaskedLMHead
from keras_bert_lib.layers.gather_positions import gather_positions
from tests.layers.layer_test_case import LayerTestCase

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 6, 12)).astype("float32")
EMBEDDING = RNG.normal(size=(20, 12)).astype("float32")
POSITIONS = np.array([[5, 0], [2, 2], [1, 4]], "int32")
ARGUMENTS = {
    "vocab_size": 20,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "initializer_range": 0.3,
}


class MaskedLMHeadTest(LayerTestCase):
    @parameterized.parameters("gelu", "relu")
    def test_layer(self, hidden_act):
        inputs = {
            "sequence_output": X,
            "token_embedding": EMBEDDING,
            "masked_positions": POSITIONS,
        }
        arguments = ARGUMENTS | {"hidden_act": hidden_act}
        self.check_layer(MaskedLMHead, arguments, inputs, (3, 2, 20))

    def test_all_positions(self):
        inputs = {"sequence_output": X, "token_embedding": EMBEDDING}
        self.check_layer(MaskedLMHead, ARGUMENTS, inputs, (3, 6, 20))

    def test_masked_positions_are_those_of_all_positions(self):
        head = MaskedLMHead(**ARGUMENTS)
        everywhere = np.asarray(head(X, EMBEDDING))
        at_positions = head(X, EMBEDDING, POSITIONS)
        expected = np.take_along_axis(everywhere, POSITIONS[..., np.newaxis], axis=1)
        np.testing.assert_allclose(at_positions, expected, atol=1e-5)

    def test_gather_positions(self):
        expected = np.stack([X[row, positions] for row, positions in enumerate(POSITIONS)])
        np.testing.assert_array_equal(gather_positions(X, POSITIONS), expected)
