"""Entities from scores, by hand and beside a decoder that goes word by word."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bert_lib.models.entity_decoding import decode_entities, kept_pieces, read_labels

BIO = ["O", "B-per", "I-per", "B-loc", "I-loc"]
IOBES = ["O", "B-per", "I-per", "E-per", "S-per", "B-loc", "I-loc", "E-loc", "S-loc"]
BILOU = [label.translate(str.maketrans("ES", "LU")) for label in IOBES[1:]] + ["O"]
PLAIN = ["per", "O", "loc"]


def find(labels, words, max_entities=64):
    """Returns the entities of words with these labels: (first word, word after, type)."""
    names = list(words)
    logits = 8.0 * np.eye(len(labels), dtype="float32")[[labels.index(name) for name in names]]
    word_ids = np.arange(len(names), dtype="int32")
    found = decode(
        logits[None], np.ones((1, len(names)), bool), word_ids[None],
        np.stack([word_ids, word_ids + 1], axis=-1)[None], [0], labels, max_entities,
    )  # fmt: skip
    types = read_labels(labels).types
    return [(start, end, types[label]) for start, end, label, _ in found[0]]


def decode(logits, is_kept, word_ids, offsets, text_index, labels, max_entities=64):
    """Returns the entities of each text: (start, end, type, score)."""
    num_texts = max(text_index) + 1
    found = decode_entities(
        logits.astype("float32"), is_kept, word_ids.astype("int32"), offsets.astype("int32"),
        np.asarray(text_index, "int32"), num_texts, read_labels(labels), max_entities,
    )  # fmt: skip
    found = {name: np.asarray(x) for name, x in found.items()}
    assert found["entity_starts"].shape == (num_texts, max_entities)
    counts = found["entity_count"]
    for row, count in enumerate(counts):  # unused places
        assert not found["entity_starts"][row, count:].any()
        assert not found["entity_ends"][row, count:].any()
        assert not found["entity_scores"][row, count:].any()
        assert (found["entity_labels"][row, count:] == -1).all()
    names = ("entity_starts", "entity_ends", "entity_labels", "entity_scores")
    return [
        list(zip(*(found[name][row, :count].tolist() for name in names)))
        for row, count in enumerate(counts)
    ]


def test_labels():
    for labels in (BIO, IOBES, BILOU, PLAIN):
        assert read_labels(labels).types == ["per", "loc"]
    assert read_labels(["O", "E-mail", "S-Bahn", "O-ring"]).types == ["E-mail", "S-Bahn", "O-ring"]
    assert read_labels(["B-geo-loc", "I-geo-loc", "O"]).types == ["geo-loc"]
    assert read_labels(["O"]).types == []


@pytest.mark.parametrize(
    ("labels", "words", "expected"),
    [
        (BIO, "O B-per I-per O", [(1, 3, "per")]),
        (BIO, "B-per B-per", [(0, 1, "per"), (1, 2, "per")]),
        (BIO, "O I-per I-per", [(1, 3, "per")]),
        (BIO, "I-per O I-per", [(0, 1, "per"), (2, 3, "per")]),
        (BIO, "B-per I-loc I-per", [(0, 1, "per"), (1, 2, "loc"), (2, 3, "per")]),
        (BIO, "I-per B-per I-per", [(0, 1, "per"), (1, 3, "per")]),
        (BIO, "O O", []),
        (IOBES, "S-per S-per B-loc I-loc E-loc", [(0, 1, "per"), (1, 2, "per"), (2, 5, "loc")]),
        (IOBES, "B-per E-per I-per E-per", [(0, 2, "per"), (2, 4, "per")]),
        (IOBES, "I-per S-per I-per", [(0, 1, "per"), (1, 2, "per"), (2, 3, "per")]),
        (BILOU, "U-loc B-per L-per O", [(0, 1, "loc"), (1, 3, "per")]),
        (PLAIN, "per per O loc per", [(0, 2, "per"), (3, 4, "loc"), (4, 5, "per")]),
    ],
)
def test_runs_of_words(labels, words, expected):
    assert find(labels, words.split()) == expected


def test_a_word_has_the_label_of_its_first_piece():
    # new ##york | is -> the second piece says otherwise
    logits = 4.0 * np.eye(5)[[[0, 3, 1, 0, 0]]]
    kept = np.array([[0, 1, 1, 1, 0]], bool)
    words = np.array([[-1, 0, 0, 1, -1]])
    offsets = np.array([[[0, 0], [2, 5], [5, 9], [10, 12], [0, 0]]])
    ((start, end, label, score),) = decode(logits, kept, words, offsets, [0], BIO)[0]
    assert (start, end, label) == (2, 9, 1)
    assert score == pytest.approx(np.exp(4) / (np.exp(4) + 4), rel=1e-5)


def test_a_score_is_the_mean_of_the_words():
    logits = np.log([[[0.1, 0.6, 0.1, 0.1, 0.1], [0.05, 0.05, 0.8, 0.05, 0.05]]])
    words = np.array([[0, 1]])
    offsets = np.array([[[0, 1], [1, 2]]])
    found = decode(logits, np.ones((1, 2), bool), words, offsets, [0], BIO)
    assert found[0][0][3] == pytest.approx(0.7, rel=1e-5)


def test_more_entities_than_there_is_room_for():
    words = ["B-per"] * 5
    assert find(BIO, words, max_entities=3) == [(i, i + 1, "per") for i in range(3)]
    logits = np.eye(5, dtype="float32")[[[1] * 5, [0, 1, 0, 0, 0]]]
    word_ids = np.tile(np.arange(5, dtype="int32"), (2, 1))
    found = decode_entities(
        logits, np.ones((2, 5), bool), word_ids, np.stack([word_ids, word_ids + 1], axis=-1),
        np.array([0, 1], "int32"), 2, read_labels(BIO), 3,
    )  # fmt: skip
    assert np.asarray(found["truncated"]).tolist() == [1, 0]
    assert np.asarray(found["entity_count"]).tolist() == [3, 1]


def test_each_piece_of_a_long_text_is_taken_once():
    # Windows of 6 pieces that share 3, over texts of 14, 2 and 0 pieces.
    pieces = [range(6), range(3, 9), range(6, 12), range(9, 14), range(2), range(0)]
    rows = np.full((6, 8), -1)
    for row, ids in zip(rows, pieces):
        row[1 : 1 + len(ids)] = ids
    kept = np.asarray(kept_pieces(rows >= 0, np.array([0, 0, 0, 0, 1, 2], "int32"), stride=3))
    assert rows[kept].tolist() == [*range(14), 0, 1]
    assert rows[1][kept[1]].tolist() == [4, 5, 6]  # in the middle of its window


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([BIO, IOBES, BILOU, PLAIN]))
def test_words_one_by_one(seed, labels):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 5)), int(rng.integers(1, 14)))
    texts = np.sort(rng.integers(0, 3, shape[0]))
    texts = np.unique(texts, return_inverse=True)[1]
    logits = rng.normal(scale=3, size=(*shape, len(labels)))
    kept = rng.random(shape) < 0.7
    pieces = np.arange(shape[0] * shape[1]).reshape(shape)
    words = np.cumsum(rng.random(pieces.size) < 0.6).reshape(shape)
    offsets = np.stack([10 * pieces, 10 * pieces + rng.integers(1, 9, shape)], axis=-1)
    most = int(rng.integers(1, 6))
    found = decode(logits, kept, words, offsets, texts.tolist(), labels, most)
    for text in range(texts[-1] + 1):
        expected = slow_entities(logits, kept, words, offsets, texts == text, labels)[:most]
        assert [entity[:3] for entity in found[text]] == [entity[:3] for entity in expected]
        scores = [[entity[3] for entity in entities] for entities in (found[text], expected)]
        np.testing.assert_allclose(*scores, rtol=1e-5)


def slow_entities(logits, kept, words, offsets, rows, labels):
    """Returns the entities (start, end, type, score) of the text in these rows."""
    types = read_labels(labels).types
    taken = {}  # word: pieces
    for row in np.flatnonzero(rows):
        for column in np.flatnonzero(kept[row]):
            taken.setdefault(words[row, column], []).append((row, column))
    entities, last = [], None
    for pieces in taken.values():
        scores = np.exp(logits[pieces[0]]) / np.exp(logits[pieces[0]]).sum()
        label = labels[int(scores.argmax())]
        prefix, name = label.split("-") if "-" in label else ("I", label)
        if label != "O":
            if prefix in "BSU" or last is None or last[0] in "ESLU" or last[1] != name:
                start = int(offsets[(*pieces[0], 0)])
                entities.append([start, 0, types.index(name), []])
            entities[-1][1] = int(offsets[(*pieces[-1], 1)])
            entities[-1][3].append(scores.max())
        last = None if label == "O" else (prefix, name)
    return [(*entity[:3], np.mean(entity[3])) for entity in entities]
