"""Reading labelled texts: every kind of source, and what goes wrong."""

import csv
import gzip
import json
import sys

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from keras_bert_lib.data import read_labelled_texts
from keras_bert_lib.data.labelled_texts import MULTI_LABEL, REGRESSION
from keras_bert_lib.data.tables import column_names

ROWS = [
    ("a fine, fine film", "pos"),
    ('he said "no"', "neg"),
    ("two\nlines", "pos"),
    ("café 你好 🙂", "neg"),
]
TEXTS = [text for text, _ in ROWS]


def write(path, text):
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    return path


def check(read, texts=TEXTS, label_ids=(1, 0, 1, 0), labels=("neg", "pos"), text_pairs=None):
    assert read.texts == list(texts)
    assert read.text_pairs == text_pairs
    assert read.label_ids.dtype == np.int32
    assert read.label_ids.tolist() == list(label_ids)
    assert read.labels == list(labels)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_csv(tmp_path, name, quoting, line_end):
    with open(tmp_path / "plain.csv", "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, quoting=quoting, lineterminator=line_end)
        writer.writerow(["id", "text", " label"])
        writer.writerows((i, text, f" {label} ") for i, (text, label) in enumerate(ROWS))
        file.write(line_end)
    check(read_labelled_texts(write(tmp_path / name, (tmp_path / "plain.csv").read_bytes())))


def test_csv_with_a_megabyte_in_a_cell(tmp_path):
    limit = csv.field_size_limit()
    long = "word " * 200_000
    path = write(tmp_path / "a.csv", f"text,label\n{long},a\n\0nul\0,b\n".encode() + b"\xff,a\n")
    check(read_labelled_texts(path), [long, "\ufffdnul\ufffd", "\ufffd"], [0, 1, 0], ["a", "b"])
    assert csv.field_size_limit() == limit


def test_tsv_has_no_quotes(tmp_path):
    path = write(tmp_path / "a.tsv", 'sentence\tlabel\n"open\t1\nit \'s "x" \t0\n')
    read = read_labelled_texts(path, text_column="sentence")
    check(read, ['"open', 'it \'s "x" '], [1, 0], ["0", "1"])


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_json_lines(tmp_path, name):
    text = "".join(json.dumps({"text": t, "label": l}) + "\n\n" for t, l in ROWS)
    check(read_labelled_texts(write(tmp_path / name, text)))


def test_pairs_in_every_source(tmp_path):
    pandas = pytest.importorskip("pandas")
    firsts, seconds, labels = ["a", "b", "c"], ["x", "y", "z"], [2, 10, 1]
    rows = list(zip(firsts, seconds, labels))
    columns = {"text_column": "s1", "text_pair_column": "s2"}
    csv_path = write(
        tmp_path / "a.csv", "s1,s2,label\n" + "".join(f"{a},{b},{l}\n" for a, b, l in rows)
    )
    jsonl = "".join(json.dumps({"s1": a, "s2": b, "label": l}) + "\n" for a, b, l in rows)
    frame = pandas.DataFrame({"s1": firsts, "s2": seconds, "label": labels})
    for source in (
        csv_path,
        write(tmp_path / "a.jsonl", jsonl),
        frame,
        [((a, b), l) for a, b, l in rows],
        tf.data.Dataset.from_tensor_slices(((firsts, seconds), labels)),
    ):
        # Whole numbers sort as numbers.
        check(read_labelled_texts(source, **columns), firsts, [1, 2, 0], ["1", "2", "10"], seconds)


def test_data_frame():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"body": TEXTS, "stars": [4.0, 1.0, 4.0, 1.0]}, index=[7, 8, 9, 10])
    read = read_labelled_texts(frame, text_column="body", label_column="stars")
    check(read, labels=["1", "4"])
    frame["kind"] = pandas.Categorical(["p", "n", "p", "n"])
    check(read_labelled_texts(frame, "body", "kind"), labels=["n", "p"])
    frame["known"] = pandas.array([True, False, True, None], dtype="boolean")
    with pytest.raises(ValueError, match='Row 10 of the data frame has nothing under "known"'):
        read_labelled_texts(frame, "body", "known")
    with pytest.raises(ValueError, match=r'no column "text".*columns: "body", "stars"'):
        read_labelled_texts(frame, label_column="stars")
    frame.loc[8, "body"] = np.nan
    with pytest.raises(ValueError, match='Row 8 of the data frame has nothing under "body"'):
        read_labelled_texts(frame, "body", "stars")


