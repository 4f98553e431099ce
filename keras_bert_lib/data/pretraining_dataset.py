"""Raw text to batches for `BertPretrainer`: the steps in the order in which the data meets them."""

import itertools
import os

import numpy as np
import tensorflow as tf

from keras_bert_lib.data.documents import read_documents
from keras_bert_lib.data.masked_examples import mask_tokens, pack_pairs, piece_tables
from keras_bert_lib.data.next_sentence_pairs import (
    check_enough_documents,
    next_sentence_pairs,
    tokenize_documents,
)

# Pairs held to mix those of different documents.
_SHUFFLE_PAIRS = 2048


def pretraining_dataset(
    source,
    tokenizer,
    batch_size,
    max_length=128,
    max_predictions=20,
    masked_lm_prob=0.15,
    short_seq_prob=0.1,
    whole_word=False,
    seed=0,
    shuffle_buffer_documents=1000,
    repeat=False,
    drop_remainder=True,
):
    """Streams masked-language-model and next-sentence examples from raw text.

    Documents are read, split into sentences and tokenized as the training goes; a bounded pool of
    documents is all that is held, so memory does not grow with the corpus. Every iteration over the
    data set is an epoch with pairs and masks of its own, drawn from `(seed, epoch)`: a data set
    made again with the same arguments gives the same stream of epochs, bit for bit. To see the same
    examples in every epoch, as validation should, add `.cache()`.

    Half of the pairs are followed by the sentences that come next, half by sentences of another
    document. (Documents of a single sentence have no next one; their pairs are all random.)

    Args:
        source: a path, a glob or a list of them (`read_documents` tells the formats), or documents,
            each a list of str, its sentences, in a list or another iterable that can be iterated
            again and again.
        tokenizer: `BertTokenizer`.
        batch_size: examples in a batch.
        max_length: pieces in an example, `[CLS]` and both `[SEP]` included. In pieces, s.
        max_predictions: the most pieces to predict in an example, p.
        masked_lm_prob: the share of pieces to predict. Of these 80% become `[MASK]`, 10% a random
            piece that is no special token, and 10% stay.
        short_seq_prob: the share of examples that aim at a random shorter length.
        whole_word: whether all the pieces of a word are masked together.
        seed: int.
        shuffle_buffer_documents: documents in the pool from which the order of examples and the
            random next sentences are drawn.
        repeat: whether one iteration goes through epoch after epoch without end, as
            `fit(steps_per_epoch=...)` wants it.
        drop_remainder: whether the last batch of an iteration is dropped where it is not full; if
            not, the batch dimension is unknown.

    Returns:
        `tf.data.Dataset` of dicts: `token_ids`, `segment_ids`, `padding_mask` `[b, s]` int32;
        `masked_positions`, `masked_ids` `[b, p]` int32 and `masked_weights` `[b, p]` float32 (1
        at a prediction, 0 at padding); `next_sentence_labels` `[b]` int32 (0 = next, 1 = random).

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: the source holds fewer than two documents or cannot be iterated twice, or an
            argument is out of range. What is wrong further into the files is raised, as
            `tf.errors.InvalidArgumentError`, when the iteration comes to it.

    Example:
        >>> import keras_bert_lib as kbl
        >>> documents = [["the cat sat .", "it slept ."], ["rain fell .", "the cat ran ."]]
        >>> pieces = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat it slept rain fell ran .".split()
        >>> tokenizer = kbl.BertTokenizer(pieces)
        >>> dataset = kbl.data.pretraining_dataset(documents, tokenizer, 2, max_length=16)
        >>> next(iter(dataset))["token_ids"].shape
        TensorShape([2, 16])

    References:
        - Devlin et al., "BERT" (2019), https://arxiv.org/abs/1810.04805, section 3.1, appendix A
        - google-research/bert, `create_pretraining_data.py`
    """
    _check_at_least("batch_size", batch_size, 1)
    _check_at_least("max_predictions", max_predictions, 1)
    for name, share in [("masked_lm_prob", masked_lm_prob), ("short_seq_prob", short_seq_prob)]:
        if not 0 <= share <= 1:
            raise ValueError(f"`{name}` is a share, from 0 to 1. Received: {share}")
    tables = piece_tables(tokenizer)
    pairs_of_epoch = _pairs_of_epoch(
        source, tokenizer, max_length, short_seq_prob, seed, shuffle_buffer_documents
    )
    epoch_numbers = itertools.count()

    def batches():
        for epoch in epoch_numbers if repeat else itertools.islice(epoch_numbers, 1):
            pairs, rng = pairs_of_epoch(epoch)
            is_empty = True
            for batch in _batched(pairs, batch_size):
                if len(batch) < batch_size and drop_remainder:
                    break
                x = pack_pairs(batch, max_length, tables)
                yield x | mask_tokens(
                    x["token_ids"], tables, rng, masked_lm_prob, max_predictions, whole_word
                )
                is_empty = False
            if is_empty:
                raise ValueError(
                    "The source makes fewer examples than one batch holds. Add text, or make "
                    f"`batch_size` smaller. Received: batch_size={batch_size}"
                )

    b, s, p = batch_size if drop_remainder else None, max_length, max_predictions
    dataset = tf.data.Dataset.from_generator(
        batches,
        output_signature={
            "token_ids": tf.TensorSpec([b, s], tf.int32),
            "segment_ids": tf.TensorSpec([b, s], tf.int32),
            "padding_mask": tf.TensorSpec([b, s], tf.int32),
            "masked_positions": tf.TensorSpec([b, p], tf.int32),
            "masked_ids": tf.TensorSpec([b, p], tf.int32),
            "masked_weights": tf.TensorSpec([b, p], tf.float32),
            "next_sentence_labels": tf.TensorSpec([b], tf.int32),
        },
    )
    if repeat:
        dataset = dataset.apply(
            tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        )
    return dataset.prefetch(tf.data.AUTOTUNE)


