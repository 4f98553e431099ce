"""Pairs of segments to packed and masked arrays, a batch at a time."""

import re
from typing import NamedTuple

import numpy as np


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


def pack_pairs(pairs, max_length, tables):
    """Packs pairs as `[CLS] a [SEP] b [SEP]`.

    Args:
        pairs: list of `SegmentPair` of at most `max_length` - 3 pieces.
        max_length: width of the arrays.
        tables: `PieceTables`.

    Returns:
        Dict of int32 arrays: `token_ids`, `segment_ids`, `padding_mask` `[b, max_length]` and
        `next_sentence_labels` `[b]` (0 = b is next, 1 = b is random).
    """
    token_ids = np.full((len(pairs), max_length), tables.pad_id, np.int32)
    segment_ids = np.zeros((len(pairs), max_length), np.int32)
    padding_mask = np.zeros((len(pairs), max_length), np.int32)
    for row, (tokens_a, tokens_b, _) in enumerate(pairs):
        middle = len(tokens_a) + 1
        end = middle + len(tokens_b) + 1
        token_ids[row, 0] = tables.cls_id
        token_ids[row, 1:middle] = tokens_a
        token_ids[row, middle] = tables.sep_id
        token_ids[row, middle + 1 : end] = tokens_b
        token_ids[row, end] = tables.sep_id
        segment_ids[row, middle + 1 : end + 1] = 1
        padding_mask[row, : end + 1] = 1
    return {
        "token_ids": token_ids,
        "segment_ids": segment_ids,
        "padding_mask": padding_mask,
        "next_sentence_labels": np.array([pair.is_random for pair in pairs], np.int32),
    }


def mask_tokens(token_ids, tables, rng, masked_lm_prob, max_predictions, whole_word):
    """Chooses the pieces to predict and hides them.

    Of the chosen pieces 80% become `[MASK]`, 10% a random piece and 10% stay what they are.

    Args:
        token_ids: `[b, s]` int32.
        tables: `PieceTables`.
        rng: `np.random.Generator`.
        masked_lm_prob: the share of the pieces to predict.
        max_predictions: the most pieces to predict in a row, p.
        whole_word: whether the pieces of a word are chosen together.

    Returns:
        Dict of `token_ids` `[b, s]` int32 with the hidden pieces, `masked_positions` `[b, p]` int32
        in rising order, `masked_ids` `[b, p]` int32 and `masked_weights` `[b, p]` float32, the last
        three padded with zeros.
    """
    is_candidate = tables.is_maskable[token_ids]  # [b, s]
    pieces = is_candidate.sum(axis=1)  # [b]
    budgets = np.minimum(max_predictions, np.maximum(1, np.rint(pieces * masked_lm_prob)))
    budgets = np.minimum(budgets, pieces).astype(np.int64)
    if whole_word:
        is_chosen = _choose_words(token_ids, is_candidate, budgets, tables, rng)
    else:
        is_chosen = _choose_pieces(is_candidate, budgets, rng)

    rows, positions = np.nonzero(is_chosen)  # both [n], row by row
    counts = is_chosen.sum(axis=1)
    slots = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)  # [n]
    shape = (len(token_ids), max_predictions)
    masked_positions = np.zeros(shape, np.int32)
    masked_ids = np.zeros(shape, np.int32)
    masked_weights = np.zeros(shape, np.float32)
    masked_positions[rows, slots] = positions
    masked_ids[rows, slots] = token_ids[rows, positions]
    masked_weights[rows, slots] = 1.0

    fate = rng.random(len(rows))
    random_pieces = tables.replacements[rng.integers(len(tables.replacements), size=len(rows))]
    hidden = np.where(
        fate < 0.8,
        tables.mask_id,
        np.where(fate < 0.9, random_pieces, token_ids[rows, positions]),
    )
    token_ids = token_ids.copy()
    token_ids[rows, positions] = hidden
    return {
        "token_ids": token_ids,
        "masked_positions": masked_positions,
        "masked_ids": masked_ids,
        "masked_weights": masked_weights,
    }


def _choose_pieces(is_candidate, budgets, rng):
    """Chooses `budgets[row]` candidates of each row, `[b, s]` bool."""
    keys = rng.random(is_candidate.shape)
    keys[~is_candidate] = 2.0  # behind every candidate
    ranks = np.argsort(np.argsort(keys, axis=1), axis=1)
    return ranks < budgets[:, None]


def _choose_words(token_ids, is_candidate, budgets, tables, rng):
    """Chooses whole words while they fit into `budgets[row]` pieces, `[b, s]` bool."""
    # A word starts at every piece that continues none. Special tokens start a word too, so that a
    # `##` piece behind one, left by truncation, is a word of its own.
    starts = ~(tables.continues_word[token_ids] & is_candidate)
    starts[:, 1:] |= ~is_candidate[:, :-1]
    starts[:, 0] = True
    words = np.cumsum(starts, axis=1) - 1  # [b, s]
    is_chosen = np.zeros_like(is_candidate)
    for row, budget in enumerate(budgets):
        sizes = np.bincount(words[row], weights=is_candidate[row]).astype(np.int64)
        chosen = []
        for word in rng.permutation(np.flatnonzero(sizes)):
            if sizes[word] <= budget:
                chosen.append(word)
                budget -= sizes[word]
            if budget == 0:
                break
        is_chosen[row] = np.isin(words[row], chosen) & is_candidate[row]
    return is_chosen
