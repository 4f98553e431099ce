"""Weights of 8 bits, and activations quantized as they come."""

from keras_bert_lib.export.quantization import flatbuffer
from keras_bert_lib.export.quantization.integers import rounded_rows, symmetric_rows
from keras_bert_lib.export.quantization.smoothing import input_divisor

_STRENGTH = 0.5


def quantize_dynamic(model, layers, statistics, divisors=None):
    """Makes matrix products of floats and 8-bit weights, with a scale for each output channel.

    Args:
        model: `ModelT`.
        layers: those of `flatbuffer.dense_layers` to quantize.
        statistics: dict of weight buffer to `Statistics`; the inputs of those that are in it are
            smoothed where that helps.
        divisors: dict of weight buffer to float32 `[in]`, what the inputs of these products are to
            be divided by in any case: embedding tables that are weights, too, are there already,
            and are to be there once.
    """
    divisors = divisors or {}
    for buffer, uses in layers.items():
        graph, op = uses[0]
        weights = flatbuffer.constant(model, graph.tensors[op.inputs[1]])
        divisor = divisors.get(buffer)
        if buffer in statistics and divisor is None:
            divisor = input_divisor(weights, statistics[buffer], _STRENGTH, _rounded_inputs)
        if divisor is not None:
            weights = weights * divisor
        codes, scale = symmetric_rows(weights)
        for graph, op in uses:
            if divisor is not None:
                flatbuffer.multiply_input(model, graph, op, 1 / divisor)
            name = graph.tensors[op.inputs[1]].name.decode()
            quantization = flatbuffer.per_channel(scale)
            op.inputs[1] = flatbuffer.add_constant(model, graph, name, codes, quantization)
            flatbuffer.set_version(model, op, flatbuffer.PER_CHANNEL_VERSION)


def _rounded_inputs(seen):
    return rounded_rows(seen.rows)
