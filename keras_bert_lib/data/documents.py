"""Raw text files to documents: lists of sentences, streamed."""

import functools
import itertools
from typing import NamedTuple

from absl import logging

from keras_bert_lib.data.files import expand_paths, is_json_lines, parse_json_object, read_lines
from keras_bert_lib.data.sentences import split_sentences
from keras_bert_lib.data.tables import is_parquet, table_rows

# A longer document is cut, so that a file without a blank line is streamed too.
_MAX_SENTENCES = 1000
_MAX_LINES = 10_000
# The lines at a file's start that show how it is laid out.
_HEAD_LINES = 2000
# Widths at which people and programs wrap prose.
_MIN_WIDTH, _MAX_WIDTH = 40, 120
# Books were edited after they were wrapped.
_RAGGED = 5


class RawDocument(NamedTuple):
    """A document as a file has it: reading is quick, and splitting can go to other processes."""

    lines: list  # of str; blank ones part its paragraphs
    is_prose: bool  # whether lines may be wrapped


def read_documents(paths, text_column="text", on_corrupt="raise"):
    r"""Reads documents from text files, one after the other.

    The name tells the format; the first and the last may be gzipped (`.gz`):

    - `.jsonl`, `.ndjson`: a JSON object a line, its `text_column` being one document. Blank lines
      inside it are white space.
    - `.parquet`: a document a row, in the column of that name (needs `pyarrow`).
    - anything else is plain text. A blank line ends a document, as in google-research/bert; each
      line is split into sentences on its own, so that files with a sentence a line and files with
      a paragraph a line both come out right.

    Prose wrapped at some width (Project Gutenberg's books) is recognized by its line breaks:
    a break is a wrap if the next line's first word would not have fit. Such lines are joined before
    they are split. Where the head of a file is such prose with blank lines both single and in runs,
    the single ones end paragraphs and the runs end documents: a chapter is a better document than a
    paragraph of one sentence, which has no next sentence to predict. JSONL leaves nothing to guess.

    Nothing but the current document is held in memory. A document of more than 1,000 sentences is
    cut there and its parts count as documents.

    Args:
        paths: a path, a glob (`"corpus/*.txt"`, `**` included) or a list of them.
        text_column: the key of the text in JSONL files, and the column in Parquet files.
        on_corrupt: "raise", or "skip" to log, once a process, what is wrong with a file and go on
            with the next: what comes after it in that file is left out, too.

    Returns:
        Iterator of documents, each a list of str, its sentences; no document is empty. Bytes that
        are not UTF-8 become U+FFFD.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: a file cannot be read, a JSONL line is no object or has no such key, or there is
            no text in any of the files; raised while reading.

    Example:
        >>> import keras_bert_lib as kbl
        >>> with open("corpus.txt", "w") as file:
        ...     _ = file.write("It rained. Nobody came.\n\nThe sun is a star.\n")
        >>> list(kbl.data.read_documents("corpus.txt"))
        [['It rained.', 'Nobody came.'], ['The sun is a star.']]

    References:
        - google-research/bert, `README.md`, "Pre-training with BERT", for the plain text format
    """
    files = expand_paths(paths)
    return _read_documents(files, read_raw_documents(files, text_column, on_corrupt))


def read_raw_documents(files, text_column="text", on_corrupt="raise"):
    """Yields the `RawDocument`s of a list of paths; the arguments are those of `read_documents`."""
    if on_corrupt not in ("raise", "skip"):
        raise ValueError(f"`on_corrupt` is 'raise' or 'skip'. Received: {on_corrupt!r}")
    return _read_files(files, text_column, on_corrupt)


def split_raw_document(raw):
    """Returns the documents, lists of sentences, that a `RawDocument` is cut into; maybe none."""
    sentences = []
    for _, block in _blocks(raw.lines):
        sentences += _block_sentences(block, raw.is_prose)
    return [sentences[i : i + _MAX_SENTENCES] for i in range(0, len(sentences), _MAX_SENTENCES)]


def _read_files(files, text_column, on_corrupt):
    for path in files:
        if is_json_lines(path):
            documents = _json_documents(path, text_column)
        elif is_parquet(path):
            documents = _parquet_documents(path, text_column)
        else:
            documents = _text_documents(read_lines(path))
        try:
            yield from documents
        except ValueError as error:
            if on_corrupt == "raise":
                raise
            warn_once(f"Skipped the rest of {path}: {error}")


