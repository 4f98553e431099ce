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
_STRENGTH = 0.75  # 0 leaves columns as they are, 1 makes their largest values equal


def embedding_tables(model):
    """Returns the buffers of the tables that `quantize_embeddings` quantizes, a set of int."""
    return {graph.tensors[op.inputs[0]].buffer for graph, op in embedding_lookups(model)}


def add_int8_table(model, graph, name, table):
    """Adds a table as 8-bit codes with a scale for each row; returns the index of its tensor."""
    codes, scale = symmetric_rows(table)
    return flatbuffer.add_constant(model, graph, name, codes, flatbuffer.per_channel(scale))


def quantize_embeddings(model, add_table=None):
    """Quantizes every table that rows are taken from.

    Rows are taken by GATHER, or, as those of the first positions, by STRIDED_SLICE. Tables get 8
    bits. Their columns are divided by factors first, so that a few large columns do not make the
    steps of all others coarse; the rows that are taken are multiplied by them again.

    Args:
        model: `ModelT`.
        add_table: None, or a function like `add_int8_table` for the tables that GATHER reads,
            whose columns are then left as they are.

    Returns:
        Dict of buffer, a table's, to the float32 `[width]` by which its columns were multiplied.
    """
    multiplied = {}
    for graph, op in embedding_lookups(model):
        tensor = graph.tensors[op.inputs[0]]
        name, table = tensor.name.decode(), flatbuffer.constant(model, tensor)
        rows = y = op.outputs[0]
        after = []
        gathers = flatbuffer.builtin(model, op) == schema.BuiltinOperator.GATHER
        if gathers and add_table is not None:
            codes = add_table(model, graph, name, table)
        else:
            largest = np.maximum(np.abs(table).max(axis=0), 1e-6) ** _STRENGTH
            factor = (np.exp(np.log(largest).mean()) / largest).astype(np.float32)
            codes = add_int8_table(model, graph, name, table * factor)
            multiplied[tensor.buffer] = factor
            rows = flatbuffer.like(graph, y, np.float32)
            after = [flatbuffer.multiply(model, graph, rows, 1 / factor, y)]
        replacement = _gather if gathers else _slice
        lookup = replacement(model, graph, op, codes, rows)
        flatbuffer.replace(graph, op, [*lookup, *after])
    return multiplied


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


def _gather(model, graph, op, table, rows):
    """Returns the operators that take the rows of `table` that `op`, a GATHER, takes of its own."""
    ids = op.inputs[1]
    shape = flatbuffer.shape_of(graph.tensors[ids])
    if len(shape) == 1:
        return [_lookup(model, ids, table, rows)]
    width = flatbuffer.shape_of(graph.tensors[op.inputs[0]])[1]
    size = -1 if -1 in shape else int(np.prod(shape))
    flat_ids = flatbuffer.add_tensor(graph, "ids", [size], np.int32)
    flat_rows = flatbuffer.add_tensor(graph, "rows", [size, width])
    return [
        flatbuffer.reshape(model, graph, ids, flat_ids, [size]),
        _lookup(model, flat_ids, table, flat_rows),
        flatbuffer.reshape(model, graph, flat_rows, rows, [*shape, width]),
    ]


def _slice(model, graph, op, table, rows):
    """Returns the same for a STRIDED_SLICE: it slices the numbers of the rows instead."""
    length = flatbuffer.shape_of(graph.tensors[op.inputs[0]])[0]
    size = flatbuffer.shape_of(graph.tensors[rows])[0]
    numbers = np.arange(length, dtype=np.int32)
    source = flatbuffer.add_constant(model, graph, "positions", numbers)
    ids = flatbuffer.add_tensor(graph, "ids", [size], np.int32)
    inputs = [source, *op.inputs[1:]]
    version = model.operatorCodes[op.opcodeIndex].version
    code = schema.BuiltinOperator.STRIDED_SLICE
    take = flatbuffer.operator(model, code, inputs, [ids], op.builtinOptions, version)
    return [take, _lookup(model, ids, table, rows)]


def _lookup(model, ids, table, rows):
    code = schema.BuiltinOperator.EMBEDDING_LOOKUP
    return flatbuffer.operator(model, code, [ids, table], [rows], version=_LOOKUP_VERSION)
