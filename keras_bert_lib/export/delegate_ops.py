"""Forms of operators that GPU and NPU delegates take, where the converter writes others.

A delegate gets the operators it knows; what it does not know stays on the CPU, and each change from
one to the other costs a copy.
"""

import copy

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_lib.export.quantization import flatbuffer

_OPS = schema.BuiltinOperator


def for_delegates(content):
    """Returns a float32 file of token ids whose operators delegates take; its answers are the same.

    - Rows are taken for a vector of ids, as they are: that a negative one counts from the end,
      which Keras adds three operators of integers for, means nothing here.
    - Slices drop no dimension; a reshape does.
    - Both operands of an operator have as many dimensions: a GPU lays tensors out in four, and
      takes `[s, h]` for another layout than `[1, s, h]`. The converter leaves such reshapes out, as
      CPUs need none.
    """
    model = flatbuffer.read(content)
    for graph in model.subgraphs:
        makers = {int(i): op for op in graph.operators for i in op.outputs}
        led = {}  # tensor, number of dimensions -> the tensor that has them
        for op in list(graph.operators):
            code = flatbuffer.builtin(model, op)
            if code == _OPS.GATHER:
                _take_rows(model, graph, op, _plain_ids(model, graph, makers, op.inputs[1]))
            elif code == _OPS.STRIDED_SLICE:
                _keep_dimensions(model, graph, op)
            elif code in (_OPS.ADD, _OPS.SUB, _OPS.MUL):
                _lead_operands(model, graph, op, led)
        _drop_unused_operators(graph)
    return flatbuffer.write(model)


def _plain_ids(model, graph, makers, ids):
    """Returns what `select(ids < 0, ids + n, ids)` selects from, or `ids` if they are no such."""
    select = makers.get(int(ids))
    if select is None or flatbuffer.builtin(model, select) not in (_OPS.SELECT, _OPS.SELECT_V2):
        return ids
    less, add = (makers.get(int(i)) for i in select.inputs[:2])
    plain = select.inputs[2]
    found = [None if op is None else flatbuffer.builtin(model, op) for op in (less, add)]
    if found != [_OPS.LESS, _OPS.ADD] or plain not in less.inputs or plain not in add.inputs:
        return ids
    return plain


def _take_rows(model, graph, op, ids):
    """Makes a GATHER take its rows for ids that are a vector."""
    shape = flatbuffer.shape_of(graph.tensors[ids])
    rows = flatbuffer.shape_of(graph.tensors[op.outputs[0]])
    vector = flatbuffer.add_tensor(graph, "ids", [int(np.prod(shape))], "int32")
    taken = flatbuffer.add_tensor(graph, "rows", [int(np.prod(shape)), *rows[len(shape) :]])
    before = flatbuffer.reshape(model, graph, ids, vector, [-1])
    after = flatbuffer.reshape(model, graph, taken, op.outputs[0], rows)
    op.inputs[1], op.outputs[0] = vector, taken
    flatbuffer.replace(graph, op, [before, op, after])


def _keep_dimensions(model, graph, op):
    """Makes a STRIDED_SLICE of floats keep the dimensions it drops, and a RESHAPE drop them."""
    options, sliced = op.builtinOptions, graph.tensors[op.inputs[0]]
    begins, ends = (flatbuffer.constant(model, graph.tensors[i]) for i in op.inputs[1:3])
    axes = [i for i in range(len(begins)) if options.shrinkAxisMask >> i & 1]
    if not axes or options.newAxisMask or sliced.type != schema.TensorType.FLOAT32:
        return
    if any(ends[i] != begins[i] + 1 for i in axes):
        return
    shape = flatbuffer.shape_of(graph.tensors[op.outputs[0]])
    kept = list(shape)
    for axis in axes:
        kept.insert(axis, 1)
    options.shrinkAxisMask = 0
    slices = flatbuffer.add_tensor(graph, "slice", kept)
    after = flatbuffer.reshape(model, graph, slices, op.outputs[0], shape)
    op.outputs[0] = slices
    flatbuffer.replace(graph, op, [op, after])


def _lead_operands(model, graph, op, led):
    """Gives an operand of two or more dimensions, but fewer than the other's, leading 1s."""
    rank = max(len(flatbuffer.shape_of(graph.tensors[i])) for i in op.inputs)
    for place, i in enumerate(op.inputs):
        tensor = graph.tensors[i]
        shape = flatbuffer.shape_of(tensor)
        if not 2 <= len(shape) < rank:
            continue
        if (int(i), rank) not in led:
            wanted = [1] * (rank - len(shape)) + shape
            if flatbuffer.constant(model, tensor) is not None:
                constant = copy.copy(tensor)
                constant.shape = np.array(wanted, np.int32)
                graph.tensors.append(constant)
                led[int(i), rank] = len(graph.tensors) - 1
            else:
                result = flatbuffer.add_tensor(graph, "led", wanted)
                reshape = flatbuffer.reshape(model, graph, i, result, wanted)
                flatbuffer.replace(graph, op, [reshape, op])
                led[int(i), rank] = result
        op.inputs[place] = led[int(i), rank]


def _drop_unused_operators(graph):
    used = {int(i) for i in graph.outputs}
    kept = []
    for op in reversed(graph.operators):
        if used & {int(i) for i in op.outputs}:
            kept.append(op)
            used |= {int(i) for i in op.inputs}
    graph.operators = kept[::-1]
