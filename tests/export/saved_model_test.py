import shutil

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2


def operations(path):
    """Names of all operations in a SavedModel's graph and functions."""
    proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = proto.meta_graphs[0].graph_def
    nodes = list(graph.node) + [node for f in graph.library.function for node in f.node_def]
    return {node.op for node in nodes}


def test_core_operations_only(files):
    found = operations(files["saved_model"])
    assert "DecodeRaw" in found  # the tokenizer is in there
    # A lookup table would bring a file of its own; a tf-text op a library.
    assert not [name for name in found if "Table" in name or "ordpiece" in name or "PyFunc" in name]
    assert not list((files["saved_model"] / "assets").glob("*"))


def test_signatures(files):
    loaded = tf.saved_model.load(str(files["saved_model"]))
    by_text = loaded.signatures["serving_default"].structured_outputs
    assert by_text["probabilities"].shape.as_list() == [None, 2]
    assert by_text["label"].dtype == tf.string
    tokens = loaded.signatures["tokens"].structured_input_signature[1]
    assert sorted(tokens) == ["padding_mask", "segment_ids", "token_ids"]
    assert {spec.dtype for spec in tokens.values()} == {tf.int32}


def test_tokens_signature_answers_as_text_does(files, classifier, held_out):
    signatures = tf.saved_model.load(str(files["saved_model"])).signatures
    texts = held_out[0][:16]
    by_text = signatures["serving_default"](text=tf.constant(texts))
    by_tokens = signatures["tokens"](**classifier.tokenizer(texts))
    np.testing.assert_array_equal(by_tokens["label"], by_text["label"])
    np.testing.assert_allclose(by_tokens["probabilities"], by_text["probabilities"], atol=1e-6)


def test_moved_directory_works(files, tmp_path):
    shutil.copytree(files["saved_model"], tmp_path / "elsewhere" / "7")
    loaded = tf.saved_model.load(str(tmp_path / "elsewhere" / "7"))
    outputs = loaded.signatures["serving_default"](text=tf.constant(["a dull day"]))
    assert outputs["label"].numpy().tolist() == [b"neg"]
