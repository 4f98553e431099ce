"""Texts to batches of masked pieces, for `BertMaskedLM`."""

import itertools
import math

import numpy as np
import tensorflow as tf

from keras_bert_lib.data.length_batches import WINDOW_BATCHES, check_sizes, tokenize
from keras_bert_lib.data.masked_examples import MASKINGS, masked_batch, piece_tables
from keras_bert_lib.data.plain_texts import Texts, read_texts
from keras_bert_lib.data.prefetched import prefetched
from keras_bert_lib.data.segment_pairs import SegmentPair

_NO_PIECES = np.zeros([0], np.int32)


def masked_language_modeling(
    source,
    tokenizer,
    batch_size=32,
    text_column="text",
    max_length=128,
    masked_lm_prob=0.15,
    masking="piece",
    shuffle=True,
    seed=0,
    pad_to_max_length=False,
):
    """Makes batches of texts with some pieces hidden, from which `BertMaskedLM` learns.

    For a model to know the texts of a domain better, before it is fine-tuned for a task, or to fill
    in masks. (`pretraining_dataset` is for corpora: it streams, and makes long examples of many
    sentences.) All is tokenized once, here; a text that is too long is cut into several examples.
    Batches are padded to their longest example, and examples of about the same length share a
    batch; see `text_classification`. Each epoch hides other pieces: 80% of those that are chosen
    become `[MASK]`, 10% a random piece, and 10% stay.

    Args:
        source: what `read_texts` reads, or the `Texts` that it returned.
        tokenizer: `BertTokenizer`, whose vocabulary has `[MASK]`.
        batch_size: examples in a batch. The last batch may hold fewer.
        text_column: the column of the texts, where the source has columns.
        max_length: pieces of an example, special tokens included.
        masked_lm_prob: the share of pieces to predict.
        masking: "piece", "whole_word" or "ngram": what is hidden as one.
        shuffle: whether to shuffle anew in every epoch. Off, the order of the source is kept, and
            every epoch hides the same pieces, as one wants to measure on.
        seed: int; data sets with the same seed are the same.
        pad_to_max_length: whether to pad every batch to `max_length`, where shapes must not change.

    Returns:
        `tf.data.Dataset` of `x`, a dict of int32 tensors `token_ids`, `segment_ids` and
        `padding_mask` `[b, s]`, `masked_positions` and `masked_ids` `[b, p]`, and of
        `masked_weights`, float32 `[b, p]`.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: an argument is out of its range, no text has a piece, or what `read_texts` says.

    Example:
        >>> import keras_bert_lib as kbl
        >>> tokenizer = kbl.BertTokenizer("[PAD] [UNK] [CLS] [SEP] [MASK] a film movie".split())
        >>> x = next(iter(kbl.data.masked_language_modeling(["a film"], tokenizer)))
        >>> x["token_ids"].shape, x["masked_ids"].shape
        (TensorShape([1, 4]), TensorShape([1, 1]))

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805), section 3.1, for the masks
        - [Gururangan et al., 2020](https://arxiv.org/abs/2004.10964), for what it is good for
    """
    check_sizes(batch_size, max_length, least=3)
    if not 0 < masked_lm_prob <= 1:
        raise ValueError(
            f"`masked_lm_prob` is a share, above 0 and up to 1. Received: {masked_lm_prob}"
        )
    if masking not in MASKINGS:
        raise ValueError(f"`masking` is one of {', '.join(MASKINGS)}. Received: {masking!r}")
    tables = piece_tables(tokenizer)
    texts = source if isinstance(source, Texts) else read_texts(source, text_column)
    rows = _parts(*tokenize(tokenizer, texts.texts), max_length - 2)
    if not rows:
        raise ValueError(
            f"No text has a piece to predict. Received: {len(texts.texts)} empty texts"
        )
    lengths = np.array([len(row) for row in rows])
    epochs = itertools.count()

    def batches():
        rng = np.random.default_rng((seed, next(epochs) if shuffle else 0))
        for batch in _batches(lengths, batch_size, rng if shuffle else None):
            s = max_length if pad_to_max_length else lengths[batch].max() + 2
            examples = [[SegmentPair(rows[i], _NO_PIECES, 0)] for i in batch]
            p = max(math.ceil(masked_lm_prob * (s - 2)), 1)
            x = masked_batch(examples, s, p, tables, rng, masked_lm_prob, masking)
            yield {name: x[name] for name in signature}

    s = max_length if pad_to_max_length else None
    signature = {
        "token_ids": tf.TensorSpec([None, s], tf.int32),
        "segment_ids": tf.TensorSpec([None, s], tf.int32),
        "padding_mask": tf.TensorSpec([None, s], tf.int32),
        "masked_positions": tf.TensorSpec([None, None], tf.int32),
        "masked_ids": tf.TensorSpec([None, None], tf.int32),
        "masked_weights": tf.TensorSpec([None, None], tf.float32),
    }
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    cardinality = tf.data.experimental.assert_cardinality(math.ceil(len(rows) / batch_size))
    return prefetched(dataset.apply(cardinality))


def _parts(ids, lengths, most):
    """Returns the pieces of each text, int32 `[pieces]`, those of long ones in several parts."""
    texts = np.split(ids, np.cumsum(lengths)[:-1])
    return [text[i : i + most] for text in texts for i in range(0, len(text), most)]


def _batches(lengths, batch_size, rng):
    """Yields int arrays `[b]`, which examples make a batch: in order, or drawn by `rng`."""
    order = np.arange(len(lengths))
    if rng is None:
        yield from (order[i : i + batch_size] for i in range(0, len(order), batch_size))
        return
    # As `length_batches` does. The batch that is not full is the longest of the last window.
    order = rng.permutation(order)
    size = batch_size * WINDOW_BATCHES
    for start in range(0, len(order), size):
        window = order[start : start + size]
        window = window[np.argsort(lengths[window], kind="stable")]
        batches = [window[i : i + batch_size] for i in range(0, len(window), batch_size)]
        yield from (batches[i] for i in rng.permutation(len(batches)))
