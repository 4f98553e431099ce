"""What a TFLite file says of itself: TFLite's metadata, and the files that it carries.

Labels and vocabulary are appended as a zip archive, where the tools of TFLite look for files.
"""

import io
import zipfile

from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_lib.export import metadata_schema
from keras_bert_lib.export.quantization import flatbuffer
from keras_bert_lib.version import __version__

LABELS = "labels.txt"
VOCABULARY = "vocab.txt"
FIELDS = ("name", "description", "author", "license", "version")
_ENTRY = b"TFLITE_METADATA"  # where a file's metadata stands among its other entries
_MIN_PARSER_VERSION = "1.1.0"  # the first that knows tokenizers

# What each model does, and what each output says; model cards have it, too.
DESCRIPTIONS = {
    "BertClassifier": "Puts a text into one of several classes, or gives it a value.",
    "BertMaskedLM": "Predicts the masked pieces of a text.",
    "BertMultipleChoice": "Scores several continuations of a text against each other.",
    "BertQuestionAnswerer": "Finds the answer to a question in a text.",
    "BertTextEmbedder": "Turns a text to a vector; texts of like meaning have like vectors.",
    "BertTokenClassifier": "Finds the entities in a text.",
}
_INPUTS = {
    "text": "The text: its UTF-8 bytes, one a number, filled up with zeros.",
    "text_pair": "The second text: its UTF-8 bytes, one a number, filled up with zeros.",
    "token_ids": "The ids of the tokens, by their lines in vocab.txt.",
    "ids": "The ids of the tokens, by their lines in vocab.txt.",
    "segment_ids": "0 for tokens of the first text, 1 for those of the second.",
    "padding_mask": "1 for tokens, 0 for padding.",
    "mask": "1 for tokens, 0 for padding.",
}
OUTPUTS = {
    "probabilities": "The probability of each label, or of each choice.",
    "values": "The value of each output.",
    "embedding": "The vector of the text.",
    "truncated": "1 where the end of a text was cut off, else 0.",
    "logits": "The score of each label, or of each piece, for each token.",
    "start_logits": "The score of each token as the first of the answer.",
    "end_logits": "The score of each token as the last of the answer.",
    "entity_starts": "Where each entity begins, in bytes of the text.",
    "entity_ends": "Where each entity ends, in bytes of the text.",
    "entity_labels": "The kind of each entity, by its line in labels.txt; -1 past the last entity.",
    "entity_scores": "The probability of each entity.",
    "entity_count": "The number of entities.",
    "answer_start": "Where the answer begins, in bytes of the second text.",
    "answer_end": "Where the answer ends, in bytes of the second text; 0 for no answer.",
    "score": "The probability of the answer.",
    "no_answer_score": "The probability that there is no answer.",
    "mask_starts": "Where each [MASK] begins, in bytes of the text.",
    "mask_ends": "Where each [MASK] ends, in bytes of the text.",
    "token_ids": "The likeliest pieces for each [MASK], by their lines in vocab.txt.",
    "scores": "The probability of each of these pieces.",
    "mask_count": "The number of [MASK] in the text.",
}


def attach(content, model, labels, metadata=None):
    """Returns a TFLite file with metadata, labels and vocabulary.

    The readers are those of TFLite's metadata: MediaPipe Tasks, tflite-support, Android Studio. The
    same arguments give the same bytes.

    Args:
        content: bytes of a file whose subgraphs have signatures.
        model: the model it was made of, with its tokenizer.
        labels: list of str, the lines of `labels.txt`; empty where answers are no labels.
        metadata: dict of str with any of "name", "description", "author", "license" (the text or
            its name) and "version" (the model's), or None. Name and description have defaults.

    Returns:
        bytes.

    Raises:
        ValueError: if `metadata` has another key, or something else than a str in it, or a label
            has more than one line.
    """
    metadata = check_metadata(metadata)
    for label in labels:
        if "\n" in label or "\r" in label:
            raise ValueError(
                f"A label is one line of {LABELS} in the file. Rename it. Received: {label!r}"
            )
    file = flatbuffer.read(content)
    task = type(model).__name__
    described = {
        "name": task,
        "description": DESCRIPTIONS.get(task, ""),
        **metadata,
        "subgraph_metadata": _subgraphs(file, bool(labels)),
        "min_parser_version": _MIN_PARSER_VERSION,
    }
    file.buffers.append(schema.BufferT(data=metadata_schema.write(described)))
    entry = schema.MetadataT(name=_ENTRY, buffer=len(file.buffers) - 1)
    file.metadata = [e for e in file.metadata or [] if e.name != _ENTRY] + [entry]
    # Metadata's readers pass over blank lines, and with one all ids behind it would be others. No
    # text has a space for a piece, so that may stand for a piece that is blank.
    files = {VOCABULARY: [piece or " " for piece in model.tokenizer.vocabulary]}
    if labels:
        files[LABELS] = labels
    return _with_files(flatbuffer.write(file), files)


