"""Weights of 4 bits, rounded one by one so that each makes up for the errors of those before it."""

import numpy as np
from ml_dtypes import bfloat16

from keras_bert_lib.export.quantization.integers import rounded_rows

LOWEST, HIGHEST = -8, 7  # codes of 4 bits
# Factors on the scale that would just hold the greatest weight of a block. A smaller one cuts off
# the greatest weights, and rounds all others more finely.
_SCALE_FACTORS = np.linspace(0.45, 1.05, 25)
_RIDGE = 0.1  # of the refit, relative to the mean square of an input
_DAMPING = 0.01  # of the rounding, likewise
_PASSES = 2  # over all columns, after the first rounding
_COLUMNS = 128  # rounded before their errors reach the columns after them
_ROWS = 2048  # of inputs that are multiplied at once
_LEAST_SCALE = bfloat16(2**-14)  # of a block: the least that float16 holds to all its digits
_GRID_VALUES = 1 << 24  # weights times factors, tried at once


class InputStatistics:
    """What rounding the weights of a matrix product has to know of its inputs.

    There are two streams of them: the exact one, of a float model, and the rounded one, which
    reaches the same place through all that has been quantized before it, in 8 bits as the runtime
    will quantize it.

    A text of four tokens counts half as much as one of sixteen, not a quarter: each text has one
    answer, but its tokens also stand for those of texts to come.

    Args:
        size: int, values of an input.

    Attributes:
        rows: int, number of inputs seen.
    """

    def __init__(self, size):
        self.rows = 0
        self._weight = 0.0  # of all rows together
        self._second_moment = np.zeros([size, size])  # of the rounded stream
        self._cross_moment = np.zeros([size, size])  # of exact - rounded, and rounded
        self._exact_sum = np.zeros(size)
        self._rounded_sum = np.zeros(size)
        self._waiting, self._waiting_rows = [], 0

    def add(self, exact, rounded):
        """Takes in the inputs `[rows, size]` of one text in both streams, float32 both."""
        weights = np.full([len(exact), 1], max(len(exact), 1) ** -0.5, np.float32)
        self._waiting.append((exact, rounded, weights))
        self._waiting_rows += len(exact)
        self.rows += len(exact)
        if self._waiting_rows >= _ROWS:
            self._take_in()

    def _take_in(self):
        if not self._waiting:
            return
        exact, rounded, weights = (np.concatenate(x) for x in zip(*self._waiting))
        self._waiting, self._waiting_rows = [], 0
        rounded = rounded_rows(rounded)
        self._weight += weights.sum(dtype=np.float64)
        self._exact_sum += (weights * exact).sum(axis=0, dtype=np.float64)
        self._rounded_sum += (weights * rounded).sum(axis=0, dtype=np.float64)
        exact, rounded = np.sqrt(weights) * exact, np.sqrt(weights) * rounded
        self._second_moment += rounded.T @ rounded
        self._cross_moment += (exact - rounded).T @ rounded

    def second_moment(self):
        """Returns the weighted mean of `x x^T` of rounded inputs, float64 `[size, size]`."""
        self._take_in()
        return self._second_moment / self._weight

    def cross_moment(self):
        """Returns that of `(exact - rounded) rounded^T`, float64 `[size, size]`."""
        self._take_in()
        return self._cross_moment / self._weight

    def bias_shift(self, weights, rounded_weights):
        """Returns what to add to the bias so that no output is off on average, float32 `[out]`."""
        self._take_in()
        shift = weights @ self._exact_sum - rounded_weights @ self._rounded_sum
        return (shift / self._weight).astype(np.float32)


def quantize_matrix(weights, statistics, block_size):
    """Rounds weights to 4 bits.

    Args:
        weights: float32 `[outputs, inputs]`.
        statistics: `InputStatistics`.
        block_size: int, number of weights in a row that share a scale; a divisor of `inputs`.

    Returns:
        int8 codes `[outputs, inputs]`, float32 scales `[outputs, inputs / block_size]`, and what to
        add to the bias, float32 `[outputs]`.
    """
    hessian = statistics.second_moment()
    target = refit(weights, hessian, statistics.cross_moment())
    hessian[np.diag_indices(len(hessian))] += _DAMPING * np.mean(np.diag(hessian))
    # What an error costs that the other weights of the row have made up for as well as they can.
    importance = 1 / np.diag(np.linalg.inv(hessian))
    scales = best_scales(target, block_size, importance)
    codes = round_columns(target, scales, hessian)
    codes = improve_codes(codes, target, scales, hessian)
    return codes, scales, statistics.bias_shift(weights, dequantize(codes, scales))


def refit(weights, second_moment, cross_moment):
    """Returns weights, float64, that give of rounded inputs what `weights` give of exact ones.

    The solution of least squares, drawn to `weights`: their answer to errors of inputs is part of
    the model too, which calibration sees too little of.
    """
    ridge = _RIDGE * np.mean(np.diag(second_moment)) * np.eye(len(second_moment))
    change = np.linalg.solve(second_moment + ridge, (weights @ cross_moment).T).T
    return weights + change


