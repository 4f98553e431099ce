"""Readers of labelled texts: files, data frames, lists and data sets to one form in memory."""

import json
import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_bert_lib.data.tables import (
    check_columns,
    class_names,
    describe,
    is_table,
    items,
    table_rows,
)

SINGLE_LABEL = "single_label_classification"
MULTI_LABEL = "multi_label_classification"
REGRESSION = "regression"
PROBLEM_TYPES = (SINGLE_LABEL, MULTI_LABEL, REGRESSION)


class LabelledTexts(NamedTuple):
    """Texts and their labels, in the order of the source."""

    texts: list[str]  # [n]
    text_pairs: list[str] | None  # [n]
    # [n] int32, places in `labels`; of several labels float32 [n, classes], 1 for each that a text
    # has; of regression float32 [n] or [n, numbers]
    label_ids: np.ndarray
    labels: list[str] | None  # [classes]; None for regression


def read_labelled_texts(
    source,
    text_column="text",
    label_column="label",
    text_pair_column=None,
    labels=None,
    problem_type=SINGLE_LABEL,
):
    """Reads labelled texts into memory.

    Args:
        source: one of
            - a path, a glob or a list of them, by name: `.csv` (RFC 4180, with a header), `.tsv`
              (with a header; quotes are characters like any other, as in GLUE), `.jsonl` (an object
              on each line), each also with `.gz`; `.parquet` (by pyarrow, which must be installed);
            - a pandas data frame;
            - a `Dataset` or `IterableDataset` of Hugging Face's `datasets`;
            - a list of `(text, label)`, `((text, text_pair), label)` or dicts with the columns;
            - a `tf.data.Dataset` of such tuples, not batched.
        text_column: the column of the texts.
        label_column: the column of the labels: str, int or bool.
        text_pair_column: the column of second texts; None for single texts.
        labels: the labels in the order of their ids, for instance those of the training data when
            reading the test data. By default those that a Hugging Face data set names, or else
            those that occur, sorted; as numbers where all of them are whole numbers.
        problem_type: "single_label_classification";
            "multi_label_classification", where a text has any number of labels: a list of them, or
            a cell "a|b", which may be empty;
            or "regression", where it has a number, or a list of as many as every other text.

    Returns:
        `LabelledTexts(texts, text_pairs, label_ids, labels)`: lists of str; int32 `[n]`, of several
        labels float32 `[n, classes]`, of regression float32 `[n]` or `[n, numbers]`; and the labels
        as list of str, None for regression.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: a column is missing, a cell is empty, a quote never closes, a label is not among
            `labels`, all the labels are the same, or there are no rows. The message names the row.

    Example:
        >>> import keras_bert_lib as kbl
        >>> rows = [("a fine film", "pos"), ("dull", "neg"), ("wonderful", "pos")]
        >>> kbl.data.read_labelled_texts(rows).labels
        ['neg', 'pos']
    """
    rows, known = labelled_rows(
        source, text_column, label_column, text_pair_column, labels, problem_type
    )
    rows = list(rows)
    if not rows:
        raise ValueError(f"There are no labelled texts to read. Received: {describe(source)}")
    if known is None and problem_type != REGRESSION:
        known = _labels_that_occur(rows, problem_type, source)
    return gather_labelled_texts(rows, known, problem_type)


def labelled_rows(source, text_column, label_column, text_pair_column, labels, problem_type):
    """Reads labelled texts row by row; see `read_labelled_texts`.

    Returns:
        An iterator over `(text, text_pair, label)`, `text_pair` None for single texts, and `label`
        a str, a list of str or a list of float by the problem type; and the labels in the order of
        their ids, or None where neither the caller nor the source tells them.
    """
    if problem_type not in PROBLEM_TYPES:
        raise ValueError(
            f"`problem_type` must be one of {', '.join(PROBLEM_TYPES)}. "
            f"Received: problem_type={problem_type!r}"
        )
    if labels is None and is_table(source):
        labels = class_names(source, label_column)
    known = None
    if labels is not None and problem_type != REGRESSION:
        known = [_label_name(label, "`labels`") for label in labels]
        if len(set(known)) < len(known):
            raise ValueError(f"`labels` names a label twice. Received: {known}")
    if is_table(source):
        columns = (text_column, text_pair_column, label_column)
        may_be_empty = (label_column,) if problem_type == MULTI_LABEL else ()
        rows = table_rows(source, columns, may_be_empty=may_be_empty)
    else:
        if isinstance(source, tf.data.Dataset):
            _check_dataset(source, problem_type)
        rows = _item_rows(source, (text_column, text_pair_column, label_column))
    return _checked(rows, known, problem_type), known


def gather_labelled_texts(rows, labels, problem_type):
    """Makes `LabelledTexts` of rows that `labelled_rows` yields."""
    texts, text_pairs, targets = zip(*rows)
    text_pairs = None if text_pairs[0] is None else list(text_pairs)
    if problem_type == REGRESSION:
        label_ids = np.array(targets, np.float32)
        if label_ids.shape[1] == 1:
            label_ids = label_ids[:, 0]
        return LabelledTexts(list(texts), text_pairs, label_ids, None)
    ids = {name: i for i, name in enumerate(labels)}
    if problem_type == MULTI_LABEL:
        label_ids = np.zeros([len(texts), len(labels)], np.float32)
        for row, names in zip(label_ids, targets):
            row[[ids[name] for name in names]] = 1
    else:
        label_ids = np.array([ids[name] for name in targets], np.int32)
    return LabelledTexts(list(texts), text_pairs, label_ids, labels)


