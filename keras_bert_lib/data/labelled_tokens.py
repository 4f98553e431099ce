"""Readers of words with tags: CoNLL's columns, tables, lists and data sets to one form."""

import collections
import itertools
import os
import re
from typing import NamedTuple

import numpy as np
from absl import logging

from keras_bert_lib.data.files import expand_paths, is_json_lines, read_checked_lines
from keras_bert_lib.data.missing_column_error import MissingColumnError
from keras_bert_lib.data.tables import (
    class_names,
    column_names,
    describe,
    is_table,
    items,
    table_rows,
)
from keras_bert_lib.data.tag_scheme import all_labels, find_scheme, in_order

# What the columns of tables are called, where a number stands for them. The first one counts.
_TOKEN_COLUMNS = ("tokens", "words")
_LABEL_COLUMNS = ("ner_tags", "tags", "labels")
_HEAD_LINES = 1000  # that tell how many columns a file has
_DOCUMENT_START = "-DOCSTART-"
# As in the test file of WNUT-17 that all annotators' tags stand in, "B-location,B-group".
_SEVERAL_TAGS = re.compile("^[A-Z]-.*,[A-Z]-")


class LabelledTokens(NamedTuple):
    """Sentences as words, each with a tag, in the order of the source."""

    words: list[list[str]]  # [n][words]
    tags: list[list[str]]  # [n][words]
    labels: list[str]  # [classes], the tags in the order of their ids


def read_labelled_tokens(source, token_column=0, label_column=-1, labels=None):
    r"""Reads words and their tags into memory, as for named entities.

    Tags are those of any scheme, or of none. Tags with the prefixes of BIO, IOBES, BILOU or BMEWO
    that are not in its order, as an I- after an O, of which files in IOB1 are full, are read as the
    entities that they tell and written as the scheme has them. So are those of another scheme than
    that of `labels`. How many were is logged.

    Args:
        source: one of
            - a path, a glob or a list of them: `.jsonl` and `.parquet` with lists of words and of
              tags; any other is in columns, as CoNLL's: a word on each line, cells divided by tabs
              or else by spaces, a blank line after each sentence. Lines `-DOCSTART-` and comments
              are left out. Each also with `.gz`, but for Parquet;
            - a pandas data frame, or a `Dataset` of Hugging Face's `datasets`, with such lists;
            - a list of `(words, tags)`;
            - a `tf.data.Dataset` of the same, not batched.
        token_column: the column of the words: its number, from the end where it is negative; or its
            name, which the first line of a file in columns must tell. In tables the numbers stand
            for "tokens" or "words".
        label_column: the same for the tags; in tables "ner_tags", "tags" or "labels".
        labels: the tags in the order of their ids, for instance those of the training data when
            reading the test data. By default those that a Hugging Face data set names, or else
            those that occur; with prefixes "O", then each type with all prefixes of its scheme.

    Returns:
        `LabelledTokens(words, tags, labels)`: lists of lists of str, and the tags as list of str.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: a column is missing, there are more words than tags, a word has several tags, a
            tag is not among `labels`, prefixes are of different schemes, or there are no rows. The
            message names the row.

    Example:
        >>> import keras_bert_lib as kbl
        >>> with open("train.conll", "w") as file:
        ...     _ = file.write("Ann B-person\nsings O\n\nRain O\nfalls O\n")
        >>> kbl.data.read_labelled_tokens("train.conll")
        LabelledTokens(words=[['Ann', 'sings'], ['Rain', 'falls']],
            tags=[['B-person', 'O'], ['O', 'O']], labels=['O', 'B-person', 'I-person'])
    """
    rows, known = labelled_token_rows(source, token_column, label_column, labels)
    rows = list(rows)
    if not rows:
        raise ValueError(f"There are no words to read. Received: {describe(source)}")
    read = gather_labelled_tokens(rows, known)
    mended = sum(a != b for row, tags in zip(rows, read.tags) for a, b in zip(row[2], tags))
    if mended:
        logging.warning(
            "%d of %d tags are written anew, as the scheme of the labels has them, so that an I- "
            "that begins an entity is a B-. The entities are the same.",
            mended,
            sum(len(tags) for tags in read.tags),
        )
    return read