def best_scales(weights, block_size, importance=None):
    """Finds the scale of each block of weights that rounding to 4 bits changes least.

    Args:
        weights: float `[rows, columns]`.
        block_size: int, number of weights in a row that share a scale; a divisor of `columns`.
        importance: float `[columns]`, weights of the squares of errors, or None for all the same.

    Returns:
        float32 `[rows, columns / block_size]`. These of blocks fit bfloat16, because that is what
        XNNPACK rounds the scales of blocks to, and not on all machines in the same way.
    """
    rows, columns = weights.shape
    blocks = columns // block_size
    if importance is None:
        importance = np.ones(columns)
    importance = importance.reshape(1, blocks, block_size).astype(np.float32)
    scales = np.empty([rows, blocks], np.float32)
    step = max(1, _GRID_VALUES // (columns * len(_SCALE_FACTORS)))
    for start in range(0, rows, step):
        part = weights[start : start + step].reshape(-1, blocks, block_size).astype(np.float32)
        widest = np.abs(part).max(axis=2) / np.float32(HIGHEST)  # [r, blocks]
        widest[widest == 0] = 1
        least = np.full(widest.shape, np.inf, np.float32)
        best = scales[start : start + step]
        for factor in _SCALE_FACTORS:
            scale = widest * np.float32(factor)
            if blocks > 1:
                scale = np.maximum(scale.astype(bfloat16), _LEAST_SCALE).astype(np.float32)
            scale = scale[:, :, np.newaxis]
            error = np.clip(np.rint(part / scale), LOWEST, HIGHEST) * scale - part
            error = (error * error * importance).sum(axis=2)
            np.copyto(best, scale[:, :, 0], where=error < least)
            np.minimum(least, error, out=least)
    return scales


def round_columns(weights, scales, hessian):
    """Rounds weights to codes of 4 bits, each so as to make up for the errors before it.

    What counts is the error of outputs, `e H e^T` for the errors `e` of a row's weights and the
    second moment `H` of inputs. With `H = U D U^T`, `U` upper triangular with a diagonal of ones,
    that is a sum of squares, each of an error plus what the ones before it bring in; rounding in
    order makes each square small. Inputs of much energy come first, for what is left of errors
    stays with the last.

    Args:
        weights: float `[outputs, inputs]`.
        scales: float32 `[outputs, blocks]`.
        hessian: float64 `[inputs, inputs]`, positive definite.

    Returns:
        int8 `[outputs, inputs]`.

    References:
        - [Frantar et al., 2022](https://arxiv.org/abs/2210.17323): GPTQ
        - [Chee et al., 2023](https://arxiv.org/abs/2307.13304): the form without an inverse
    """
    inputs = weights.shape[1]
    order = np.argsort(-np.diag(hessian), kind="stable")
    # The Cholesky factor of the reversed matrix, reversed, is upper triangular.
    backwards = order[::-1]
    u = np.linalg.cholesky(hessian[np.ix_(backwards, backwards)])[::-1, ::-1]
    u = u / np.diag(u)
    weights = weights[:, order].astype(np.float64)
    scales = _of_columns(scales, inputs)[:, order]
    rounded = np.empty_like(weights)
    errors = np.zeros_like(weights)
    for start in range(0, inputs, _COLUMNS):
        end = min(start + _COLUMNS, inputs)
        wanted = weights[:, start:end] + errors[:, :start] @ u[:start, start:end]
        for i in range(start, end):
            codes = np.rint(wanted[:, i - start] / scales[:, i])
            rounded[:, i] = np.clip(codes, LOWEST, HIGHEST)
            errors[:, i] = weights[:, i] - rounded[:, i] * scales[:, i]
            wanted[:, i + 1 - start :] += np.outer(errors[:, i], u[i, i + 1 : end])
    codes = np.empty(weights.shape, np.int8)
    codes[:, order] = rounded
    return codes


def improve_codes(codes, weights, scales, hessian):
    """Moves codes, one column after another, to what is best while all others stay.

    Args:
        codes: int8 `[outputs, inputs]`.
        weights: float `[outputs, inputs]`.
        scales: float32 `[outputs, blocks]`.
        hessian: float64 `[inputs, inputs]`.

    Returns:
        int8 `[outputs, inputs]`, of which no row has a greater error than before.
    """
    inputs = weights.shape[1]
    codes = codes.astype(np.float64)
    scales = _of_columns(scales, inputs)
    for _ in range(_PASSES):
        errors = weights - codes * scales
        for start in range(0, inputs, _COLUMNS):
            end = min(start + _COLUMNS, inputs)
            slopes = errors @ hessian[:, start:end]
            for i in range(start, end):
                step = slopes[:, i - start] / (hessian[i, i] * scales[:, i])
                new = np.clip(np.rint(codes[:, i] + step), LOWEST, HIGHEST)
                change = (codes[:, i] - new) * scales[:, i]
                codes[:, i] = new
                errors[:, i] += change
                slopes[:, i + 1 - start :] += np.outer(change, hessian[i, i + 1 : end])
    return codes.astype(np.int8)


def round_to_nearest(weights, scales):
    """Returns int8 codes `[rows, columns]` of 4 bits, each the nearest."""
    scales = _of_columns(scales, weights.shape[1])
    return np.clip(np.rint(weights / scales), LOWEST, HIGHEST).astype(np.int8)


def dequantize(codes, scales):
    """Returns the float32 weights `[rows, columns]` that codes and scales stand for."""
    return codes * _of_columns(scales, codes.shape[1])


def pack(codes):
    """Returns codes of 4 bits as bytes, uint8: two a byte, the first in the low bits."""
    nibbles = (codes.reshape(-1) & 15).astype(np.uint8)
    if len(nibbles) % 2:
        nibbles = np.append(nibbles, np.uint8(0))
    return nibbles[0::2] | (nibbles[1::2] << 4)


def _of_columns(scales, columns):
    """Returns the scale of each weight `[rows, columns]`."""
    return np.repeat(scales, columns // scales.shape[1], axis=1)
