"""Labelled texts to batches for `BertClassifier`."""

import math

import numpy as np
import tensorflow as tf

from keras_bert_lib.data.labelled_texts import LabelledTexts, read_labelled_texts
from keras_bert_lib.text import packing

# Batches among which texts are sorted by length. More would save no padding and mix less.
_WINDOW_BATCHES = 50
# Characters that go through the tokenizer at once: enough to make the calls cheap.
_TOKENIZER_CHARACTERS = 65_536


def text_classification(
    source,
    tokenizer,
    batch_size=32,
    text_column="text",
    label_column="label",
    text_pair_column=None,
    labels=None,
    max_length=128,
    shuffle=True,
    seed=0,
    pad_to_max_length=False,
):
    """Makes batches of token ids and labels, ready for `fit`, `evaluate` and `predict`.

    The texts are tokenized once, here, and their ids are held in memory. Batches are padded to
    their longest text. With `shuffle`, texts of about the same length share a batch, so that little
    is padded: every epoch the texts are shuffled, sorted by length among 50 batches' worth of them
    at a time, and the batches shuffled again. The number of batches is known: `len(dataset)`.

    Args:
        source: what `read_labelled_texts` reads (a CSV, TSV or JSONL path, a pandas data frame, a
            list of `(text, label)`, a `tf.data.Dataset`), or the `LabelledTexts` that it returned,
            which also tell the labels.
        tokenizer: `BertTokenizer`.
        batch_size: texts in a batch. The last batch may hold fewer.
        text_column: the column of the texts.
        label_column: the column of the labels: str, int or bool.
        text_pair_column: the column of second texts; None for single texts.
        labels: the labels in the order of their ids. By default those that occur, sorted.
        max_length: longer texts, or pairs, are truncated. In pieces, special tokens included.
        shuffle: whether to shuffle anew in every epoch, as training wants it. Off, the order of
            the source is kept, as `predict` wants it.
        seed: int; data sets with the same seed shuffle alike.
        pad_to_max_length: whether to pad every batch to `max_length`, where shapes must not change
            (XLA compiles once a shape).

    Returns:
        `tf.data.Dataset` of `({"token_ids", "segment_ids", "padding_mask"}, label_ids)`: int32
        `[b, s]`, s being the longest of the batch, and int32 `[b]`.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: what is wrong with the rows, as `read_labelled_texts` says it.

    Example:
        >>> import keras_bert_lib as kbl
        >>> tokenizer = kbl.BertTokenizer("[PAD] [UNK] [CLS] [SEP] [MASK] a fine dull film".split())
        >>> texts = kbl.data.read_labelled_texts([("a fine film", "pos"), ("dull", "neg")])
        >>> texts.labels
        ['neg', 'pos']
        >>> x, y = next(iter(kbl.data.text_classification(texts, tokenizer, shuffle=False)))
        >>> x["token_ids"].numpy()
        array([[2, 5, 6, 8, 3],
               [2, 7, 3, 0, 0]], dtype=int32)
        >>> y.numpy()
        array([1, 0], dtype=int32)
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be 1 at least. Received: {batch_size}")
    if max_length < 5:
        raise ValueError(
            "`max_length` must be 5 at least: the special tokens and one piece a text. "
            f"Received: {max_length}"
        )
    if not isinstance(source, LabelledTexts):
        source = read_labelled_texts(source, text_column, label_column, text_pair_column, labels)
    count = len(source.texts)
    pieces = _tokenize(tokenizer, source.texts)  # ragged [n, pieces]
    pair_pieces = None if source.text_pairs is None else _tokenize(tokenizer, source.text_pairs)
    label_ids = tf.constant(source.label_ids)

    rows = tf.data.Dataset.range(count)
    if shuffle:
        lengths = pieces.row_lengths()
        if pair_pieces is not None:
            lengths += pair_pieces.row_lengths()
        lengths = tf.minimum(lengths, max_length)  # in any order where they are truncated
        rows = rows.shuffle(count, seed=seed)
        rows = rows.batch(batch_size * _WINDOW_BATCHES)
        rows = rows.map(lambda window: tf.gather(window, tf.argsort(tf.gather(lengths, window))))
        rows = rows.unbatch().batch(batch_size).shuffle(_WINDOW_BATCHES, seed=seed)
    else:
        rows = rows.batch(batch_size)

    def to_examples(batch):  # [b]
        ragged = [tf.gather(x, batch) for x in (pieces, pair_pieces) if x is not None]
        lengths = [tf.cast(x.row_lengths(), tf.int32) for x in ragged]
        # As the tokenizer packs them; it wants one piece at least, even if all texts are empty.
        values = tf.concat([x.values for x in ragged] + [[tokenizer.pad_token_id]], 0)
        layout = packing.lay_out(lengths[0], lengths[1] if len(lengths) == 2 else None, max_length)
        special_ids = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id)
        x = packing.pack(layout, {"token_ids": values}, special_ids, max_length, pad_to_max_length)
        return x, tf.gather(label_ids, batch)

    dataset = rows.map(to_examples, num_parallel_calls=tf.data.AUTOTUNE)
    cardinality = tf.data.experimental.assert_cardinality(math.ceil(count / batch_size))
    return dataset.apply(cardinality).prefetch(tf.data.AUTOTUNE)


def _tokenize(tokenizer, texts):
    """The piece ids of the texts, a ragged tensor `[n, pieces]`."""
    values, lengths = [], []
    start, characters = 0, 0
    for end, text in enumerate(texts, start=1):
        characters += len(text)
        # The tokenizer's memory grows with the text that it is given at once.
        if characters >= _TOKENIZER_CHARACTERS or end == len(texts):
            ragged = tokenizer.tokenize_ragged(texts[start:end])
            values.append(ragged.values.numpy())
            lengths.append(ragged.row_lengths().numpy())
            start, characters = end, 0
    return tf.RaggedTensor.from_row_lengths(np.concatenate(values), np.concatenate(lengths))
