"""Files of token ids: fixed shapes, several lengths in one file, operators for delegates."""

import contextlib
import io
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.python import schema_py_generated as schema

import keras_bert_lib as kbl
from keras_bert_lib.export import metadata, tflite_file
from keras_bert_lib.export.quantization import flatbuffer
from tests.export.task_models import make_model, tiny_tokenizer

LENGTHS = [16, 24, 32]
SIGNATURES = {"length_16": 16, "length_24": 24, "serving_default": 32}
SOFTWARE_GPU = Path("/usr/lib/chromium/vk_swiftshader_icd.json")
TEXTS = ["the film was fine.", "dull", "the dull film was finely done, was it?", "it's a fine film"]


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


TASKS = ["label", slow("multi_label"), slow("regression"), slow("embedder"), slow("choice")]
TASKS += [slow("masked"), slow("tagger"), slow("answerer")]
MODES = ["none", slow("float16"), slow("dynamic_int8"), slow("int8"), slow("int4")]


@pytest.fixture(scope="module")
def classifier():
    """Of enough weights that a file is mostly weights."""
    config = kbl.BertConfig(
        vocab_size=2000,
        hidden_size=96,
        num_layers=1,
        num_heads=4,
        intermediate_size=192,
        max_position_embeddings=32,
        initializer_range=0.2,
    )
    encoder = kbl.BertEncoder(config)
    return kbl.BertClassifier(encoder, tokenizer=tiny_tokenizer(), labels=["neg", "pos"])


def export(model, path, quantization="none", max_length=LENGTHS, **options):
    calibration_texts = TEXTS * 60 if quantization in ("int8", "int4") else None
    kbl.export.tflite(
        model,
        path,
        quantization,
        interface="tokens",
        max_length=max_length,
        calibration_texts=calibration_texts,
        **options,
    )
    return path


@pytest.fixture(scope="module")
def file(classifier, tmp_path_factory):
    """A float32 file of three lengths."""
    return export(classifier, tmp_path_factory.mktemp("lengths") / "model.tflite")


def tokens_of(model, text, length):
    tokens = model.tokenizer([text], max_length=length, padding="max_length")
    return {name: x.numpy() for name, x in tokens.items()}


def run_compiled(compiled, name, inputs, output="probabilities"):
    """Runs a signature of a `CompiledModel`; returns an output, laid out flat."""
    buffers = {key: compiled.create_input_buffer_by_name(name, key) for key in inputs}
    for key, value in inputs.items():
        buffers[key].write(value)
    names = compiled.get_signature_list()[name]["outputs"]
    answers = {key: compiled.create_output_buffer_by_name(name, key) for key in names}
    compiled.run_by_name(name, buffers, answers)
    [detail] = [d for key, d in compiled.get_output_tensor_details(name).items() if key == output]
    return answers[output].read(int(np.prod(detail["shape"])), np.float32)


@pytest.mark.parametrize("quantization", MODES)
def test_lengths_share_their_weights(classifier, tmp_path, quantization):
    several = export(classifier, tmp_path / "several.tflite", quantization)
    one = export(classifier, tmp_path / "one.tflite", quantization, max_length=32)
    # Each signature has operators and tensors of its own.
    assert several.stat().st_size < 1.1 * one.stat().st_size + 2 * 60_000
    weights = classifier.count_params() * {"none": 4, "float16": 2}.get(quantization, 1)
    assert several.stat().st_size < 2 * weights

    interpreter, compiled = Interpreter(str(several)), CompiledModel.from_file(str(several))
    assert set(interpreter.get_signature_list()) == set(SIGNATURES)
    tolerance = {"none": 1e-5, "float16": 5e-3}.get(quantization, 0.15)
    for text in TEXTS[:2]:  # of fewer than 16 tokens
        logits = classifier.predict_on_batch(classifier.tokenizer([text], max_length=32))
        expected = tf.nn.softmax(logits)
        for name, length in SIGNATURES.items():
            runner = interpreter.get_signature_runner(name)
            details = runner.get_input_details().values()
            assert all(detail["shape"].tolist() == [1, length] for detail in details)
            inputs = tokens_of(classifier, text, length)
            found = runner(**inputs)["probabilities"]
            np.testing.assert_allclose(found, expected, atol=tolerance)
            np.testing.assert_allclose(run_compiled(compiled, name, inputs), found[0], atol=1e-5)


def test_each_signature_is_described(file):
    found = metadata.read(file.read_bytes())
    graphs = found["subgraph_metadata"]
    assert {graph["name"] for graph in graphs} == set(SIGNATURES)
    for graph in graphs:
        assert len(graph["input_tensor_metadata"]) == 3
        [output] = graph["output_tensor_metadata"]
        assert output["name"] == "probabilities"


