"""Matrix products of integers alone, whose ranges were measured on texts.

Only the products are of integers: they take nearly all of the time, and everything between them
(LayerNorm, softmax, GELU, residual sums) loses more by rounding than it gains. So each product
stands between QUANTIZE and DEQUANTIZE, which delegates take along.
"""

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_lib.export.quantization import flatbuffer
from keras_bert_lib.export.quantization.integers import range_of, rounded, symmetric_rows
from keras_bert_lib.export.quantization.smoothing import input_divisor, output_factor

# By bits of the activations: how much they are smoothed (16 bits leave room for making the weights
# even instead), the types of them and of the bias, versions of kernels.
_STRENGTH = {8: 0.65, 16: 0.25}
_DTYPE = {8: np.int8, 16: np.int16}
_BIAS_DTYPE = {8: np.int32, 16: np.int64}
_QUANTIZE_VERSION = {8: 1, 16: 2}
_DEQUANTIZE_VERSION = {8: 2, 16: 3}


def quantize_static(model, layers, statistics, bits):
    """Makes matrix products of 8-bit weights and of activations of 8 or 16 bits.

    Args:
        model: `ModelT`.
        layers: those of `flatbuffer.dense_layers` to quantize.
        statistics: dict of weight buffer to `Statistics`.
        bits: int, 8 or 16, of inputs and outputs.
    """
    for buffer, uses in layers.items():
        seen = statistics[buffer]
        graph, op = uses[0]
        weights = flatbuffer.constant(model, graph.tensors[op.inputs[1]])

        def rounded_inputs(seen):
            scale, zero_point = range_of(seen.input_low, seen.input_high, bits)
            return rounded(seen.rows, scale, zero_point, bits)

        divisor = input_divisor(weights, seen, _STRENGTH[bits], rounded_inputs)
        if divisor is not None:
            weights = weights * divisor
            seen = seen.divided(divisor)
        x_scale, x_zero = range_of(seen.input_low, seen.input_high, bits)
        factor = output_factor(weights, seen, x_scale) if bits == 8 else None
        low, high = seen.output_low, seen.output_high
        if factor is not None:
            weights = weights / factor[:, np.newaxis]
            low, high = low / factor, high / factor
        y_scale, y_zero = range_of(low, high, bits)
        for graph, op in uses:
            bias = flatbuffer.bias_of(model, graph, op, len(weights))
            if factor is not None:
                bias = bias / factor
            # Kernels multiply sums by x_scale * scale / y_scale, which must not be too small for
            # them, and biases are to fit their integers.
            least = np.maximum(np.abs(bias) / x_scale, y_scale / x_scale) * np.float32(2.0**-30)
            codes, scale = symmetric_rows(weights, least)
            bias = np.rint(bias / (np.float64(x_scale) * scale)).astype(_BIAS_DTYPE[bits])

            if divisor is not None:
                flatbuffer.multiply_input(model, graph, op, 1 / divisor)
            x, y = op.inputs[0], op.outputs[0]
            x_codes = _codes_like(graph, x, bits, x_scale, x_zero)
            y_codes = _codes_like(graph, y, bits, y_scale, y_zero)
            code, version = schema.BuiltinOperator.QUANTIZE, _QUANTIZE_VERSION[bits]
            before = [flatbuffer.operator(model, code, [x], [x_codes], version=version)]

            name = graph.tensors[op.inputs[1]].name.decode()
            w = flatbuffer.add_constant(model, graph, name, codes, flatbuffer.per_channel(scale))
            quantization = flatbuffer.per_channel(x_scale * scale)
            b = flatbuffer.add_constant(model, graph, f"{name} bias", bias, quantization)
            op.inputs, op.outputs = np.array([x_codes, w, b]), np.array([y_codes])
            flatbuffer.set_version(model, op, flatbuffer.PER_CHANNEL_VERSION)

            y_floats = y if factor is None else flatbuffer.like(graph, y, np.float32)
            code, version = schema.BuiltinOperator.DEQUANTIZE, _DEQUANTIZE_VERSION[bits]
            after = [flatbuffer.operator(model, code, [y_codes], [y_floats], version=version)]
            if factor is not None:
                after.append(flatbuffer.multiply(model, graph, y_floats, factor, y))
            flatbuffer.replace(graph, op, [*before, op, *after])


def _codes_like(graph, tensor, bits, scale, zero_point):
    quantization = flatbuffer.per_tensor(scale, zero_point)
    return flatbuffer.like(graph, tensor, _DTYPE[bits], quantization)
