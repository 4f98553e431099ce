"""Named entities, from the scores of each token's labels.

Pure functions of tensors: `predict_text` and exported files share them, so all of them become
built-in operators of TFLite.
"""

from typing import NamedTuple

import numpy as np
from keras import ops

from keras_bert_lib.models.argmax import argmax

# What stands before the type in labels of BIO, IOBES, BILOU and BMEWO.
_BEGINS = ("B-", "S-", "U-", "W-")
_ENDS = ("E-", "L-", "S-", "U-", "W-")
_PREFIXES = {*_BEGINS, *_ENDS, "I-", "M-"}


class Labels(NamedTuple):
    """What the labels of tokens mean."""

    types: list  # str, the types of entities in the order of the labels
    type_ids: np.ndarray  # int32 [labels], the type of each, -1 for outside
    begins: np.ndarray  # int32 [labels], 1 where an entity starts with each such word
    ends: np.ndarray  # int32 [labels], 1 where none goes on after


def read_labels(labels):
    """Reads the labels of a token classifier.

    Args:
        labels: list of str: "O" for outside, and the types of entities with the prefixes of BIO,
            IOBES or BILOU, as in "B-person", or without any.

    Returns:
        `Labels`.
    """
    # "E-mail" is a type unless the other labels say that there are prefixes.
    has_prefixes = any(label.startswith(("B-", "I-")) for label in labels)
    prefixes = [label[:2] if has_prefixes and label[:2] in _PREFIXES else "" for label in labels]
    names = [label[len(prefix) :] for label, prefix in zip(labels, prefixes)]
    types = list(dict.fromkeys(name for name, label in zip(names, labels) if label != "O"))
    ids = [-1 if label == "O" else types.index(name) for name, label in zip(names, labels)]
    return Labels(
        types,
        np.array(ids, "int32"),
        np.array([prefix in _BEGINS for prefix in prefixes], "int32"),
        np.array([prefix in _ENDS for prefix in prefixes], "int32"),
    )


