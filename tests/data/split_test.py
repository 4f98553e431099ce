"""Dividing what readers return in two."""

import collections

import numpy as np
import pytest
from absl import logging

from keras_bert_lib.data import (
    LabelledChoices,
    LabelledTexts,
    LabelledTokens,
    Questions,
    TextPairs,
    split,
)


def make_texts(label_ids, labels=("a", "b", "c")):
    texts = [f"text {i}" for i in range(len(label_ids))]
    pairs = [f"pair {i}" for i in range(len(label_ids))]
    return LabelledTexts(texts, pairs, np.array(label_ids, np.int32), list(labels))


def test_each_label_is_divided_alike():
    texts = make_texts([0] * 70 + [1] * 28 + [2] * 2)
    first, second = split(texts, 0.1)
    assert np.bincount(first.label_ids).tolist() == [63, 25, 1]
    assert np.bincount(second.label_ids).tolist() == [7, 3, 1]
    places = [int(text.split()[1]) for text in first.texts]
    assert places == sorted(places)
    assert first.text_pairs == [f"pair {i}" for i in places]
    assert sorted(first.texts + second.texts) == sorted(texts.texts)
    assert first.labels == second.labels == texts.labels
    again, other = split(texts, 0.1), split(texts, 0.1, seed=1)
    assert again[1].texts == second.texts != other[1].texts
    plain = [np.bincount(split(texts, 0.1, s, stratify=False)[1].label_ids)[0] for s in range(9)]
    assert len(set(plain)) > 1


def test_a_label_with_one_row_stays_in_the_first_part(monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda *args: said.append(args[0] % args[1:]))
    first, second = split(make_texts([0, 1, 0, 2, 0]), 0.5)
    assert {1, 2} <= set(first.label_ids.tolist())
    assert set(second.label_ids.tolist()) == {0}
    assert said == ["2 labels have one row each, which stays in the first part: b, c."]


def test_every_kind():
    rng = np.random.default_rng(0)
    names = [str(i) for i in range(40)]
    lists = [[name] for name in names]
    for read in (
        LabelledTexts(names, None, rng.random(40).astype("float32"), None),
        LabelledTexts(names, None, rng.random([40, 2]).astype("float32"), ["a", "b"]),
        LabelledTokens(lists, [["O"]] * 40, ["O", "B-x", "I-x"]),
        LabelledChoices(names, lists, rng.integers(0, 2, 40)),
        TextPairs(names, names, None, rng.random(40)),
        TextPairs(names, names, names, None),
        Questions(names, names, names, lists, [[0]] * 40),
    ):
        first, second = split(read, 0.25)
        assert type(first) is type(second) is type(read)
        assert (len(first[0]), len(second[0])) == (30, 10)
        for name, column, parts in zip(read._fields, read, zip(first, second)):
            if name == "labels" or column is None:
                assert parts == (column, column)
            else:
                together = np.concatenate([np.asarray(part) for part in parts])
                column = np.asarray(column)
                assert sorted(together.tolist()) == sorted(column.tolist())


def test_questions_on_one_context_stay_together():
    rng = np.random.default_rng(0)
    contexts = [f"context {i}" for i in rng.integers(0, 30, 300)]
    names = [str(i) for i in range(300)]
    lists = [[name] for name in names]
    first, second = split(Questions(names, names, contexts, lists, lists), 0.2)
    assert not set(first.contexts) & set(second.contexts)
    assert len(set(second.contexts)) == 6
    assert collections.Counter(first.contexts + second.contexts) == collections.Counter(contexts)


@pytest.mark.parametrize("ratio", [0, 1, -0.5, 2])
def test_no_such_ratio(ratio):
    with pytest.raises(ValueError, match=f"`ratio` must lie between 0 and 1.*Received: {ratio}"):
        split(make_texts([0, 1]), ratio)


def test_rows_with_a_label_each_are_told_so(monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda *args: said.append(args))
    texts = make_texts(range(40), [f"label {i}" for i in range(40)])
    message = "no label has two of them. Read more rows of each label.*of 40 rows with 40 labels"
    with pytest.raises(ValueError, match=message):
        split(texts, 0.1)
    assert not said
    first, second = split(texts, 0.1, stratify=False)
    assert (len(first.texts), len(second.texts)) == (36, 4)


def test_too_few_rows():
    for texts in (make_texts([0]), make_texts([0, 1, 2])):
        with pytest.raises(ValueError, match=r"cannot be divided in two parts.*LabelledTexts of"):
            split(texts, 0.5)
