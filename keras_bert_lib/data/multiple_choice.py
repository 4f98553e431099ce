"""Texts with choices to batches for `BertMultipleChoice`."""

import tensorflow as tf

from keras_bert_lib.data.labelled_choices import (
    LabelledChoices,
    gather_labelled_choices,
    labelled_choice_rows,
    read_labelled_choices,
)
from keras_bert_lib.data.length_batches import (
    check_sizes,
    length_batches,
    pack_texts,
    streamed_batches,
)


def multiple_choice(
    source,
    tokenizer,
    batch_size=16,
    text_column="text",
    choices_column="choices",
    label_column="label",
    max_length=128,
    shuffle=True,
    seed=0,
    pad_to_max_length=False,
    streaming=False,
):
    """Makes batches of texts with their choices, ready for `fit` and `evaluate`.

    Each choice is the second segment beside its text. All is tokenized once, here. Batches are
    padded to their longest choice, and texts of about the same length share a batch; see
    `text_classification`.

    Args:
        source: what `read_labelled_choices` reads (a table, a Hugging Face data set, a list of
            `((text, choices), label)`), or the `LabelledChoices` that it returned.
        tokenizer: `BertTokenizer`.
        batch_size: texts in a batch, each with all its choices. The last batch may hold fewer.
        text_column: the column of the texts.
        choices_column: the column of the choices, or a list of columns, one a choice.
        label_column: the column that tells which choice is right.
        max_length: longer pairs of a text and a choice are truncated. In pieces, special tokens
            included.
        shuffle: whether to shuffle anew in every epoch. Off, the order of the source is kept.
        seed: int; data sets with the same seed shuffle alike.
        pad_to_max_length: whether to pad every batch to `max_length`, where shapes must not change.
        streaming: whether to read rows as they are needed, for more than memory holds.

    Returns:
        `tf.data.Dataset` of `({"token_ids", "segment_ids", "padding_mask"}, label_ids)`: int32
        `[b, choices, s]`, s being the longest of the batch, and int32 `[b]`.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: what is wrong with the rows, as `read_labelled_choices` says it. With
            `streaming`, what is wrong with later rows comes up as they are read, as
            `tf.errors.InvalidArgumentError`.

    Example:
        >>> import keras_bert_lib as kbl
        >>> tokenizer = kbl.BertTokenizer("[PAD] [UNK] [CLS] [SEP] [MASK] rain sun wet".split())
        >>> rows = [(("wet", ["rain", "sun"]), 0)]
        >>> x, y = next(iter(kbl.data.multiple_choice(rows, tokenizer)))
        >>> x["token_ids"].numpy()
        array([[[2, 7, 3, 5, 3],
                [2, 7, 3, 6, 3]]], dtype=int32)
        >>> y.numpy()
        array([0], dtype=int32)

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805), section 4.4
    """
    check_sizes(batch_size, max_length, least=5)

    def to_dataset(read, seed):
        count = len(read.choices[0])
        pairs = pack_texts(
            tokenizer,
            [text for text in read.texts for _ in range(count)],
            [choice for choices in read.choices for choice in choices],
            max_length,
            pad_to_max_length,
        )
        label_ids = tf.constant(read.label_ids)

        def to_batch(index):  # [b]
            rows = tf.expand_dims(index * count, 1) + tf.range(count, dtype=index.dtype)  # [b, c]
            x = pairs.pack(tf.reshape(rows, [-1]))
            x = {name: tf.reshape(y, [-1, count, tf.shape(y)[1]]) for name, y in x.items()}
            return x, tf.gather(label_ids, index)

        longest = tf.reduce_max(tf.reshape(pairs.lengths, [-1, count]), axis=1)  # [n]
        return length_batches(longest, to_batch, batch_size, shuffle, seed)

    if isinstance(source, LabelledChoices):
        return to_dataset(source, seed)
    columns = (text_column, choices_column, label_column)
    if not streaming:
        return to_dataset(read_labelled_choices(source, *columns), seed)
    return streamed_batches(
        source,
        lambda: labelled_choice_rows(source, *columns),
        lambda rows, seed: to_dataset(gather_labelled_choices(rows), seed),
        batch_size,
        shuffle,
        seed,
    )