def check_metadata(metadata):
    """Returns the dict that a user gave, or an empty one for None.

    Raises:
        ValueError: if it is none, has another key, or something else than a str in it.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, dict) or not set(metadata) <= set(FIELDS):
        raise ValueError(
            f"`metadata` must be a dict with any of {', '.join(FIELDS)}. Received: {metadata!r}"
        )
    for name, value in metadata.items():
        if not isinstance(value, str):
            raise ValueError(f"`metadata` must map names to text. Received: {name}={value!r}")
    return metadata


def read(content):
    """Returns the metadata of a TFLite file.

    Args:
        content: bytes of the file.

    Returns:
        Dict with the fields of the schema's table `ModelMetadata` that are there; None for a file
        without metadata.

    Raises:
        ValueError: if the metadata cannot be read.
    """
    model = schema.Model.GetRootAs(content)
    for i in range(model.MetadataLength()):
        if model.Metadata(i).Name() == _ENTRY:
            data = model.Buffers(model.Metadata(i).Buffer()).DataAsNumpy()
            return metadata_schema.read(bytes(data))
    return None


def _subgraphs(file, has_labels):
    """Returns the tables `SubGraphMetadata` of a `ModelT`, in the order of its subgraphs."""
    tables = []
    signatures = {signature.subgraphIndex: signature for signature in file.signatureDefs}
    for i, graph in enumerate(file.subgraphs):
        signature = signatures[i]
        inputs = _tensors(graph.inputs, signature.inputs, _INPUTS)
        outputs = _tensors(graph.outputs, signature.outputs, OUTPUTS)
        for tensor in outputs:
            associated = _meaning_of(tensor["name"], has_labels)
            if associated is not None:
                tensor["associated_files"] = [associated]
        table = {
            "name": signature.signatureKey.decode(),
            "description": f"Written by keras_bert_lib {__version__}.",
            "input_tensor_metadata": inputs,
            "output_tensor_metadata": outputs,
        }
        vocabulary = _associated_file(VOCABULARY, metadata_schema.VOCABULARY)
        if any(tensor["name"] == "text" for tensor in inputs):  # the tokenizer is in the graph
            table["associated_files"] = [vocabulary]
        else:
            table["input_process_units"] = [{"options": {"vocab_file": [vocabulary]}}]
        tables.append(table)
    return tables


def _tensors(indices, named, descriptions):
    """Returns the tables `TensorMetadata` of a subgraph's inputs or outputs, in their order."""
    names = {tensor.tensorIndex: tensor.name.decode() for tensor in named}
    return [
        {
            "name": names[int(i)],
            "description": descriptions.get(names[int(i)], ""),
            "content": {"properties": {}},
        }
        for i in indices
    ]


def _meaning_of(output, has_labels):
    """Returns the table of the file that an output's places, or values, are lines of, or None."""
    if output == "token_ids":
        return _associated_file(VOCABULARY, metadata_schema.VALUE_LABELS)
    if output == "logits" and not has_labels:  # of a masked language model
        return _associated_file(VOCABULARY, metadata_schema.AXIS_LABELS)
    if output in ("probabilities", "values", "logits") and has_labels:
        return _associated_file(LABELS, metadata_schema.AXIS_LABELS)
    if output == "entity_labels":
        return _associated_file(LABELS, metadata_schema.VALUE_LABELS)
    return None


def _associated_file(name, kind):
    descriptions = {LABELS: "The labels, one a line.", VOCABULARY: "The pieces, one a line."}
    return {"name": name, "description": descriptions[name], "type": kind}


def _with_files(content, files):
    """Returns a file's bytes with text files behind them, as a zip archive.

    Args:
        content: bytes.
        files: dict of name to lines, list of str.
    """
    data = io.BytesIO(content)
    with zipfile.ZipFile(data, "a", zipfile.ZIP_STORED) as archive:  # readers cannot inflate
        for name, lines in files.items():
            # Date and system are fixed: the same model gives the same file.
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            archive.writestr(
                info, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
            )
    return data.getvalue()
