import numpy as np

from keras_bert_lib.layers import NextSentenceHead
from tests.layers.layer_test_case import LayerTestCase

X = np.random.default_rng(0).normal(size=(3, 12)).astype("float32")


class NextSentenceHeadTest(LayerTestCase):
    def test_layer(self):
        arguments = {"initializer_range": 0.3}
        self.check_layer(NextSentenceHead, arguments, {"pooled_output": X}, (3, 2))

    def test_is_linear(self):
        layer = NextSentenceHead(0.3)
        np.testing.assert_allclose(layer(X), X @ layer.dense.kernel.numpy(), atol=1e-5)
