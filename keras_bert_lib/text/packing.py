"""Truncates pieces and packs them to BERT's input: [CLS] first [SEP] second [SEP]."""

from typing import NamedTuple

import tensorflow as tf

TRUNCATIONS = ("longest_first", "only_first", "only_second", "round_robin", "head_and_tail")


class Rows(NamedTuple):
    """What stands in each row of the output; int32 `[rows]` each."""

    starts: tf.Tensor  # where its first text starts among all pieces
    lengths: tf.Tensor  # pieces of it
    pair_starts: tf.Tensor | None
    pair_lengths: tf.Tensor | None
    text_index: tf.Tensor | None  # the text that a row is a window of; without windows None
    truncated: tf.Tensor  # 1 where pieces were left out
    # Pieces left out from the middle; None where what is left out is the end.
    gaps: tf.Tensor | None = None
    pair_gaps: tf.Tensor | None = None


def truncate_pair(first, second, budget, truncation):
    """Shortens two texts to fit together.

    Args:
        first: int32 `[batch]`: pieces in each first text.
        second: int32 `[batch]`: pieces in each second text.
        budget: int: most pieces the two may have together.
        truncation: one of `TRUNCATIONS`. "longest_first" is that of Hugging Face `tokenizers`,
            "round_robin" that of `tf_text.RoundRobinTrimmer`. "only_first" and "only_second" leave
            the other text as it is, unless it alone is too long. "head_and_tail" leaves as many
            pieces of each as "longest_first".

    Returns:
        The two, int32 `[batch]`.
    """
    if truncation == "only_first":
        first = tf.minimum(first, tf.maximum(budget - second, 0))
        return first, tf.minimum(second, budget - first)
    if truncation == "only_second":
        second = tf.minimum(second, tf.maximum(budget - first, 0))
        return tf.minimum(first, budget - second), second
    if truncation == "round_robin":  # a piece of each in turn, from the first text on
        first = tf.minimum(first, tf.maximum(budget - second, (budget + 1) // 2))
        return first, tf.minimum(second, budget - first)
    short = tf.minimum(first, second)
    long = tf.maximum(first, second)
    cut_long = tf.maximum(short, budget - short)
    half = budget // 2
    both_too_long = short + cut_long > budget
    cut_short = tf.where(both_too_long, half, short)
    cut_long = tf.where(both_too_long, half + budget % 2, cut_long)
    fits = first + second <= budget
    short = tf.where(fits, short, cut_short)
    long = tf.where(fits, long, cut_long)
    first_is_long = first > second
    return tf.where(first_is_long, long, short), tf.where(first_is_long, short, long)


def lay_out(lengths, pair_lengths, max_length, truncation="longest_first", stride=None):
    """Decides which pieces go into which row.

    Args:
        lengths: int32 `[batch]`: pieces in each first text.
        pair_lengths: int32 `[batch]`: pieces in each second text, or None for single texts.
        max_length: int: most tokens in a row, special tokens included.
        truncation: see `truncate_pair`.
        stride: int or None. A text that is too long is not cut but fills several rows, each
            beginning with the last `stride` pieces of the one before. Of pairs, it is the text that
            `truncation` names; the other one stands in each row.

    Returns:
        `Rows`.
    """
    starts = tf.cumsum(lengths, exclusive=True)
    if pair_lengths is None:
        budget = max_length - 2
        if stride is None:
            kept = tf.minimum(lengths, budget)
            gaps = lengths - kept if truncation == "head_and_tail" else None
            return Rows(starts, kept, None, None, None, tf.where(lengths > budget, 1, 0), gaps)
        offset, kept, text_index = _windows(lengths, budget + 0 * lengths, stride)
        starts = tf.gather(starts, text_index) + offset
        return Rows(starts, kept, None, None, text_index, tf.zeros_like(kept))

    budget = max_length - 3
    pair_starts = tf.reduce_sum(lengths) + tf.cumsum(pair_lengths, exclusive=True)
    if stride is None:
        kept, pair_kept = truncate_pair(lengths, pair_lengths, budget, truncation)
        is_cut = kept + pair_kept < lengths + pair_lengths
        rows = Rows(starts, kept, pair_starts, pair_kept, None, tf.where(is_cut, 1, 0))
        if truncation == "head_and_tail":
            rows = rows._replace(gaps=lengths - kept, pair_gaps=pair_lengths - pair_kept)
        return rows
    # Each window has room for a piece that the one before did not have.
    fixed, cut = (pair_lengths, lengths) if truncation == "only_first" else (lengths, pair_lengths)
    kept = tf.minimum(fixed, budget - stride - 1)
    offset, window, text_index = _windows(cut, budget - kept, stride)
    truncated = tf.gather(tf.where(kept < fixed, 1, 0), text_index)
    kept, starts, pair_starts = (tf.gather(x, text_index) for x in (kept, starts, pair_starts))
    if truncation == "only_first":
        return Rows(starts + offset, window, pair_starts, kept, text_index, truncated)
    return Rows(starts, kept, pair_starts + offset, window, text_index, truncated)


def _windows(lengths, room, stride):
    """Cuts texts to windows of at most `room` [batch] pieces that overlap by `stride`.

    Returns:
        `(offset, length, text_index)`, int32 `[windows]`.
    """
    step = room - stride
    windows = 1 + (tf.maximum(lengths - room, 0) + step - 1) // step  # [batch]
    first = tf.cumsum(windows, exclusive=True)
    total = tf.expand_dims(tf.reduce_sum(windows), 0)
    text_index = tf.cumsum(tf.scatter_nd(tf.expand_dims(first, 1), tf.ones_like(first), total)) - 1
    number = tf.range(total[0]) - tf.gather(first, text_index)
    offset = number * tf.gather(step, text_index)
    length = tf.minimum(tf.gather(room, text_index), tf.gather(lengths, text_index) - offset)
    return offset, length, text_index


def _past_gap(number, kept, gaps):
    """Which piece of its text stands at each place, of a text that is cut in its middle.

    Of what is kept, a quarter comes from the text's head and the rest from its tail: of 512 tokens,
    128 and 382, which Sun et al. (2019, https://arxiv.org/abs/1905.05583) found best.

    Args:
        number: int32 `[rows, seq]`: number of the place among the pieces that are kept.
        kept: int32 `[rows]`: pieces that are kept.
        gaps: int32 `[rows]`: pieces that are left out, or None if they are the last ones.

    Returns:
        int32 `[rows, seq]`.
    """
    if gaps is None:
        return number
    head, gaps = tf.expand_dims((kept + 2) // 4, 1), tf.expand_dims(gaps, 1)  # [rows, 1]
    return number + tf.where(number >= head, gaps, 0)


def pack(rows, features, special_ids, max_length, pad_to_max_length=False, multiple=None):
    """Fills dense rows.

    Args:
        rows: `Rows`.
        features: dict of name to int32 `[n]`, `n >= 1`: what goes along with each piece, of all
            first texts end to end, then of all second texts; "token_ids" among them.
        special_ids: `(cls, sep, pad)` token ids.
        max_length: int: see `lay_out`.
        pad_to_max_length: bool: rows have `max_length` tokens, not those of the longest row.
        multiple: int or None: rows have a multiple of this many tokens.

    Returns:
        A dict of int32 `[rows, seq]`: "token_ids", "segment_ids" (1 in the second text and its
        [SEP]), "padding_mask" (1 at tokens, 0 at padding), and the other features, -1 where there
        is no piece.
    """
    cls, sep, pad = special_ids
    starts, first, pair_starts, second = rows[:4]
    total = first + 2 if second is None else first + second + 3
    if pad_to_max_length:
        seq = max_length
    else:
        seq = tf.reduce_max(tf.concat([total, [2]], 0))  # also defined for an empty batch
    if multiple is not None:
        seq = (seq + multiple - 1) // multiple * multiple

    column = tf.expand_dims(tf.range(seq), 0)  # [1, seq]
    # Column j holds piece j - 1 of the first text; past it, piece j - (first + 2) of the second.
    number = _past_gap(column - 1, first, rows.gaps)
    first, total, starts = (tf.expand_dims(x, 1) for x in (first, total, starts))  # [rows, 1]
    source = starts + number
    is_piece = tf.logical_and(column >= 1, column <= first)
    in_second = tf.zeros_like(source)
    if second is not None:
        after_first = column - (first + 2)
        in_second = tf.where(tf.logical_and(after_first >= 0, column < total), 1, 0)
        number = _past_gap(after_first, second, rows.pair_gaps)
        source = tf.where(in_second > 0, tf.expand_dims(pair_starts, 1) + number, source)
        is_pair_piece = tf.logical_and(in_second > 0, column < total - 1)
        is_piece = tf.logical_or(is_piece, is_pair_piece)
    is_token = column < total
    source = tf.where(is_piece, source, 0)
    outputs = {}
    for name, values in features.items():
        outputs[name] = tf.where(is_piece, tf.gather(values, source), -1)
    token = tf.where(is_piece, outputs["token_ids"], tf.where(is_token, sep, pad))
    outputs["token_ids"] = tf.where(tf.equal(column, 0), cls, token)
    outputs["segment_ids"] = in_second
    outputs["padding_mask"] = tf.cast(is_token, tf.int32)
    return outputs
