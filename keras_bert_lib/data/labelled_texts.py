"""Readers of labelled texts: files, data frames, lists and `tf.data` to one form in memory."""

import csv
import os
import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_bert_lib.data.files import expand_paths, is_json_lines, parse_json_object, read_lines


class LabelledTexts(NamedTuple):
    """Texts and their labels, in the order of the source."""

    texts: list[str]  # [n]
    text_pairs: list[str] | None  # [n]
    label_ids: np.ndarray  # [n] int32, places in `labels`
    labels: list[str]  # [classes]


def read_labelled_texts(
    source, text_column="text", label_column="label", text_pair_column=None, labels=None
):
    """Reads labelled texts into memory.

    Args:
        source: one of
            - a path, a glob or a list of them, by name: `.csv` (RFC 4180, with a header), `.tsv`
              (with a header; quotes are characters like any other, as in GLUE), `.jsonl` (an object
              on each line), each also with `.gz`;
            - a pandas data frame;
            - a list of `(text, label)` or `((text, text_pair), label)`;
            - a `tf.data.Dataset` of the same, not batched.
        text_column: the column of the texts.
        label_column: the column of the labels: str, int or bool.
        text_pair_column: the column of second texts; None for single texts.
        labels: the labels in the order of their ids, for instance those of the training data when
            reading the test data. By default those that occur, sorted; as numbers where all of them
            are whole numbers.

    Returns:
        `LabelledTexts(texts, text_pairs, label_ids, labels)`: lists of str, int32 `[n]`, and the
        labels as list of str.

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
    columns = (text_column, text_pair_column, label_column)
    if isinstance(source, (str, os.PathLike)):
        rows = file_rows(source, columns)
    elif isinstance(source, tf.data.Dataset):
        rows = _dataset_rows(source)
    elif hasattr(source, "iloc"):
        rows = _frame_rows(source, columns)
    else:
        source = list(source)
        is_paths = source and all(isinstance(item, (str, os.PathLike)) for item in source)
        rows = file_rows(source, columns) if is_paths else _list_rows(source)

    known = None if labels is None else [_label_name(label, "`labels`") for label in labels]
    texts, text_pairs, names = [], [], []
    for where, text, text_pair, label in rows:
        name = _label_name(label, where)
        if known is not None and name not in known:
            raise ValueError(
                f"{where} has a label that is not one of {', '.join(known)}. Received: {name!r}"
            )
        texts.append(_as_str(text, where))
        if text_pair is not None:
            text_pairs.append(_as_str(text_pair, where))
        names.append(name)

    described = source if isinstance(source, (str, os.PathLike)) else type(source).__name__
    if not texts:
        raise ValueError(f"There are no labelled texts to read. Received: {described}")
    if text_pairs and len(text_pairs) < len(texts):
        raise ValueError(f"Some rows have a second text and some have none. Received: {described}")
    if known is None:
        known = _sorted_labels(set(names))
        if len(known) == 1:
            raise ValueError(
                f"All {len(names)} texts have the label {known[0]!r}, but a classifier needs two "
                f"labels at least. Check the label column. Received: {described}"
            )
    ids = {name: i for i, name in enumerate(known)}
    if len(ids) < len(known):
        raise ValueError(f"`labels` names a label twice. Received: {known}")
    label_ids = np.array([ids[name] for name in names], np.int32)
    return LabelledTexts(texts, text_pairs or None, label_ids, known)


# Each reader yields (where, text, text_pair or None, label) row by row; `where` opens the message
# if something is wrong with the row.


def file_rows(paths, columns):
    """Yields the rows of files as they are, labels of any kind.

    Args:
        paths: a path, a glob or a list of them; see `read_labelled_texts`.
        columns: names of the columns of texts, second texts and labels, None for those that are
            not asked for.

    Yields:
        `(where, text, text_pair, label)`; str cells, or what JSON has there, None where not asked
        for. `where` opens the message if something is wrong with the row.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: a file cannot be read, a column is missing, or a cell is empty.
    """
    for path in expand_paths(paths):
        if is_json_lines(path):
            rows = _json_rows(path, columns)
        else:
            rows = _table_rows(path, columns, _is_tsv(path))
        yield from rows


def column_names(path):
    """Returns the names of a file's columns, those of its first row where it is JSON lines."""
    if is_json_lines(path):
        lines = (line for line in read_lines(path) if line.strip())
        return list(parse_json_object(next(lines, "{}"), f"{path} line 1"))
    _, header = next(_csv_records(_csv_reader(path, _is_tsv(path)), path), (0, []))
    return [name.strip() for name in header]