def test_pandas_is_not_needed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)  # importing it fails
    path = write(tmp_path / "a.csv", "text,label\nx,1\ny,0\n")
    check(read_labelled_texts(path), ["x", "y"], [1, 0], ["0", "1"])


def test_tf_dataset():
    dataset = tf.data.Dataset.from_tensor_slices((TEXTS, [label for _, label in ROWS]))
    check(read_labelled_texts(dataset))
    dataset = tf.data.Dataset.from_tensor_slices(([b"\xff", b"b"], np.array([-1, 3], np.int64)))
    check(read_labelled_texts(dataset), ["\ufffd", "b"], [0, 1], ["-1", "3"])


def test_several_files_are_one_source(tmp_path):
    a = write(tmp_path / "a.csv", "text,label\nx,1\n")
    b = write(tmp_path / "b.jsonl", '{"label": 0, "text": "y"}\n')
    expected = (["x", "y"], [1, 0], ["0", "1"])
    check(read_labelled_texts([str(a), b]), *expected)
    check(read_labelled_texts(tmp_path / "*"), *expected)


def test_given_labels_fix_the_ids():
    rows = [("x", "b"), ("y", "b")]
    check(read_labelled_texts(rows, labels=["c", "b", "a"]), ["x", "y"], [1, 1], ["c", "b", "a"])
    check(read_labelled_texts([("x", 1)], labels=[0, 1]), ["x"], [1], ["0", "1"])
    with pytest.raises(ValueError, match=r"Item 1 .* not one of a, c\. Received: 'b'"):
        read_labelled_texts([("x", "a"), ("y", "b")], labels=["a", "c"])
    with pytest.raises(ValueError, match=r"`labels` names a label twice"):
        read_labelled_texts([("x", "a")], labels=["a", "a"])


def test_two_files_with_different_labels(tmp_path):
    train = read_labelled_texts(write(tmp_path / "train.csv", "text,label\nx,a\ny,b\n"))
    dev = write(tmp_path / "dev.csv", "text,label\nx,a\ny,c\n")
    with pytest.raises(ValueError, match=r"dev\.csv line 3 has a label that .* a, b\. .*: 'c'"):
        read_labelled_texts(dev, labels=train.labels)


