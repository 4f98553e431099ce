"""Input files: names and globs to paths, plain or gzip files to lines, errors in one line."""

import codecs
import functools
import glob
import gzip
import json
import os
import zlib

from absl import logging


def expand_paths(paths):
    """Returns the files that a path, a glob or a list of either names, in a fixed order."""
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    files = []
    for path in paths:
        if not isinstance(path, (str, os.PathLike)):
            raise ValueError(
                "A source is a path, a glob or a list of them. "
                f"Received: {path!r} of type {type(path).__name__}"
            )
        path = os.fspath(path)
        # A file that exists is meant literally, even where its name holds a `*` or a `[`.
        if os.path.isdir(path):
            raise ValueError(
                f"{path} is a directory. Name its files, as in {os.path.join(path, '*.txt')}."
            )
        if os.path.exists(path):
            files.append(path)
        elif glob.has_magic(path):
            matches = sorted(p for p in glob.glob(path, recursive=True) if os.path.isfile(p))
            if not matches:
                raise FileNotFoundError(f"The pattern {path} matches no file.")
            files += matches
        else:
            raise FileNotFoundError(f"There is no file {path}.")
    if not files:
        raise ValueError(f"There is no file to read. Give one path at least. Received: {paths!r}")
    return files


def read_lines(path, newline=None):
    r"""Yields the lines of a text file, gunzipped if its name ends in `.gz`.

    Bytes that are not UTF-8 become U+FFFD, which BERT's normalization drops; a byte order
    mark at the start is skipped.

    Args:
        path: the file.
        newline: as in `open`: None turns every line end to `\n`, "" leaves them as they are.
    """
    opener = gzip.open if path.endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise ValueError(f"{path} is UTF-16. Save it as UTF-8 (in Excel: CSV UTF-8).")
        with opener(path, "rt", encoding="utf-8-sig", errors="replace", newline=newline) as lines:
            yield from lines
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is no whole gzip file: {error}. Write it anew.") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}.") from error


def read_checked_lines(path, newline=None):
    """Yields the lines as `read_lines`, and warns at the end where some are not UTF-8.

    For examples, of which each counts; in a corpus some odd lines do not matter.
    """
    has_replaced = False
    for line in read_lines(path, newline):
        has_replaced = has_replaced or "\ufffd" in line
        yield line
    if has_replaced:
        _warn_of_encoding(os.path.abspath(path), os.path.getmtime(path), path)


@functools.cache  # once a file, however often it is read
def _warn_of_encoding(absolute, modified, path):
    """Logs which lines of a file are not UTF-8; one that holds U+FFFD itself is."""
    opener = gzip.open if path.endswith(".gz") else open
    with opener(absolute, "rb") as lines:
        odd = [number for number, line in enumerate(lines, start=1) if not _is_utf8(line)]
    if odd:
        logging.warning(
            "%s is not UTF-8 in %d of its lines, the first of them line %d: what those have beside "
            "ASCII is lost. Save it as UTF-8.",
            path,
            len(odd),
            odd[0],
        )


def _is_utf8(line):
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def is_json_lines(path):
    """Whether the file's name says that it holds one JSON object a line."""
    return path.removesuffix(".gz").lower().endswith((".jsonl", ".ndjson"))


def parse_json_object(line, where):
    """Returns the dict that a line of JSON holds; `where` opens the message if it holds none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON: {error}. Received: {line.strip()[:80]!r}") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where} is no JSON object. Received: {line.strip()[:80]!r}")
    return row
