"""Raw text to batches for `BertPretrainer`: the steps in the order in which the data meets them."""

import itertools
import os

import numpy as np
import tensorflow as tf

from keras_bert_lib.data.documents import read_documents
from keras_bert_lib.data.files import expand_paths
from keras_bert_lib.data.masked_examples import (
    MASKINGS,
    masked_batch,
    piece_tables,
    prediction_budget,
)
from keras_bert_lib.data.packed_rows import pack_rows
from keras_bert_lib.data.prefetched import prefetched
from keras_bert_lib.data.segment_pairs import (
    check_enough_documents,
    next_sentence_pairs,
    sentence_order_pairs,
    shuffled,
    single_segments,
)
from keras_bert_lib.data.token_cache import (
    check_finished,
    is_token_cache,
    read_info,
    read_shards,
    shards_of_worker,
)
from keras_bert_lib.data.tokenized_documents import cut_sentences, tokenize_documents

# What makes the examples of an objective, and the special tokens in each of them.
_OBJECTIVES = {
    "next_sentence": (next_sentence_pairs, 3),
    "sentence_order": (sentence_order_pairs, 3),
    "none": (single_segments, 2),
}
# Examples held to mix those of different documents.
_SHUFFLE_EXAMPLES = 2048
# A packed row holds one example for each so many positions at most.
_LEAST_POSITIONS = 8


