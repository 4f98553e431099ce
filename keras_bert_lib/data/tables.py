"""Tables of any kind, row by row: files, data frames, data sets of Hugging Face."""

import csv
import os

import tensorflow as tf

from keras_bert_lib.data.files import (
    expand_paths,
    is_json_lines,
    parse_json_object,
    read_checked_lines,
    read_lines,
)
from keras_bert_lib.data.missing_column_error import MissingColumnError

# What the columns of labelled texts are called, for messages.
_TEXT_ARGUMENTS = ("text_column", "text_pair_column", "label_column")
_BATCH = 1000  # rows that are taken at once from what has columns


def is_table(source):
    """Whether a source has named columns: a path or a list of them, a data frame, a data set."""
    return (
        isinstance(source, (str, os.PathLike))
        or hasattr(source, "iloc")
        or _is_huggingface(source)
        or isinstance(source, dict)
        or (
            isinstance(source, (list, tuple))
            and len(source) > 0
            and all(isinstance(item, (str, os.PathLike)) for item in source)
        )
    )


def describe(source):
    """What a source is, for messages."""
    if isinstance(source, (list, tuple)) and source and is_table(source):
        return ", ".join(map(str, source))
    return source if isinstance(source, (str, os.PathLike)) else type(source).__name__


def table_rows(source, columns, arguments=_TEXT_ARGUMENTS, may_be_empty=()):
    """Yields the rows of what `is_table` accepts.

    Args:
        source: a path, a glob or a list of them, by name `.csv`, `.tsv`, `.jsonl` or `.parquet`;
            a pandas data frame; or a `Dataset` or `IterableDataset` of Hugging Face's `datasets`.
        columns: names of columns, None for those that are not asked for.
        arguments: what the caller calls each, for messages.
        may_be_empty: names of columns whose cells may be empty.

    Yields:
        `(where, *cells)`: str, or whatever the table has there, None where not asked for or empty.
        Names stand for the numbers of a `ClassLabel`. `where` opens the message if something is
        wrong with the row.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: a file cannot be read, a column is missing, or a cell is empty.
    """
    if isinstance(source, dict):
        keys = [str(key) for key in source] or ["train"]
        raise ValueError(
            f"The source is a dict. Give one of its data sets, as in `source[{keys[0]!r}]`. "
            f"Received keys: {', '.join(keys)}"
        )
    if hasattr(source, "iloc"):
        rows = _frame_rows(source, columns, arguments)
    elif _is_huggingface(source):
        rows = _huggingface_rows(source, columns, arguments)
    else:
        rows = _files_rows(source, columns, arguments)
    for where, row in rows:
        for column in columns:
            if column is not None and row[column] is None and column not in may_be_empty:
                raise ValueError(
                    f'{where} has nothing under "{column}". Fill the cell in, or remove the row.'
                )
        yield where, *(None if column is None else row[column] for column in columns)


def column_names(path):
    """Returns the names of a file's columns, those of its first row where it is JSON lines."""
    if is_json_lines(path):
        lines = (line for line in read_lines(path) if line.strip())
        return list(parse_json_object(next(lines, "{}"), f"{path} line 1"))
    if is_parquet(path):
        return list(_open_parquet(path).schema_arrow.names)
    is_tsv = _is_tsv(path)
    _, header = next(_csv_records(_csv_reader(path, is_tsv), path), (0, []))
    _check_separator(path, header, is_tsv)
    return [name.strip() for name in header]


def items(source):
    """Yields `(where, item)` of a list, or of a `tf.data.Dataset`, of which arrays become NumPy's.

    Raises:
        ValueError: if it is neither, or a data set that never ends.
    """
    where = "Item {} of the list"
    if isinstance(source, tf.data.Dataset):
        if source.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError("The data set never ends. Remove `.repeat()` from it.")
        where, source = "Element {} of the data set", source.as_numpy_iterator()
    elif not hasattr(source, "__iter__"):
        raise ValueError(
            "The source must be a path, a data frame, a data set or a list of rows. "
            f"Received: {source!r:.80}"
        )
    for i, item in enumerate(source):
        yield where.format(i), item


def class_names(source, column):
    """Returns the names that a Hugging Face data set has for the labels of a column, or None."""
    features = getattr(source, "features", None) if _is_huggingface(source) else None
    feature = (features or {}).get(column)
    feature = getattr(feature, "feature", feature)  # a list of labels
    return getattr(feature, "names", None)


def check_columns(where, present, columns, arguments):
    """Raises where a column that is asked for is not among those that are there."""
    for column in columns:
        if column is not None and column not in present:
            asked = [f"`{name}`" for name in dict.fromkeys(arguments)]
            asked = " or ".join([", ".join(asked[:-1]), asked[-1]] if asked[1:] else asked)
            raise MissingColumnError(where, column, present, f"Name the right one with {asked}.")


# Each of these yields (where, dict of cells) row by row.


