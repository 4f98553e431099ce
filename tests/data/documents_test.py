"""Reading documents: the formats, the layouts, and what goes wrong."""

import gzip
import itertools
import json
import os
import textwrap
from pathlib import Path

import pytest

from keras_bert_lib.data import read_documents, split_document
from keras_bert_lib.data.documents import RawDocument, _text_documents

PLAIN = "It rained. Nobody came.\nWe waited.\n\n\nThe sun is a star.\n"
DOCUMENTS = [["It rained.", "Nobody came.", "We waited."], ["The sun is a star."]]
PROSE = (
    "The harbour lay still under the first light of the morning while the boats came in from the "
    "outer bank. Nobody spoke. An old man counted the nets, twice, and wrote the number into a "
    "book that he kept in the pocket of his coat."
)
PROSE_SENTENCES = [
    "The harbour lay still under the first light of the morning while the boats came in from the "
    "outer bank.",
    "Nobody spoke.",
    "An old man counted the nets, twice, and wrote the number into a book that he kept in the "
    "pocket of his coat.",
]


def write(path, text):
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    return str(path)


def json_lines(*texts, key="text"):
    return "".join(json.dumps({key: text}) + "\n" for text in texts)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "no_suffix"])
def test_plain_text(tmp_path, name):
    assert list(read_documents(write(tmp_path / name, PLAIN))) == DOCUMENTS


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.ndjson"])
def test_json_lines(tmp_path, name):
    text = json_lines("It rained. Nobody came.\n\nWe waited.", " ", "The sun is a star.") + "\n"
    assert list(read_documents(write(tmp_path / name, text))) == DOCUMENTS


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    texts = ["It rained. Nobody came.\n\nWe waited.", None, " ", "The sun is a star."]
    path = str(tmp_path / "a.parquet")
    parquet.write_table(pyarrow.table({"text": texts, "id": [1, 2, 3, 4]}), path)
    assert list(read_documents(path)) == DOCUMENTS
    with pytest.raises(ValueError, match=r'no column "body".*`text_column`'):
        list(read_documents(path, text_column="body"))
    with pytest.raises(ValueError, match=r'row 1 has no text under "id".*Received: int'):
        list(read_documents(path, text_column="id"))


def test_corrupt_files_are_skipped(tmp_path, caplog):
    paths = [
        write(tmp_path / "a.jsonl", json_lines("A.", "B.") + "{\n" + json_lines("never read")),
        write(tmp_path / "b.txt", ""),
        write(tmp_path / "c.txt.gz", PLAIN),
        write(tmp_path / "d.txt", "D."),
    ]
    Path(paths[2]).write_bytes(Path(paths[2]).read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"a\.jsonl line 3 is not JSON"):
        list(read_documents(paths))
    with caplog.at_level("WARNING"):
        documents = list(read_documents(paths, on_corrupt="skip"))
        assert documents == list(read_documents(paths, on_corrupt="skip"))
    assert documents[:2] + documents[-1:] == [["A."], ["B."], ["D."]]
    skipped = [record.getMessage() for record in caplog.records]
    # Once each, though they were read twice.
    assert [sum(f"{name}: " in m for m in skipped) for name in paths] == [1, 0, 1, 0]
    with pytest.raises(ValueError, match=r"`on_corrupt` is 'raise' or 'skip'\. Received: None"):
        read_documents(paths, on_corrupt=None)


def test_text_column(tmp_path):
    path = write(tmp_path / "a.jsonl", json_lines("Hello there.", key="body"))
    assert list(read_documents(path, text_column="body")) == [["Hello there."]]


def test_line_ends_and_byte_order_mark(tmp_path):
    data = b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode()
    assert list(read_documents(write(tmp_path / "a.txt", data))) == DOCUMENTS


def test_invalid_utf8_is_replaced(tmp_path):
    path = write(tmp_path / "a.txt", b"caf\xe9 noir.\n\n\xff\xfe\n\nNUL \0 here.\n")
    assert list(read_documents(path)) == [["caf\ufffd noir."], ["\ufffd\ufffd"], ["NUL \0 here."]]


def test_globs_and_lists(tmp_path):
    (tmp_path / "deep").mkdir()
    b = write(tmp_path / "b.txt", "B.")
    write(tmp_path / "a.txt", "A.")
    write(tmp_path / "deep" / "c.txt", "C.")
    write(tmp_path / "d[1].txt", "D.")
    assert list(read_documents(str(tmp_path / "?.txt"))) == [["A."], ["B."]]
    assert list(read_documents(tmp_path / "**" / "[bc].txt")) == [["B."], ["C."]]
    assert list(read_documents([b, tmp_path / "a*"])) == [["B."], ["A."]]
    assert list(read_documents(tmp_path / "d[1].txt")) == [["D."]]


def test_a_sentence_a_line_is_not_joined(tmp_path):
    # No capitals and no full stops: only the line breaks tell the sentences apart.
    lines = [
        "the harbour lay still under the first light of the morning",
        "nobody spoke",
        "an old man counted the nets twice and wrote the number into a book",
        "the boats came in from the outer bank",
    ]
    path = write(tmp_path / "a.txt", "\n".join(lines) + "\n\n" + "\n".join(lines[:2]))
    assert list(read_documents(path)) == [lines, lines[:2]]