def count_pretraining_examples(
    source,
    tokenizer,
    max_length=128,
    short_seq_prob=0.1,
    seed=0,
    shuffle_buffer_documents=1000,
):
    """Counts the examples of the first epoch of `pretraining_dataset`.

    Reads and tokenizes the source once, which also finds whatever is wrong with its files before
    the training starts. Later epochs draw other pairs, so that their numbers differ by a little.

    Args:
        source: as in `pretraining_dataset`, like the other arguments.
        tokenizer: `BertTokenizer`.
        max_length: pieces in an example.
        short_seq_prob: the share of examples that aim at a random shorter length.
        seed: int.
        shuffle_buffer_documents: documents in the pool.

    Returns:
        int, the number of examples; divide by the batch size to get the steps of an epoch.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: a file is not what it should be, or holds fewer than two documents.

    Example:
        >>> import keras_bert_lib as kbl
        >>> documents = [["the cat sat .", "it slept ."], ["rain fell .", "the cat ran ."]]
        >>> pieces = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat it slept rain fell ran .".split()
        >>> 2 <= kbl.data.count_pretraining_examples(documents, kbl.BertTokenizer(pieces)) <= 4
        True
    """
    pairs_of_epoch = _pairs_of_epoch(
        source, tokenizer, max_length, short_seq_prob, seed, shuffle_buffer_documents
    )
    pairs, _ = pairs_of_epoch(0)
    return sum(1 for _ in pairs)


def _pairs_of_epoch(source, tokenizer, max_length, short_seq_prob, seed, pool_size):
    """Returns a function from the number of an epoch to its shuffled pairs and its generator."""
    _check_at_least("max_length", max_length, 5)
    _check_at_least("shuffle_buffer_documents", pool_size, 2)
    open_source = _reopenable(source)
    # What is wrong with the start of the source is said now, and not from inside tf.data.
    check_enough_documents(len(list(itertools.islice(open_source(), 2))))
    max_tokens = max_length - 3

    def tokenize(sentences):
        ragged = tokenizer.tokenize_ragged(sentences)
        return ragged.values.numpy(), ragged.row_splits.numpy()

    def pairs_of_epoch(epoch):
        # Masks are drawn from a generator of their own, so that the pairs do not depend on the
        # options of masking, and the count above is theirs.
        pair_seed, mask_seed = np.random.SeedSequence((seed, epoch)).spawn(2)
        rng = np.random.default_rng(pair_seed)
        documents = tokenize_documents(open_source(), tokenize, max_tokens)
        pairs = next_sentence_pairs(documents, rng, max_tokens, short_seq_prob, pool_size)
        return _shuffled(pairs, _SHUFFLE_PAIRS, rng), np.random.default_rng(mask_seed)

    return pairs_of_epoch


def _reopenable(source):
    """Returns a function that starts the documents of a source from the beginning."""
    if isinstance(source, (str, os.PathLike)):
        return lambda: read_documents(source)
    if iter(source) is source:
        raise ValueError(
            "`source` can be iterated once only, but every epoch reads it anew. Give a list, or an "
            f"object whose `__iter__` starts again. Received: {type(source).__name__}"
        )
    first = next(iter(source), None)
    if isinstance(first, (str, os.PathLike)):
        paths = list(source)
        return lambda: read_documents(paths)
    return lambda: map(_checked_document, source)


def _checked_document(document):
    if isinstance(document, (str, bytes)) or not all(isinstance(s, str) for s in document):
        raise ValueError(
            "A document is a list of str, its sentences; `split_document` makes one of a text. "
            f"Received: {document!r:.80}"
        )
    return document


def _shuffled(items, size, rng):
    """Yields the items in a random order, holding `size` of them."""
    items = iter(items)
    held = list(itertools.islice(items, size))
    for item in items:
        place = rng.integers(len(held))
        yield held[place]
        held[place] = item
    rng.shuffle(held)
    yield from held


def _batched(items, size):
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch


def _check_at_least(name, value, least):
    if value < least:
        raise ValueError(f"`{name}` must be {least} at least. Received: {value}")
