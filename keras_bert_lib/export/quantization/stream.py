"""Runs a TFLite graph over many samples, piece by piece."""

import copy
import os

import numpy as np

from keras_bert_lib.export.quantization import flatbuffer
from keras_bert_lib.export.quantization.interpreter import make_interpreter

_MOST_THREADS = 4  # more do not make the small products of single texts faster


class Stream:
    """What a graph computes from samples, up to where it has been run.

    Each piece becomes a file of its own, so operators further on may change in between, and the
    whole costs one pass over the samples. Of each sample only those tensors are held that are
    needed further on.

    Args:
        model: `ModelT`.
        graph: `SubGraphT` of it.
        samples: list of dict of tensor index to array, the graph's inputs.
    """

    def __init__(self, model, graph, samples):
        self._model = model
        self._graph = graph
        self._values = list(samples)
        self._start = None  # the operator that runs next; None: the first

    def inputs_of(self, operator, keep=True):
        """Yields the first input of an operator for each sample, having run all before it.

        Args:
            operator: `OperatorT`, not before the one of the last call.
            keep: bool, whether the stream moves on to the operator. If not, nothing is held of
                this piece, and the next call runs it again.
        """
        start = 0 if self._start is None else self._index(self._start)
        piece = _Piece(self._model, self._graph, start, self._index(operator))
        wanted = int(operator.inputs[0])
        for i, values in enumerate(self._values):
            after = piece(values)
            yield after[wanted]
            if keep:
                self._values[i] = after
        if keep:
            self._start = operator

    def _index(self, operator):
        [i] = [i for i, op in enumerate(self._graph.operators) if op is operator]
        return i


class _Piece:
    """The operators `start` to `end` of a graph, run by a TFLite interpreter.

    A call takes the values of tensors at `start`, a dict by index, and returns those at `end`.
    """

    def __init__(self, model, graph, start, end):
        operators = graph.operators[start:end]
        made = {int(i) for op in operators for i in op.outputs}
        read = {i for op in operators for i in _inputs(op)}
        self._needed = {i for op in graph.operators[end:] for i in _inputs(op)}
        self._needed |= {int(i) for i in graph.outputs}
        constants = {i for i in read if _is_constant(model, graph.tensors[i])}
        self._inputs = sorted(read - made - constants)
        self._outputs = sorted(made & self._needed)
        # Copies of all that `flatbuffer.write` changes.
        graph = copy.copy(graph)
        graph.operators = [copy.copy(op) for op in operators]
        graph.tensors = copy.deepcopy(graph.tensors)
        graph.inputs = np.array(self._inputs, np.int32)
        graph.outputs = np.array(self._outputs, np.int32)
        model = copy.copy(model)
        model.subgraphs = [graph]
        model.signatureDefs = model.metadata = model.metadataBuffer = None
        model.buffers = list(model.buffers)
        threads = min(os.cpu_count() or 1, _MOST_THREADS)
        self._interpreter = make_interpreter(flatbuffer.write(model), threads)
        self._places = [x["index"] for x in self._interpreter.get_input_details()]
        self._results = [x["index"] for x in self._interpreter.get_output_details()]
        self._shapes = None

    def __call__(self, values):
        shapes = [values[i].shape for i in self._inputs]
        if shapes != self._shapes:
            for place, shape in zip(self._places, shapes):
                self._interpreter.resize_tensor_input(place, shape)
            self._interpreter.allocate_tensors()
            self._shapes = shapes
        for i, place in zip(self._inputs, self._places):
            self._interpreter.set_tensor(place, values[i])
        self._interpreter.invoke()
        after = {i: value for i, value in values.items() if i in self._needed}
        for i, result in zip(self._outputs, self._results):
            after[i] = self._interpreter.get_tensor(result)
        return after


def _inputs(operator):
    return [int(i) for i in operator.inputs if i >= 0] if operator.inputs is not None else []


def _is_constant(model, tensor):
    return model.buffers[tensor.buffer].data is not None