@functools.cache
def warn_once(message):
    """Logs what is skipped; each message once in a process, and not in every epoch."""
    logging.warning("%s", message)


def _read_documents(files, raw_documents):
    found = False
    for raw in raw_documents:
        for document in split_raw_document(raw):
            found = True
            yield document
    if not found:
        raise ValueError(
            f"There is no text to read. Received: {files[0] if files[1:] == [] else files}"
        )


def split_document(text):
    r"""Splits the text of one document into sentences.

    Lines of wrapped prose are joined first; other line breaks, and blank lines, end a sentence.

    Args:
        text: str, one document.

    Returns:
        List of str, the sentences.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.data.split_document("A title\n\nIt rained. Nobody came.")
        ['A title', 'It rained.', 'Nobody came.']
    """
    sentences = []
    for _, block in _blocks(text.splitlines()):
        sentences += _block_sentences(block, is_prose=True)
    return sentences


def _json_documents(path, text_column):
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        row = parse_json_object(line, where)
        text = row.get(text_column)
        if not isinstance(text, str):
            keys = ", ".join(f'"{key}"' for key in row)
            raise ValueError(
                f'{where} has no text under "{text_column}". Name the key with `text_column`. '
                f"Received keys: {keys or 'none'}"
            )
        yield RawDocument(text.splitlines(), is_prose=True)


def _parquet_documents(path, text_column):
    columns = [text_column]
    for where, text in table_rows(path, columns, ("text_column",), may_be_empty=columns):
        if not isinstance(text, (str, type(None))):
            raise ValueError(
                f'{where} has no text under "{text_column}". Name the column with `text_column`. '
                f"Received: {type(text).__name__}"
            )
        yield RawDocument((text or "").splitlines(), is_prose=True)


def _text_documents(lines):
    head = list(itertools.islice(lines, _HEAD_LINES))
    is_prose, separator = _layout(list(_blocks(head)))
    document, blank_lines = [], 0
    for line in itertools.chain(head, lines):
        line = line.rstrip()
        if not line:
            blank_lines += 1
            continue
        if document and (blank_lines >= separator or len(document) >= _MAX_LINES):
            yield RawDocument(document, is_prose)
            document = []
        elif blank_lines:
            document.append("")
        document.append(line)
        blank_lines = 0
    yield RawDocument(document, is_prose)


def _layout(blocks):
    """Whether a file is wrapped prose, and how many blank lines end its documents."""
    # One line break alone is no evidence.
    long_blocks = [block for _, block in blocks if len(block) >= 3]
    is_prose = 2 * sum(map(_is_wrapped, long_blocks)) > len(long_blocks)
    blank_lines = {count for count, _ in blocks[1:]}
    has_sections = is_prose and 1 in blank_lines and max(blank_lines) > 1
    return is_prose, 2 if has_sections else 1


def _blocks(lines):
    """Yields (blank lines before it, lines) of each run of lines that are not blank."""
    blank_lines = 0
    block = []
    for line in lines:
        line = line.rstrip()
        if line:
            block.append(line)
            # A file without blank lines must not be held whole.
            if len(block) == _MAX_SENTENCES:
                yield blank_lines, block
                blank_lines, block = 0, []
        else:
            if block:
                yield blank_lines, block
                blank_lines, block = 0, []
            blank_lines += 1
    if block:
        yield blank_lines, block


def _block_sentences(block, is_prose):
    if is_prose and _is_wrapped(block):
        return split_sentences(" ".join(line.strip() for line in block))
    return [sentence for line in block for sentence in split_sentences(line)]


def _is_wrapped(block):
    """Whether most of the lines end where the next word would not have fit."""
    if len(block) < 2:
        return False
    width = max(len(line) for line in block)
    if not _MIN_WIDTH <= width <= _MAX_WIDTH:
        return False
    wraps = [
        len(line) + 1 + len(following.split(maxsplit=1)[0]) > width - _RAGGED
        for line, following in itertools.pairwise(block)
    ]
    # Of blocks of three lines with a sentence each, 7% pass by chance; of blocks of five, 2%.
    return sum(wraps) >= 0.75 * len(wraps)