def labelled_token_rows(source, token_column, label_column, labels):
    """Reads words and tags sentence by sentence; see `read_labelled_tokens`.

    Returns:
        An iterator over `(where, words, tags)`, and the tags in the order of their ids, or None
        where neither the caller nor the source tells them.
    """
    if not is_table(source):
        rows = _item_rows(source)
    elif isinstance(source, (str, os.PathLike, list, tuple)):
        paths = expand_paths(source)
        rows = itertools.chain.from_iterable(
            _table(path, token_column, label_column, column_names(path))
            if _is_table_file(path)
            else _conll_rows(path, token_column, label_column)
            for path in paths
        )
    else:
        names = getattr(source, "columns" if hasattr(source, "iloc") else "column_names", None)
        names = [] if names is None else list(names)
        rows = _table(source, token_column, label_column, names)
        if labels is None:
            labels = class_names(source, _named(label_column, names, _LABEL_COLUMNS))
    known = None if labels is None else [str(label) for label in labels]
    if known is not None and len(set(known)) < len(known):
        raise ValueError(f"`labels` names a tag twice. Received: {known}")
    return _checked(rows), known


def word_rows(path, token_column):
    """Yields `(where, words)` of each sentence of a file in columns, whose tags are not read."""
    for where, words, _ in _conll_rows(path, token_column, None):
        yield where, words


def gather_labelled_tokens(rows, labels):
    """Makes `LabelledTokens` of rows that `labelled_token_rows` yields."""
    present = {tag for *_, tags in rows for tag in tags}
    try:
        scheme = find_scheme(present)
    except ValueError as error:
        # The first sentence that has such a tag is not worth a search where all is well.
        odd = {tag for tag in present if tag[:2] != "B-" and tag[:2] != "I-" and tag != "O"}
        where = next((where for where, _, tags in rows if odd & set(tags)), rows[0][0])
        raise ValueError(f"{where}: {error}") from None
    if labels is None:
        labels = all_labels(present, scheme)
        if len(labels) == 1:
            raise ValueError(
                f"{rows[0][0]}: all words from here on have the same tag, and there is nothing to "
                f"learn. Check the column of the tags. Received: {labels[0]!r}"
            )
    known = set(labels)
    target = find_scheme(known)
    all_tags = []
    for where, _, tags in rows:
        if scheme is not None and target is not None:
            # A model that was trained on IOB1 may not know a B- of every type.
            tags = [x if x in known else y for x, y in zip(in_order(tags, target), tags)]
        for tag in tags:
            if tag not in known:
                raise ValueError(
                    f"{where} has a tag that is not one of {', '.join(labels)}. Received: {tag!r}"
                )
        all_tags.append(tags)
    return LabelledTokens([words for _, words, _ in rows], all_tags, labels)


def _checked(rows):
    """Yields (where, words, tags) of rows that are as they should be."""
    for where, words, tags in rows:
        words, tags = _as_list(words, where, "words"), _as_list(tags, where, "tags")
        if len(words) != len(tags):
            raise ValueError(
                f"{where} has {len(words)} words and {len(tags)} tags. Give each word one tag."
            )
        if not words:
            continue
        for word in words:
            if not isinstance(word, str):
                raise ValueError(f"{where} has a word that is no str. Received: {word!r:.80}")
        for tag in tags:
            if not tag:
                raise ValueError(f"{where} has a word without a tag. Write O where there is none.")
            if _SEVERAL_TAGS.search(tag):
                raise ValueError(
                    f"{where} has a word with several tags, as of several annotators. Choose one "
                    f"of them for each word. Received: {tag!r}"
                )
        yield where, words, tags


