"""Matrix products whose integers are known beforehand."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_lib.export import quantization
from keras_bert_lib.export.quantization import flatbuffer
from tests.export.quantization.conftest import convert, run


def dense(weights, bias, activation=tf.identity):
    """Returns the file of a product with `weights` `[in, out]`, of inputs `[5, in]`."""

    @tf.function(input_signature=[tf.TensorSpec([5, len(weights)], tf.float32, name="x")])
    def function(x):
        return {"y": activation(x @ weights + bias)}

    return convert(serving_default=function)


def tensors(content):
    """Returns the tensors that the one product of a file takes and gives."""
    model = flatbuffer.read(content)
    [graph] = model.subgraphs
    code = schema.BuiltinOperator.FULLY_CONNECTED
    [op] = [op for op in graph.operators if flatbuffer.builtin(model, op) == code]
    found = [graph.tensors[i] for i in (*op.inputs, *op.outputs)]
    return [(tensor.quantization, flatbuffer.constant(model, tensor)) for tensor in found]


@pytest.fixture(scope="module")
def even():
    """Weights that are whole multiples of a scale for each output, and a bias."""
    rng = np.random.default_rng(0)
    codes = rng.integers(-127, 128, [40, 48])
    codes[0] = 127
    scale = 2.0 ** rng.integers(-9, -4, 48)
    bias = rng.normal(size=48).astype(np.float32)
    return codes, scale.astype(np.float32), bias


def test_dynamic_int8_holds_even_weights_exactly(even):
    codes, scale, bias = even
    content = quantization.quantize(dense((codes * scale).astype(np.float32), bias), "dynamic_int8")
    _, (weights, found), _, _ = tensors(content)
    np.testing.assert_array_equal(found, codes.T)
    np.testing.assert_array_equal(weights.scale, scale)
    assert weights.quantizedDimension == 0
    # Inputs that are whole multiples of a scale too are rounded to themselves.
    x = np.random.default_rng(1).integers(-128, 128, [5, 40]).astype(np.float32) / 16
    x[:, :2] = -8, 127 / 16
    expected = x @ (codes * scale) + bias
    np.testing.assert_allclose(run(content, x=x)["y"], expected, atol=1e-3)


@pytest.mark.parametrize(("mode", "bits"), [("int8", 8), ("int16x8", 16)])
def test_static_integers_say_what_they_hold(even, mode, bits):
    codes, scale, bias = even
    content = dense((codes * scale).astype(np.float32), bias)
    rng = np.random.default_rng(1)
    samples = [{"x": rng.uniform(-8, 7, [5, 40]).astype(np.float32)} for _ in range(30)]
    quantized = quantization.quantize(content, mode, samples)
    (x, _), (weights, found), (bias_scale, bias_codes), (y, _) = tensors(quantized)
    np.testing.assert_array_equal(found, codes.T)
    assert found.dtype == np.int8
    np.testing.assert_allclose(bias_scale.scale, x.scale * weights.scale, rtol=1e-6)
    # Outputs may be computed divided by a factor for each channel; then so are the weights.
    factor = scale / weights.scale
    np.testing.assert_allclose(bias_codes * bias_scale.scale * factor, bias, atol=1e-3)
    expected = run(content, **samples[0])["y"]
    step = y.scale * factor + np.abs(codes * scale).sum(axis=0) * x.scale / 8
    assert (np.abs(run(quantized, **samples[0])["y"] - expected) < step).all()
    assert x.zeroPoint == y.zeroPoint == 0 or bits == 8


@pytest.mark.parametrize("mode", ["dynamic_int8", "int8", "int16x8"])
@pytest.mark.parametrize("activation", [tf.identity, tf.nn.relu])
def test_odd_channels(mode, activation):
    """Rows without weights, with tiny ones, with large biases; inputs that are always 0."""
    rng = np.random.default_rng(3)
    weights = rng.normal(size=[40, 48]).astype(np.float32)
    bias = rng.normal(size=48).astype(np.float32)
    weights[:, 0] = 0
    weights[:, 1] *= 1e-12
    weights[:, 2] *= 10
    weights[7] *= 1e4
    bias[[1, 3]] = 50, -300
    samples = [{"x": rng.normal(size=[5, 40]).astype(np.float32)} for _ in range(30)]
    for sample in samples:
        sample["x"][:, 7] = 0
    content = dense(weights, bias, activation)
    quantized = quantization.quantize(content, mode, samples)
    expected, found = run(content, **samples[3])["y"], run(quantized, **samples[3])["y"]
    largest = np.maximum(np.abs(expected).max(axis=0), 1e-3)
    np.testing.assert_array_less(np.abs(found - expected) / largest, 0.2)
