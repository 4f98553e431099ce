"""Questions and texts to batches of windows for `BertQuestionAnswerer`."""

import numpy as np
import tensorflow as tf

from keras_bert_lib.data.length_batches import (
    PackedRows,
    check_sizes,
    length_batches,
    streamed_batches,
    text_chunks,
    tokenize,
)
from keras_bert_lib.data.questions import (
    Questions,
    gather_questions,
    question_rows,
    read_questions,
)
from keras_bert_lib.text import packing


def question_answering(
    source,
    tokenizer,
    batch_size=16,
    question_column="question",
    context_column="context",
    answer_column="answers",
    answer_start_column=None,
    max_length=384,
    stride=None,
    shuffle=True,
    seed=0,
    pad_to_max_length=False,
    streaming=False,
):
    """Makes batches of questions with windows of their texts, ready for `fit` and `evaluate`.

    The question is the first segment, the text the second. A text that is too long fills several
    windows, each beginning with the last `stride` pieces of the one before, as when
    `BertQuestionAnswerer` predicts. The first answer of a question is what it learns: its first and
    its last piece, in each window that has all of it; in the others, and of questions without an
    answer, both are 0, the place of [CLS].

    The texts are tokenized once, here. Batches are padded to their longest row, and rows of about
    the same length share a batch; see `text_classification`.

    Args:
        source: what `read_questions` reads (a file of SQuAD 1.1 or 2.0, a table, a Hugging Face
            data set, a list of dicts), or the `Questions` that it returned.
        tokenizer: `BertTokenizer`.
        batch_size: windows in a batch. The last batch may hold fewer.
        question_column: the column of the questions, in tables.
        context_column: the column of the texts that hold the answers.
        answer_column: the column of the answers.
        answer_start_column: the column that tells where each answer starts; None where there is
            none.
        max_length: most tokens of a window, special tokens included. A question that leaves no room
            for `stride` and one more piece of its text is cut.
        stride: int, how many pieces of a long text a window shares with the one before; None is
            128, or half of a window where that is less, as `BertQuestionAnswerer` has it.
        shuffle: whether to shuffle anew in every epoch. Off, the order of the source is kept.
        seed: int; data sets with the same seed shuffle alike.
        pad_to_max_length: whether to pad every batch to `max_length`, where shapes must not change.
        streaming: whether to read rows as they are needed, for more than memory holds.

    Returns:
        `tf.data.Dataset` of `({"token_ids", "segment_ids", "padding_mask"}, {"start_logits",
        "end_logits"})`: int32 `[b, s]`, s being the longest of the batch; and int32 `[b]`, the
        places of the answer's first and last token.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: what is wrong with the rows, as `read_questions` says it; or `stride` leaves no
            room. With `streaming`, what is wrong with later rows comes up as they are read, as
            `tf.errors.InvalidArgumentError`.

    Example:
        >>> import keras_bert_lib as kbl
        >>> tokenizer = kbl.BertTokenizer("[PAD] [UNK] [CLS] [SEP] [MASK] who ann sings".split())
        >>> rows = [{"question": "who", "context": "Ann sings", "answers": "Ann"}]
        >>> x, y = next(iter(kbl.data.question_answering(rows, tokenizer)))
        >>> x["token_ids"].numpy()
        array([[2, 5, 3, 6, 7, 3]], dtype=int32)
        >>> y["start_logits"].numpy(), y["end_logits"].numpy()
        (array([3], dtype=int32), array([3], dtype=int32))

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805), sections 4.2 and 4.3
    """
    check_sizes(batch_size, max_length, least=5)
    if stride is None:
        stride = min(128, (max_length - 3) // 2)
    if not 0 <= stride <= max_length - 4:
        raise ValueError(
            f"`stride` must lie between 0 and {max_length - 4}, so that each window of "
            f"{max_length} tokens has room for a new piece. Received: {stride}"
        )

    def to_dataset(read, seed):
        rows, places = _pack(read, tokenizer, max_length, stride, pad_to_max_length)
        places = {name: tf.constant(x) for name, x in places.items()}
        return length_batches(
            rows.lengths,
            lambda index: (
                rows.pack(index),
                {name: tf.gather(x, index) for name, x in places.items()},
            ),
            batch_size,
            shuffle,
            seed,
        )

    if isinstance(source, Questions):
        return to_dataset(source, seed)
    columns = (question_column, context_column, answer_column, answer_start_column)
    if not streaming:
        return to_dataset(read_questions(source, *columns), seed)
    return streamed_batches(
        source,
        lambda: question_rows(source, *columns, id_column=None),
        lambda rows, seed: to_dataset(gather_questions(rows), seed),
        batch_size,
        shuffle,
        seed,
    )


def _pack(read, tokenizer, max_length, stride, pad_to_max_length):
    """Cuts questions and texts to pieces.

    Returns:
        `PackedRows` of the windows; and a dict with the places of the first and the last token of
        each window's answer, int32 `[windows]`.
    """
    # Several questions share a context, which is cut once.
    distinct = {}
    context = [distinct.setdefault(text, len(distinct)) for text in read.contexts]  # [n]
    ids, lengths, offsets = _tokenize_with_offsets(tokenizer, list(distinct))
    starts = np.cumsum(lengths) - lengths  # [distinct]
    first, last = _answer_pieces(read, context, starts, lengths, offsets)
    question_ids, question_lengths = tokenize(tokenizer, read.questions)

    rows = packing.lay_out(question_lengths, lengths[context], max_length, "only_second", stride)
    rows = packing.Rows(*(None if x is None else x.numpy() for x in rows))
    # As laid out, each question has a context of its own.
    offset = rows.pair_starts - len(question_ids)
    offset -= (np.cumsum(lengths[context]) - lengths[context])[rows.text_index]
    rows = rows._replace(
        pair_starts=(len(question_ids) + starts[context][rows.text_index] + offset).astype(np.int32)
    )
    first, last = first[rows.text_index] - offset, last[rows.text_index] - offset  # [windows]
    is_inside = (first >= 0) & (last < rows.pair_lengths)
    before = rows.lengths + 2  # [CLS], the question and [SEP]
    places = {
        name: np.where(is_inside, before + x, 0).astype(np.int32)
        for name, x in {"start_logits": first, "end_logits": last}.items()
    }
    features = {"token_ids": np.concatenate([question_ids, ids])}
    return PackedRows(tokenizer, rows, features, max_length, pad_to_max_length), places


def _tokenize_with_offsets(tokenizer, texts):
    """Cuts texts to pieces as `BertQuestionAnswerer` does.

    Returns:
        `(ids, lengths, offsets)`, int32 NumPy arrays: pieces of all texts, end to end; how many
        each has `[n]`; and the characters at which each starts and ends in its text `[pieces, 2]`.
    """
    ids, lengths, offsets = [], [], []
    for chunk in text_chunks(texts):
        outputs = tokenizer(chunk, max_length=2**30, return_offsets=True, offsets_with_marks=True)
        length = np.asarray(outputs["padding_mask"]).sum(axis=1)  # [chunk]
        place = np.arange(outputs["token_ids"].shape[1])
        is_piece = (place > 0) & (place < length[:, np.newaxis] - 1)  # neither [CLS] nor [SEP]
        ids.append(np.asarray(outputs["token_ids"])[is_piece])
        offsets.append(np.asarray(outputs["char_offsets"])[is_piece])
        lengths.append(length - 2)
    return np.concatenate(ids), np.concatenate(lengths).astype(np.int32), np.concatenate(offsets)


def _answer_pieces(read, context, starts, lengths, offsets):
    """Returns the numbers of the first and last piece of each answer in its context `[n]`.

    -1 and -1 where there is none.
    """
    first, last = (np.full(len(context), -1) for _ in range(2))
    for i, (answers, answer_starts) in enumerate(zip(read.answers, read.answer_starts)):
        if not answers:
            continue
        begin, end = answer_starts[0], answer_starts[0] + len(answers[0])
        pieces = offsets[starts[context[i]] :][: lengths[context[i]]]
        # Pieces lie in the order of the text: the first that ends after the answer's start, and the
        # last that starts before its end.
        a = np.searchsorted(pieces[:, 1], begin, side="right")
        b = np.searchsorted(pieces[:, 0], end, side="left") - 1
        if a <= b:  # else it is nothing but what BERT's text rules drop
            first[i], last[i] = a, b
    return first, last