def kept_pieces(is_piece, text_index, stride):
    """Takes each piece of a text from one of the windows that have it: where it has more context.

    Args:
        is_piece: bool `[w, s]`: whether a token is a piece of the text, and no special token.
        text_index: int32 `[w]`: the text that a window is of.
        stride: int: pieces that a window shares with the one before it.

    Returns:
        Bool `[w, s]`.
    """
    number = ops.expand_dims(ops.arange(ops.shape(is_piece)[1]), 0) - 1  # [1, s] after [CLS]
    count = ops.sum(ops.cast(is_piece, "int32"), axis=1, keepdims=True)  # [w, 1]
    same = ops.cast(ops.equal(text_index[1:], text_index[:-1]), "int32")
    left = ops.expand_dims(ops.pad(same, [[1, 0]]) * (stride // 2), 1)  # none of a first window
    right = ops.expand_dims(ops.pad(same, [[0, 1]]) * (stride - stride // 2), 1)
    is_inside = ops.logical_and(number >= left, number < count - right)
    return ops.logical_and(is_piece, is_inside)


def decode_entities(
    logits, is_kept, word_ids, offsets, text_index, num_texts, labels, max_entities
):
    """Merges the labels of words to entities.

    A word has the label of its first piece. An entity starts at a word whose label begins one,
    whose type is not that of the word before, or where the label before ends one; so an I- after
    an O starts one, too. Its score is the mean of its words' probabilities.

    Args:
        logits: float32 `[w, s, labels]`.
        is_kept: bool `[w, s]`: whether a piece counts; each piece of a text is to count once.
        word_ids: int32 `[w, s]`: number of each piece's word within its text.
        offsets: int32 `[w, s, 2]`: where each piece starts and ends in its text.
        text_index: int32 `[w]`: the text that a row is of, ascending.
        num_texts: int or int32 scalar: texts in all.
        labels: `Labels`.
        max_entities: int: entities there is room for.

    Returns:
        Dict of "entity_starts", "entity_ends", "entity_labels" int32 and "entity_scores" float32,
        each `[t, max_entities]`, 0 and label -1 where there is none; "entity_count" int32 `[t]`;
        and "truncated" int32 `[t]`, 1 where there was no room for all.
    """
    scores = ops.softmax(logits, axis=-1)
    columns = {
        "label": argmax(scores),
        "score": ops.max(scores, axis=-1),
        "word": word_ids,
        "start": offsets[:, :, 0],
        "end": offsets[:, :, 1],
        "text": ops.expand_dims(text_index, 1) + ops.zeros_like(word_ids),
    }
    columns = {name: ops.reshape(x, (-1,)) for name, x in columns.items()}  # each [n]

    # Pieces that count, end to end; the places after them are empty.
    kept = ops.cast(ops.reshape(is_kept, (-1,)), "int32")  # [n]
    size = ops.shape(kept)[0] + 1
    pieces = {name: _pack(x, kept, size) for name, x in columns.items()}  # each [n + 1]
    position = ops.arange(size)
    is_piece = position < ops.sum(kept)

    # Words, end to end.
    is_of_same_word = ops.logical_and(
        ops.equal(pieces["word"], _before(pieces["word"], -1)),
        ops.equal(pieces["text"], _before(pieces["text"], -1)),
    )
    goes_on = _flags(ops.logical_and(is_piece, is_of_same_word))
    is_first = _flags(is_piece) - goes_on
    is_last = _flags(is_piece) * (1 - _after(goes_on, 0))
    label, score, start, text = (
        _pack(pieces[name], is_first, size) for name in ("label", "score", "start", "text")
    )
    end = _pack(pieces["end"], is_last, size)

    # Entities: runs of words of one type.
    type_id = ops.where(position < ops.sum(is_first), ops.take(labels.type_ids, label), -1)
    is_in = type_id >= 0
    is_other = ops.logical_or(
        ops.not_equal(type_id, _before(type_id, -1)), ops.not_equal(text, _before(text, -1))
    )
    # Whether the labels divide this word from the one before.
    divides = ops.take(labels.begins, label) + _before(ops.take(labels.ends, label), 0)
    starts = _flags(ops.logical_and(is_in, ops.logical_or(is_other, divides > 0)))
    stops = _flags(is_in) * (1 - _after(_flags(is_in) - starts, 0))

    # Each entity's place: those of a text stand in a row; what has no place goes to one more.
    found = ops.scatter(ops.expand_dims(text, 1), starts, (num_texts + 1,))[:-1]  # [t]
    found_before = ops.pad(ops.cumsum(found), [[1, 0]])  # [t + 1]
    number = ops.cumsum(starts) - 1 - ops.take(found_before, text)
    has_place = ops.logical_and(is_in, number < max_entities)
    nowhere = num_texts * max_entities
    place = ops.expand_dims(ops.where(has_place, text * max_entities + number, nowhere), 1)

    def lay(values):  # adds up what an entity's words have
        return ops.reshape(ops.scatter(place, values, (nowhere + 1,))[:-1], (-1, max_entities))

    num_words = ops.cast(ops.maximum(lay(_flags(is_in)), 1), "float32")
    return {
        "entity_starts": lay(start * starts),
        "entity_ends": lay(end * stops),
        "entity_labels": lay((type_id + 1) * starts) - 1,
        "entity_scores": lay(ops.where(is_in, score, 0.0)) / num_words,
        "entity_count": ops.minimum(found, max_entities),
        "truncated": _flags(found > max_entities),
    }


def _flags(condition):
    """1 where a condition holds and 0 elsewhere."""
    return ops.where(condition, 1, 0)


def _pack(values, chosen, size):
    """Puts the values [n] where `chosen` is 1 end to end, and zeros after them, `size` in all."""
    place = ops.where(chosen > 0, ops.cumsum(chosen) - 1, size - 1)
    values = ops.where(chosen > 0, values, ops.zeros_like(values))
    return ops.scatter(ops.expand_dims(place, 1), values, (size,))


def _before(values, fill):
    """The value before each, `fill` before the first."""
    return ops.concatenate([ops.zeros_like(values[:1]) + fill, values[:-1]], axis=0)


def _after(values, fill):
    """The value after each, `fill` after the last."""
    return ops.concatenate([values[1:], ops.zeros_like(values[:1]) + fill], axis=0)
