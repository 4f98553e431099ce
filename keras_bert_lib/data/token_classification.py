"""Words with tags to batches for `BertTokenClassifier`."""

import numpy as np
import tensorflow as tf

from keras_bert_lib.data.labelled_tokens import (
    LabelledTokens,
    gather_labelled_tokens,
    labelled_token_rows,
    read_labelled_tokens,
)
from keras_bert_lib.data.length_batches import (
    PackedRows,
    check_sizes,
    length_batches,
    streamed_batches,
    tokenize,
)
from keras_bert_lib.text import packing

# The label of tokens that have none: special tokens, padding, and later pieces of a word.
_NO_LABEL = -100


def token_classification(
    source,
    tokenizer,
    batch_size=32,
    token_column=0,
    label_column=-1,
    labels=None,
    max_length=128,
    shuffle=True,
    seed=0,
    pad_to_max_length=False,
    streaming=False,
):
    """Makes batches of token ids and labels, ready for `fit` and `evaluate`.

    The words stay those of the source: each is cut to pieces by itself, and its first piece has its
    label. A sentence that is too long goes on in further rows, so that every word counts once. A
    word that BERT's text rules drop altogether has no piece, and so no label.

    The words are tokenized once, here. Batches are padded to their longest row, and rows of about
    the same length share a batch; see `text_classification`.

    Args:
        source: what `read_labelled_tokens` reads (a file in CoNLL's columns, `.jsonl` or
            `.parquet`, a pandas data frame, a Hugging Face data set, a list of `(words, tags)`), or
            the `LabelledTokens` that it returned, which also tell the labels.
        tokenizer: `BertTokenizer`.
        batch_size: rows in a batch. The last batch may hold fewer.
        token_column: the column of the words, its number or name.
        label_column: the column of the tags, its number or name.
        labels: the tags in the order of their ids. By default those that a Hugging Face data set
            names, or else those that occur, see `read_labelled_tokens`. With `streaming`, they must
            be told.
        max_length: most tokens of a row, special tokens included.
        shuffle: whether to shuffle anew in every epoch. Off, the order of the source is kept.
        seed: int; data sets with the same seed shuffle alike.
        pad_to_max_length: whether to pad every batch to `max_length`, where shapes must not change.
        streaming: whether to read rows as they are needed, for more than memory holds.

    Returns:
        `tf.data.Dataset` of `({"token_ids", "segment_ids", "padding_mask"}, label_ids)`, all int32
        `[b, s]`, s being the longest of the batch; -100 where there is no label.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: what is wrong with the rows, as `read_labelled_tokens` says it. With
            `streaming`, what is wrong with later rows comes up as they are read, as
            `tf.errors.InvalidArgumentError`.

    Example:
        >>> import keras_bert_lib as kbl
        >>> tokenizer = kbl.BertTokenizer("[PAD] [UNK] [CLS] [SEP] [MASK] ann ##a sings".split())
        >>> rows = [(["Anna", "sings"], ["B-person", "O"])]
        >>> x, y = next(iter(kbl.data.token_classification(rows, tokenizer)))
        >>> x["token_ids"].numpy()
        array([[2, 5, 6, 7, 3]], dtype=int32)
        >>> y.numpy()
        array([[-100, 1, -100, 0, -100]], dtype=int32)

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805), section 5.3
    """
    check_sizes(batch_size, max_length, least=3)

    def to_dataset(read, seed):
        rows = _pack(read, tokenizer, max_length, pad_to_max_length)

        def to_batch(index):
            x = rows.pack(index)
            # Where there is no piece, `pack` has -1.
            return x, tf.where(x["label_ids"] < 0, _NO_LABEL, x.pop("label_ids"))

        return length_batches(rows.lengths, to_batch, batch_size, shuffle, seed)

    if isinstance(source, LabelledTokens):
        return to_dataset(source, seed)
    columns = (token_column, label_column, labels)
    if not streaming:
        return to_dataset(read_labelled_tokens(source, *columns), seed)
    _, known = labelled_token_rows(source, *columns)
    if known is None:
        raise ValueError(
            "With `streaming`, `labels` must name the tags, since not all rows are read before the "
            "first batch. Received: labels=None"
        )
    return streamed_batches(
        source,
        lambda: labelled_token_rows(source, *columns)[0],
        lambda rows, seed: to_dataset(gather_labelled_tokens(rows, known), seed),
        batch_size,
        shuffle,
        seed,
    )


def _pack(read, tokenizer, max_length, pad_to_max_length):
    """Cuts the words of `LabelledTokens` to pieces; returns `PackedRows` with "label_ids"."""
    ids = {tag: i for i, tag in enumerate(read.labels)}
    for i, tags in enumerate(read.tags):
        unknown = [tag for tag in tags if tag not in ids]
        if unknown:
            raise ValueError(
                f"Sentence {i} has a tag that is not one of {', '.join(read.labels)}. "
                f"Received: {unknown[0]!r}"
            )
    # Each distinct word is cut once: most of a corpus is the same words again.
    distinct = {}
    words = [distinct.setdefault(word, len(distinct)) for row in read.words for word in row]
    pieces, lengths = tokenize(tokenizer, list(distinct))
    starts = np.cumsum(lengths) - lengths  # [distinct]
    lengths, starts = lengths[words], starts[words]  # [words]
    ends = np.cumsum(lengths)
    first = ends - lengths  # where each word starts among all pieces
    source = np.repeat(starts - first, lengths) + np.arange(lengths.sum())  # [pieces]
    label_ids = np.full(lengths.sum(), -1, np.int32)
    has_pieces = lengths > 0
    tags = np.array([ids[tag] for row in read.tags for tag in row], np.int32)
    label_ids[first[has_pieces]] = tags[has_pieces]

    ends = np.append(0, ends)[np.append(0, np.cumsum([len(row) for row in read.words]))]
    rows = packing.lay_out(np.diff(ends).astype(np.int32), None, max_length, stride=0)
    features = {"token_ids": pieces[source], "label_ids": label_ids}
    return PackedRows(tokenizer, rows, features, max_length, pad_to_max_length)
