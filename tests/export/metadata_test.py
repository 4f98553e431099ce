import contextlib
import io
import struct
import zipfile

import flatbuffers
import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

import keras_bert_lib as kbl
from keras_bert_lib.export import metadata, metadata_schema, stock_runtime
from keras_bert_lib.export.quantization import flatbuffer
from tests.export.task_models import MAX_BYTES, make_model

GIVEN = {
    "name": "Café critic",
    "description": "Tells whether a film is liked.",
    "author": "A. N. Author",
    "license": "Apache-2.0",
    "version": "2.1",
}


@pytest.fixture(scope="module")
def classifier():
    return make_model("label")


@pytest.fixture(scope="module")
def path(classifier, tmp_path_factory):
    """A float32 file that takes text."""
    path = tmp_path_factory.mktemp("metadata") / "model.tflite"
    kbl.export.tflite(classifier, path, "none", max_bytes=MAX_BYTES)
    return path


@pytest.fixture(scope="module")
def content(path):
    return path.read_bytes()


def names(tensors):
    return [tensor["name"] for tensor in tensors]


def test_text_files_describe_themselves(content, path):
    found = metadata.read(content)
    assert found["name"] == "BertClassifier"
    assert "into one of several classes" in found["description"]
    [graph] = found["subgraph_metadata"]
    assert graph["name"] == "serving_default"
    assert graph["description"] == f"Written by keras_bert_lib {kbl.__version__}."
    # Readers go by the order of the file's tensors, not by names.
    details = stock_runtime.make_interpreter(path).get_output_details()
    shapes = dict(zip(names(graph["output_tensor_metadata"]), (d["shape"] for d in details)))
    assert names(graph["input_tensor_metadata"]) == ["text"]
    assert {name: shape.tolist() for name, shape in shapes.items()} == {
        "probabilities": [1, 3],
        "truncated": [1],
    }
    [labelled] = [t for t in graph["output_tensor_metadata"] if "associated_files" in t]
    assert labelled["name"] == "probabilities"
    assert labelled["associated_files"][0]["name"] == "labels.txt"
    assert labelled["associated_files"][0]["type"] == 2  # TENSOR_AXIS_LABELS
    assert names(graph["associated_files"]) == ["vocab.txt"]


def test_token_files_say_which_tokens_they_take(classifier, tmp_path):
    path = tmp_path / "tokens.tflite"
    kbl.export.tflite(classifier, path, "none", interface="tokens", metadata=GIVEN)
    found = metadata.read(path.read_bytes())
    assert {name: found[name] for name in GIVEN} == GIVEN
    [graph] = found["subgraph_metadata"]
    assert sorted(names(graph["input_tensor_metadata"])) == [
        "padding_mask",
        "segment_ids",
        "token_ids",
    ]
    [unit] = graph["input_process_units"]
    [vocabulary] = unit["options"]["vocab_file"]
    assert vocabulary["name"] == "vocab.txt"


def test_files_in_the_file(content, classifier):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["vocab.txt", "labels.txt"]
        # TFLite's readers cannot inflate.
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        assert archive.read("labels.txt") == "joy\nanger\nkäse\n".encode()
        lines = archive.read("vocab.txt").decode().split("\n")
    assert lines == [*classifier.tokenizer.vocabulary, ""]


def test_nothing_else_changes(content, classifier):
    """Weights, operators and their order; and weights begin where 128 bits can be loaded."""
    again = metadata.attach(content, classifier, classifier.labels)
    before, after = flatbuffer.read(content), flatbuffer.read(again)
    for graph, other in zip(before.subgraphs, after.subgraphs, strict=True):
        assert len(graph.operators) == len(other.operators)
        for tensor, twin in zip(graph.tensors, other.tensors, strict=True):
            value = flatbuffer.constant(before, tensor)
            if value is not None:
                np.testing.assert_array_equal(value, flatbuffer.constant(after, twin))
    model = schema.Model.GetRootAs(again)
    for i in range(model.BuffersLength()):
        if model.Buffers(i).DataLength():
            data = model.Buffers(i).DataAsNumpy()
            start = data.__array_interface__["data"][0]
            whole = np.frombuffer(again, np.uint8).__array_interface__["data"][0]
            assert (start - whole) % 16 == 0


def test_same_arguments_same_bytes(content, classifier):
    one, two = (
        metadata.attach(content, classifier, ["no", "maybe", "yes"], GIVEN) for _ in range(2)
    )
    assert one == two
    # Replaced, not added a second time: neither the metadata nor the files.
    assert metadata.attach(one, classifier, ["no", "maybe", "yes"], GIVEN) == one


