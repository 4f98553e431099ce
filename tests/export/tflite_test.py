import zipfile

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import keras_bert_lib as kbl
from keras_bert_lib.export import stock_runtime, tflite_file

BUILT_IN = {
    *("ADD", "ADD_N", "BATCH_MATMUL", "CAST", "CONCATENATION", "CUMSUM", "DEQUANTIZE", "EQUAL"),
    "EMBEDDING_LOOKUP",
    *("EXPAND_DIMS", "FLOOR_DIV", "FLOOR_MOD", "FULLY_CONNECTED", "GATHER", "GELU", "GREATER"),
    *("GREATER_EQUAL", "LESS", "LESS_EQUAL", "LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "MEAN"),
    *(
        "MAXIMUM",
        "MINIMUM",
        "MUL",
        "NEG",
        "PACK",
        "PADV2",
        "RANGE",
        "REDUCE_MAX",
        "RESHAPE",
        "RSQRT",
    ),
    *("SCATTER_ND", "SELECT", "SELECT_V2", "SHAPE", "SLICE", "SOFTMAX", "SPLIT", "SQUARE"),
    *("SQUARED_DIFFERENCE", "STRIDED_SLICE", "SUB", "SUM", "TANH", "TRANSPOSE", "ZEROS_LIKE"),
}


@pytest.mark.parametrize("kind", ["none", "float16", "dynamic_int8"])
def test_built_in_operators_only(files, kind):
    operators = set(tflite_file.operators(files[kind].read_bytes()))
    assert {"GATHER", "SCATTER_ND", "CUMSUM"} <= operators  # the tokenizer is in there
    assert operators <= BUILT_IN


def test_custom_operators_are_refused():
    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def length(text):
        return tf.strings.length(text)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([length.get_concrete_function()])
    converter.allow_custom_ops = True
    with pytest.raises(RuntimeError, match="CUSTOM:StringLength"):
        tflite_file.check_builtin_only(converter.convert())


def test_signature(files):
    interpreter = Interpreter(str(files["dynamic_int8"]))
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["text"], "outputs": ["probabilities", "truncated"]}
    }
    details = interpreter.get_signature_runner("serving_default").get_input_details()["text"]
    assert details["shape"].tolist() == [1, 512]
    assert details["dtype"] is np.int32


def test_labels_travel_with_the_file(files, classifier):
    assert stock_runtime.read_labels(files["none"]) == classifier.labels
    with zipfile.ZipFile(files["none"]) as archive:
        assert archive.read("labels.txt") == b"neg\npos\n"


def test_tokens_interface(classifier, held_out, tmp_path):
    path = tmp_path / "tokens.tflite"
    kbl.export.tflite(classifier, path, quantization="none", interface="tokens", max_length=96)
    interpreter = Interpreter(str(path))
    runner = interpreter.get_signature_runner("serving_default")
    assert all(d["shape"].tolist() == [1, 96] for d in runner.get_input_details().values())
    texts = held_out[0][:20]
    for text in texts:
        tokens = classifier.tokenizer([text], max_length=96, padding="max_length")
        found = runner(**{name: x.numpy() for name, x in tokens.items()})["probabilities"]
        expected = tf.nn.softmax(classifier(classifier.tokenizer([text], max_length=96)))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(ValueError, match="does not take text"):
        stock_runtime.load(path)


@pytest.mark.slow
def test_quantization_makes_files_smaller(tmp_path):
    tokenizer = kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"])
    config = kbl.BertConfig(
        vocab_size=4000, hidden_size=128, num_layers=1, num_heads=2, intermediate_size=256
    )
    model = kbl.BertClassifier(kbl.BertEncoder(config), tokenizer=tokenizer, num_classes=2)
    sizes = {}
    for quantization in ("none", "float16", "dynamic_int8"):
        path = tmp_path / f"{quantization}.tflite"
        kbl.export.tflite(model, path, quantization=quantization)
        sizes[quantization] = path.stat().st_size
    weights = 4 * model.count_params()
    tables = sizes["none"] - weights
    assert tables < 400_000  # tokenizer, graph, labels
    assert sizes["float16"] - tables < 0.51 * weights
    # 12 bytes more for each row of a table and of a kernel.
    assert sizes["dynamic_int8"] - tables < 0.28 * weights


def test_same_model_same_bytes(classifier, files, tmp_path):
    kbl.export.tflite(classifier, tmp_path / "again.tflite")
    assert (tmp_path / "again.tflite").read_bytes() == files["dynamic_int8"].read_bytes()
