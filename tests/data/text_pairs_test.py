"""Pairs of texts for an embedder: reading them, and batches of them."""

import json

import numpy as np
import pytest
import tensorflow as tf

import keras_bert_lib as kbl
from keras_bert_lib.data import read_labelled_texts, read_text_pairs, text_pairs

WORDS = ["rain", "sun", "wet", "dry", "stay", "go"]
TOKENIZER = kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])


def make_rows(count, seed=0):
    """(anchor, positive, negative, score) of random words."""
    rng = np.random.default_rng(seed)
    return [
        (*(" ".join(rng.choice(WORDS, rng.integers(1, 40))) for _ in range(3)), float(rng.random()))
        for _ in range(count)
    ]


def test_reading(tmp_path):
    rows = make_rows(5)
    names = ("anchor", "positive", "negative", "score")
    lines = "".join(json.dumps(dict(zip(names, row))) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(lines, "utf-8")
    columns = [list(column) for column in zip(*rows)]
    pairs = [row[:2] for row in rows]
    triplets = [row[:3] for row in rows]
    scored = [(a, b, score) for a, b, _, score in rows]
    for source, arguments, has_negatives, has_scores in [
        (pairs, {}, False, False),
        (triplets, {}, True, False),
        (scored, {}, False, True),
        (tf.data.Dataset.from_tensor_slices((*columns[:2], columns[3])), {}, False, True),
        (tmp_path / "a.jsonl", {}, False, False),
        (tmp_path / "a.jsonl", {"negative_column": "negative"}, True, False),
        (tmp_path / "a.jsonl", {"score_column": "score"}, False, True),
        (
            read_labelled_texts([((a, b), s) for a, b, s in scored], problem_type="regression"),
            {},
            False,
            True,
        ),
    ]:
        read = read_text_pairs(source, **arguments)
        assert [read.texts, read.text_pairs] == columns[:2]
        assert read.negatives == (columns[2] if has_negatives else None)
        if has_scores:
            assert read.scores.dtype == np.float32
            np.testing.assert_allclose(read.scores, columns[3], rtol=1e-6)
        else:
            assert read.scores is None
    read = read_text_pairs([("a", "b", 5), ("a", "c", 2.5)], max_score=5)
    assert read.scores.tolist() == [1.0, 0.5]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no pairs of texts to read"),
        (["ab"], r"There is no file ab"),
        ([("a",)], r"Item 0 of the list is no \(text, text_pair\)"),
        ([("a", 3)], "Item 0 of the list has a text that is no str. Received: 3"),
        ([("a", "b", 4.0)], "a score that is more than `max_score`.*Received: 4, max_score=1.0"),
        ([("a", "b", float("nan"))], "a score that is no number. Received: nan"),
        ([("a", "b", "c"), ("a", "b")], "Item 1 of the list has not the same as the rows before"),
        ([("a", "b", 0.5), ("a", "b", "c")], "Item 1 of the list has not the same"),
        (read_labelled_texts([(("a", "b"), 0), (("c", "d"), 1)]), "must be pairs with numbers"),
    ],
)
def test_unusable_rows(rows, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        read_text_pairs(rows)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("third", ["none", "negative", "score"])
def test_batches_are_the_tokenizers(third):
    rows = make_rows(7)
    places = {"none": (0, 1), "negative": (0, 1, 2), "score": (0, 1, 3)}[third]
    source = [tuple(row[i] for i in places) for row in rows]
    dataset = text_pairs(source, TOKENIZER, 4, max_length=20, shuffle=False)
    assert len(dataset) == 2
    for i, element in enumerate(dataset):
        part = rows[4 * i : 4 * (i + 1)]
        x = element
        if third == "score":
            x, y = element
            assert y.dtype == tf.float32
            np.testing.assert_allclose(y, [row[3] for row in part], rtol=1e-6)
        names = ["anchor", "positive", "negative"][: 3 if third == "negative" else 2]
        assert sorted(x) == sorted(names)
        for place, name in enumerate(names):
            expected = TOKENIZER([row[place] for row in part], max_length=20)
            assert x[name].keys() == expected.keys()
            for key, value in x[name].items():
                np.testing.assert_array_equal(value, expected[key])


def test_shuffled_and_streamed():
    rows = [row[:2] for row in make_rows(200)]

    def contents(dataset):
        return [
            tuple(TOKENIZER.decode(ids, skip_special_tokens=True) for ids in pair)
            for x in dataset
            for pair in zip(x["anchor"]["token_ids"].numpy(), x["positive"]["token_ids"].numpy())
        ]

    for streaming in (False, True):
        dataset = text_pairs(rows, TOKENIZER, batch_size=8, streaming=streaming)
        first, second = contents(dataset), contents(dataset)
        assert first != second
        assert sorted(first) == sorted(second) == sorted(rows)


@pytest.mark.shared_data
def test_stsb(shared_data):
    texts = kbl.data.read_glue(shared_data / "glue", "STS-B", "dev")
    read = read_text_pairs(texts, max_score=5)
    assert (len(read.texts), read.scores.min(), read.scores.max()) == (1500, 0.0, 1.0)
