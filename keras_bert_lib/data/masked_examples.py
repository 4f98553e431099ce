"""Pairs of segments to masked arrays, a batch at a time."""

import re
from typing import NamedTuple

import numpy as np

MASKINGS = ("piece", "whole_word", "ngram")
# An n-gram of n words has a share of 1 / n, as in ALBERT.
_NGRAM_SHARES = np.array([6, 3, 2]) / 11


class PieceTables(NamedTuple):
    """What masking needs to know of a vocabulary."""

    cls_id: int
    sep_id: int
    pad_id: int
    mask_id: int
    is_maskable: np.ndarray  # [v] bool: not a special token
    continues_word: np.ndarray  # [v] bool: a `##` piece
    replacements: np.ndarray  # [r] int32: what a random piece is drawn from


def piece_tables(tokenizer):
    """Reads the tables off a tokenizer."""
    vocabulary = tokenizer.vocabulary
    is_maskable = np.ones(len(vocabulary), bool)
    is_maskable[list(tokenizer.special_token_ids)] = False
    is_unused = np.array([bool(re.fullmatch(r"\[unused\d+\]", piece)) for piece in vocabulary])
    replacements = np.flatnonzero(is_maskable & ~is_unused).astype(np.int32)
    if not len(replacements):
        raise ValueError(
            "The vocabulary holds special tokens only. Learn one from text, as with "
            f"`kbl.text.learn_vocabulary`. Received: {len(vocabulary)} pieces"
        )
    if tokenizer.mask_token_id is None:
        raise ValueError("The vocabulary has no [MASK] piece. Add a line `[MASK]`.")
    return PieceTables(
        tokenizer.cls_token_id,
        tokenizer.sep_token_id,
        tokenizer.pad_token_id,
        tokenizer.mask_token_id,
        is_maskable,
        np.array([piece.startswith("##") for piece in vocabulary]),
        replacements,
    )


def prediction_budget(pieces, masked_lm_prob, max_predictions):
    """The pieces to predict in examples of so many pieces: one at least, if there is any."""
    budget = np.clip(np.rint(pieces * masked_lm_prob), 1, max_predictions)
    return np.minimum(budget, pieces).astype(np.int64)


def masked_batch(
    rows, max_length, max_predictions, tables, rng, masked_lm_prob=0.15, masking="piece"
):
    """Lays examples out as `[CLS] a [SEP] b [SEP]`, one or several in a row, and masks them.

    Without a second segment an example is `[CLS] a [SEP]`. Of the pieces that are chosen, 80%
    become `[MASK]`, 10% a random piece and 10% stay what they are.

    Args:
        rows: list of lists of `SegmentPair`, the examples of each row. Together they have at most
            `max_length` positions.
        max_length: width of the arrays, s.
        max_predictions: the most pieces to predict in an example, and the slots of a row, p.
        tables: `PieceTables`.
        rng: `np.random.Generator`.
        masked_lm_prob: the share of pieces to predict.
        masking: one of `MASKINGS`.

    Returns:
        Dict of int32 arrays `[b, s]`: `token_ids`, `segment_ids`, `padding_mask`, `example_ids`
        (1, 2, ... in a row) and `position_ids` (from 0 in each example); `[b, p]`:
        `masked_positions`, `masked_ids` and, float32, `masked_weights`; and what tells where the
        examples are, `[n]`: `rows`, `starts`, `labels`.
    """
    # All examples lie end to end in one vector of n pieces; only the last step makes rows of them.
    pairs = [pair for row in rows for pair in row]
    cls, sep = np.array([tables.cls_id], np.int32), np.array([tables.sep_id], np.int32)
    ids = []
    for tokens_a, tokens_b, _ in pairs:
        ids += [cls, tokens_a, sep, tokens_b, sep] if len(tokens_b) else [cls, tokens_a, sep]
    ids = np.concatenate(ids, dtype=np.int32)  # [n]
    a = np.array([len(pair.tokens_a) for pair in pairs])
    b = np.array([len(pair.tokens_b) for pair in pairs])
    lengths = a + b + 2 + (b > 0)  # [examples]
    starts = np.cumsum(lengths) - lengths  # in the vector
    example = np.repeat(np.arange(len(pairs)), lengths)  # [n]
    position = np.arange(len(ids)) - starts[example]  # [n] from 0 in each example

    counts = np.array([len(row) for row in rows])  # examples of each row
    first = np.repeat(np.cumsum(counts) - counts, counts)  # [examples] the first of the same row
    starts -= starts[first]  # in the row
    row = np.repeat(np.arange(len(rows)), counts)  # [examples]

    is_chosen = _choose(ids, example, tables, rng, masked_lm_prob, max_predictions, masking)
    chosen = np.flatnonzero(is_chosen)  # [m]
    hidden = ids.copy()
    hidden[chosen] = _hide(ids[chosen], tables, rng)

    place = row[example], starts[example] + position  # both [n]
    slots = _arange_within(place[0][chosen])

    def laid(values, at, width, fill=0, dtype=np.int32):
        array = np.full((len(rows), width), fill, dtype)
        array[at] = values
        return array

    at = place[0][chosen], slots
    return {
        "token_ids": laid(hidden, place, max_length, tables.pad_id),
        "segment_ids": laid((position > a[example] + 1) & (b > 0)[example], place, max_length),
        "padding_mask": laid(1, place, max_length),
        "example_ids": laid((_arange_within(row) + 1)[example], place, max_length),
        "position_ids": laid(position, place, max_length),
        "masked_positions": laid(place[1][chosen], at, max_predictions),
        "masked_ids": laid(ids[chosen], at, max_predictions),
        "masked_weights": laid(1.0, at, max_predictions, dtype=np.float32),
        "rows": row,
        "starts": starts,
        "labels": np.array([pair.label for pair in pairs], np.int32),
    }


