import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_lib.export.quantization import flatbuffer
from tests.export.quantization.conftest import run


def test_what_is_read_is_written(network, network_file):
    content = flatbuffer.write(flatbuffer.read(network_file))
    assert content == flatbuffer.write(flatbuffer.read(content))
    for signature, size in (("serving_default", 64), ("short", 20)):
        inputs = network.sample(3, size)
        expected = run(network_file, signature, **inputs)["outputs"]
        np.testing.assert_array_equal(run(content, signature, **inputs)["outputs"], expected)


def test_buffers_are_aligned(network_file):
    content = flatbuffer.write(flatbuffer.read(network_file))
    start = np.frombuffer(content, np.uint8).ctypes.data
    buffers = [b.data for b in flatbuffer.read(content).buffers if b.data is not None]
    assert len(buffers) > 5
    assert all((data.ctypes.data - start) % 16 == 0 for data in buffers)


def test_unused_parts_are_not_written(network_file):
    model = flatbuffer.read(network_file)
    content = flatbuffer.write(model)
    model = flatbuffer.read(content)
    graph = model.subgraphs[0]
    for name in ("one", "same"):
        flatbuffer.add_constant(model, graph, name, np.arange(5000, dtype=np.float32))
    flatbuffer.operator(model, schema.BuiltinOperator.ABS, [0], [1])
    assert flatbuffer.write(model) == content


def test_equal_constants_are_written_once(network_file):
    model = flatbuffer.read(network_file)
    size = len(flatbuffer.write(flatbuffer.read(network_file)))
    for graph in model.subgraphs:
        [*_, last] = graph.operators
        factor = np.linspace(1, 2, 480, dtype=np.float32).reshape(10, 48)[:1].repeat(200, axis=0)
        flatbuffer.multiply_input(model, graph, last, factor[:1])
        flatbuffer.add_constant(model, graph, "unused", factor)
    grown = len(flatbuffer.write(model)) - size
    assert 48 * 4 <= grown < 48 * 4 + 1500