def pretraining_dataset(
    source,
    tokenizer,
    batch_size,
    max_length=128,
    max_predictions=20,
    masked_lm_prob=0.15,
    short_seq_prob=0.1,
    masking="piece",
    objective="next_sentence",
    packing=False,
    seed=0,
    shuffle_buffer_documents=1000,
    repeat=False,
    drop_remainder=True,
    num_workers=1,
    worker_index=0,
    text_column="text",
    on_corrupt="raise",
    start_batch=0,
):
    """Streams masked-language-model and next-sentence examples from raw text.

    Documents are read, split into sentences and tokenized as the training goes; a bounded pool of
    documents is all that is held, so memory does not grow with the corpus. Every iteration over the
    data set is an epoch with pairs and masks of its own, drawn from `(seed, epoch)`: a data set
    made again with the same arguments gives the same stream of epochs, bit for bit. To see the same
    examples in every epoch, as validation should, add `.cache()`.

    By default half of the pairs are followed by the sentences that come next, half by sentences of
    another document. (Documents of a single sentence have no next one; their pairs are all random.)

    Packed rows hold several examples each, so that hardly any position is padding: examples are
    sorted into rows, within a window of about a thousand, until nothing fits. A model that attends
    within an example only (`example_ids`) and counts positions from its start (`position_ids`), as
    `BertPretrainer` does, computes for each example what it would compute for it alone.

    Several workers each read a share of their own: shards of a token cache; files, where there are
    enough; otherwise every n-th document. Give the same `seed` to all of them. Their shares are not
    equally large, so that they train with `repeat=True` and a number of steps. With `num_workers`
    left at 1, the workers of a strategy all make every batch, and each takes its part of it: more
    work, but the batches of one device.

    Args:
        source: the directory of a token cache (`build_token_cache`), which is read many times
            faster; or a path, a glob or a list of them (`read_documents` tells the formats); or
            documents, each a list of str, its sentences, in a list or another iterable that can be
            iterated again and again.
        tokenizer: `BertTokenizer`; that of the cache.
        batch_size: examples in a batch, or rows; in `fit`, of all devices and workers together.
        max_length: pieces in an example, `[CLS]` and both `[SEP]` included. In pieces, s.
        max_predictions: the most pieces to predict in an example, p.
        masked_lm_prob: the share of pieces to predict. Of these 80% become `[MASK]`, 10% a random
            piece that is no special token, and 10% stay.
        short_seq_prob: the share of examples that aim at a random shorter length.
        masking: what is masked as one: "piece", "whole_word" (all the pieces of a word) or "ngram"
            (1, 2 or 3 words in a row, the longer the rarer).
        objective: what is learned beside the masked pieces: "next_sentence" (is the second segment
            the next one, or a random one), "sentence_order" (or are the two swapped), or "none":
            an example is one segment then, and there are no labels.
        packing: whether rows hold several examples. `max_predictions` is the most of a row then.
        seed: int.
        shuffle_buffer_documents: documents in the pool from which the order of examples and the
            random next sentences are drawn.
        repeat: whether one iteration goes through epoch after epoch without end, as
            `fit(steps_per_epoch=...)` wants it. Each iteration begins with the first epoch then.
        drop_remainder: whether the last batch of an iteration is dropped where it is not full; if
            not, the batch dimension is unknown.
        num_workers: the workers that share the source.
        worker_index: which of them this one is, from 0.
        text_column: the key of the text in JSONL files, and the column in Parquet files.
        on_corrupt: "raise", or "skip" to log what is wrong with a file, or with a shard of a
            token cache, and go on with the next.
        start_batch: how many batches to leave out at the start, of the epochs one after the other:
            what follows is the same as without it. It is found faster than by reading them, for
            nothing is masked on the way. See `Resume.start_batch`.

    Returns:
        `tf.data.Dataset` of dicts: `token_ids`, `segment_ids`, `padding_mask` `[b, s]` int32;
        `masked_positions`, `masked_ids` `[b, p]` int32 and `masked_weights` `[b, p]` float32 (1
        at a prediction, 0 at padding); `next_sentence_labels` `[b]` int32 (1 = random, or swapped).

        Packed rows have more: `example_ids` (1, 2, ... for the examples of a row, 0 at padding) and
        `position_ids` (from 0 in each example) `[b, s]` int32; `cls_positions` `[b, e]` int32,
        where examples start, for at most e = s / 8 examples. `next_sentence_labels` are `[b, e]`
        then, with `next_sentence_weights` `[b, e]` float32 (1 for an example, 0 for none).

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: the source holds fewer than two documents or cannot be iterated twice, the token
            cache is of another tokenizer, or an argument is out of range. What is wrong further
            into the files is raised, as `tf.errors.InvalidArgumentError`, when the iteration comes
            to it.

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
        - Joshi et al., "SpanBERT" (2020), https://arxiv.org/abs/1907.10529, for masking n-grams
    """
    _check_at_least("batch_size", batch_size, 1)
    _check_at_least("max_predictions", max_predictions, 1)
    _check_at_least("start_batch", start_batch, 0)
    for name, share in [("masked_lm_prob", masked_lm_prob), ("short_seq_prob", short_seq_prob)]:
        if not 0 <= share <= 1:
            raise ValueError(f"`{name}` is a share, from 0 to 1. Received: {share}")
    _check_choice("masking", masking, MASKINGS)
    _check_at_least("num_workers", num_workers, 1)
    if not 0 <= worker_index < num_workers:
        raise ValueError(
            f"`worker_index` is from 0 to `num_workers` - 1. Received: {worker_index} of "
            f"{num_workers} workers"
        )
    tables = piece_tables(tokenizer)
    rows_of_epoch = _rows_of_epoch(
        source,
        tokenizer,
        max_length,
        max_predictions,
        masked_lm_prob,
        short_seq_prob,
        objective,
        packing,
        seed,
        shuffle_buffer_documents,
        num_workers,
        worker_index,
        text_column,
        on_corrupt,
    )
    max_examples = _max_examples(max_length)
    epoch_numbers = itertools.count()

    def batches():
        left_out = start_batch
        for epoch in itertools.count() if repeat else itertools.islice(epoch_numbers, 1):
            rows, rng = rows_of_epoch(epoch)
            is_empty = True
            for batch in _batched(rows, batch_size):
                if len(batch) < batch_size and drop_remainder:
                    break
                is_empty = False
                (mask_rng,) = rng.spawn(1)  # so that a batch's masks do not need those before it
                if left_out > 0:
                    left_out -= 1
                    continue
                x = masked_batch(
                    batch, max_length, max_predictions, tables, mask_rng, masked_lm_prob, masking
                )
                x = _packed(x, max_examples) if packing else _unpacked(x)
                yield {name: x[name] for name in signature}
            if is_empty:
                raise ValueError(
                    "The source makes fewer examples than one batch holds. Add text, or make "
                    f"`batch_size` smaller. Received: batch_size={batch_size}"
                )

    b, s, p = batch_size if drop_remainder else None, max_length, max_predictions
    signature = {
        "token_ids": tf.TensorSpec([b, s], tf.int32),
        "segment_ids": tf.TensorSpec([b, s], tf.int32),
        "padding_mask": tf.TensorSpec([b, s], tf.int32),
        "masked_positions": tf.TensorSpec([b, p], tf.int32),
        "masked_ids": tf.TensorSpec([b, p], tf.int32),
        "masked_weights": tf.TensorSpec([b, p], tf.float32),
    }
    labels = [b]
    if packing:
        labels = [b, max_examples]
        signature["example_ids"] = tf.TensorSpec([b, s], tf.int32)
        signature["position_ids"] = tf.TensorSpec([b, s], tf.int32)
        signature["cls_positions"] = tf.TensorSpec(labels, tf.int32)
    if objective != "none":
        signature["next_sentence_labels"] = tf.TensorSpec(labels, tf.int32)
        if packing:
            signature["next_sentence_weights"] = tf.TensorSpec(labels, tf.float32)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    if repeat:
        dataset = dataset.apply(
            tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        )
    if num_workers > 1:
        # A strategy would give each worker one batch in `num_workers` of what is its own already.
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        dataset = dataset.with_options(options)
    return prefetched(dataset)


