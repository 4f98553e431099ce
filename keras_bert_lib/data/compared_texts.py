"""Readers of texts that are alike, or of how much they are, to one form in memory."""

from typing import NamedTuple

import numpy as np

from keras_bert_lib.data.labelled_texts import LabelledTexts, as_number, as_str
from keras_bert_lib.data.tables import describe, is_table, items, table_rows

_ARGUMENTS = ("text_column", "text_pair_column", "negative_column", "score_column")


class TextPairs(NamedTuple):
    """Pairs of texts, in the order of the source."""

    texts: list[str]  # [n]
    text_pairs: list[str]  # [n]
    negatives: list[str] | None  # [n], texts that are not like the first ones
    scores: np.ndarray | None  # [n] float32, how like the two are


def read_text_pairs(
    source,
    text_column="anchor",
    text_pair_column="positive",
    negative_column=None,
    score_column=None,
    max_score=1.0,
):
    """Reads pairs of texts into memory, from which an embedder learns what is alike.

    Args:
        source: one of
            - a path, a glob or a list of them: `.csv`, `.tsv`, `.jsonl` or `.parquet`; each also
              with `.gz`, but for Parquet;
            - a pandas data frame, or a `Dataset` of Hugging Face's `datasets`;
            - a list of `(text, text_pair)`, `(text, text_pair, negative)` or
              `(text, text_pair, score)`, or a `tf.data.Dataset` of the same, not batched;
            - the `LabelledTexts` of pairs with numbers, which `read_glue` makes of STS-B.
        text_column: the column of the first texts.
        text_pair_column: the column of the texts that are like them, or are compared with them.
        negative_column: the column of texts that are not like the first ones; None for none.
        score_column: the column of numbers that tell how like the two are; None where all are.
        max_score: float, the score of two texts that mean the same: scores are divided by it. 5 for
            STS-B.

    Returns:
        `TextPairs(texts, text_pairs, negatives, scores)`: lists of str, and float32 `[n]` from -1
        to 1; None where there are none.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: a column is missing, a cell is empty, or a score is no number from
            `-max_score` to `max_score`. The message names the row.

    Example:
        >>> import keras_bert_lib as kbl
        >>> pairs = kbl.data.read_text_pairs([("a film", "a movie", 4.5)], max_score=5)
        >>> pairs.scores
        array([0.9], dtype=float32)
    """
    columns = (text_column, text_pair_column, negative_column, score_column)
    rows = list(text_pair_rows(source, *columns, max_score))
    if not rows:
        raise ValueError(f"There are no pairs of texts to read. Received: {describe(source)}")
    return gather_text_pairs(rows)


def text_pair_rows(source, text_column, text_pair_column, negative_column, score_column, max_score):
    """Yields `(text, text_pair, negative, score)` row by row; see `read_text_pairs`."""
    columns = (text_column, text_pair_column, negative_column, score_column)
    if is_table(source):
        rows = table_rows(source, columns, _ARGUMENTS)
    elif isinstance(source, LabelledTexts):
        rows = _labelled_rows(source)
    else:
        rows = _item_rows(source)
    first = None
    for where, text, pair, negative, score in rows:
        text, pair = as_str(text, where), as_str(pair, where)
        if negative is not None:
            negative = as_str(negative, where, "a negative text")
        if score is not None:
            score = as_number(score, where, "a score") / max_score
            if not -1 <= score <= 1:
                raise ValueError(
                    f"{where} has a score that is more than `max_score`. Tell the greatest one, as "
                    f"5 for STS-B. Received: {score * max_score:g}, max_score={max_score}"
                )
        has = (negative is None, score is None)
        first = first or has
        if has != first:
            raise ValueError(
                f"{where} has not the same as the rows before: a negative text, a score, or "
                f"neither. Received: {text!r:.80}"
            )
        yield text, pair, negative, score


def gather_text_pairs(rows):
    """Makes `TextPairs` of rows that `text_pair_rows` yields."""
    texts, pairs, negatives, scores = zip(*rows)
    return TextPairs(
        list(texts),
        list(pairs),
        None if negatives[0] is None else list(negatives),
        None if scores[0] is None else np.array(scores, np.float32),
    )


def _labelled_rows(texts):
    if texts.text_pairs is None or texts.labels is not None:
        raise ValueError(
            "Labelled texts must be pairs with numbers, as `read_labelled_texts` makes them with "
            '`text_pair_column` and `problem_type="regression"`. '
            f"Received: labels {texts.labels!r:.80}"
        )
    for i, row in enumerate(zip(texts.texts, texts.text_pairs, texts.label_ids)):
        yield f"Text {i}", row[0], row[1], None, row[2]


def _item_rows(source):
    for where, item in items(source):
        if not isinstance(item, (tuple, list)) or len(item) not in (2, 3):
            raise ValueError(
                f"{where} is no (text, text_pair), (text, text_pair, negative) or (text, "
                f"text_pair, score). Received: {item!r:.80}"
            )
        text, pair, *third = item
        if third and isinstance(third[0], (str, bytes)):
            yield where, text, pair, third[0], None
        else:
            yield where, text, pair, None, third[0] if third else None