def _files_rows(paths, columns, arguments):
    for path in expand_paths(paths):
        if is_json_lines(path):
            yield from _json_rows(path, columns, arguments)
        elif is_parquet(path):
            yield from _parquet_rows(path, columns, arguments)
        else:
            yield from _csv_rows(path, columns, arguments, _is_tsv(path))


def is_parquet(path):
    """Whether the file's name says that it is a Parquet file."""
    return path.lower().endswith(".parquet")


def _is_tsv(path):
    name = path.removesuffix(".gz").lower()
    if not name.endswith((".csv", ".tsv")):
        raise ValueError(
            "The name of a file tells its format: .csv, .tsv, .jsonl, each also with .gz, or "
            f".parquet. Received: {path}"
        )
    return name.endswith(".tsv")


def _csv_rows(path, columns, arguments, is_tsv):
    header = None
    for start, cells in _csv_records(_csv_reader(path, is_tsv), path):
        if header is None:
            _check_separator(path, cells, is_tsv)
            header = [name.strip() for name in cells]
            check_columns(path, header, columns, arguments)
            for column in columns:
                if header.count(column) > 1:
                    raise ValueError(
                        f'{path} has two columns "{column}". Rename one of them. '
                        f"Received columns: {', '.join(header)}"
                    )
            continue
        where = f"{path} line {start}"
        if len(cells) != len(header):
            raise ValueError(
                f"{where} has {len(cells)} cells, but the header has {len(header)}. "
                + ("Remove tabs from the cells." if is_tsv else "Quote cells that hold commas.")
            )
        # An empty cell is a missing one: these formats cannot tell them apart.
        yield where, {name: cell or None for name, cell in zip(header, cells)}


def _check_separator(path, header, is_tsv):
    """Raises where the one column of a .csv is several that something else than commas divides."""
    if is_tsv or len(header) != 1:
        return
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if separator in header[0]:
            remedy = "Call it .tsv" if separator == "\t" else "Save it with commas, or as .tsv"
            raise ValueError(
                f"{path} looks divided by {name}, and a .csv is by commas. {remedy}. "
                f"Received first line: {header[0]!r:.80}"
            )


def _csv_reader(path, is_tsv):
    # NUL is an error in the csv module of Python 3.10, and nothing to BERT.
    lines = (line.replace("\0", "\ufffd") for line in read_checked_lines(path, newline=""))
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


def _json_rows(path, columns, arguments):
    for number, line in enumerate(read_checked_lines(path), start=1):
        if line.strip():
            where = f"{path} line {number}"
            row = parse_json_object(line, where)
            check_columns(where, row, columns, arguments)
            yield where, row


def _open_parquet(path):
    try:
        from pyarrow import lib, parquet
    except ImportError:
        raise ValueError(
            f"Parquet is read by pyarrow: pip install pyarrow. Received: {path}"
        ) from None
    try:
        return parquet.ParquetFile(path)
    except (lib.ArrowException, OSError) as error:
        error = str(error).splitlines()[0]
        raise ValueError(f"{path} is no whole Parquet file: {error} Write it anew.") from None


def _parquet_rows(path, columns, arguments):
    file = _open_parquet(path)
    check_columns(path, file.schema_arrow.names, columns, arguments)
    names = [name for name in dict.fromkeys(columns) if name is not None]
    number = 0
    for batch in file.iter_batches(_BATCH, columns=names):
        for row in batch.to_pylist():
            number += 1
            yield f"{path} row {number}", row


def _frame_rows(frame, columns, arguments):
    check_columns("The data frame", list(frame.columns), columns, arguments)
    names = [name for name in dict.fromkeys(columns) if name is not None]
    cells = [frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in names]
    for index, *row in zip(frame.index, *cells):
        yield f"Row {index} of the data frame", dict(zip(names, row))


def _is_huggingface(source):
    return hasattr(source, "column_names") and hasattr(source, "features")


def _huggingface_rows(dataset, columns, arguments):
    names = [name for name in dict.fromkeys(columns) if name is not None]
    if dataset.column_names is not None:  # unknown of some that are read as they come
        check_columns("The data set", dataset.column_names, columns, arguments)
        dataset = dataset.select_columns(names)
    labels = {name: class_names(dataset, name) for name in names}
    number = 0
    for batch in dataset.with_format(None).iter(batch_size=_BATCH):
        check_columns("The data set", list(batch), columns, arguments)
        for row in zip(*(batch[name] for name in names)):
            where = f"Row {number} of the data set"
            yield where, {name: _named(x, labels[name], where) for name, x in zip(names, row)}
            number += 1


def _named(cell, names, where):
    """A cell with names in place of the numbers of a `ClassLabel`."""
    if names is None or cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, list):
        return [_named(number, names, where) for number in cell]
    if not 0 <= cell < len(names):
        raise ValueError(
            f"{where} has no label: its number is none of the {len(names)} that the data set "
            f"names. Take rows that have one. Received: {cell}"
        )
    return names[cell]
