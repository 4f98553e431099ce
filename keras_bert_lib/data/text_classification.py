"""Labelled texts to batches for `BertClassifier`."""

import tensorflow as tf

from keras_bert_lib.data.labelled_texts import (
    REGRESSION,
    SINGLE_LABEL,
    LabelledTexts,
    gather_labelled_texts,
    labelled_rows,
    read_labelled_texts,
)
from keras_bert_lib.data.length_batches import (
    check_sizes,
    length_batches,
    pack_texts,
    streamed_batches,
)

# Of each way to cut long texts, the tokenizer's name for it.
_TRUNCATIONS = {"head": "longest_first", "head_and_tail": "head_and_tail"}


def text_classification(
    source,
    tokenizer,
    batch_size=32,
    text_column="text",
    label_column="label",
    text_pair_column=None,
    labels=None,
    problem_type=SINGLE_LABEL,
    max_length=128,
    long_texts="head",
    shuffle=True,
    seed=0,
    pad_to_max_length=False,
    streaming=False,
):
    """Makes batches of token ids and labels, ready for `fit`, `evaluate` and `predict`.

    The texts are tokenized once, here, and their ids are held in memory. Batches are padded to
    their longest text. With `shuffle`, texts of about the same length share a batch, so that little
    is padded: every epoch the texts are shuffled, sorted by length among 50 batches' worth of them
    at a time, and the batches shuffled again. The number of batches is known: `len(dataset)`.

    With `streaming`, rows are read and tokenized as they are needed, anew in every epoch, for more
    than memory holds: 20,000 rows are held at a time to draw from. Then the number of batches is
    not known; `fit` finds it in the first epoch, at whose end Keras warns that the data ran out.

    Args:
        source: what `read_labelled_texts` reads (a CSV, TSV, JSONL or Parquet path, a pandas data
            frame, a Hugging Face data set, a list of `(text, label)`, a `tf.data.Dataset`), or the
            `LabelledTexts` that it returned, which also tell the labels and the problem type.
        tokenizer: `BertTokenizer`.
        batch_size: texts in a batch. The last batch may hold fewer.
        text_column: the column of the texts.
        label_column: the column of the labels.
        text_pair_column: the column of second texts; None for single texts.
        labels: the labels in the order of their ids. By default those that a Hugging Face data set
            names, or else those that occur, sorted. With `streaming`, they must be told.
        problem_type: "single_label_classification", "multi_label_classification" or "regression";
            see `read_labelled_texts`.
        max_length: longer texts, or pairs, are truncated. In pieces, special tokens included.
        long_texts: which pieces of a truncated text stay: "head", the first, or "head_and_tail",
            a quarter of them from its beginning and the rest from its end (Sun et al., 2019).
        shuffle: whether to shuffle anew in every epoch, as training wants it. Off, the order of
            the source is kept, as `predict` wants it.
        seed: int; data sets with the same seed shuffle alike.
        pad_to_max_length: whether to pad every batch to `max_length`, where shapes must not change
            (XLA compiles once a shape).
        streaming: whether to read rows as they are needed.

    Returns:
        `tf.data.Dataset` of `({"token_ids", "segment_ids", "padding_mask"}, label_ids)`: int32
        `[b, s]`, s being the longest of the batch; and int32 `[b]`, of several labels float32
        `[b, classes]`, of regression float32 `[b]` or `[b, numbers]`.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: what is wrong with the rows, as `read_labelled_texts` says it; or `batch_size`,
            `max_length`, `long_texts` or `problem_type` is none. With `streaming`, what is wrong
            with later rows comes up as they are read, as `tf.errors.InvalidArgumentError`.

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

    References:
        - [Sun et al., 2019](https://arxiv.org/abs/1905.05583), how to cut long texts
    """
    check_sizes(batch_size, max_length, least=5)
    if long_texts not in _TRUNCATIONS:
        raise ValueError(
            f"`long_texts` must be one of {', '.join(_TRUNCATIONS)}. Received: {long_texts!r}"
        )

    def to_dataset(read, seed):
        texts = pack_texts(
            tokenizer,
            read.texts,
            read.text_pairs,
            max_length,
            pad_to_max_length,
            _TRUNCATIONS[long_texts],
        )
        label_ids = tf.constant(read.label_ids)
        return length_batches(
            texts.lengths,
            lambda index: (texts.pack(index), tf.gather(label_ids, index)),
            batch_size,
            shuffle,
            seed,
        )

    if isinstance(source, LabelledTexts):
        return to_dataset(source, seed)
    columns = (text_column, label_column, text_pair_column, labels, problem_type)
    if not streaming:
        return to_dataset(read_labelled_texts(source, *columns), seed)

    def read_rows():
        return labelled_rows(source, *columns)

    _, known = read_rows()
    if known is None and problem_type != REGRESSION:
        raise ValueError(
            "With `streaming`, `labels` must name the labels, since not all rows are read before "
            "the first batch. Received: labels=None"
        )
    return streamed_batches(
        source,
        lambda: read_rows()[0],
        lambda rows, seed: to_dataset(gather_labelled_texts(rows, known, problem_type), seed),
        batch_size,
        shuffle,
        seed,
    )
