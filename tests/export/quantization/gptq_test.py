import numpy as np
import pytest

from keras_bert_lib.export.quantization import gptq, integers
from tests.export.quantization.conftest import unpack


def correlated_inputs(rows, size, seed=0):
    """Inputs that share few directions, as activations do, some of much more energy than others."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=[size // 4, size]) * np.exp(rng.normal(size=size))
    hidden = rng.normal(size=[rows, size // 4])
    return (hidden @ mixing + 0.3 * rng.normal(size=[rows, size])).astype(np.float32)


def make_weights(outputs, inputs, seed=1):
    return np.random.default_rng(seed).normal(size=[outputs, inputs]).astype(np.float32) / 10


def statistics_of(exact, rounded):
    statistics = gptq.InputStatistics(exact.shape[1])
    for start in range(0, len(exact), 100):
        statistics.add(exact[start : start + 100], rounded[start : start + 100])
    return statistics


def hessian_of(x):
    return x.T.astype(np.float64) @ x / len(x)


def output_error(x, weights, codes, scales, bias=0.0):
    """Mean square of what quantization changes of the outputs."""
    return np.square(x @ (gptq.dequantize(codes, scales) - weights).T + bias).mean()


@pytest.mark.parametrize("block_size", [32, 64, 96, 192])
def test_rounding_columns_beats_rounding_to_nearest(block_size):
    x, weights = correlated_inputs(4000, 192), make_weights(40, 192)
    hessian = hessian_of(x)
    scales = gptq.best_scales(weights, block_size, np.diag(hessian))
    assert scales.shape == (40, 192 // block_size)
    nearest = output_error(x, weights, gptq.round_to_nearest(weights, scales), scales)
    codes = gptq.round_columns(weights, scales, hessian)
    assert codes.min() >= -8
    assert codes.max() <= 7
    error = output_error(x, weights, codes, scales)
    assert error < 0.4 * nearest
    codes = gptq.improve_codes(codes, weights, scales, hessian)
    assert codes.min() >= -8
    assert codes.max() <= 7
    assert output_error(x, weights, codes, scales) < 0.98 * error


def test_rounding_columns_of_unrelated_inputs_is_rounding_to_nearest():
    weights = make_weights(10, 64)
    scales = gptq.best_scales(weights, 32)
    hessian = np.diag(np.arange(1.0, 65))
    codes = gptq.round_columns(weights, scales, hessian)
    np.testing.assert_array_equal(codes, gptq.round_to_nearest(weights, scales))
    codes = gptq.improve_codes(np.zeros_like(codes), weights, scales, hessian)
    np.testing.assert_array_equal(codes, gptq.round_to_nearest(weights, scales))


def test_errors_are_made_up_for_beyond_a_stretch_of_columns():
    # As many columns as take several stretches, against the plain sum, one column at a time.
    x, weights = correlated_inputs(2000, 136), make_weights(3, 136)
    hessian = hessian_of(x)
    scales = gptq.best_scales(weights, 34)
    order = np.argsort(-np.diag(hessian), kind="stable")
    h = hessian[np.ix_(order, order)]
    steps = np.repeat(scales, 34, axis=1)[:, order]
    expected = np.zeros([3, 136])
    errors = np.zeros([3, 136])
    for i in range(136):
        # The value of this weight that is best for the errors so far, were all later weights free.
        later = np.linalg.solve(h[i:, i:], np.eye(136 - i)[:, 0])
        wanted = weights[:, order[i]] + errors[:, :i] @ h[:i, i:] @ later
        expected[:, i] = np.clip(np.rint(wanted / steps[:, i]), -8, 7)
        errors[:, i] = weights[:, order[i]] - expected[:, i] * steps[:, i]
    codes = gptq.round_columns(weights, scales, hessian)
    np.testing.assert_array_equal(codes[:, order], expected)


def test_refit_makes_up_for_errors_of_inputs():
    exact, weights = correlated_inputs(4000, 64), make_weights(20, 64)
    change = np.eye(64) + 0.03 * np.random.default_rng(2).normal(size=[64, 64])
    rounded = (exact @ change).astype(np.float32)
    statistics = statistics_of(exact, rounded)
    codes, scales, shift = gptq.quantize_matrix(weights, statistics, 32)
    wanted = exact @ weights.T
    error = np.square(rounded @ gptq.dequantize(codes, scales).T + shift - wanted).mean()
    codes, scales, shift = gptq.quantize_matrix(weights, statistics_of(rounded, rounded), 32)
    plain = np.square(rounded @ gptq.dequantize(codes, scales).T + shift - wanted).mean()
    assert error < 0.5 * plain


def test_outputs_are_right_on_average():
    exact = correlated_inputs(3000, 64) + 3
    rounded = exact + 0.5
    weights = make_weights(20, 64)
    codes, scales, shift = gptq.quantize_matrix(weights, statistics_of(exact, rounded), 64)
    seen = integers.rounded_rows(rounded) @ gptq.dequantize(codes, scales).T
    assert np.abs(seen.mean(axis=0) - exact.mean(axis=0) @ weights.T).max() > 0.02
    np.testing.assert_allclose((seen + shift).mean(0), exact.mean(0) @ weights.T, atol=1e-3)


def test_statistics_do_not_depend_on_how_rows_come():
    exact, rounded = correlated_inputs(5000, 16), correlated_inputs(5000, 16, seed=3)
    few, one = statistics_of(exact, rounded), gptq.InputStatistics(16)
    one.add(exact, rounded)
    assert few.rows == one.rows == 5000
    np.testing.assert_allclose(few.second_moment(), one.second_moment(), rtol=1e-4)
    x = integers.rounded_rows(rounded).astype(np.float64)
    np.testing.assert_allclose(one.second_moment(), x.T @ x / 5000, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(one.cross_moment(), (exact - x).T @ x / 5000, rtol=1e-3, atol=1e-2)


def test_few_inputs_leave_weights_finite():
    x = correlated_inputs(10, 96)  # fewer than dimensions
    x[:, 7] = 0  # an input that never speaks
    weights = make_weights(8, 96)
    codes, scales, shift = gptq.quantize_matrix(weights, statistics_of(x, x), 32)
    assert np.isfinite(shift).all()
    assert output_error(x, weights, codes, scales, shift) < 0.05 * np.square(x @ weights.T).mean()


@pytest.mark.parametrize("block_size", [32, 128])
def test_scales_lose_less_than_those_that_just_hold_all(block_size):
    weights = make_weights(30, 128) * np.exp(make_weights(30, 1, seed=5) * 20)
    scales = gptq.best_scales(weights, block_size)
    blocks = np.abs(weights.reshape(30, -1, block_size)).max(axis=2) / 7

    def error(scales):
        codes = gptq.round_to_nearest(weights, scales)
        return np.square(gptq.dequantize(codes, scales) - weights).mean(axis=1)

    assert error(scales).sum() < 0.9 * error(blocks).sum()


def test_scales_are_kept_by_every_runtime():
    weights = make_weights(20, 64)
    weights[3] = 0
    weights[4] = 1e-12
    weights[5, :32] = 1e4
    scales = gptq.best_scales(weights, 32)
    assert (scales > 0).all()
    np.testing.assert_array_equal(scales.astype(np.float16).astype(np.float32), scales)
    np.testing.assert_array_equal(scales.view(np.uint32) & 0xFFFF, 0)  # bfloat16
    codes = gptq.round_to_nearest(weights, scales)
    assert not codes[3:5].any()


def test_importance_says_which_weights_matter():
    weights = make_weights(50, 32)
    importance = np.ones(32)
    importance[:4] = 1000
    plain, led = gptq.best_scales(weights, 32), gptq.best_scales(weights, 32, importance)

    def error(scales):
        codes = gptq.round_to_nearest(weights, scales)
        return np.square(gptq.dequantize(codes, scales) - weights)[:, :4].sum()

    assert error(led) < 0.8 * error(plain)


@pytest.mark.parametrize("shape", [[5, 8], [3, 7], [1, 1]])
def test_codes_are_packed_two_a_byte(shape):
    codes = np.random.default_rng(0).integers(-8, 8, shape).astype(np.int8)
    data = gptq.pack(codes)
    assert data.dtype == np.uint8
    assert len(data) == -(-codes.size // 2)
    np.testing.assert_array_equal(unpack(data, shape), codes)


def test_the_first_code_is_in_the_low_bits():
    assert gptq.pack(np.int8([[1, -1], [7, -8]])).tolist() == [0xF1, 0x87]