def test_empty_texts_are_texts_where_they_can_be_told(tmp_path):
    check(read_labelled_texts([("", 0), ("x", 1)]), ["", "x"], [0, 1], ["0", "1"])
    path = write(tmp_path / "a.jsonl", '{"text": "", "label": "a"}\n{"text": "x", "label": "b"}\n')
    check(read_labelled_texts(path), ["", "x"], [0, 1], ["a", "b"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "no labelled texts"),
        ("a.csv", "text,label\n", "no labelled texts"),
        ("a.csv", "id,body\n1,x\n", r'a\.csv has no column "text".*columns: "id", "body"'),
        ("a.csv", "text,klass\nx,1\n", r'a\.csv has no column "label".*"text", "klass"'),
        ("a.csv", "text,label\nx,1\ny,\n", r'a\.csv line 3 has nothing under "label"'),
        ("a.csv", 'text,label\n"x\ny",1\n,0\n', r'a\.csv line 4 has nothing under "text"'),
        ("a.csv", "text,label\nx,1\ny\n", r"a\.csv line 3 has 1 cells, but the header has 2"),
        ("a.csv", "text,label\nx, y,1\n", r"line 2 has 3 cells.*Quote cells that hold commas"),
        ("a.csv", 'text,label\nx,1\n"y,0\nz,1\n', r"a\.csv line 3 opens a quote that never closes"),
        ("a.csv", 'text,label\n"x"y,1\n', r"a\.csv line 2 is not CSV"),
        ("a.csv", "text,label\nx,1\ny,1\n", r"All 2 texts have the label '1'.*a\.csv"),
        ("a.tsv", "text\tlabel\nx\ty\t1\n", r"line 2 has 3 cells.*Remove tabs"),
        ("a.jsonl", '{"text": "x"}\n', r'a\.jsonl line 1 has no column "label".*columns: "text"'),
        ("a.jsonl", '{"text": "x", "label": null}\n', r'line 1 has nothing under "label"'),
        ("a.jsonl", '{"text": 3, "label": 1}\n', r"line 1 has a text that is no str. Received: 3"),
        ("a.jsonl", '{"text": "x", "label": [1]}\n', r"line 1 has a label that is no str"),
        ("a.jsonl", '{"text": "x", "label": 0.5}\n', r"line 1 has a label.*Received: 0\.5"),
        ("a.jsonl", '{"text": "x", "label": " "}\n', r"line 1 has a label that is no str"),
        ("a.jsonl", "{\n", r"a\.jsonl line 1 is not JSON"),
        ("a.txt", "x\n", r"name of a file tells its format.*a\.txt"),
        ("a.csv", "text;label\nx;1\n", r"a\.csv looks divided by semicolons.*'text;label'$"),
        ("a.csv", "text\tlabel\nx\t1\n", r"a\.csv looks divided by tabs.*Call it \.tsv"),
    ],
)
def test_unusable_files(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message) as error:
        read_labelled_texts(write(tmp_path / name, text))
    assert "\n" not in str(error.value)


