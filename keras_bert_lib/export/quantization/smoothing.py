"""Scales that spread the error of quantization evenly.

A few channels of a BERT's activations are many times as large as the others, and codes that reach
as far have few steps left for the rest. x W' = (x / s) (s W)': inputs are divided by s, channel by
channel, and the weights, which are even, take it on. A MUL before the product does it; it has to
be put in after conversion, for the converter would fold it away again. Likewise the outputs of a
product are computed divided by t and multiplied by it afterwards.

References:
    - [Xiao et al., 2022](https://arxiv.org/abs/2211.10438)
"""

import numpy as np

from keras_bert_lib.export.quantization.integers import (
    range_of,
    rounded,
    rounded_weights,
    symmetric_rows,
)

# A MUL that takes away less of a product's error is not worth its time.
_WORTH = 0.8


def input_divisor(weights, seen, strength, rounded_inputs):
    """Returns what to divide the inputs of a product by, or None where it would hardly help.

    Args:
        weights: float32 `[out, in]`.
        seen: `Statistics` of the product.
        strength: float from 0, which evens out the weights, to 1, which evens out the inputs.
        rounded_inputs: function of `Statistics` that returns their rows as integers hold them.

    Returns:
        float32 `[in]` or None.
    """
    largest = np.maximum(np.maximum(-seen.input_low, seen.input_high), 1e-6)
    divisor = largest**strength / np.maximum(np.abs(weights).max(axis=0), 1e-6) ** (1 - strength)
    divisor = (divisor / np.exp(np.log(divisor).mean())).astype(np.float32)
    outputs = seen.rows @ weights.T

    def error(weights, seen):
        return np.square(rounded_inputs(seen) @ rounded_weights(weights).T - outputs).sum()

    smooth, plain = error(weights * divisor, seen.divided(divisor)), error(weights, seen)
    return divisor if smooth < _WORTH * plain else None


def output_factor(weights, seen, x_scale):
    """Returns what to compute the outputs of a product divided by, or None.

    Args:
        weights: float32 `[out, in]`.
        seen: `Statistics` of the product.
        x_scale: float, one step of the 8-bit codes of the inputs.

    Returns:
        float32 `[out]`, what the outputs of 8 bits are to be multiplied by; or None where that
        would hardly help.
    """
    outputs = seen.rows @ weights.T
    _, scale = symmetric_rows(weights)
    # No finer than what one step of the inputs and of the weights makes.
    factor = np.maximum(np.maximum(-seen.output_low, seen.output_high), x_scale * scale)
    inputs = rounded(seen.rows, *range_of(seen.input_low, seen.input_high, 8), 8)
    before = np.square(inputs @ rounded_weights(weights).T - outputs).mean()

    # Rounding to steps of d adds an error of d^2 / 12 in the mean.
    def rounding(low, high, factor):
        step, _ = range_of(low / factor, high / factor, 8)
        return np.square(step * factor).mean() / 12

    plain = before + rounding(seen.output_low, seen.output_high, np.ones_like(factor))
    smooth = before + rounding(seen.output_low, seen.output_high, factor)
    return factor.astype(np.float32) if smooth < _WORTH * plain else None
