"""Numbers of 8 and 16 bits."""

import numpy as np


def symmetric_rows(weights, least=0.0):
    """Rounds each row to whole multiples, -127 to 127, of a scale of its own.

    Args:
        weights: float array `[rows, columns]`.
        least: float or array `[rows]`, what scales may not be smaller than.

    Returns:
        int8 codes `[rows, columns]` and float32 scales `[rows]`: a row is its codes times its
        scale.
    """
    scale = np.maximum(np.abs(weights).max(axis=1) / np.float32(127), least).astype(np.float32)
    scale[scale == 0] = 1
    codes = np.rint(weights / scale[:, np.newaxis])
    return np.clip(codes, -127, 127).astype(np.int8), scale


def rounded_weights(weights):
    """Returns what `symmetric_rows` makes of weights `[rows, columns]`, as floats."""
    codes, scale = symmetric_rows(weights)
    return codes * scale[:, np.newaxis]


def rounded_rows(x):
    """Returns `x` `[n, in]` as matrix products see it that quantize each row as it comes."""
    low = np.minimum(x.min(axis=1, keepdims=True), 0)
    high = np.maximum(x.max(axis=1, keepdims=True), 0)
    scale = np.maximum((high - low) / 255, np.finfo(np.float32).tiny)
    return np.rint(x / scale) * scale


def range_of(low, high, bits):
    """Returns the scale and the zero point of codes for all values from `low` to `high`.

    Args:
        low: float or array.
        high: float or array.
        bits: int, 8, or 16, whose zero point is 0.

    Returns:
        float32 and int.
    """
    low, high = min(np.min(low), 0.0), max(np.max(high), 0.0)
    if bits == 16:
        return np.float32(max(-low, high, 1e-6) / 32767), 0
    scale = np.float32(max(high - low, 1e-6) / 255)
    return scale, int(np.clip(np.rint(-128 - low / scale), -128, 127))


def rounded(x, scale, zero_point, bits):
    """Returns `x` rounded to the codes of a scale and a zero point, as floats."""
    most = 2 ** (bits - 1)
    return (np.clip(np.rint(x / scale) + zero_point, -most, most - 1) - zero_point) * scale
