"""Embedding tables of 8 bits, in place of the float32 ones that no converter quantizes.

GATHER has no kernel that takes a table of 8 bits and gives floats; EMBEDDING_LOOKUP has, with a
scale for each row. It takes a vector of row numbers, so ids of more dimensions are laid out flat.
"""

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_lib.export.quantization import flatbuffer
from keras_bert_lib.export.quantization.integers import symmetric_rows

_FEWEST_ROWS = 16  # of a table that is worth it; those of segments have two
_LOOKUP_VERSION = 4  # with a scale for each row


def embedding_tables(model):
    """Returns the buffers of the tables that `quantize_embeddings` quantizes, a set of int."""
    return {graph.tensors[op.inputs[0]].buffer for graph, op in embedding_lookups(model)}


def add_int8_table(model, graph, name, table):
    """Adds a table as 8-bit codes with a scale for each row; returns the index of its tensor."""
    codes, scale = symmetric_rows(table)
    return flatbuffer.add_constant(model, graph, name, codes, flatbuffer.per_channel(scale))


def quantize_embeddings(model, add_table=add_int8_table):
    """Quantizes every table that rows are taken from.

    Rows are taken by GATHER, or, as those of the first positions, by STRIDED_SLICE. Tables of the
    latter get 8 bits always.

    Args:
        model: `ModelT`.
        add_table: function like `add_int8_table`, for tables that GATHER reads.
    """
    for graph, op in embedding_lookups(model):
        if flatbuffer.builtin(model, op) == schema.BuiltinOperator.GATHER:
            _replace_gather(model, graph, op, add_table)
        else:
            _replace_slice(model, graph, op)


def embedding_lookups(model):
    """Returns a list of (`SubGraphT`, `OperatorT`): what takes rows of a table of floats."""
    found = []
    for graph in model.subgraphs:
        for op in graph.operators:
            code = flatbuffer.builtin(model, op)
            options = op.builtinOptions
            if code == schema.BuiltinOperator.GATHER:
                # Ids of which two dimensions are unknown cannot be laid out flat and back.
                ids = flatbuffer.shape_of(graph.tensors[op.inputs[1]])
                fits = options.axis == 0 and options.batchDims == 0 and ids.count(-1) < 2
            elif code == schema.BuiltinOperator.STRIDED_SLICE:
                rows_only = flatbuffer.shape_of(graph.tensors[op.inputs[1]]) == [1]
                masks = options.shrinkAxisMask | options.newAxisMask | options.ellipsisMask
                fits = rows_only and not masks
            else:
                continue
            tensor = graph.tensors[op.inputs[0]]
            shape = flatbuffer.shape_of(tensor)
            is_table = tensor.type == schema.TensorType.FLOAT32 and len(shape) == 2
            is_table = is_table and shape[0] >= _FEWEST_ROWS
            if fits and is_table and flatbuffer.constant(model, tensor) is not None:
                found.append((graph, op))
    return found


def _replace_gather(model, graph, op, add_table):
    width = flatbuffer.shape_of(graph.tensors[op.inputs[0]])[1]
    ids, rows = op.inputs[1], op.outputs[0]
    shape = flatbuffer.shape_of(graph.tensors[ids])
    before, after = [], []
    if len(shape) != 1:
        size = -1 if -1 in shape else int(np.prod(shape))
        flat = flatbuffer.add_tensor(graph, "ids", [size], "int32")
        rows = flatbuffer.add_tensor(graph, "rows", [size, width])
        before = [flatbuffer.reshape(model, graph, ids, flat, [size])]
        after = [flatbuffer.reshape(model, graph, rows, op.outputs[0], [*shape, width])]
        ids = flat
    lookup = _lookup(model, graph, op, ids, rows, add_table)
    flatbuffer.replace(graph, op, [*before, lookup, *after])


def _replace_slice(model, graph, op):
    # The same slice, of the numbers of the rows.
    length = flatbuffer.shape_of(graph.tensors[op.inputs[0]])[0]
    numbers = np.arange(length, dtype=np.int32)
    source = flatbuffer.add_constant(model, graph, "positions", numbers)
    size = flatbuffer.shape_of(graph.tensors[op.outputs[0]])[0]
    ids = flatbuffer.add_tensor(graph, "ids", [size], "int32")
    inputs = [source, *op.inputs[1:]]
    version = model.operatorCodes[op.opcodeIndex].version
    code = schema.BuiltinOperator.STRIDED_SLICE
    take = flatbuffer.operator(model, code, inputs, [ids], op.builtinOptions, version)
    lookup = _lookup(model, graph, op, ids, op.outputs[0], add_int8_table)
    flatbuffer.replace(graph, op, [take, lookup])


def _lookup(model, graph, op, ids, rows, add_table):
    tensor = graph.tensors[op.inputs[0]]
    table = flatbuffer.constant(model, tensor)
    inputs = [ids, add_table(model, graph, tensor.name.decode(), table)]
    code = schema.BuiltinOperator.EMBEDDING_LOOKUP
    return flatbuffer.operator(model, code, inputs, [rows], version=_LOOKUP_VERSION)
