import numpy as np

from keras_bert_lib.layers import Pooler
from tests.layers.layer_test_case import LayerTestCase

X = np.random.default_rng(0).normal(size=(3, 6, 12)).astype("float32")


class PoolerTest(LayerTestCase):
    def test_layer(self):
        inputs = {"sequence_output": X}
        self.check_layer(Pooler, {"initializer_range": 0.3}, inputs, (3, 12), "bfloat16")

    def test_is_the_tanh_of_the_first_token(self):
        layer = Pooler(0.3)
        outputs = layer(X)
        expected = np.tanh(X[:, 0] @ layer.dense.kernel.numpy())
        np.testing.assert_allclose(outputs, expected, atol=1e-5)