@pytest.mark.parametrize("width", [45, 60, 79, 100])
def test_wrapped_prose_is_joined(tmp_path, width):
    wrapped = textwrap.fill(PROSE, width)
    assert list(read_documents(write(tmp_path / "a.txt", wrapped))) == [PROSE_SENTENCES]
    assert split_document(wrapped) == PROSE_SENTENCES


def test_single_blank_lines_end_documents(tmp_path):
    wrapped = textwrap.fill(PROSE, 60)
    path = write(tmp_path / "a.txt", "\n\n".join([wrapped] * 3))
    assert list(read_documents(path)) == [PROSE_SENTENCES] * 3


def test_chapters_of_a_book_are_documents(tmp_path):
    wrapped = textwrap.fill(PROSE, 60)
    chapter = "\n\n".join(["CHAPTER I", wrapped, wrapped])
    path = write(tmp_path / "a.txt", "\n\n\n\n".join([chapter] * 3) + "\n")
    assert list(read_documents(path)) == [["CHAPTER I", *PROSE_SENTENCES, *PROSE_SENTENCES]] * 3


def test_verse_and_tables_are_not_joined():
    verse = "A short line here\nthen one that goes on for rather longer than the first\nAnd done"
    assert split_document(verse) == verse.split("\n")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_long_documents_are_cut(tmp_path, name):
    lines = [f"Line {i} of one document." for i in range(2300)]
    text = "\n".join(lines)
    path = write(tmp_path / name, text if name == "a.txt" else json_lines(text))
    documents = list(read_documents(path))
    assert [len(document) for document in documents] == [1000, 1000, 300]
    assert list(itertools.chain(*documents)) == lines


def test_files_are_streamed(tmp_path):
    lines = itertools.chain(["One.\n", "\n"] * 3000, lines_too_many())
    stream = _text_documents(lines)
    assert list(itertools.islice(stream, 2500)) == [RawDocument(["One."], False)] * 2500


def lines_too_many():
    raise AssertionError("read too far ahead")
    yield


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "no text to read"),
        ("a.txt", " \n\n\t\n", "no text to read"),
        ("a.jsonl", "", "no text to read"),
        ("a.jsonl", json_lines("", " "), "no text to read"),
        ("a.jsonl", json_lines("Fine.") + "{oops\n", r"a\.jsonl line 2 is not JSON: .*oops"),
        ("a.jsonl", "[" * 100_000, r"line 1 is not JSON"),
        ("a.jsonl", "[1]\n", r"line 1 is no JSON object\. Received: '\[1\]"),
        ("a.jsonl", '{"body": "x", "id": 3}\n', r'line 1 .* under "text"\. .*keys: "body", "id"'),
        ("a.jsonl", '{"text": 3}\n', r'line 1 has no text under "text"'),
        ("a.jsonl", "{}\n", r"keys: none"),
        ("a.txt.gz", None, r"a\.txt\.gz is no whole gzip file"),
    ],
)
def test_unusable_text(tmp_path, name, text, message):
    path = tmp_path / name
    if text is None:
        path.write_bytes(gzip.compress(os.urandom(100_000))[:50_000])
    else:
        write(path, text)
    with pytest.raises(ValueError, match=message) as error:
        list(read_documents(path))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_unusable_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.txt"):
        read_documents(tmp_path / "absent.txt")
    with pytest.raises(FileNotFoundError, match=r"pattern .*\*\.txt matches no file"):
        read_documents(tmp_path / "*.txt")
    with pytest.raises(ValueError, match=r"is a directory\. Name its files, as in .*\*\.txt"):
        read_documents(tmp_path)
    with pytest.raises(ValueError, match="no file to read"):
        read_documents([])
    with pytest.raises(ValueError, match="Received: 3 of type int"):
        read_documents([3])
    write(tmp_path / "not.gz", "plain text")
    os.rename(tmp_path / "not.gz", tmp_path / "plain.gz")
    (tmp_path / "plain.gz").write_bytes(b"plain text")
    with pytest.raises(ValueError, match="no whole gzip file"):
        list(read_documents(tmp_path / "plain.gz"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_unreadable_file(tmp_path):
    path = write(tmp_path / "a.txt", PLAIN)
    os.chmod(path, 0)
    with pytest.raises(ValueError, match=r"a\.txt cannot be read: Permission denied"):
        list(read_documents(path))


@pytest.mark.shared_data
def test_novels(shared_data):
    documents = list(read_documents(shared_data / "gutenberg" / "*.txt"))
    # Chapters, not paragraphs: most of the text stands in documents of many sentences.
    sizes = [len(document) for document in documents]
    assert sum(size for size in sizes if size >= 50) > 0.9 * sum(sizes)
    text = "".join("".join(s.split()) for document in documents for s in document)
    files = sorted((shared_data / "gutenberg").glob("*.txt"))
    raw = "".join("".join(f.read_text("utf-8-sig", "replace").split()) for f in files)
    assert text == raw
