"""Reading words with tags: columns, tables, lists and data sets, and what goes wrong."""

import gzip
import json

import numpy as np
import pytest
import tensorflow as tf
from absl import logging

from keras_bert_lib.data import read_labelled_tokens

WORDS = [["Ann", "Lee", "sings", "in", "Rome"], ["#", "Rain", "falls", "😀"]]
TAGS = [["B-per", "I-per", "O", "O", "B-loc"], ["O", "O", "O", "O"]]
LABELS = ["O", "B-loc", "I-loc", "B-per", "I-per"]


def check(read, words=WORDS, tags=TAGS, labels=LABELS):
    assert read == (words, tags, labels)


def columns(separator="\t", other="NN", blank="\n", head=""):
    """The sentences in columns: word, something else, tag."""
    rows = [
        "".join(f"{word}{separator}{other}{separator}{tag}\n" for word, tag in zip(words, tags))
        for words, tags in zip(WORDS, TAGS)
    ]
    return head + blank.join(rows)


@pytest.mark.parametrize(
    "text",
    [
        columns(),
        columns(" "),
        columns("   "),
        columns(blank="\n \n\n"),
        columns().replace("\n", "\r\n"),
        columns(head="-DOCSTART-\t-X-\tO\n\n", blank="\n-DOCSTART-\t-X-\tO\n\n"),
        columns(" ", head="-DOCSTART- -X- O\n\n", blank="-DOCSTART- -X- O\n"),
        columns(head="# id 1\n", blank="\n# id 2\n# text = ...\n"),
    ],
)
def test_columns(tmp_path, text):
    path = tmp_path / "a.conll"
    path.write_bytes(text.encode())
    check(read_labelled_tokens(path))
    check(read_labelled_tokens(path, token_column=-3, label_column=2))
    with gzip.open(tmp_path / "b.txt.gz", "wb") as file:
        file.write(text.encode())
    check(read_labelled_tokens([tmp_path / "b.txt.gz"]))