def test_files_without_rows_are_named(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n")
    for source in (tmp_path / "a.csv", [tmp_path / "a.csv"]):
        with pytest.raises(ValueError, match=r"no labelled texts to read\. Received: .*a\.csv$"):
            read_labelled_texts(source)


def test_utf16_is_said_to_be_so(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na,x\n", "utf-16")
    with pytest.raises(ValueError, match=r"a\.csv is UTF-16\. Save it as UTF-8"):
        read_labelled_texts(tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.csv.gz"])
def test_what_is_not_utf8_is_warned_of_once(tmp_path, caplog, name):
    rows = [("café", "a"), ("plain", "b"), ("façade", "a")]
    text = "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows)
    if name == "a.jsonl":
        text = "".join(f'{{"text": "{text}", "label": "{label}"}}\n' for text, label in rows)
    data = text.encode("latin-1")
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    for _ in range(2):
        assert read_labelled_texts(tmp_path / name).texts == ["caf\ufffd", "plain", "fa\ufffdade"]
    [message] = caplog.messages
    first = 1 if name == "a.jsonl" else 2
    assert f"{name} is not UTF-8 in 2 of its lines, the first of them line {first}:" in message
    assert message.endswith("Save it as UTF-8.")
    assert "\n" not in message


def test_what_is_utf8_is_not_warned_of(tmp_path, caplog):
    read_labelled_texts(write(tmp_path / "a.csv", "text,label\ncafé \ufffd,a\nx,b\n"))
    assert not caplog.messages


def test_dicts():
    rows = [{"text": "x", "label": 1}, {"text": "y", "label": 0, "more": None}]
    check(read_labelled_texts(rows), ["x", "y"], [1, 0], ["0", "1"])
    rows = [{"a": "x", "b": "y", "c": "p"}, {"a": "u", "b": "v", "c": "q"}]
    found = read_labelled_texts(rows, "a", "c", "b")
    assert found.text_pairs == ["y", "v"]
    rows = [{"text": "x", "label": ["p", "q"]}, {"text": "y", "label": None}]
    found = read_labelled_texts(rows, problem_type="multi_label_classification")
    assert found.label_ids.tolist() == [[1, 1], [0, 0]]


def test_unusable_lists_and_datasets():
    slices = tf.data.Dataset.from_tensor_slices
    for source, message in [
        ([], "no labelled texts"),
        ([("x", 1), "y"], r"Item 1 of the list is no \(text, label\)"),
        ([("x", 1), ("y", None)], "Item 1 of the list has a label that is no str"),
        ([(3, 1), ("y", 2)], "Item 0 of the list has a text that is no str. Received: 3"),
        ([(("a", "b", "c"), 1)], "Item 0 of the list has 3 texts"),
        ([(("a", "b"), 1), ("y", 2)], "Some rows have a second text"),
        ([{"text": "x"}], r'Item 0 of the list has no column "label".*columns: "text"$'),
        ([{"text": "x", "label": None}], "Item 0 of the list has a label that is no str"),
        (slices(["x"]), r"must give \(text, label\)"),
        (slices((["x"], [1])).batch(2), r"Call `\.unbatch\(\)`"),
        (slices((["x"], [1])).repeat(), r"never ends"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_labelled_texts(source)
    with pytest.raises(FileNotFoundError, match=r"no file absent\.csv"):
        read_labelled_texts("absent.csv")


def test_parquet(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    labels = [label for _, label in ROWS]
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"id": [1, 2, 3, 4], "text": TEXTS, "label": labels}), path)
    check(read_labelled_texts(path))
    check(read_labelled_texts(str(tmp_path / "*.parquet")))
    assert column_names(str(path)) == ["id", "text", "label"]
    with pytest.raises(ValueError, match=r'a\.parquet has no column "body".*columns: "id", "text"'):
        read_labelled_texts(path, text_column="body")
    parquet.write_table(pyarrow.table({"text": ["a", None], "label": [0, 1]}), path)
    with pytest.raises(ValueError, match=r'a\.parquet row 2 has nothing under "text"'):
        read_labelled_texts(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"a\.parquet is no whole Parquet file") as error:
        read_labelled_texts(path)
    assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # importing it fails
    with pytest.raises(ValueError, match="Parquet is read by pyarrow: pip install pyarrow"):
        read_labelled_texts(path)


@hypothesis.given(
    texts=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
        min_size=2,
        max_size=8,
    )
)
@hypothesis.settings(deadline=None, max_examples=60)
def test_every_format_holds_every_text(tmp_path_factory, texts):
    pandas = pytest.importorskip("pandas")
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("formats")
    columns = {"text": texts, "label": [i % 2 for i in range(len(texts))]}
    rows = list(zip(*columns.values()))
    with open(folder / "a.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([columns, *rows])
    with gzip.open(folder / "a.jsonl.gz", "wt", encoding="utf-8") as file:
        for text, label in rows:
            file.write(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n")
    parquet.write_table(pyarrow.table(columns), folder / "a.parquet")
    files = [folder / name for name in ("a.csv", "a.jsonl.gz", "a.parquet")]
    for source in (*files, pandas.DataFrame(columns), rows):
        check(read_labelled_texts(source), texts, columns["label"], ["0", "1"])


@pytest.mark.parity
def test_huggingface_datasets():
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["pos", "neg", "none"])
    features = {"text": datasets.Value("string"), "label": names, "all": datasets.List(names)}
    columns = {"text": TEXTS, "label": [0, 1, 0, 1], "all": [[0, 2], [], [1], [2]]}
    dataset = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    for source in (dataset, dataset.to_iterable_dataset(), dataset.with_format("torch")):
        # The data set's own labels, in its order, also where one does not occur.
        check(read_labelled_texts(source), TEXTS, [0, 1, 0, 1], ["pos", "neg", "none"])
        read = read_labelled_texts(source, label_column="all", problem_type=MULTI_LABEL)
        assert read.label_ids.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1]]
    check(read_labelled_texts(dataset, labels=["neg", "pos"]))
    # One that tells nothing of its columns before they are read.
    unknown = datasets.IterableDataset.from_generator(lambda: iter(dataset.to_list()))
    check(read_labelled_texts(unknown), TEXTS, [0, 1, 0, 1], ["0", "1"])
    with pytest.raises(ValueError, match='The data set has no column "body"'):
        read_labelled_texts(unknown, text_column="body")
    with pytest.raises(ValueError, match="Row 1 of the data set has a label that is not one of"):
        read_labelled_texts(dataset, labels=["pos", "none"])
    with pytest.raises(ValueError, match=r'The data set has no column "body".*"text", "label"'):
        read_labelled_texts(dataset, text_column="body")
    with pytest.raises(ValueError, match=r"The source is a dict.*source\['dev'\].*keys: dev, test"):
        read_labelled_texts(datasets.DatasetDict({"dev": dataset, "test": dataset}))
    test = dataset.map(lambda row: {"label": -1})  # as test sets without labels have it
    with pytest.raises(ValueError, match=r"Row 0 of the data set has no label.*Received: -1"):
        read_labelled_texts(test)


def test_several_labels(tmp_path):
    expected = [[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1]]
    lists = [["a", "c"], [], ["b"], ["c"]]
    lines = "".join(json.dumps({"text": t, "label": x}) + "\n" for t, x in zip(TEXTS, lists))
    cells = "text,label\n" + "".join(f"t{i},{'|'.join(x)}\n" for i, x in enumerate(lists))
    jsons = "text\tlabel\n" + "".join(f"t{i}\t{json.dumps(x)}\n" for i, x in enumerate(lists))
    for source in (
        list(zip(TEXTS, lists)),
        write(tmp_path / "a.jsonl", lines),
        write(tmp_path / "a.csv", cells),
        write(tmp_path / "a.tsv", jsons),
        tf.data.Dataset.from_generator(
            lambda: zip(TEXTS, lists),
            output_signature=(tf.TensorSpec([], tf.string), tf.TensorSpec([None], tf.string)),
        ),
    ):
        read = read_labelled_texts(source, problem_type=MULTI_LABEL)
        assert (read.labels, read.label_ids.dtype) == (["a", "b", "c"], np.float32)
        assert read.label_ids.tolist() == expected
    read = read_labelled_texts([("x", "b")], problem_type=MULTI_LABEL, labels=["a", "b"])
    assert read.label_ids.tolist() == [[0, 1]]
    for rows, labels, message in [
        ([("x", []), ("y", "")], None, "None of the 2 texts has a label"),
        ([("x", ["a"]), ("y", ["d"])], ["a", "b"], r"Item 1 .* not one of a, b. Received: 'd'"),
        ([("x", [0.5])], None, "Item 0 of the list has a label that is no str, int or bool"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_labelled_texts(rows, labels=labels, problem_type=MULTI_LABEL)


def test_numbers(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\na,1\nb,-2.5\n")
    read = read_labelled_texts(path, problem_type=REGRESSION)
    assert read.label_ids.dtype == np.float32
    assert (read.label_ids.tolist(), read.labels) == ([1.0, -2.5], None)
    for pairs in ([("a", [1, 2]), ("b", [3.5, 4])], [("a", "1|2"), ("b", "[3.5, 4]")]):
        read = read_labelled_texts(pairs, problem_type=REGRESSION)
        assert read.label_ids.tolist() == [[1, 2], [3.5, 4]]
    for rows, message in [
        ([("a", "x")], "Item 0 of the list has a label that is no number. Received: 'x'"),
        ([("a", float("inf"))], "no number. Received: inf"),
        ([("a", 1), ("b", [1, 2])], "Item 1 of the list has 2 numbers, but the rows before have 1"),
        ([("a", [])], "Item 0 of the list has 0 numbers"),
        ([], "no labelled texts"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_labelled_texts(rows, problem_type=REGRESSION)
    with pytest.raises(ValueError, match=r"`problem_type` must be one of.*Received: .*'ranking'"):
        read_labelled_texts(path, problem_type="ranking")


@pytest.mark.shared_data
def test_glue(shared_data):
    read = read_labelled_texts(shared_data / "glue" / "SST-2" / "train.tsv", "sentence")
    assert (len(read.texts), read.labels) == (67_349, ["0", "1"])
    assert read.label_ids.sum() == 37_569
    pair = {"text_column": "sentence1", "text_pair_column": "sentence2"}
    read = read_labelled_texts(shared_data / "glue" / "RTE" / "dev.tsv", **pair)
    assert (len(read.texts), len(read.text_pairs)) == (277, 277)
    assert read.labels == ["entailment", "not_entailment"]
