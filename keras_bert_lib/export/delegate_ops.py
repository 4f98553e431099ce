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

    Ids are looked up as they are: that a negative one counts from the end, which Keras adds three
    operators of integers for, means nothing here. And both operands of an operator have as many
    dimensions: a GPU lays tensors out in four, and takes `[s, h]` for another layout than
    `[1, s, h]`; the converter leaves such reshapes out, as CPUs need none.
    """
    model = flatbuffer.read(content)
    for graph in model.subgraphs:
        makers = {int(i): op for op in graph.operators for i in op.outputs}
        led = {}  # tensor, number of dimensions -> the tensor that has them
        for op in list(graph.operators):
            code = flatbuffer.builtin(model, op)
            if code == _OPS.GATHER:
                op.inputs[1] = _plain_ids(model, graph, makers, op.inputs[1])
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