def test_columns_by_name(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("tag\tpos\tword\n\nO\tX\tit\nB-x\tX\tis\n", "utf-8")
    read = read_labelled_tokens(path, "word", "tag")
    check(read, [["it", "is"]], [["O", "B-x"]], ["O", "B-x", "I-x"])
    with pytest.raises(ValueError, match=r'no column "ner"\. .*columns: "tag", "pos", "word"'):
        read_labelled_tokens(path, "word", "ner")


def test_tables_and_lists(tmp_path):
    pandas = pytest.importorskip("pandas")
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    rows = [{"tokens": w, "ner_tags": t} for w, t in zip(WORDS, TAGS)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(lines, "utf-8")
    (tmp_path / "b.jsonl").write_text(
        lines.replace("tokens", "words").replace("ner_tags", "tags"), "utf-8"
    )
    table = pyarrow.table({"tokens": WORDS, "ner_tags": TAGS})
    parquet.write_table(table, tmp_path / "c.parquet")
    ragged = tf.data.Dataset.from_generator(
        lambda: zip(WORDS, TAGS), output_signature=(tf.TensorSpec([None], tf.string),) * 2
    )
    for source in (
        tmp_path / "a.jsonl",
        tmp_path / "b.jsonl",
        tmp_path / "c.parquet",
        pandas.DataFrame(rows),
        list(zip(WORDS, TAGS)),
        ragged,
    ):
        check(read_labelled_tokens(source))
    both = read_labelled_tokens([tmp_path / "a.jsonl", tmp_path / "c.parquet"])
    check(both, WORDS * 2, TAGS * 2)
    read = read_labelled_tokens(pandas.DataFrame({"w": WORDS, "t": TAGS}), "w", "t")
    check(read)


def test_tags_of_no_scheme_and_numbers():
    rows = [(["a", "b"], ["VB", "NN"]), (["c"], [3])]
    check(read_labelled_tokens(rows), [["a", "b"], ["c"]], [["VB", "NN"], ["3"]], ["3", "NN", "VB"])
    # A comma is part of a tag like any other character.
    assert read_labelled_tokens([(["a"], ["B-x,y"])]).labels == ["O", "B-x,y", "I-x,y"]


def test_tags_out_of_order_are_mended_and_counted():
    logging.use_absl_handler()
    rows = [(["a", "b", "c"], ["O", "I-x", "I-x"]), (["d"], ["B-x"])]
    with pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr(logging, "warning", lambda *args: said.append(args[0] % args[1:]))
        read = read_labelled_tokens(rows)
        assert said == [
            "1 of 4 tags are written anew, as the scheme of the labels has them, so that an I- "
            "that begins an entity is a B-. The entities are the same."
        ]
        assert read.tags == [["O", "B-x", "I-x"], ["B-x"]]
        # What the labels have no tag for stays.
        assert read_labelled_tokens(rows[:1], labels=["O", "I-x"]).tags == [rows[0][1]]
        assert len(said) == 1


def test_another_scheme_becomes_that_of_the_labels():
    iobes = (["a", "b", "c", "d"], ["B-x", "E-x", "S-x", "O"])
    bio = (iobes[0], ["B-x", "I-x", "B-x", "O"])
    for source, target in ((iobes, bio), (bio, iobes)):
        labels = read_labelled_tokens([target]).labels
        read = read_labelled_tokens([source], labels=labels)
        check(read, [target[0]], [target[1]], labels)
    with pytest.raises(ValueError, match=r"Item 0 .* not one of O, x\. Received: 'B-x'"):
        read_labelled_tokens([bio], labels=["O", "x"])


def test_empty_sentences_are_left_out():
    read = read_labelled_tokens([([], []), (["a"], ["B-x"]), (np.array([]), np.array([]))])
    assert read.words == [["a"]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.conll", "a O\n\nb B-x,B-y\n", r"a\.conll line 3 .*several annotators.*'B-x,B-y'"),
        ("a.conll", "", "no words to read"),
        ("a.conll", "\n\n", "no words to read"),
        ("a.conll", "a\tO\nb\n", r"a\.conll line 2 has 1 columns, but the others have 2"),
        ("a.conll", "a\tO\nb\t\n", r"a\.conll line 1 has a word without a tag"),
        ("a.conll", "a O\n\nb B-x\nc y\n", r"a\.conll line 3: .*one scheme.*Received: B-x, y"),
        ("a.conll", "a O\n\nb B-x\nc L-y\nd E-x\n", r"a\.conll line 3: Tags must be"),
        ("a.csv", "a,O\n", r"columns divided by tabs or spaces.*a\.csv"),
        ("a.jsonl", '{"words": ["a"]}\n', r'no column "ner_tags".*`label_column`.*"words"'),
        ("a.jsonl", '{"words": "a", "tags": ["O"]}\n', r"line 1 has no list of words. Rec.*'a'"),
        ("a.jsonl", '{"words": ["a", "b"], "tags": ["O"]}\n', r"line 1 has 2 words and 1 tags"),
        ("a.jsonl", '{"words": [3], "tags": ["O"]}\n', r"line 1 has a word that is no str"),
        ("a.jsonl", '{"words": ["a"], "tags": [null]}\n', r"line 1 has a word without a tag"),
    ],
)
def test_unusable_files(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message) as error:
        read_labelled_tokens(tmp_path / name)
    assert "\n" not in str(error.value)


def test_unusable_arguments(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("a O\nb B-x\n", "utf-8")
    for arguments, message in [
        ({"label_column": 2}, r"a\.conll has 2 columns.*Received: 2"),
        ({"token_column": -3}, r"a\.conll has 2 columns.*Received: -3"),
        ({"labels": ["O", "B-y"]}, r"a\.conll line 1 has a tag that is not one of O, B-y.*'B-x'"),
        ({"labels": ["O", "O"]}, "names a tag twice"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_labelled_tokens(path, **arguments)
    with pytest.raises(ValueError, match=r"Item 1 of the list is no \(words, tags\)"):
        read_labelled_tokens([(["a"], ["O"]), ["b"]])
    with pytest.raises(ValueError, match=r"The source is a dict.*keys: train"):
        read_labelled_tokens({"train": path})
    with pytest.raises(FileNotFoundError, match=r"no file absent\.conll"):
        read_labelled_tokens("absent.conll")


@pytest.mark.shared_data
def test_wnut17(shared_data):
    read = read_labelled_tokens(shared_data / "ner_wnut17" / "wnut17train.conll")
    assert (len(read.words), sum(map(len, read.words)), len(read.labels)) == (3394, 62_730, 13)
    tags = [tag for row in read.tags for tag in row]
    assert sum(tag.startswith("B-") for tag in tags) == 1975
    dev = read_labelled_tokens(
        shared_data / "ner_wnut17" / "emerging.dev.conll", labels=read.labels
    )
    assert len(dev.words) == 1009
    with pytest.raises(ValueError, match=r"line 201 has a word with several tags.*'B-corporation,"):
        read_labelled_tokens(shared_data / "ner_wnut17" / "emerging.test.conll", labels=read.labels)
