import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import keras_bert_lib as kbl
from keras_bert_lib.export.warmup import serialized_examples
from tests.export.task_models import make_model, make_texts

# Operations of TensorFlow itself, which any server has; those of all tasks are among them.
CORE = """
Add AddV2 All Any ArgMax Assert AssignVariableOp BatchMatMulV2 BiasAdd BroadcastTo Cast ConcatV2
Const Cumsum DecodeRaw DenseBincount DisableCopyOnRead EnsureShape Equal Erfc Exp ExpandDims
Fill FloorDiv GatherV2 Greater GreaterEqual Identity Less LessEqual LogSoftmax LogicalAnd
LogicalNot LogicalOr MatMul Max Maximum Mean MergeV2Checkpoints Min Minimum Mul Neg NoOp
NotEqual OnesLike Pack Pad PadV2 ParseExampleV2 PartitionedCall Placeholder Prod
RaggedTensorToTensor Range ReadVariableOp RealDiv ReduceJoin Reshape RestoreV2 Rsqrt SaveV2
ScatterNd Select SelectV2 Shape ShardedFilename Sigmoid Size Softmax Split Square
SquaredDifference Squeeze StatefulPartitionedCall StaticRegexFullMatch StopGradient StridedSlice
StringJoin StringLength StringSplitV2 Sub Substr Sum Tanh TensorListFromTensor TensorListGetItem
TensorListReserve TensorListSetItem TensorListStack Tile TopKV2 Transpose Unique Unpack
VarHandleOp Where While ZerosLike
"""
OTHER_TASKS = ("multi_label", "regression", "embedder", "choice", "masked", "tagger", "answerer")


def operations(path):
    """Names of all operations in a SavedModel's graph and functions."""
    proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = proto.meta_graphs[0].graph_def
    nodes = list(graph.node) + [node for f in graph.library.function for node in f.node_def]
    return {node.op for node in nodes}


def card_bodies(path):
    """What the model card says to send: a list of JSON values."""
    card = (path / "README.md").read_text("utf-8")
    return [json.loads(body) for body in re.findall(r"curl -d '(.*)' \\", card)]


def post(signatures, body):
    """Answers a body as TensorFlow Serving's REST interface does: outputs as arrays."""
    if "instances" in body:
        rows = body["instances"]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
    else:
        columns = body["inputs"]
    signature = signatures[body.get("signature_name", "serving_default")]
    outputs = signature(**{name: tf.constant(x) for name, x in columns.items()})
    return {name: x.numpy() for name, x in outputs.items()}