def test_blank_pieces_keep_their_lines(content):
    """The readers pass over blank lines; all ids behind one would be others."""
    pieces = ["[PAD]", "", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]
    config = kbl.BertConfig.from_size("tiny", vocab_size=7)
    model = kbl.BertTextEmbedder(kbl.BertEncoder(config), tokenizer=kbl.BertTokenizer(pieces))
    with zipfile.ZipFile(io.BytesIO(metadata.attach(content, model, []))) as archive:
        lines = archive.read("vocab.txt").decode().split("\n")[:-1]
        assert archive.namelist() == ["vocab.txt"]  # an embedding has no labels
    assert all(lines)
    assert lines.index("[SEP]") == 4


def test_schema_round_trip():
    table = {"name": "naïve 東京", "description": "", "subgraph_metadata": [{}, {"name": "b"}]}
    assert metadata_schema.read(metadata_schema.write(table)) == table


def test_tables_of_others_are_read(content):
    """Of unions, what this library does not know is passed over; fields it lacks, too."""
    builder = flatbuffers.Builder()
    builder.StartObject(2)  # NormalizationOptions, of which nothing is known here
    builder.PrependUOffsetTRelativeSlot(0, 0, 0)
    options = builder.EndObject()
    builder.StartObject(2)  # ProcessUnit
    builder.PrependUint8Slot(0, 1, 0)
    builder.PrependUOffsetTRelativeSlot(1, options, 0)
    unit = builder.EndObject()
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(unit)
    units = builder.EndVector()
    builder.StartObject(10)  # SubGraphMetadata
    builder.PrependUOffsetTRelativeSlot(5, units, 0)
    graph = builder.EndObject()
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    builder.StartObject(12)
    builder.PrependUOffsetTRelativeSlot(3, graphs, 0)
    builder.PrependUint8Slot(11, 7, 0)
    builder.Finish(builder.EndObject(), b"M001")
    found = metadata_schema.read(bytes(builder.Output()))
    assert found == {"subgraph_metadata": [{"input_process_units": [{}]}]}


def test_damaged_metadata_is_said_to_be_damaged():
    data = metadata_schema.write({"name": "a", "subgraph_metadata": [{"name": "b"}]})
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data[: rng.integers(len(data))] if rng.random() < 0.5 else data)
        if len(damaged) > 8:
            struct.pack_into("<B", damaged, rng.integers(len(damaged)), rng.integers(256))
        with contextlib.suppress(ValueError):  # and no other
            metadata_schema.read(bytes(damaged))
    with pytest.raises(ValueError, match=r"metadata cannot be read\. Received: no id"):
        metadata_schema.read(data[:4])


def test_a_file_without_metadata(content):
    file = flatbuffer.read(content)
    file.metadata = []
    assert metadata.read(flatbuffer.write(file)) is None


def test_bad_metadata(classifier, content, tmp_path):
    path = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match=r"name, description, author.*Received: \{'licence'"):
        kbl.export.tflite(classifier, path, metadata={"licence": "MIT"})
    with pytest.raises(ValueError, match="Received: version=2"):
        kbl.export.tflite(classifier, path, metadata={"version": 2})
    with pytest.raises(ValueError, match="Received: 'a name'"):
        kbl.export.tflite(classifier, path, metadata="a name")
    with pytest.raises(ValueError, match="A label is one line"):
        metadata.attach(content, classifier, ["one\ntwo", "three"])
    assert not path.exists()


@pytest.mark.parity
def test_read_by_mediapipe(classifier, content):
    """By the code that is generated from the public schema."""
    pytest.importorskip("mediapipe")
    from mediapipe.tasks.metadata import metadata_schema_py_generated as public

    found = schema.Model.GetRootAs(
        metadata.attach(content, classifier, ["no", "maybe", "yes"], GIVEN)
    )
    [data] = [
        bytes(found.Buffers(found.Metadata(i).Buffer()).DataAsNumpy())
        for i in range(found.MetadataLength())
        if found.Metadata(i).Name() == b"TFLITE_METADATA"
    ]
    assert public.ModelMetadata.ModelMetadataBufferHasIdentifier(data, 0)
    table = public.ModelMetadataT.InitFromObj(public.ModelMetadata.GetRootAs(data))
    assert {name: getattr(table, name).decode() for name in GIVEN} == GIVEN
    [graph] = table.subgraphMetadata
    assert [tensor.name for tensor in graph.inputTensorMetadata] == [b"text"]
    for tensor in (*graph.inputTensorMetadata, *graph.outputTensorMetadata):
        assert tensor.description
        kind = public.ContentProperties.FeatureProperties
        assert tensor.content.contentPropertiesType == kind
    [vocabulary] = graph.associatedFiles
    assert vocabulary.type == public.AssociatedFileType.VOCABULARY
    [labels] = [
        file for tensor in graph.outputTensorMetadata for file in tensor.associatedFiles or []
    ]
    assert labels.type == public.AssociatedFileType.TENSOR_AXIS_LABELS
    # And what that code writes is read by ours.
    builder = flatbuffers.Builder()
    builder.Finish(table.Pack(builder), b"M001")
    assert metadata_schema.read(bytes(builder.Output())) == metadata_schema.read(data)