def _is_tsv(path):
    name = path.removesuffix(".gz").lower()
    if not name.endswith((".csv", ".tsv")):
        raise ValueError(
            "The name of a file tells its format: .csv, .tsv or .jsonl, each also with .gz. "
            f"Received: {path}"
        )
    return name.endswith(".tsv")


def _table_rows(path, columns, is_tsv):
    header = None
    for start, cells in _csv_records(_csv_reader(path, is_tsv), path):
        if header is None:
            header = [name.strip() for name in cells]
            _check_columns(path, header, columns)
            continue
        where = f"{path} line {start}"
        if len(cells) != len(header):
            raise ValueError(
                f"{where} has {len(cells)} cells, but the header has {len(header)}. "
                + ("Remove tabs from the cells." if is_tsv else "Quote cells that hold commas.")
            )
        # An empty cell is a missing one: these formats cannot tell them apart.
        row = {name: cell or None for name, cell in zip(header, cells)}
        yield where, *_pick(where, row, columns)


def _csv_reader(path, is_tsv):
    # NUL is an error in the csv module of Python 3.10, and nothing to BERT.
    lines = (line.replace("\0", "\ufffd") for line in read_lines(path, newline=""))
    if is_tsv:
        return csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return csv.reader(lines, strict=True)


def _csv_records(reader, path):
    """Yields (line on which it starts, cells) of each record that is not blank."""
    # A cell may hold a text of any length; the limit of 128 KB is a setting of the whole process.
    limit = csv.field_size_limit(2**31 - 1)
    try:
        while True:
            start = reader.line_num + 1
            cells = next(reader, None)
            if cells is None:
                return
            if any(cells):
                yield start, cells
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise ValueError(
                f"{path} line {start} opens a quote that never closes. Close it, and double the "
                "quotes inside quoted cells."
            ) from None
        raise ValueError(f"{path} line {reader.line_num} is not CSV: {error}.") from None
    finally:
        csv.field_size_limit(limit)


def _json_rows(path, columns):
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            where = f"{path} line {number}"
            row = parse_json_object(line, where)
            _check_columns(where, row, columns)
            yield where, *_pick(where, row, columns)


def _frame_rows(frame, columns):
    _check_columns("The data frame", list(frame.columns), columns)
    names = [name for name in columns if name is not None]
    cells = [frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in names]
    for index, *row in zip(frame.index, *cells):
        where = f"Row {index} of the data frame"
        yield where, *_pick(where, dict(zip(names, row)), columns)


def _list_rows(items):
    for i, item in enumerate(items):
        where = f"Item {i} of the list"
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise ValueError(
                f"{where} is no (text, label) or ((text, text_pair), label). Received: {item!r:.80}"
            )
        yield where, *_unpack(item, where)


def _dataset_rows(dataset):
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2:
        raise ValueError(
            "The data set must give (text, label) or ((text, text_pair), label). "
            f"Received elements: {spec}"
        )
    if any(component.shape.rank != 0 for component in tf.nest.flatten(spec)):
        raise ValueError(
            "The data set must give one text at a time. Call `.unbatch()` on it. "
            f"Received elements: {spec}"
        )
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("The data set never ends. Remove `.repeat()` from it.")
    for i, item in enumerate(dataset.as_numpy_iterator()):
        where = f"Element {i} of the data set"
        yield where, *_unpack(item, where)


def _unpack(item, where):
    text, label = item
    if not isinstance(text, (tuple, list)):
        return text, None, label
    if len(text) != 2:
        raise ValueError(f"{where} has {len(text)} texts, not one or two. Received: {text!r:.80}")
    return *text, label


def _check_columns(where, present, columns):
    for column in columns:
        if column is not None and column not in present:
            names = ", ".join(f'"{name}"' for name in present)
            raise ValueError(
                f'{where} has no column "{column}". Name the right one with `text_column`, '
                f"`text_pair_column` or `label_column`. Received columns: {names}"
            )


def _pick(where, row, columns):
    for column in columns:
        if column is not None and row[column] is None:
            raise ValueError(
                f'{where} has nothing under "{column}". Fill the cell in, or remove the row.'
            )
    return [None if column is None else row[column] for column in columns]


def _as_str(text, where):
    if isinstance(text, bytes):
        return text.decode("utf-8", "replace")
    if not isinstance(text, str):
        raise ValueError(f"{where} has a text that is no str. Received: {text!r:.80}")
    return text


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
