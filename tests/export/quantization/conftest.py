"""Small graphs, converted without quantization, for all tests of it."""

import tempfile

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter


def convert(**signatures):
    """Returns the bytes of a float32 file of concrete functions, by name."""
    module = tf.Module()
    with tempfile.TemporaryDirectory() as directory:
        tf.saved_model.save(module, directory, signatures=signatures)
        return tf.lite.TFLiteConverter.from_saved_model(directory).convert()


def run(content, signature="serving_default", **inputs):
    """Returns the outputs of a file."""
    interpreter = Interpreter(model_content=content)
    return interpreter.get_signature_runner(signature)(**inputs)


def partitions(content):
    """Returns how many parts of a file XNNPACK computes."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    return sum(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())


class Network:
    """An embedding, positions, two products with an outlier channel, in two signatures."""

    def __init__(self, activation):
        rng = np.random.default_rng(0)
        self.table = rng.normal(size=[100, 48]).astype(np.float32)
        self.positions = rng.normal(size=[64, 48]).astype(np.float32)
        self.first = rng.normal(size=[48, 96]).astype(np.float32) / 7
        self.second = rng.normal(size=[96, 48]).astype(np.float32) / 10
        self.bias = rng.normal(size=[96]).astype(np.float32)
        # A channel of inputs, and one of outputs, that dwarf the others, as in a real BERT.
        self.table[:, 5] *= 10
        self.second[:, 7] *= 10
        self.activation = activation

    def __call__(self, ids):
        """Returns the outputs `[s, 48]` of ids `[1, s]`."""
        x = tf.gather(self.table, ids) + tf.constant(self.positions)[: tf.shape(ids)[1]]
        x = tf.reshape(x, [-1, 48])
        return self.activation(x @ self.first + self.bias) @ self.second

    def convert(self):
        signatures = {}
        for name, length in (("serving_default", None), ("short", 20)):

            def function(ids):
                # TFLite resizes no input by itself: the length is found inside, as that of a text.
                ids = ids[:, : tf.reduce_sum(tf.cast(ids >= 0, tf.int32))]
                return {"outputs": self(ids)}

            spec = tf.TensorSpec([1, length or 64], tf.int32, name="ids")
            signatures[name] = tf.function(function).get_concrete_function(spec)
        return convert(**signatures)

    def sample(self, seed, size=64):
        """Returns the input of random ids, padded with -1."""
        rng = np.random.default_rng(seed)
        ids = np.full([1, size], -1, np.int32)
        length = rng.integers(8, min(size, 40))
        ids[0, :length] = rng.integers(0, 100, length)
        return {"ids": ids}


@pytest.fixture(scope="session")
def network():
    return Network(tf.nn.relu)


@pytest.fixture(scope="session")
def network_file(network):
    return network.convert()


def unpack(data, shape):
    """Returns the int8 codes of `shape` that `gptq.pack` made `data` of."""
    nibbles = np.stack([data & 15, data >> 4], axis=-1).reshape(-1)[: np.prod(shape)]
    return ((nibbles ^ 8).astype(np.int8) - 8).reshape(shape)