def test_core_operations_only(files):
    found = operations(files["saved_model"])
    assert "DecodeRaw" in found  # the tokenizer is in there
    assert found <= set(CORE.split())
    assert not list((files["saved_model"] / "assets").glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("task", OTHER_TASKS)
def test_files_of_every_task(tmp_path, task):
    """Core operations only, and a model card whose lines work."""
    model = make_model(task)
    path = kbl.export.saved_model(model, tmp_path / "my model")
    assert operations(path) <= set(CORE.split())
    signatures = tf.saved_model.load(str(path)).signatures
    rows, columns, tokens = (post(signatures, body) for body in card_bodies(path))
    for name, x in rows.items():
        np.testing.assert_array_equal(x, columns[name])
        assert len(x) == 1
    assert "byte_offsets" in tokens
    card = (path / "README.md").read_text("utf-8")
    for name in rows:
        assert f"- `{name}`: " in card
    for label in model.labels if hasattr(model, "labels") and task != "tagger" else []:
        assert f"`{label}`" in card
    assert "models/my%20model:predict" in card


def test_signatures(files):
    loaded = tf.saved_model.load(str(files["saved_model"]))
    names = {"serving_default", "tokens", "tokenize", "serve_examples"}
    assert set(loaded.signatures) == names
    by_text = loaded.signatures["serving_default"].structured_outputs
    assert by_text["probabilities"].shape.as_list() == [None, 2]
    assert by_text["label"].dtype == tf.string
    tokens = loaded.signatures["tokens"].structured_input_signature[1]
    assert sorted(tokens) == ["padding_mask", "segment_ids", "token_ids"]
    assert {spec.dtype for spec in tokens.values()} == {tf.int32}


def test_every_signature_answers_as_text_does(files, classifier, held_out):
    signatures = tf.saved_model.load(str(files["saved_model"])).signatures
    texts = held_out[0][:16]
    by_text = signatures["serving_default"](text=tf.constant(texts))
    by_tokens = signatures["tokens"](**classifier.tokenizer(texts))
    examples = serialized_examples({"text": np.array([text.encode() for text in texts])})
    by_examples = signatures["serve_examples"](examples=tf.constant(examples))
    for outputs in (by_tokens, by_examples):
        np.testing.assert_array_equal(outputs["label"], by_text["label"])
        np.testing.assert_allclose(outputs["probabilities"], by_text["probabilities"], atol=1e-6)
    # Longest of the batch, not of the model.
    found = signatures["tokenize"](text=tf.constant(texts))
    expected = classifier.tokenizer(texts, return_offsets=True, return_truncated=True)
    assert sorted(found) == sorted(expected)
    for name, x in expected.items():
        np.testing.assert_array_equal(found[name], x)


def test_the_model_card_tells_how_to_ask(files, classifier):
    path = files["saved_model"]
    signatures = tf.saved_model.load(str(path)).signatures
    rows, columns, tokens = (post(signatures, body) for body in card_bodies(path))
    assert rows["label"].tolist() == columns["label"].tolist() == [b"pos"]
    assert tokens["token_ids"].shape == (1, 7)
    card = (path / "README.md").read_text("utf-8")
    assert "`neg`, `pos`" in card
    assert "| `serving_default` | `text` string [?] | `label` string [?], " in card
    accuracy = classifier.history.history["accuracy"][-1]
    assert f"| last epoch accuracy | {accuracy:.6g} |" in card
    assert "| epochs | 4 |" in card


def test_moved_directory_works(files, tmp_path):
    shutil.copytree(files["saved_model"], tmp_path / "elsewhere" / "7")
    loaded = tf.saved_model.load(str(tmp_path / "elsewhere" / "7"))
    outputs = loaded.signatures["serving_default"](text=tf.constant(["a dull day"]))
    assert outputs["label"].numpy().tolist() == [b"neg"]


def test_no_path_of_this_machine_is_in_the_files(files):
    root = Path(kbl.__file__).parents[1]
    paths = [str(x).encode() for x in (files["saved_model"].parent, root, sys.prefix, Path.home())]
    for file in files["saved_model"].rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not [path for path in paths if path in content], file


@pytest.mark.slow
def test_saved_model_cli_answers_text(files):
    """The line of the model card, as it stands there."""
    card = (files["saved_model"] / "README.md").read_text("utf-8")
    (line,) = re.findall(r"(saved_model_cli run .*\n.*)\n", card)
    program = f"{sys.executable} -m tensorflow.python.tools.saved_model_cli"
    line = line.replace("saved_model_cli", program, 1)
    result = subprocess.run(
        line, shell=True, cwd=files["saved_model"], capture_output=True, text=True, check=True
    )
    assert "Result for output key label:\n[b'pos']" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("task", ["label", "tagger"])
def test_answers_do_not_depend_on_batch_mates_where_lengths_are_few(tmp_path, task):
    """And are those of texts that are not padded further."""
    texts = make_texts(40)
    model = make_model(task)
    paths = [
        kbl.export.saved_model(model, tmp_path / task, **options)
        for options in ({}, {"lengths": [32, 8, 16]})
    ]
    free, few = (tf.saved_model.load(str(x)).signatures["serving_default"] for x in paths)
    expected = free(text=tf.constant(texts))
    found = few(text=tf.constant(texts))
    alone = [few(text=tf.constant([text])) for text in texts]
    for name, x in expected.items():
        if x.dtype == tf.string:
            np.testing.assert_array_equal(found[name], x)
            continue
        np.testing.assert_allclose(found[name], x, atol=1e-5)
        rows = np.concatenate([row[name] for row in alone])
        np.testing.assert_allclose(rows, x, atol=1e-5)
