"""Batches of which little is padding: what the data sets of all tasks share."""

import itertools
import math
import random

import numpy as np
import tensorflow as tf

from keras_bert_lib.data.prefetched import prefetched
from keras_bert_lib.text import packing

# Batches among which rows are sorted by length. More would save no padding and mix less.
WINDOW_BATCHES = 50
# Where not all rows are in memory: how many are held to be drawn from, and how many windows of
# batches are made of them at a time.
_BUFFER_ROWS = 20_000
_PART_WINDOWS = 4
# Characters that go through the tokenizer at once: enough to make the calls cheap.
_TOKENIZER_CHARACTERS = 65_536


def check_sizes(batch_size, max_length, least):
    """Raises where a batch would be empty, or texts have no room.

    Args:
        batch_size: int.
        max_length: int, tokens of a row.
        least: int, the tokens that a row needs.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be 1 at least. Received: {batch_size}")
    if max_length < least:
        raise ValueError(
            f"`max_length` must be {least} at least: the special tokens and one piece a text. "
            f"Received: {max_length}"
        )


def text_chunks(texts):
    """Yields slices of texts that are worth a call of the tokenizer."""
    start, characters = 0, 0
    for end, text in enumerate(texts, start=1):
        characters += len(text)
        # The tokenizer's memory grows with the text that it is given at once.
        if characters >= _TOKENIZER_CHARACTERS or end == len(texts):
            yield texts[start:end]
            start, characters = end, 0


def tokenize(tokenizer, texts):
    """Cuts texts to pieces, without special tokens.

    Args:
        tokenizer: `BertTokenizer`.
        texts: list of str `[n]`.

    Returns:
        `(ids, lengths)`, int32 NumPy arrays: the pieces of all texts, end to end; and how many each
        has, `[n]`.
    """
    ids, lengths = [np.zeros([0], np.int32)], [np.zeros([0], np.int32)]
    for chunk in text_chunks(texts):
        ragged = tokenizer.tokenize_ragged(chunk)
        ids.append(ragged.values.numpy())
        lengths.append(ragged.row_lengths().numpy())
    return np.concatenate(ids), np.concatenate(lengths).astype(np.int32)


class PackedRows:
    """Pieces in memory, of which any rows can be packed to BERT's input.

    Args:
        tokenizer: `BertTokenizer`, for the special tokens.
        rows: `packing.Rows`, which pieces stand in which row.
        features: dict of name to int32 `[pieces]`, see `packing.pack`.
        max_length: int, most tokens of a row.
        pad_to_max_length: bool, whether all rows have so many.
    """

    def __init__(self, tokenizer, rows, features, max_length, pad_to_max_length):
        with tf.device("CPU:0"):  # where `tf.data` reads them
            # It wants one piece at least, even if all texts are empty.
            self._features = {
                name: tf.constant(np.append(x, np.int32(tokenizer.pad_token_id)))
                for name, x in features.items()
            }
            self._rows = packing.Rows(*(None if x is None else tf.identity(x) for x in rows))
        self._options = (max_length, pad_to_max_length)
        self._special_ids = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id)
        lengths = [x for x in (rows.lengths, rows.pair_lengths) if x is not None]
        self.lengths = tf.add_n(lengths)  # of pieces in each row

    def pack(self, index):
        """Returns the input, a dict of int32 `[b, s]`, that holds the rows of `index` `[b]`."""
        rows = packing.Rows(*(None if x is None else tf.gather(x, index) for x in self._rows))
        return packing.pack(rows, self._features, self._special_ids, *self._options)


def pack_texts(
    tokenizer, texts, text_pairs, max_length, pad_to_max_length, truncation="longest_first"
):
    """Tokenizes texts, or pairs of them, and holds them as `PackedRows`."""
    ids, lengths = tokenize(tokenizer, texts)
    pair_lengths = None
    if text_pairs is not None:
        pair_ids, pair_lengths = tokenize(tokenizer, text_pairs)
        ids = np.concatenate([ids, pair_ids])
    rows = packing.lay_out(lengths, pair_lengths, max_length, truncation)
    return PackedRows(tokenizer, rows, {"token_ids": ids}, max_length, pad_to_max_length)


def length_batches(lengths, to_batch, batch_size, shuffle, seed):
    """Makes a data set of batches of rows that are in memory.

    With `shuffle`, rows of about the same length share a batch: every epoch the rows are shuffled,
    sorted by length among `WINDOW_BATCHES` batches' worth of them at a time, and the batches
    shuffled again. The number of batches is known.

    Args:
        lengths: int32 `[n]`, tokens of each row, or any number that grows with them.
        to_batch: function of int64 `[b]`, the rows of a batch, to an element of the data set.
        batch_size: int, rows of a batch; the last one may hold fewer.
        shuffle: bool.
        seed: int.

    Returns:
        `tf.data.Dataset`.
    """
    count = len(lengths)
    lengths = tf.constant(lengths)
    rows = tf.data.Dataset.range(count)
    if shuffle:
        rows = rows.shuffle(count, seed=seed)
        rows = rows.batch(batch_size * WINDOW_BATCHES)
        rows = rows.map(lambda window: tf.gather(window, tf.argsort(tf.gather(lengths, window))))
        rows = rows.unbatch().batch(batch_size).shuffle(WINDOW_BATCHES, seed=seed)
    else:
        rows = rows.batch(batch_size)
    dataset = rows.map(to_batch, num_parallel_calls=tf.data.AUTOTUNE)
    cardinality = tf.data.experimental.assert_cardinality(math.ceil(count / batch_size))
    return prefetched(dataset.apply(cardinality))


def streamed_batches(source, read_rows, to_dataset, batch_size, shuffle, seed):
    """Makes a data set of batches of rows that are read as they are needed.

    With `shuffle`, each part of rows is drawn from a buffer of 20,000, and its batches are those of
    `length_batches`.

    Args:
        source: what the rows are read from.
        read_rows: function that returns an iterator over the rows, anew for each epoch.
        to_dataset: function of a list of rows and a seed, to the data set of their batches.
        batch_size: int, rows of a batch.
        shuffle: bool.
        seed: int.

    Returns:
        `tf.data.Dataset`, of which it is not known how many batches it has.

    Raises:
        ValueError: if there are no rows, the first of them are wrong, or the source can be read
            only once. What is wrong with other rows comes up as they are read, as
            `tf.errors.InvalidArgumentError`.
    """
    if hasattr(source, "__next__"):
        raise ValueError(
            "With `streaming`, every epoch reads the source anew, and this one can be read once. "
            f"Give files, or what can be read again. Received: {type(source).__name__}"
        )
    size = batch_size * WINDOW_BATCHES * _PART_WINDOWS
    head = list(itertools.islice(read_rows(), batch_size))
    if not head:
        raise ValueError("There are no rows to read. Received: an empty source")
    spec = to_dataset(head, seed).element_spec
    epochs = itertools.count()

    def batches():
        rng = random.Random(f"{seed} {next(epochs)}")
        rows = read_rows()
        parts = _drawn(rows, size, rng) if shuffle else _parts(rows, size)
        for part in parts:
            yield from to_dataset(part, rng.randrange(2**31))

    return prefetched(tf.data.Dataset.from_generator(batches, output_signature=spec))


def _parts(rows, size):
    """Yields lists of `size` rows, in order."""
    rows = iter(rows)
    while part := list(itertools.islice(rows, size)):
        yield part


def _drawn(rows, size, rng):
    """Yields lists of `size` rows, drawn from those that a buffer holds."""
    held = []
    for row in rows:
        held.append(row)
        if len(held) == _BUFFER_ROWS + size:
            rng.shuffle(held)
            yield held[_BUFFER_ROWS:]
            del held[_BUFFER_ROWS:]
    rng.shuffle(held)
    yield from _parts(held, size)
