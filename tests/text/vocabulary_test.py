import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_bert_lib.text.vocabulary import (
    REQUIRED_PIECES,
    load_vocabulary,
    save_vocabulary,
    validate_vocabulary,
)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.mark.parametrize(
    "pieces",
    [
        ["the", "##s", "ünï", "##字", "字"],
        ["\u2028", "##\u2028", "\x85", "\xa0", "##\u3000", "\x0b", "\x1c", " ", "\ufeff"],
        ["before", "", "after"],
    ],
    ids=["words", "odd white space", "blank piece"],
)
def test_round_trip(tmp_path, pieces):
    path = tmp_path / "new" / "vocab.txt"
    save_vocabulary(SPECIAL + pieces, path)
    assert load_vocabulary(path) == SPECIAL + pieces
    assert load_vocabulary(str(path)) == SPECIAL + pieces
    assert os.listdir(path.parent) == ["vocab.txt"]


def any_pieces():
    # Half of them are pieces that may be mistaken for another, or for no piece.
    odd = ["", " ", "\n", "\r", "a\r", "\x00", "\x85", "\u2028", "\ufeff", "\ud800", "[PAD]", "##"]
    return st.lists(st.one_of(st.sampled_from(odd), st.text(max_size=4)), max_size=12)


def result_or_error(function, *arguments):
    try:
        return function(*arguments), None
    except ValueError as error:
        return None, str(error)


@given(pieces=any_pieces(), position=st.integers(0, 12))
def test_saves_what_it_can_load_and_nothing_else(tmp_path_factory, pieces, position):
    pieces[position:position] = SPECIAL
    path = tmp_path_factory.mktemp("any") / "vocab.txt"
    _, error = result_or_error(save_vocabulary, pieces, path)
    if error is None:
        assert load_vocabulary(path) == pieces
        return
    assert not path.exists()
    assert "\n" not in error
    assert "Received: " in error
    # One of the rules was broken.
    text = "".join(pieces)
    assert (
        len(set(pieces)) < len(pieces)
        or pieces[-1] == ""
        or any(c == "\n" or "\ud800" <= c <= "\udfff" for c in text)
        or any(piece.endswith("\r") for piece in pieces)
        or text.startswith("\ufeff")
    )


@given(lines=st.one_of(st.binary(max_size=80), any_pieces()))
def test_loads_any_bytes_or_says_where_they_are_wrong(tmp_path_factory, lines):
    if isinstance(lines, list):
        lines = "\n".join(lines).encode("utf-8", "replace")
    data = "\n".join(REQUIRED_PIECES).encode() + b"\n" + lines
    path = tmp_path_factory.mktemp("any") / "vocab.txt"
    path.write_bytes(data)
    vocabulary, error = result_or_error(load_vocabulary, path)
    if vocabulary is None:
        assert re.search(r"lines \d+ and \d+|line \d+, is not UTF-8", error)
        assert "\n" not in error
        return
    # The number of a line is the id of its piece, and only blank lines come after the last.
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    count = len(vocabulary)
    assert [piece.encode() for piece in vocabulary] == lines[:count]
    assert not any(lines[count:])
    validate_vocabulary(vocabulary)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("ending", ["", "once", "thrice"])
def test_accepts_what_editors_write(tmp_path, end, mark, ending):
    path = tmp_path / "vocab.txt"
    text = mark + end.join([*SPECIAL, "naïve", "##s"])
    text += {"": "", "once": end, "thrice": 3 * end}[ending]
    path.write_bytes(text.encode("utf-8"))
    assert load_vocabulary(path) == [*SPECIAL, "naïve", "##s"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"vocab\.txt is empty"),
        (b"\n\n", r"vocab\.txt is empty"),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\nof\nthe\n", r"'the' twice, at lines 5 and 7"),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n\na\n\nb\n", r"a blank piece twice, at lines 5 and 7"),
        (b"[PAD]\n[CLS]\n[SEP]\nthe\n", r"vocab\.txt has no \[UNK\] piece"),
        (b"the\nof\n", r"has no \[PAD\] and no \[UNK\] and no \[CLS\] and no \[SEP\] piece"),
        (b"[PAD]\n[UNK]\ncaf\xe9\n", r"line 3, is not UTF-8.*Received: byte 0xe9"),
        ("[PAD]\n[UNK]".encode("utf-16"), r"line 1, is not UTF-8"),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path, data, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        load_vocabulary(path)
    assert "\n" not in str(caught.value)


def test_says_where_no_file_is(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.txt"):
        load_vocabulary(tmp_path / "absent.txt")
    with pytest.raises(ValueError, match=r"is a directory.*vocab\.txt"):
        load_vocabulary(tmp_path)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ([], "`vocabulary` is empty"),
        ([*SPECIAL, "a", "b", "a"], "'a' twice, at ids 5 and 7"),
        ([*SPECIAL, 7], r"strings only\. Received: 7 \(of type int\) at index 5"),
        (["[PAD]", "[CLS]", "[SEP]"], r"`vocabulary` has no \[UNK\] piece"),
        (["x" * 10**6], r"no \[SEP\] piece.* the first being 'x{30}'$"),
        (["x" * 10**6] * 2, r"holds the piece 'x{30}' twice, at ids 0 and 1"),
        ({"[PAD]": 0}, r"must be a list .*sorted\(ids, key=ids.get\).* Received: a dict"),
        ("[PAD]", "must be a list .* Received: a str"),
        (iter(SPECIAL), "must be a list .* Received: a list_iterator"),
    ],
)
def test_says_what_is_wrong_with_a_list(vocabulary, message):
    with pytest.raises(ValueError, match=message):
        validate_vocabulary(vocabulary)


@pytest.mark.parametrize("unfit", ["two\nlines", "carriage\r", "", "\ud800"])
def test_does_not_write_what_it_could_not_read(tmp_path, unfit):
    path = tmp_path / "vocab.txt"
    with pytest.raises(ValueError, match="cannot be written") as caught:
        save_vocabulary([*SPECIAL, unfit], path)
    assert f"Received: {unfit!r} at index 5" in str(caught.value)
    with pytest.raises(ValueError, match="cannot be written"):
        save_vocabulary(["\ufeff", *SPECIAL], path)
    assert os.listdir(tmp_path) == []


def test_keeps_the_old_file_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "vocab.txt"
    save_vocabulary(SPECIAL, path)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        save_vocabulary([*SPECIAL, "new"], path)
    assert load_vocabulary(path) == SPECIAL
    assert os.listdir(tmp_path) == ["vocab.txt"]


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("bert-base-uncased", 30522),
        ("bert-base-cased", 28996),
        ("bert-base-chinese", 21128),
        ("bert-base-multilingual-cased", 119547),
        ("bert-base-multilingual-uncased", 105879),
    ],
)
def test_published_vocabularies(shared_data, tmp_path, name, size):
    path = shared_data / "vocab" / name / "vocab.txt"
    vocabulary = load_vocabulary(path)
    assert len(vocabulary) == size
    save_vocabulary(vocabulary, tmp_path / "vocab.txt")
    assert (tmp_path / "vocab.txt").read_bytes() == path.read_bytes()
