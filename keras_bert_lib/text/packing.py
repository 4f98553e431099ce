"""Truncates pieces and packs them to BERT's input: [CLS] first [SEP] second [SEP]."""

import tensorflow as tf


def truncate_pair(first, second, budget):
    """Shortens the longer of two texts first, as Hugging Face's `longest_first` does.

    Args:
        first: int32 `[batch]`: pieces in each first text.
        second: int32 `[batch]`: pieces in each second text.
        budget: int: most pieces the two may have together.

    Returns:
        The two, int32 `[batch]`.
    """
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


def pack(pieces, lengths, pair_lengths, max_length, pad_to_max_length, special_ids):
    """Packs texts, or pairs of texts, to dense rows.

    Args:
        pieces: int32 `[n]`, `n >= 1`: piece ids of all first texts end to end, then of all second
            texts.
        lengths: int32 `[batch]`: pieces in each first text.
        pair_lengths: int32 `[batch]`: pieces in each second text, or None for single texts.
        max_length: int: most tokens in a row, special tokens included.
        pad_to_max_length: bool: rows have `max_length` tokens, not those of the longest row.
        special_ids: `(cls, sep, pad)` token ids.

    Returns:
        A dict of int32 `[batch, seq]`: "token_ids", "segment_ids" (1 in the second text and its
        [SEP]), "padding_mask" (1 at tokens, 0 at padding).
    """
    cls, sep, pad = special_ids
    starts = tf.cumsum(lengths, exclusive=True)
    if pair_lengths is None:
        first = tf.minimum(lengths, max_length - 2)
        total = first + 2
    else:
        pair_starts = tf.reduce_sum(lengths) + tf.cumsum(pair_lengths, exclusive=True)
        first, second = truncate_pair(lengths, pair_lengths, max_length - 3)
        total = first + second + 3
    if pad_to_max_length:
        seq = max_length
    else:
        seq = tf.reduce_max(tf.concat([total, [2]], 0))  # also defined for an empty batch

    column = tf.expand_dims(tf.range(seq), 0)  # [1, seq]
    first, total, starts = (tf.expand_dims(x, 1) for x in (first, total, starts))  # [batch, 1]
    # Column j holds piece j - 1 of the first text; past it, piece j - (first + 2) of the second.
    source = starts + column - 1
    is_piece = tf.logical_and(column >= 1, column <= first)
    in_second = tf.zeros_like(source)
    if pair_lengths is not None:
        after_first = column - (first + 2)
        in_second = tf.where(tf.logical_and(after_first >= 0, column < total), 1, 0)
        pair_starts = tf.expand_dims(pair_starts, 1)
        source = tf.where(in_second > 0, pair_starts + after_first, source)
        is_pair_piece = tf.logical_and(in_second > 0, column < total - 1)
        is_piece = tf.logical_or(is_piece, is_pair_piece)
    is_token = column < total
    token = tf.gather(pieces, tf.where(is_piece, source, 0))
    token = tf.where(is_piece, token, tf.where(is_token, sep, pad))
    token = tf.where(tf.equal(column, 0), cls, token)
    return {
        "token_ids": token,
        "segment_ids": in_second,
        "padding_mask": tf.cast(is_token, tf.int32),
    }
