"""Answers from scores, by hand and beside a decoder that tries every span."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bert_lib.models.span_decoding import best_spans, decode_answers

# [CLS] question [SEP] cafe ##s in paris [SEP] [PAD]
CONTEXT = np.array([[0, 0, 0, 1, 1, 1, 1, 0, 0]], bool)
WORDS = np.array([[-1, 0, -1, 0, 0, 1, 2, -1, -1]], "int32")
STARTS = np.array([[0, 0, 0, 2, 6, 9, 12, 0, 0]], "int32")
OFFSETS = np.stack([STARTS, STARTS + [[0, 8, 0, 4, 1, 2, 5, 0, 0]]], axis=-1).astype("int32")


def decode(start, end, context=CONTEXT, words=WORDS, offsets=OFFSETS, texts=(0,), **options):
    most = options.pop("max_answer_tokens", 30)
    start, end = (np.asarray(x, "float32") for x in (start, end))
    spans = best_spans(start, end, context, most)
    index = np.asarray(texts, "int32")
    found = decode_answers(spans, context, words, offsets, index, len(set(texts)), **options)
    return {name: np.asarray(x) for name, x in found.items()}


def only(position, seq=9):
    """Scores that speak for one position, `[1, s]`."""
    return 10.0 * np.eye(seq)[[position]]


def answer(found, text=0):
    return int(found["answer_start"][text, 0]), int(found["answer_end"][text, 0])


def test_the_best_span_is_found():
    found = decode(only(5), only(6))
    assert answer(found) == (9, 17)
    # Softmax over four pieces and [CLS], of both ends.
    assert found["score"][0, 0] == pytest.approx((1 / (1 + 4 * math.exp(-10))) ** 2, rel=1e-5)
    expected = (math.exp(-10) / (1 + 4 * math.exp(-10))) ** 2
    assert found["no_answer_score"][0] == pytest.approx(expected, rel=1e-4)


def test_an_answer_is_whole_words():
    assert answer(decode(only(4), only(4))) == (2, 7)
    assert answer(decode(only(4), only(5))) == (2, 11)
    assert answer(decode(only(3), only(3))) == (2, 7)


def test_an_answer_ends_after_it_starts():
    start, end = only(6) + 0.9 * only(3), only(4)
    assert answer(decode(start, end)) == (2, 7)


def test_an_answer_stands_in_the_context():
    for position in (0, 1, 2, 7, 8):
        found = decode(3 * only(position) + only(5), 3 * only(position) + only(6))
        assert answer(found) == (9, 17), position


def test_an_answer_has_so_many_pieces_at_most():
    start, end = only(3), only(6) + 0.5 * only(5)
    assert answer(decode(start, end, max_answer_tokens=4)) == (2, 17)
    assert answer(decode(start, end, max_answer_tokens=3)) == (2, 11)
    assert answer(decode(start, end, max_answer_tokens=1)) == (2, 7)


def test_no_answer():
    start, end = only(0) + 0.8 * only(5), only(0) + 0.8 * only(6)
    given = decode(start, end)
    assert answer(given) == (9, 17)
    assert given["score"][0, 0] < given["no_answer_score"][0]
    withheld = decode(start, end, may_have_no_answer=True)
    assert answer(withheld) == (0, 0)
    assert withheld["score"][0, 0] == withheld["no_answer_score"][0] == given["no_answer_score"][0]
    assert answer(decode(only(5), only(6), may_have_no_answer=True)) == (9, 17)


@pytest.mark.parametrize("may_have_no_answer", [False, True])
def test_a_context_without_pieces_has_no_answer(may_have_no_answer):
    found = decode(only(5), only(6), np.zeros_like(CONTEXT), may_have_no_answer=may_have_no_answer)
    assert answer(found) == (0, 0)
    assert found["score"][0, 0] == (1.0 if may_have_no_answer else 0.0)
    assert found["no_answer_score"][0] == pytest.approx(1.0)


def test_the_best_window_of_each_text_is_taken():
    strong, weak, none = only(5), 0.3 * only(3), only(0)
    start = np.concatenate([weak, strong, none, none, weak])
    five = [np.repeat(x, 5, axis=0) for x in (CONTEXT, WORDS, OFFSETS)]
    five[2] = five[2] + 100 * np.arange(5).reshape(5, 1, 1).astype("int32")
    found = decode(start, start, *five, texts=(0, 0, 0, 1, 1))
    assert answer(found, 0) == (109, 111)
    assert answer(found, 1) == (402, 407)
    # That no window has an answer is as probable as the window that denies it least.
    separate = [decode(start[[i]], start[[i]])["no_answer_score"][0] for i in range(5)]
    np.testing.assert_allclose(
        found["no_answer_score"], [min(separate[:3]), min(separate[3:])], rtol=1e-5
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_every_span_was_tried(seed, may_have_no_answer):
    rng = np.random.default_rng(seed)
    most = int(rng.integers(1, 6))
    shape = (int(rng.integers(1, 5)), int(rng.integers(2, 12)))
    texts = np.sort(rng.integers(0, 2, shape[0]))
    texts -= texts[0]
    start, end = rng.normal(scale=4, size=(2, *shape)).astype("float32")
    context = rng.random(shape) < 0.6
    context[:, 0] = False
    words = np.where(context, np.cumsum(rng.random(shape) < 0.7, axis=1), -1).astype("int32")
    pieces = 10 * np.arange(shape[0] * shape[1]).reshape(shape)
    offsets = np.stack([pieces, pieces + rng.integers(1, 9, shape)], axis=-1).astype("int32")
    found = decode(
        start, end, context, words, offsets, texts,
        max_answer_tokens=most, may_have_no_answer=may_have_no_answer,
    )  # fmt: skip
    for text in range(texts[-1] + 1):
        windows = np.flatnonzero(texts == text)
        expected = slow_answer(start, end, context, words, offsets, windows, most)
        no_answer = found["no_answer_score"][text]
        assert no_answer == pytest.approx(expected[3], rel=1e-4)
        if may_have_no_answer and no_answer >= expected[2]:
            expected = (0, 0, no_answer)
        assert answer(found, text) == expected[:2]
        assert found["score"][text, 0] == pytest.approx(expected[2], rel=1e-4, abs=1e-30)


def slow_answer(start, end, context, words, offsets, windows, most):
    """Returns the answer's start and end, its probability, and that of no answer."""
    best, no_answer = (0, 0, 0.0), 1.0
    for w in windows:
        allowed = [i for i in range(context.shape[1]) if context[w, i] or i == 0]
        total_start, total_end = (sum(math.exp(x[w, i]) for i in allowed) for x in (start, end))
        no_answer = min(no_answer, math.exp(start[w, 0] + end[w, 0]) / total_start / total_end)
        for i, j in itertools.product(allowed[1:], allowed[1:]):
            probability = math.exp(start[w, i] + end[w, j]) / total_start / total_end
            if i <= j < i + most and probability > best[2]:
                same = [k for k in allowed[1:] if words[w, k] == words[w, i]]
                last = [k for k in allowed[1:] if words[w, k] == words[w, j]]
                first_byte = min(offsets[w, k, 0] for k in same)
                best = (int(first_byte), int(max(offsets[w, k, 1] for k in last)), probability)
    return *best, no_answer
