"""Weights of 16-bit floats, which the runtime turns to 32 bits, or computes with, as it can."""

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_lib.export.quantization import flatbuffer

_FEWEST = 1024  # numbers of a constant that is worth it
_DEQUANTIZE_VERSION = 3  # takes float16
_MOST = np.finfo(np.float16).max


def quantize_float16(model):
    """Stores the large float32 constants as float16, each with a DEQUANTIZE behind it."""
    for graph in model.subgraphs:
        done = set()
        for op in list(graph.operators):
            before = []
            for i in dict.fromkeys(int(i) for i in op.inputs if i >= 0 and i not in done):
                tensor = graph.tensors[i]
                value = flatbuffer.constant(model, tensor)
                if value is None or value.dtype != np.float32 or value.size < _FEWEST:
                    continue
                half = np.clip(value, -_MOST, _MOST).astype(np.float16)
                name = f"{tensor.name.decode()} float16"
                x = flatbuffer.add_constant(model, graph, name, half)
                tensor.buffer = 0  # it is now computed
                code = schema.BuiltinOperator.DEQUANTIZE
                version = _DEQUANTIZE_VERSION
                before.append(flatbuffer.operator(model, code, [x], [i], version=version))
                done.add(i)
            flatbuffer.replace(graph, op, [*before, op])
