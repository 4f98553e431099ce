"""Pairs of texts to batches for `BertTextEmbedder`."""

import tensorflow as tf

from keras_bert_lib.data.compared_texts import (
    TextPairs,
    gather_text_pairs,
    read_text_pairs,
    text_pair_rows,
)
from keras_bert_lib.data.length_batches import (
    check_sizes,
    length_batches,
    pack_texts,
    streamed_batches,
)


def text_pairs(
    source,
    tokenizer,
    batch_size=32,
    text_column="anchor",
    text_pair_column="positive",
    negative_column=None,
    score_column=None,
    max_score=1.0,
    max_length=128,
    shuffle=True,
    seed=0,
    pad_to_max_length=False,
    streaming=False,
):
    """Makes batches of pairs of texts, from which an embedder learns what is alike.

    All is tokenized once, here. Batches are padded to their longest text, the first texts and the
    second by themselves, and pairs of about the same length share a batch; see
    `text_classification`.

    Args:
        source: what `read_text_pairs` reads (a table, a Hugging Face data set, a list of `(text,
            text_pair)`, `(text, text_pair, negative)` or `(text, text_pair, score)`), or the
            `TextPairs` that it returned.
        tokenizer: `BertTokenizer`.
        batch_size: pairs in a batch. The last batch may hold fewer.
        text_column: the column of the first texts.
        text_pair_column: the column of the texts that are like them, or are compared with them.
        negative_column: the column of texts that are not like the first ones; None for none.
        score_column: the column of numbers that tell how like the two are; None where all are.
        max_score: float, the score of two texts that mean the same, as 5 for STS-B.
        max_length: longer texts are truncated. In pieces, special tokens included.
        shuffle: whether to shuffle anew in every epoch. Off, the order of the source is kept.
        seed: int; data sets with the same seed shuffle alike.
        pad_to_max_length: whether to pad every batch to `max_length`, where shapes must not change.
        streaming: whether to read rows as they are needed, for more than memory holds.

    Returns:
        `tf.data.Dataset` of `x`, or, with scores, of `(x, scores)`, float32 `[b]` from -1 to 1. `x`
        is a dict of "anchor", "positive", and, where there are some, "negative", each a dict of
        "token_ids", "segment_ids" and "padding_mask", int32 `[b, s]`, s being the longest of them.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: what is wrong with the rows, as `read_text_pairs` says it. With `streaming`,
            what is wrong with later rows comes up as they are read, as
            `tf.errors.InvalidArgumentError`.

    Example:
        >>> import keras_bert_lib as kbl
        >>> tokenizer = kbl.BertTokenizer("[PAD] [UNK] [CLS] [SEP] [MASK] a film movie".split())
        >>> x = next(iter(kbl.data.text_pairs([("a film", "movie")], tokenizer)))
        >>> x["anchor"]["token_ids"].numpy(), x["positive"]["token_ids"].numpy()
        (array([[2, 5, 6, 3]], dtype=int32), array([[2, 7, 3]], dtype=int32))
    """
    check_sizes(batch_size, max_length, least=3)

    def to_dataset(read, seed):
        columns = {"anchor": read.texts, "positive": read.text_pairs, "negative": read.negatives}
        packed = {
            name: pack_texts(tokenizer, texts, None, max_length, pad_to_max_length)
            for name, texts in columns.items()
            if texts is not None
        }
        scores = None if read.scores is None else tf.constant(read.scores)

        def to_batch(index):
            x = {name: rows.pack(index) for name, rows in packed.items()}
            return x if scores is None else (x, tf.gather(scores, index))

        lengths = tf.add_n([rows.lengths for rows in packed.values()])
        return length_batches(lengths, to_batch, batch_size, shuffle, seed)

    if isinstance(source, TextPairs):
        return to_dataset(source, seed)
    columns = (text_column, text_pair_column, negative_column, score_column, max_score)
    if not streaming:
        return to_dataset(read_text_pairs(source, *columns), seed)
    return streamed_batches(
        source,
        lambda: text_pair_rows(source, *columns),
        lambda rows, seed: to_dataset(gather_text_pairs(rows), seed),
        batch_size,
        shuffle,
        seed,
    )