def _as_list(cells, where, what):
    if isinstance(cells, np.ndarray):
        cells = cells.tolist()
    if not isinstance(cells, (list, tuple)):
        raise ValueError(f"{where} has no list of {what}. Received: {cells!r:.80}")
    cells = [cell.decode("utf-8", "replace") if isinstance(cell, bytes) else cell for cell in cells]
    if what == "words":
        return cells
    return ["" if cell is None else str(cell).strip() for cell in cells]


def _item_rows(source):
    for where, item in items(source):
        if not isinstance(item, (list, tuple)) or len(item) != 2:
            raise ValueError(f"{where} is no (words, tags). Received: {item!r:.80}")
        yield where, *item


def _is_table_file(path):
    name = path.removesuffix(".gz").lower()
    if name.endswith(".csv"):
        raise ValueError(
            "Words and tags are read from columns divided by tabs or spaces (a name that ends in "
            f".conll, .tsv or .txt), .jsonl or .parquet. Received: {path}"
        )
    return is_json_lines(path) or name.endswith(".parquet")


def _table(source, token_column, label_column, names):
    columns = (
        _named(token_column, names, _TOKEN_COLUMNS),
        _named(label_column, names, _LABEL_COLUMNS),
    )
    return table_rows(source, columns, ("token_column", "label_column"))


def _named(column, names, usual):
    """The name of a column of a table; a number stands for the usual names."""
    if not isinstance(column, int):
        return column
    return next((name for name in usual if name in names), usual[0])


def _conll_rows(path, token_column, label_column):
    """Yields (where, words, tags) of each sentence of a file in columns."""
    lines = ((i, line.rstrip("\n")) for i, line in enumerate(read_checked_lines(path), start=1))
    head = list(itertools.islice(lines, _HEAD_LINES))
    lines = itertools.chain(head, lines)
    has_tabs = any("\t" in line for _, line in head)
    widths = collections.Counter(len(_cells(line, has_tabs)) for _, line in head if line.strip())
    if not widths:
        return
    width = widths.most_common(1)[0][0]
    only_words = label_column is None
    if only_words:
        label_column = token_column
    if isinstance(token_column, str) or isinstance(label_column, str):
        header = next(cells for cells in (_cells(x, has_tabs) for _, x in lines) if any(cells))
        token_column = _column_number(path, header, token_column, "token_column")
        label_column = _column_number(path, header, label_column, "label_column")
    for column in (token_column, label_column):
        if not -width <= column < width:
            raise ValueError(
                f"{path} has {width} columns, numbered from 0 on. Name one of them by its number. "
                f"Received: {column}"
            )
    if not only_words and token_column % width == label_column % width:
        raise ValueError(
            f"{path} has {width} columns, and the words and the tags must be two of them, divided "
            f"by tabs or spaces. Received: column {token_column % width} for both"
        )
    start, words, tags = 1, [], []
    for number, line in itertools.chain(lines, [(0, "")]):
        cells = _cells(line, has_tabs)
        is_comment = line.startswith("#") and len(cells) != width
        is_break = not line.strip() or cells[0] == _DOCUMENT_START
        if is_break and words:
            yield f"{path} line {start}", words, tags
            words, tags = [], []
        if is_break or is_comment:
            continue
        if len(cells) != width:
            raise ValueError(
                f"{path} line {number} has {len(cells)} columns, but the others have {width}. "
                f"Received: {line!r:.80}"
            )
        if not words:
            start = number
        words.append(cells[token_column])
        tags.append(cells[label_column])


def _cells(line, has_tabs):
    return line.split("\t") if has_tabs else re.split(" +", line.strip(" "))


def _column_number(path, header, column, argument):
    if isinstance(column, int):
        return column
    header = [name.strip() for name in header]
    if column not in header:
        remedy = f"Name one of its first line with `{argument}`, or give its number, from 0 on."
        raise MissingColumnError(path, column, header, remedy)
    return header.index(column)
