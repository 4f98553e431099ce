"""Reads texts that have no labels."""

import os
from typing import NamedTuple

from keras_bert_lib.data.files import expand_paths, read_checked_lines
from keras_bert_lib.data.labelled_texts import as_str
from keras_bert_lib.data.tables import describe, is_table, items, table_rows

_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


class Texts(NamedTuple):
    """Texts, in the order of the source."""

    texts: list[str]  # [n]


def read_texts(source, text_column="text"):
    """Reads texts into memory.

    Args:
        source: one of
            - a path or a glob: of a table, as `read_labelled_texts` reads it, or of any other name
              a text on each line that is not blank (also with `.gz`); several as a list of
              `pathlib.Path`;
            - a pandas data frame, or a `Dataset` or `IterableDataset` of Hugging Face's `datasets`;
            - a list of str, which are texts, not paths; or a finite `tf.data.Dataset` of them.
        text_column: the column of the texts, where the source has columns.

    Returns:
        `Texts`.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: a column is missing, a cell is empty, an item is no text, or there are none.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.data.read_texts(["a fine film", "dull"]).texts
        ['a fine film', 'dull']
    """
    texts = list(_texts(source, text_column))
    if not texts:
        raise ValueError(f"There are no texts to read. Received: {describe(source)}")
    return Texts(texts)


def _texts(source, text_column):
    is_list = isinstance(source, (list, tuple))
    are_paths = is_list and source and all(isinstance(x, os.PathLike) for x in source)
    if are_paths or isinstance(source, (str, os.PathLike)):
        for path in expand_paths(source):
            if path.removesuffix(".gz").lower().endswith(_TABLES):
                yield from _column(path, text_column)
            else:
                yield from (line.strip() for line in read_checked_lines(path) if line.strip())
    elif not is_list and is_table(source):
        yield from _column(source, text_column)
    else:
        for where, item in items(source):
            yield as_str(item, where)


def _column(source, text_column):
    for where, text in table_rows(source, (text_column,), ("text_column",)):
        yield as_str(text, where)