def _unpacked(x):
    return x | {"next_sentence_labels": x["labels"]}


def _packed(x, max_examples):
    shape = len(x["token_ids"]), max_examples
    columns = {
        "cls_positions": ("starts", np.int32),
        "next_sentence_labels": ("labels", np.int32),
        "next_sentence_weights": (None, np.float32),
    }
    number = x["example_ids"][x["rows"], x["starts"]] - 1  # of each example in its row
    for name, (values, dtype) in columns.items():
        x[name] = np.zeros(shape, dtype)
        x[name][x["rows"], number] = 1 if values is None else x[values]
    return x


def count_pretraining_examples(
    source,
    tokenizer,
    max_length=128,
    max_predictions=20,
    masked_lm_prob=0.15,
    short_seq_prob=0.1,
    objective="next_sentence",
    packing=False,
    seed=0,
    shuffle_buffer_documents=1000,
    num_workers=1,
    worker_index=0,
    text_column="text",
    on_corrupt="raise",
):
    """Counts the rows of the first epoch of `pretraining_dataset`: examples, or packed rows.

    Reads and tokenizes the source once, which also finds whatever is wrong with its files before
    the training starts. Later epochs draw other pairs, so that their numbers differ by a little.

    Args:
        source: as in `pretraining_dataset`, like the other arguments.
        tokenizer: `BertTokenizer`.
        max_length: pieces in an example.
        max_predictions: the most pieces to predict in an example, or in a packed row.
        masked_lm_prob: the share of pieces to predict.
        short_seq_prob: the share of examples that aim at a random shorter length.
        objective: what the examples are made for.
        packing: whether rows hold several examples.
        seed: int.
        shuffle_buffer_documents: documents in the pool.
        num_workers: the workers that share the source.
        worker_index: which of them this one is.
        text_column: the key of the text in JSONL files, and the column in Parquet files.
        on_corrupt: "raise" or "skip".

    Returns:
        int, the number of rows; divide by the batch size to get the steps of an epoch.

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
    rows_of_epoch = _rows_of_epoch(
        source,
        tokenizer,
        max_length,
        max_predictions,
        masked_lm_prob,
        short_seq_prob,
        objective,
        packing,
        seed,
        shuffle_buffer_documents,
        num_workers,
        worker_index,
        text_column,
        on_corrupt,
    )
    rows, _ = rows_of_epoch(0)
    return sum(1 for _ in rows)


def _max_examples(max_length):
    """The most examples of a packed row."""
    return max(1, max_length // _LEAST_POSITIONS)


def _rows_of_epoch(
    source,
    tokenizer,
    max_length,
    max_predictions,
    masked_lm_prob,
    short_seq_prob,
    objective,
    packing,
    seed,
    pool_size,
    num_workers,
    worker_index,
    text_column,
    on_corrupt,
):
    """Returns a function from the number of an epoch to its rows and the generator of its masks."""
    _check_at_least("max_length", max_length, 5)
    _check_at_least("shuffle_buffer_documents", pool_size, 2)
    _check_choice("objective", objective, _OBJECTIVES)
    make_examples, special_tokens = _OBJECTIVES[objective]
    max_tokens = max_length - special_tokens
    open_documents, least = _open_source(
        source, tokenizer, num_workers, worker_index, text_column, on_corrupt
    )
    if least == 0 and num_workers > 1:
        raise ValueError(
            f"There is no document for worker {worker_index} of {num_workers}. Give more text, "
            "take fewer workers, or build the token cache anew. Received: 0 documents in its share"
        )
    if objective == "next_sentence":
        check_enough_documents(least)

    def size_of(pair):
        pieces = len(pair.tokens_a) + len(pair.tokens_b)
        return pieces + special_tokens, budgets[pieces]

    budgets = prediction_budget(np.arange(max_length), masked_lm_prob, max_predictions).tolist()

    def rows_of_epoch(epoch):
        # Packing and masks are drawn from generators of their own, so that the pairs do not depend
        # on their options.
        seeds = np.random.SeedSequence((seed, epoch, worker_index)).spawn(4)
        rng, mask_rng, packing_rng, shard_rng = map(np.random.default_rng, seeds)
        documents = (cut_sentences(document, max_tokens) for document in open_documents(shard_rng))
        examples = make_examples(documents, rng, max_tokens, short_seq_prob, pool_size)
        examples = shuffled(examples, _SHUFFLE_EXAMPLES, rng)
        if packing:
            most = _max_examples(max_length)
            rows = pack_rows(examples, packing_rng, max_length, most, max_predictions, size_of)
        else:
            rows = ([example] for example in examples)
        return rows, mask_rng

    return rows_of_epoch


def _open_source(source, tokenizer, num_workers, worker_index, text_column, on_corrupt):
    """Opens a worker's share of a source.

    Returns:
        A function from a generator to the worker's `TokenizedDocument`s from the beginning, and
        whether there are none of them, one, or two and more.
    """
    # What is wrong with the start of the source is said now, and not from inside tf.data.
    if is_token_cache(source):
        info = read_info(source, tokenizer)
        shards = shards_of_worker(source, info, num_workers, worker_index)
        first = itertools.islice(read_shards(shards, on_corrupt), 2)
        return lambda rng: read_shards(shards, on_corrupt, rng), len(list(first))
    open_documents = _reopenable(source, num_workers, worker_index, text_column, on_corrupt)
    first = itertools.islice(open_documents(), 2)
    return lambda _: tokenize_documents(open_documents(), tokenizer), len(list(first))


def _reopenable(source, num_workers, worker_index, text_column, on_corrupt):
    """Returns a function that starts a worker's documents of a source from the beginning."""
    if isinstance(source, (str, os.PathLike)):
        source = [source]
    elif iter(source) is source:
        raise ValueError(
            "`source` can be iterated once only, but every epoch reads it anew. Give a list, or an "
            f"object whose `__iter__` starts again. Received: {type(source).__name__}"
        )
    if isinstance(next(iter(source), None), (str, os.PathLike)):
        check_finished(source)
        files = expand_paths(list(source))
        if len(files) >= num_workers:
            own = files[worker_index::num_workers]
            return lambda: read_documents(own, text_column, on_corrupt)

        def documents():
            return read_documents(files, text_column, on_corrupt)
    else:

        def documents():
            return map(_checked_document, source)

    return lambda: itertools.islice(documents(), worker_index, None, num_workers)


def _checked_document(document):
    if isinstance(document, (str, bytes)) or not all(isinstance(s, str) for s in document):
        raise ValueError(
            "A document is a list of str, its sentences; `split_document` makes one of a text. "
            f"Received: {document!r:.80}"
        )
    return document


def _batched(items, size):
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch


def _check_at_least(name, value, least):
    if value < least:
        raise ValueError(f"`{name}` must be {least} at least. Received: {value}")


def _check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(f"`{name}` is one of {', '.join(map(repr, choices))}. Received: {value!r}")
