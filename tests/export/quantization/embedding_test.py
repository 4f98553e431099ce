import numpy as np
import pytest
import tensorflow as tf

from keras_bert_lib.export import quantization, tflite_file
from keras_bert_lib.export.quantization import flatbuffer
from keras_bert_lib.export.quantization.embedding import quantize_embeddings
from keras_bert_lib.export.quantization.integers import symmetric_rows
from tests.export.quantization.conftest import convert, run


def test_symmetric_rows():
    # Made of whole multiples, so nothing is lost.
    codes = np.array([[127, -3, 0], [5, -127, 64], [0, 0, 0]], np.int8)
    scale = np.array([0.5, 2.0, 1.0], np.float32)
    found, found_scale = symmetric_rows(codes * scale[:, np.newaxis])
    np.testing.assert_array_equal(found, codes)
    np.testing.assert_array_equal(found_scale, scale)
    weights = np.random.default_rng(0).normal(size=[50, 30]).astype(np.float32)
    found, scale = symmetric_rows(weights)
    error = np.abs(found * scale[:, np.newaxis] - weights)
    assert (error <= 0.5001 * scale[:, np.newaxis]).all()


@pytest.mark.parametrize("shape", [[6], [1, 6], [2, 3]])
def test_rows_are_what_the_codes_say(shape):
    rng = np.random.default_rng(1)
    table = rng.normal(size=[40, 12]).astype(np.float32)
    table[:, 3] *= 20
    positions = rng.normal(size=[64, 12]).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.int32, name="ids")])
    def function(ids):
        length = tf.reduce_max(ids)
        return {"rows": tf.gather(table, ids), "positions": tf.constant(positions)[:length]}

    model = flatbuffer.read(convert(serving_default=function))
    tables = {t.buffer: flatbuffer.constant(model, t) for t in model.subgraphs[0].tensors}
    tables = {buffer: x for buffer, x in tables.items() if x is not None}
    multiplied = quantize_embeddings(model)
    content = flatbuffer.write(model)
    assert "GATHER" not in tflite_file.operators(content)
    ids = rng.integers(1, 40, shape).astype(np.int32)
    found = run(content, ids=ids)
    for name, values, taken in (("rows", table, ids), ("positions", positions, range(ids.max()))):
        [buffer] = [buffer for buffer, x in tables.items() if x.shape == values.shape]
        factor = multiplied[buffer]
        codes, scale = symmetric_rows(values * factor)
        expected = (codes * scale[:, np.newaxis] / factor)[np.asarray(taken)]
        np.testing.assert_allclose(found[name], expected, rtol=1e-5)

    # The large column does not cost the others their digits.
    codes, scale = symmetric_rows(table)
    plain = (codes * scale[:, np.newaxis])[ids]
    error, plain_error = (np.delete(x - table[ids], 3, -1) for x in (found["rows"], plain))
    assert np.square(error).sum() < 0.1 * np.square(plain_error).sum()


@pytest.mark.parametrize("mode", ["dynamic_int8", "int8"])
def test_tied_tables_are_held_once(mode):
    """The output matrix of a masked LM is its embedding table."""
    rng = np.random.default_rng(2)
    table = rng.normal(size=[300, 64]).astype(np.float32)
    table[:, 3] *= 20

    @tf.function(input_signature=[tf.TensorSpec([1, 6], tf.int32, name="ids")])
    def function(ids):
        x = tf.gather(table, ids[0])
        return {"logits": tf.nn.gelu(x) @ tf.transpose(tf.constant(table))}

    content = convert(serving_default=function)
    samples = [{"ids": rng.integers(0, 300, [1, 6]).astype(np.int32)} for _ in range(20)]
    quantized = quantization.quantize(content, mode, samples)
    assert len(quantized) < len(content) - 2.5 * table.size
    expected, found = (run(c, **samples[0])["logits"] for c in (content, quantized))
    error = np.square(found - expected).sum() / np.square(expected).sum()
    assert error < 1e-3