def split_cell(cell):
    """The parts of a cell that holds several: of a list, of a JSON list, or of "a|b"."""
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "replace")
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    if cell is None or isinstance(cell, (list, tuple, set)):
        return list(cell or [])
    if not isinstance(cell, str):
        return [cell]
    if cell.lstrip().startswith("["):
        try:
            return list(json.loads(cell))
        except ValueError:
            pass
    return [part for part in cell.split("|") if part.strip()]


def as_str(text, where, what="a text"):
    """Returns a text, str or bytes, as str; `where` and `what` tell of which, for messages."""
    if isinstance(text, bytes):
        return text.decode("utf-8", "replace")
    if not isinstance(text, str):
        raise ValueError(f"{where} has {what} that is no str. Received: {text!r:.80}")
    return text


def as_number(cell, where, what="a label"):
    """Returns a cell as float."""
    try:
        number = float(cell)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise ValueError(f"{where} has {what} that is no number. Received: {cell!r:.80}")
    return number


def _checked(rows, known, problem_type):
    """Yields (text, text_pair, label) of rows that are as they should be."""
    first = None
    ids = None if known is None else set(known)
    for where, text, text_pair, label in rows:
        text = as_str(text, where)
        if text_pair is not None:
            text_pair = as_str(text_pair, where)
        if problem_type == SINGLE_LABEL:
            label = _label_name(label, where)
            names = [label]
        elif problem_type == MULTI_LABEL:
            label = names = [_label_name(part, where) for part in split_cell(label)]
        else:
            label, names = [as_number(part, where) for part in split_cell(label)], []
        if ids is not None:
            for name in names:
                if name not in ids:
                    raise ValueError(
                        f"{where} has a label that is not one of {', '.join(known)}. "
                        f"Received: {name!r}"
                    )
        if first is None:
            first = (text_pair, label)
        if (first[0] is None) != (text_pair is None):
            raise ValueError(
                f"Some rows have a second text and some have none. Received: {where}: {text!r:.80}"
            )
        if problem_type == REGRESSION and len(label) != max(len(first[1]), 1):
            raise ValueError(
                f"{where} has {len(label)} numbers, but the rows before have {len(first[1])}. Give "
                f"each row as many, one at least. Received: {label}"
            )
        yield text, text_pair, label


def _labels_that_occur(rows, problem_type, source):
    names = {label for *_, label in rows} if problem_type == SINGLE_LABEL else set()
    if problem_type == MULTI_LABEL:
        names = {name for *_, label in rows for name in label}
        if not names:
            raise ValueError(
                f"None of the {len(rows)} texts has a label. Check the label column. "
                f"Received: {describe(source)}"
            )
    elif len(names) == 1:
        raise ValueError(
            f"All {len(rows)} texts have the label {names.pop()!r}, but a classifier needs two "
            f"labels at least. Check the label column. Received: {describe(source)}"
        )
    return _sorted_labels(names)


def _item_rows(source, columns):
    """Yields (where, text, text_pair or None, label) of each item."""
    for where, item in items(source):
        if isinstance(item, dict):
            check_columns(where, item, columns, ("text_column", "text_pair_column", "label_column"))
            yield where, *(None if name is None else item[name] for name in columns)
            continue
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise ValueError(
                f"{where} is no (text, label), ((text, text_pair), label) or dict. "
                f"Received: {item!r:.80}"
            )
        text, label = item
        if not isinstance(text, (tuple, list)):
            yield where, text, None, label
        elif len(text) == 2:
            yield where, *text, label
        else:
            raise ValueError(
                f"{where} has {len(text)} texts, not one or two. Received: {text!r:.80}"
            )


def _check_dataset(dataset, problem_type):
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2:
        raise ValueError(
            "The data set must give (text, label) or ((text, text_pair), label). "
            f"Received elements: {spec}"
        )
    several = 0 if problem_type == SINGLE_LABEL else 1
    ranks = [component.shape.rank for component in tf.nest.flatten(spec)]
    if any(ranks[:-1]) or ranks[-1] > several:
        raise ValueError(
            "The data set must give one text at a time. Call `.unbatch()` on it. "
            f"Received elements: {spec}"
        )


def _label_name(label, where):
    """The label as str; whole numbers alike whether they come as int or as float."""
    if isinstance(label, bytes):
        label = label.decode("utf-8", "replace")
    if isinstance(label, np.generic):
        label = label.item()
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if not isinstance(label, (str, int)) or not str(label).strip():
        raise ValueError(
            f"{where} has a label that is no str, int or bool. Received: {label!r:.80}"
        )
    return str(label).strip()


def _sorted_labels(names):
    if all(re.fullmatch(r"[-+]?\d+(\.\d+)?", name) for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    return sorted(names)
