"""The tables of TFLite's metadata schema, written and read.

The public schema is `metadata_schema.fbs`, as tflite-support and MediaPipe have it. A table is a
dict of its fields here, those that are empty left out.
"""

import struct

import flatbuffers
from flatbuffers import number_types
from flatbuffers.table import Table

AXIS_LABELS, VALUE_LABELS, VOCABULARY = 2, 3, 5  # enum AssociatedFileType
_IDENTIFIER = b"M001"
_FIRST_SLOT = 4  # bytes, where the list of a table's slots begins
# The members of the unions ContentProperties and ProcessUnitOptions that are used here.
_FEATURE_PROPERTIES, _BERT_TOKENIZER_OPTIONS = 1, 4

# Each field's name and type, by slot: "string", "byte", a table, or a list of one of them. A number
# says of which kind the union in the next slot is; a table whose union is of another kind is empty.
# None is a field that neither this library nor the readers of its files use.
_TABLES = {
    "ModelMetadata": [
        ("name", "string"),
        ("description", "string"),
        ("version", "string"),
        ("subgraph_metadata", ["SubGraphMetadata"]),
        ("author", "string"),
        ("license", "string"),
        ("associated_files", ["AssociatedFile"]),
        ("min_parser_version", "string"),
    ],
    "SubGraphMetadata": [
        ("name", "string"),
        ("description", "string"),
        ("input_tensor_metadata", ["TensorMetadata"]),
        ("output_tensor_metadata", ["TensorMetadata"]),
        ("associated_files", ["AssociatedFile"]),
        ("input_process_units", ["ProcessUnit"]),
    ],
    "TensorMetadata": [
        ("name", "string"),
        ("description", "string"),
        ("dimension_names", ["string"]),
        ("content", "Content"),
        None,  # process_units
        None,  # stats
        ("associated_files", ["AssociatedFile"]),
    ],
    "AssociatedFile": [("name", "string"), ("description", "string"), ("type", "byte")],
    "Content": [("type", _FEATURE_PROPERTIES), ("properties", "FeatureProperties")],
    "FeatureProperties": [],
    "ProcessUnit": [("type", _BERT_TOKENIZER_OPTIONS), ("options", "BertTokenizerOptions")],
    "BertTokenizerOptions": [("vocab_file", ["AssociatedFile"])],
}


def write(metadata):
    """Returns the flatbuffer of a table `ModelMetadata`.

    Args:
        metadata: dict of its fields: str, int, or dict of a table's fields, or a list of them.
    """
    builder = flatbuffers.Builder()
    builder.Finish(_write(builder, "ModelMetadata", metadata), _IDENTIFIER)
    return bytes(builder.Output())


def read(data):
    """Returns the table `ModelMetadata` of a flatbuffer, as `write` takes it.

    Raises:
        ValueError: if the bytes are none.
    """
    try:
        if bytes(data[4:8]) != _IDENTIFIER:
            raise ValueError("no identifier")
        (root,) = struct.unpack_from("<I", data)
        return _read(Table(data, root), "ModelMetadata")
    except (ValueError, IndexError, TypeError, struct.error) as error:
        raise ValueError(f"The file's metadata cannot be read. Received: {error}") from error


def _write(builder, kind, value):
    """Writes a value of a type in `_TABLES`; returns its offset."""
    if kind == "string":
        return builder.CreateString(value)
    if isinstance(kind, list):
        offsets = [_write(builder, kind[0], element) for element in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):  # a flatbuffer grows towards its front
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()
    # What a table refers to is written before the table.
    fields = {}  # slot -> type, what stands there
    for slot, field in enumerate(_TABLES[kind]):
        name, field_kind = field or (None, None)
        if isinstance(field_kind, int):
            fields[slot] = "byte", field_kind
        elif name in value:
            written = value[name]
            if field_kind != "byte":
                written = _write(builder, field_kind, written)
            fields[slot] = field_kind, written
    builder.StartObject(len(_TABLES[kind]))
    for slot, (field_kind, written) in fields.items():
        if field_kind == "byte":
            builder.PrependUint8Slot(slot, written, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, written, 0)
    return builder.EndObject()


def _read(table, kind):
    value = {}
    for slot, field in enumerate(_TABLES[kind]):
        offset = table.Offset(_FIRST_SLOT + 2 * slot)
        if field is None or not offset:
            continue
        name, field_kind = field
        place = table.Pos + offset
        if field_kind == "byte":
            value[name] = table.Get(number_types.Uint8Flags, place)
        elif isinstance(field_kind, int):
            if table.Get(number_types.Uint8Flags, place) != field_kind:
                return {}
        elif isinstance(field_kind, list):
            start, length = table.Vector(offset), table.VectorLen(offset)
            if start + 4 * length > len(table.Bytes):
                raise IndexError(f"{name} has {length} elements, more than there is room for")
            places = [start + 4 * i for i in range(length)]
            value[name] = [_read_at(table, place, field_kind[0]) for place in places]
        else:
            value[name] = _read_at(table, place, field_kind)
    return value


def _read_at(table, place, kind):
    """Reads what the offset that stands at `place` leads to."""
    if kind == "string":
        return table.String(place).decode("utf-8", "replace")
    return _read(Table(table.Bytes, table.Indirect(place)), kind)