@pytest.mark.parametrize("task", TASKS)
def test_delegates_take_every_operator(tmp_path, task):
    """No shape varies, none has more than four dimensions, and GPUs know the operators."""
    choices = 3 if task == "choice" else None
    path = export(make_model(task), tmp_path / "m.tflite", max_length=[16, 32], choices=choices)
    content = path.read_bytes()
    report = io.StringIO()
    with contextlib.redirect_stdout(report):
        tf.lite.experimental.Analyzer.analyze(model_content=content, gpu_compatibility=True)
    assert "Your model looks compatible with GPU delegate" in report.getvalue()
    # That tool does not look at types. Of integers GPUs take casts and row numbers.
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name[0] != "_"}
    model = flatbuffer.read(content)
    of_integers = set()
    for graph in model.subgraphs:
        assert all(tensor.shapeSignature is None for tensor in graph.tensors)
        assert all(len(flatbuffer.shape_of(tensor)) <= 4 for tensor in graph.tensors)
        for op in graph.operators:
            operands = [graph.tensors[i] for i in (*op.inputs, *op.outputs)]
            if any(
                tensor.type != schema.TensorType.FLOAT32
                and flatbuffer.constant(model, tensor) is None
                for tensor in operands
            ):
                of_integers.add(names[flatbuffer.builtin(model, op)])
    assert of_integers <= {"CAST", "GATHER", "RESHAPE"}


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["none", "float16"])  # of 8 bits it takes no matrices
@pytest.mark.parametrize("task", ["label", "embedder", "tagger", "answerer"])
def test_a_gpu_runs_all_of_it(tmp_path, monkeypatch, task, quantization):
    """LiteRT's GPU accelerator, on a GPU, or on the one that Chromium brings in software."""
    # The latter by the system's Vulkan loader, of Debian's package libvulkan1.
    has_software_gpu = SOFTWARE_GPU.exists() and find_library("vulkan")
    if has_software_gpu:
        monkeypatch.setenv("VK_ICD_FILENAMES", str(SOFTWARE_GPU))
    path = export(make_model(task), tmp_path / "m.tflite", quantization, max_length=[16, 32])
    try:
        compiled = CompiledModel.from_file(str(path), HardwareAccelerator.GPU)
    except RuntimeError as error:
        if has_software_gpu or "not accelerated" in str(error):
            raise
        pytest.skip("there is no GPU, or Chromium without libvulkan1")
    assert compiled.is_fully_accelerated()
    runner = Interpreter(str(path)).get_signature_runner("length_16")
    inputs = tokens_of(make_model(task), "the film was fine.", 16)
    for name, expected in runner(**inputs).items():
        found = run_compiled(compiled, "length_16", inputs, name)
        np.testing.assert_allclose(found, expected.ravel(), atol=2e-2, rtol=2e-2)  # 16 bits


def test_operands_have_as_many_dimensions(file):
    """Or one, or none. So the mask has four, as the scores have that it is added to."""
    model = flatbuffer.read(file.read_bytes())
    for graph in model.subgraphs:
        for op in graph.operators:
            if flatbuffer.builtin(model, op) in (
                schema.BuiltinOperator.ADD,
                schema.BuiltinOperator.MUL,
                schema.BuiltinOperator.SUB,
            ):
                ranks = {len(flatbuffer.shape_of(graph.tensors[i])) for i in op.inputs}
                assert len(ranks - {0, 1}) <= 1


def test_order_and_repetition_do_not_matter(classifier, file, tmp_path):
    again = export(classifier, tmp_path / "again.tflite", max_length=(32, 16, 24, 32))
    assert again.read_bytes() == file.read_bytes()


def test_bad_lengths(classifier, tmp_path):
    path = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match=r"between 3 and 32.*Received: \[16, 33\]"):
        export(classifier, path, max_length=[16, 33])
    with pytest.raises(ValueError, match=r"between 3 and 32.*Received: \[2, 16\]"):
        export(classifier, path, max_length=[2, 16])
    with pytest.raises(ValueError, match=r"between 3 and 32.*Received: \[\]"):
        export(classifier, path, max_length=[])
    with pytest.raises(ValueError, match=r"between 3 and 32.*Received: \[16, '32'\]"):
        export(classifier, path, max_length=[16, "32"])
    with pytest.raises(ValueError, match=r'list of lengths is for `interface="tokens"`'):
        kbl.export.tflite(classifier, path, max_length=[16, 32])
    assert not path.exists()


def test_operators(file):
    operators = tflite_file.operators(file.read_bytes())
    # Row numbers are not wrapped around: three operators of integers for each table.
    assert not {"LESS", "SELECT", "SELECT_V2"} & set(operators)
    assert {"GATHER", "BATCH_MATMUL", "GELU"} <= set(operators)
