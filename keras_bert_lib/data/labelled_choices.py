"""Readers of texts with choices: tables and lists to one form in memory."""

from typing import NamedTuple

import numpy as np

from keras_bert_lib.data.labelled_texts import as_str, split_cell
from keras_bert_lib.data.tables import describe, is_table, items, table_rows


class LabelledChoices(NamedTuple):
    """Texts, the choices for each, and which is right, in the order of the source."""

    texts: list[str]  # [n]
    choices: list[list[str]]  # [n][choices]
    label_ids: np.ndarray  # [n] int32, the place of the right one


def read_labelled_choices(
    source, text_column="text", choices_column="choices", label_column="label"
):
    """Reads texts with choices into memory, as for multiple choice.

    Args:
        source: one of
            - a path, a glob or a list of them: `.csv`, `.tsv`, `.jsonl` or `.parquet`; each also
              with `.gz`, but for Parquet;
            - a pandas data frame, or a `Dataset` of Hugging Face's `datasets`;
            - a list of `((text, choices), label)`, or a `tf.data.Dataset` of the same, not batched.
        text_column: the column of the texts, to which a choice is to fit.
        choices_column: the column of the choices, a list or a cell "a|b"; or a list of columns, one
            a choice, as SWAG has them.
        label_column: the column that tells which choice is right: its number, from 0 on, or the
            choice itself.

    Returns:
        `LabelledChoices(texts, choices, label_ids)`: list of str, list of lists of str, of which
        all are equally long, and int32 `[n]`.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: a column is missing, a cell is empty, rows have not equally many choices, or a
            label is none of them. The message names the row.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.data.read_labelled_choices([(("It rains, so", ["dance", "stay"]), 1)])
        LabelledChoices(texts=['It rains, so'], choices=[['dance', 'stay']],
            label_ids=array([1], dtype=int32))
    """
    rows = list(labelled_choice_rows(source, text_column, choices_column, label_column))
    if not rows:
        raise ValueError(f"There are no choices to read. Received: {describe(source)}")
    return gather_labelled_choices(rows)


def labelled_choice_rows(source, text_column, choices_column, label_column):
    """Yields `(text, choices, label id)` row by row; see `read_labelled_choices`."""
    count = None
    for where, text, choices, label in _raw_rows(source, text_column, choices_column, label_column):
        text = as_str(text, where)
        choices = [as_str(choice, where, "a choice") for choice in choices]
        count = count or len(choices)
        if len(choices) != count or count < 2:
            raise ValueError(
                f"{where} has {len(choices)} choices. Give each row as many as the first, two at "
                f"least. Received: {choices!r:.80}"
            )
        yield text, choices, _label_id(label, choices, where)


def gather_labelled_choices(rows):
    """Makes `LabelledChoices` of rows that `labelled_choice_rows` yields."""
    texts, choices, label_ids = zip(*rows)
    return LabelledChoices(list(texts), list(choices), np.array(label_ids, np.int32))


def _raw_rows(source, text_column, choices_column, label_column):
    if is_table(source):
        several = not isinstance(choices_column, str)
        names = list(choices_column) if several else [choices_column]
        arguments = ["text_column", "label_column", *["choices_column"] * len(names)]
        for where, text, label, *cells in table_rows(
            source, (text_column, label_column, *names), arguments
        ):
            yield where, text, cells if several else split_cell(cells[0]), label
        return
    for where, item in items(source):
        try:
            (text, choices), label = item
        except (TypeError, ValueError):
            raise ValueError(
                f"{where} is no ((text, choices), label). Received: {item!r:.80}"
            ) from None
        yield where, text, split_cell(choices), label


def _label_id(label, choices, where):
    if isinstance(label, str) and choices.count(label) == 1:
        return choices.index(label)
    try:
        number = float(label)
    except (TypeError, ValueError):
        number = -1
    if number not in range(len(choices)):
        raise ValueError(
            f"{where} has a label that is none of its choices, nor a number from 0 to "
            f"{len(choices) - 1}. Received: {label!r:.80}"
        )
    return int(number)
