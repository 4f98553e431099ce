"""Reading questions and answers: SQuAD's JSON, tables, lists, and what goes wrong."""

import gzip
import json

import pytest
import tensorflow as tf
from absl import logging

from keras_bert_lib.data import read_questions

CONTEXT = "Ann sings in Rome. Bob sings 😀 too."
SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "singers",
            "paragraphs": [
                {
                    "context": CONTEXT,
                    "qas": [
                        {
                            "id": "q1",
                            "question": "Who sings in Rome?",
                            "answers": [
                                {"text": "Ann", "answer_start": 0},
                                {"text": "Ann sings", "answer_start": 0},
                            ],
                            "is_impossible": False,
                        },
                        {
                            "id": "q2",
                            "question": "Who dances?",
                            "is_impossible": True,
                            "answers": [],
                            "plausible_answers": [{"text": "Bob", "answer_start": 19}],
                        },
                        {
                            "id": "q3",
                            "question": "How?",
                            "answers": [{"text": "😀 too", "answer_start": 29}],
                        },
                    ],
                }
            ],
        }
    ],
}


def check(read, ids=("q1", "q2", "q3")):
    assert read.ids == list(ids)
    assert read.questions == ["Who sings in Rome?", "Who dances?", "How?"]
    assert read.contexts == [CONTEXT] * 3
    assert read.answers == [["Ann", "Ann sings"], [], ["😀 too"]]
    assert read.answer_starts == [[0, 0], [], [29]]


def test_squad(tmp_path):
    text = json.dumps(SQUAD)
    (tmp_path / "a.json").write_text(text, "utf-8")
    check(read_questions(tmp_path / "a.json"))
    with gzip.open(tmp_path / "b.json.gz", "wb") as file:
        file.write(text.encode())
    assert len(read_questions([tmp_path / "a.json", tmp_path / "b.json.gz"]).ids) == 6


def test_tables_and_lists(tmp_path):
    pandas = pytest.importorskip("pandas")
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    items = SQUAD["data"][0]["paragraphs"][0]["qas"]
    rows = [
        {
            "id": item["id"],
            "context": CONTEXT,
            "question": item["question"],
            # As Hugging Face has them.
            "answers": {
                "text": [answer["text"] for answer in item["answers"]],
                "answer_start": [answer["answer_start"] for answer in item["answers"]],
            },
        }
        for item in items
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(lines, "utf-8")
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    for source in (tmp_path / "a.jsonl", tmp_path / "a.parquet", pandas.DataFrame(rows)):
        check(read_questions(source, id_column="id"))
        check(read_questions(source), ids=("0", "1", "2"))
    check(read_questions(rows))
    lists = [
        {**row, "answers": row["answers"]["text"], "answer_start": row["answers"]["answer_start"]}
        for row in rows
    ]
    check(read_questions(lists))
    # A cell is one answer, whatever is in it, or none.
    table = f"q,c,a,s\nWho?,{CONTEXT},Ann,0\nWhere?,{CONTEXT},Rome,\nWhy?,{CONTEXT},,\n"
    (tmp_path / "a.csv").write_text(table, "utf-8")
    for starts in ("s", None):
        read = read_questions(tmp_path / "a.csv", "q", "c", "a", starts)
        assert read.answers == [["Ann"], ["Rome"], []]
        assert read.answer_starts == [[0], [13], []]


def test_tf_dataset():
    columns = {
        "id": ["q1", "q2"],
        "question": ["Who?", "Why?"],
        "context": [CONTEXT] * 2,
        "answers": ["Ann", ""],
    }
    dataset = tf.data.Dataset.from_tensor_slices(columns)
    read = read_questions(dataset)
    assert (read.ids, read.contexts) == (columns["id"], [CONTEXT] * 2)
    assert (read.answers, read.answer_starts) == ([["Ann"], []], [[0], []])
    with pytest.raises(ValueError, match="The data set never ends"):
        read_questions(dataset.repeat())


def test_wrong_starts_are_found_and_counted(monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda *args: said.append(args[0] % args[1:]))
    row = {"question": "Where?", "context": CONTEXT, "answers": "Rome"}
    rows = [{**row, "answer_start": start} for start in (13, 12, -22, 999)]
    assert read_questions(rows).answer_starts == [[13]] * 4
    assert said == [
        "3 answers did not stand where their start says, but once in the context: they are taken "
        "from there."
    ]
    assert read_questions([row]).answer_starts == [[13]]
    assert len(said) == 1  # no start was wrong, for none was told


def test_surrogates_count_as_the_characters_that_stand_for_them():
    row = {"question": "\ud800?", "context": "\ud800 a \udfff b", "answers": "b"}
    read = read_questions([row])
    assert read.contexts == ["\ufffd a \ufffd b"]
    assert read.answer_starts == [[6]]


def test_unusable_answers():
    row = {"id": "q7", "question": "Who?", "context": CONTEXT, "answers": "sings"}
    for change, message in [
        ({}, r"Item 0 of the list, question q7 has an answer that is 2 times in its context\."),
        ({"answer_start": 5}, "2 times in its context, and not at character 5"),
        ({"answers": "Eve"}, r"question q7 has an answer that is not in its context.*'Eve'"),
        ({"answer_start": "x"}, r"an answer's start that is no number. Received: \['x'\]"),
        ({"answers": ["Ann", "Bob"], "answer_start": [0]}, "has 2 answers and 1 starts"),
        ({"answers": [3]}, "has an answer that is no str. Received: 3"),
        ({"question": None}, "has a question that is no str"),
        ({"context": 3}, "has a context that is no str"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            read_questions([{**row, **change}])
        assert "\n" not in str(error.value)
    assert read_questions([{**row, "answer_start": 4}]).answer_starts == [[4]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", r"a\.json is not JSON"),
        ("a.json", "[]", r"a\.json is not in the format of SQuAD.*Received: TypeError"),
        ("a.json", '{"data": [{}]}', r"format of SQuAD.*Received: KeyError 'paragraphs'"),
        ("a.json", '{"data": []}', "There are no questions to read"),
        ("a.csv", "question,answers\nx,y\n", r'no column "context".*"question", "answers"'),
        ("a.csv", "question,context,answers\n,y,y\n", 'line 2 has nothing under "question"'),
        ("a.pdf", "", r"name of a file tells its format.*a\.pdf"),
    ],
)
def test_unusable_files(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message) as error:
        read_questions(tmp_path / name)
    assert "\n" not in str(error.value)


def test_unusable_lists():
    for source, message in [
        ([], "no questions to read"),
        (["x", 3], "Item 0 of the list is no dict"),
        (3, "The source must be a path, a data frame, a data set or a list of rows. Received: 3"),
        ([{"question": "x"}], r'Item 0 of the list is no dict with "question" and "context"'),
    ]:
        with pytest.raises(ValueError, match=message):
            read_questions(source)


@pytest.mark.shared_data
def test_squad_files(shared_data):
    read = read_questions(shared_data / "squad" / "dev-v2.0.json")
    assert len(read.ids) == 11_873
    assert sum(not answers for answers in read.answers) == 5945
    for context, answers, starts in zip(read.contexts, read.answers, read.answer_starts):
        for answer, start in zip(answers, starts):
            assert context.startswith(answer, start)