def _choose(ids, example, tables, rng, masked_lm_prob, max_predictions, masking):
    """Chooses the pieces to predict, `[n]` bool: whole units, while they fit into the budget."""
    is_candidate = tables.is_maskable[ids]  # [n]
    candidates = np.flatnonzero(is_candidate)
    owner = example[candidates]
    pieces = np.bincount(owner, minlength=example[-1] + 1)  # [examples]
    left = prediction_budget(pieces, masked_lm_prob, max_predictions)
    if masking == "piece":
        unit_of = np.arange(len(candidates))
    else:
        # A `##` piece behind a special token, left by truncation, is a word of its own.
        follows = np.zeros(len(ids), bool)
        follows[1:] = is_candidate[1:] & is_candidate[:-1]
        starts = ~(tables.continues_word[ids] & follows)
        if masking == "ngram":
            words = np.flatnonzero(starts & is_candidate)
            n = rng.choice([1, 2, 3], p=_NGRAM_SHARES, size=len(words))
            opens = np.zeros(len(words), bool)
            ends = np.cumsum(n)
            opens[ends[ends < len(words)]] = True
            starts[words] = opens | ~follows[words]
        unit_of = np.cumsum(starts[candidates]) - 1  # [candidates]
    if not len(candidates):
        return is_candidate
    sizes = np.bincount(unit_of)  # [units]
    unit_owner = owner[np.flatnonzero(np.diff(unit_of, prepend=-1))]  # [units]

    # The units of each example in a random order. Those that fit one after the other are taken at
    # once; then the one that does not is dropped, and so on: few rounds, and no loop over units.
    units = np.argsort(unit_owner + rng.random(len(sizes)))
    is_taken = np.zeros(len(sizes), bool)
    while len(units := units[sizes[units] <= left[unit_owner[units]]]):
        owners = unit_owner[units]
        ends = np.cumsum(sizes[units])
        before = np.cumsum(np.bincount(owners, sizes[units], len(left))).astype(np.int64)
        before = np.concatenate([[0], before])[owners]  # of the examples before
        fits = ends - before <= left[owners]
        is_taken[units[fits]] = True
        left -= np.bincount(owners[fits], sizes[units[fits]], len(left)).astype(np.int64)
        units = units[~fits]
    is_chosen = np.zeros(len(ids), bool)
    is_chosen[candidates] = is_taken[unit_of]
    return is_chosen


def _hide(ids, tables, rng):
    """What stands in the place of pieces that are to be predicted."""
    fate = rng.random(len(ids))
    random_pieces = tables.replacements[rng.integers(len(tables.replacements), size=len(ids))]
    return np.where(fate < 0.8, tables.mask_id, np.where(fate < 0.9, random_pieces, ids))


def _arange_within(groups):
    """0, 1, ... within each run of equal numbers."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))
