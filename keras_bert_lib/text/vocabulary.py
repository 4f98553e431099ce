"""WordPiece vocabularies as files: one piece a line, the line's number (from 0) being its id."""

import os
from itertools import zip_longest
from pathlib import Path

REQUIRED_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def load_vocabulary(path):
    r"""Reads a vocabulary file.

    The file is UTF-8 text with one piece a line, as published with BERT. Windows line ends and a
    byte-order mark are accepted, and blank lines at the end are passed over. Lines end at `\n`
    and nowhere else: real vocabularies hold pieces such as U+2028, which Python's `splitlines`
    and `strip` would take for a line's end. A blank line further up is a piece that no text can
    hold; it is kept because the lines below it would otherwise get other ids (the multilingual
    uncased vocabulary of BERT has one).

    Args:
        path: str or path-like.

    Returns:
        list of str, in the order of their ids.

    Raises:
        FileNotFoundError: if there is no file at `path`.
        ValueError: if the file is empty or not UTF-8, if a piece stands in it twice, or if one of
            `[PAD]`, `[UNK]`, `[CLS]` and `[SEP]` is missing. The message names the line.

    Example:
        ```python
        import keras_bert_lib as kbl

        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "##s"]
        kbl.text.save_vocabulary(pieces, "vocab.txt")
        kbl.text.load_vocabulary("vocab.txt")[5:]  # ["hello", "##s"]
        ```
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(
            f"{path} is a directory, not a vocabulary file. Give the path of the file, "
            f"such as {path / 'vocab.txt'}."
        )
    if not path.exists():
        raise FileNotFoundError(
            f"No vocabulary file at {path}. Learn one from your text with "
            "`keras_bert_lib.text.learn_vocabulary`, or correct the path."
        )
    data = path.read_bytes()
    try:
        vocabulary = _parse(data)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}, is not UTF-8. Save the file as UTF-8 text. "
            f"Received: byte 0x{data[error.start]:02x}"
        ) from None
    validate_vocabulary(vocabulary, source=path)
    return vocabulary


def save_vocabulary(vocabulary, path):
    """Writes a vocabulary file, one piece a line, in UTF-8.

    The file is written under a temporary name and then moved into place, so that a failure leaves
    what stood at `path` as it was. Missing parent directories are made.

    Args:
        vocabulary: list of str, in the order of their ids. No piece holds a line end.
        path: str or path-like.

    Raises:
        ValueError: if `vocabulary` is not one that `load_vocabulary` would give back.

    Example:
        ```python
        import keras_bert_lib as kbl

        kbl.text.save_vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "vocab.txt")
        ```
    """
    validate_vocabulary(vocabulary)
    data = encode_vocabulary(vocabulary)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def encode_vocabulary(vocabulary, name="`vocabulary`"):
    """Returns the bytes of a vocabulary file.

    Args:
        vocabulary: list of str, in the order of their ids.
        name: str, what the caller calls the list; for the error message.

    Raises:
        ValueError: if reading the bytes would not give the same list back.
    """
    # A lone surrogate has no UTF-8; a byte that cannot be read back stands for it.
    data = "".join(f"{piece}\n" for piece in vocabulary).encode("utf-8", "replace")
    for i, (piece, read_back) in enumerate(zip_longest(vocabulary, _parse(data))):
        if piece != read_back:
            raise ValueError(
                f"{name} cannot be written one piece a line. Remove pieces that hold a line end, "
                "a byte-order mark at the start or a lone surrogate, and blank ones at the end. "
                f"Received: {piece!r} at index {i}"
            )
    return data


def validate_vocabulary(vocabulary, source=None, name="`vocabulary`"):
    """Checks that a list of pieces can serve as a vocabulary.

    `[MASK]` is not asked for here: only pretraining needs it, and says so itself.

    Args:
        vocabulary: list of str, in the order of their ids.
        source: path of the file the pieces were read from, or None; for the error messages.
        name: str, what the caller calls a list that was read from no file; for the same.

    Raises:
        ValueError: if it is no list or empty, if a piece is something other than a string or stands
            there twice, or if one of `[PAD]`, `[UNK]`, `[CLS]` and `[SEP]` is missing.
    """
    name = name if source is None else str(source)
    place, first = ("ids", 0) if source is None else ("lines", 1)
    if not isinstance(vocabulary, (list, tuple)):
        raise ValueError(
            f"{name} must be a list of pieces in the order of their ids; of a dict of ids that is "
            f"`sorted(ids, key=ids.get)`. Received: a {type(vocabulary).__name__}"
        )
    if not vocabulary:
        raise ValueError(f"{name} is empty. A vocabulary holds one piece a line.")
    id_of_piece = {}
    for i, piece in enumerate(vocabulary):
        if not isinstance(piece, str):
            raise ValueError(
                f"{name} must hold strings only. Received: {piece!r} (of type "
                f"{type(piece).__name__}) at index {i}"
            )
        if piece in id_of_piece:
            what = f"the piece {piece[:30]!r}" if piece else "a blank piece"
            raise ValueError(
                f"{name} holds {what} twice, at {place} {id_of_piece[piece] + first} and "
                f"{i + first}. Remove one of them; pieces after it get lower ids. "
                f"Received: {len(vocabulary)} pieces"
            )
        id_of_piece[piece] = i
    missing = [piece for piece in REQUIRED_PIECES if piece not in id_of_piece]
    if missing:
        # A file that is something else may be one long line.
        shown = ", ".join(repr(piece[:30]) for piece in vocabulary[:5])
        raise ValueError(
            f"{name} has no {' and no '.join(missing)} piece. Add each as a line of its own. "
            f"Received: {len(vocabulary)} pieces, the first being {shown}"
        )


def _parse(data):
    lines = data.decode("utf-8-sig").split("\n")
    pieces = [line[:-1] if line.endswith("\r") else line for line in lines]
    while pieces and not pieces[-1]:
        pieces.pop()
    return pieces
