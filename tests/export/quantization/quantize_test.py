import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_lib.export import quantization, tflite_file
from keras_bert_lib.export.quantization import flatbuffer
from tests.export.quantization.conftest import partitions, run

# Mode, and the least ratio of outputs to errors, in decibels.
MODES = [("float16", 35), ("dynamic_int8", 33), ("int8", 30), ("int16x8", 33)]


def decibels(found, expected):
    return 10 * np.log10(np.square(expected).sum() / np.square(found - expected).sum())


@pytest.fixture(scope="module")
def quantized(network, network_file):
    samples = [network.sample(seed) for seed in range(50)]
    return {mode: quantization.quantize(network_file, mode, samples) for mode, _ in MODES}


@pytest.mark.parametrize(("mode", "least"), MODES)
def test_agrees_with_float(network, network_file, quantized, mode, least):
    for seed in range(100, 110):
        for signature, size in (("serving_default", 64), ("short", 20)):
            inputs = network.sample(seed, size)
            expected = run(network_file, signature, **inputs)["outputs"]
            found = run(quantized[mode], signature, **inputs)["outputs"]
            assert found.shape == expected.shape
            assert decibels(found, expected) > least
    if mode != "int16x8":  # XNNPACK has no activations of 16 bits
        assert partitions(quantized[mode]) == partitions(network_file) == 1


@pytest.mark.parametrize(("mode", "least"), MODES)
def test_same_arguments_same_bytes(network, network_file, quantized, mode, least):
    samples = [network.sample(seed) for seed in range(50)]
    assert quantization.quantize(network_file, mode, samples) == quantized[mode]


@pytest.mark.parametrize(("mode", "least"), MODES)
def test_signatures_share_weights(network_file, quantized, mode, least):
    model = flatbuffer.read(quantized[mode])
    users = {}
    for number, graph in enumerate(model.subgraphs):
        for op in graph.operators:
            for i in op.inputs:
                data = model.buffers[graph.tensors[i].buffer].data if i >= 0 else None
                if data is not None and len(data) > 2000:
                    users.setdefault(graph.tensors[i].buffer, set()).add(number)
    assert len(users) >= 4  # two tables, two kernels
    assert all(graphs == {0, 1} for graphs in users.values())


def test_dynamic_int8_needs_no_samples(network, network_file):
    content = quantization.quantize(network_file, "dynamic_int8")
    inputs = network.sample(7)
    expected = run(network_file, **inputs)["outputs"]
    assert decibels(run(content, **inputs)["outputs"], expected) > 25


def test_smoothing_helps(network, network_file, quantized):
    rough = quantization.quantize(network_file, "dynamic_int8")
    errors = {"rough": 0.0, "smooth": 0.0}
    for seed in range(100, 110):
        inputs = network.sample(seed)
        expected = run(network_file, **inputs)["outputs"]
        for name, content in (("rough", rough), ("smooth", quantized["dynamic_int8"])):
            errors[name] += np.square(run(content, **inputs)["outputs"] - expected).sum()
    assert errors["smooth"] < 0.7 * errors["rough"]


def test_int8_multiplies_integers(quantized):
    model = flatbuffer.read(quantized["int8"])
    for graph in model.subgraphs:
        products = [
            [graph.tensors[i].type for i in (*op.inputs, *op.outputs)]
            for op in graph.operators
            if flatbuffer.builtin(model, op) == schema.BuiltinOperator.FULLY_CONNECTED
        ]
        int8, int32 = schema.TensorType.INT8, schema.TensorType.INT32
        assert products == [[int8, int8, int32, int8]] * 2


def test_float_files_are_left_alone(network_file):
    assert quantization.quantize(network_file, "none") is network_file


@pytest.mark.parametrize("mode", ["int8", "int16x8", "int4"])
@pytest.mark.parametrize("samples", [None, []])
def test_calibration_is_asked_for(network_file, mode, samples):
    with pytest.raises(ValueError, match=r"Give `calibration_texts`.*Received: "):
        quantization.quantize(network_file, mode, samples)


def test_unknown_modes_are_refused(network_file):
    with pytest.raises(ValueError, match=r"must be one of none, float16.*Received: 'int7'"):
        quantization.quantize(network_file, "int7")


def test_real_model(files, classifier, held_out):
    """A text file with its tokenizer, in every mode."""
    content = files["none"].read_bytes()
    texts = held_out[0]

    def sample(text):
        encoded = text.encode()[:512]
        return {"text": np.frombuffer(encoded.ljust(512, b"\0"), np.uint8).astype(np.int32)[None]}

    def answers(content):
        run = Interpreter(model_content=content).get_signature_runner()
        return np.concatenate([run(**sample(text))["probabilities"] for text in texts[:60]])

    expected = answers(content)
    operators = set(tflite_file.operators(content))
    samples = [sample(text) for text in texts[100:150]]
    for mode, bound in (("float16", 0.01), ("dynamic_int8", 0.05), ("int8", 0.15)):
        found = quantization.quantize(content, mode, samples)
        assert np.abs(answers(found) - expected).max() < bound
        added = set(tflite_file.operators(found)) - operators
        assert added <= {"EMBEDDING_LOOKUP", "DEQUANTIZE", "QUANTIZE"}
        assert "EMBEDDING_LOOKUP" in added
