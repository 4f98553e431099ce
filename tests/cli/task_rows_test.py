import pytest

from keras_bert_lib.cli.task_rows import TaskRows, fitted
from tests.export.task_models import make_model


def rows(labels, text_pairs=None):
    return TaskRows("dev.jsonl", ["a"] * len(labels), text_pairs, labels)


@pytest.mark.parametrize(
    ("task", "labels", "expected"),
    [
        ("label", ["joy", "käse"], ["joy", "käse"]),
        ("label", ["0", 2, 1.0], ["joy", "käse", "anger"]),  # numbers of labels
        ("multi_label", ["joy|käse", ["anger"], []], [["joy", "käse"], ["anger"], []]),
        ("multi_label", [[0, 2], "1"], [["joy", "käse"], ["anger"]]),
        ("regression", ["0.5", [1, 2]], [0.5, [1.0, 2.0]]),
        (
            "tagger",
            [[{"start": 0, "end": 1, "label": "name"}], [[2, 3, "place"]], []],
            [[(0, 1, "name")], [(2, 3, "place")], []],
        ),
        ("masked", ["film", ["a", "film"]], [["film"], ["a", "film"]]),
    ],
)
def test_right_answers_in_any_form(task, labels, expected):
    assert fitted(rows(labels), make_model(task), pairs=False).labels == expected


def test_second_texts_where_the_model_takes_some():
    found = fitted(rows(["x", "y"], ["b", "c"]), make_model("answerer"), pairs=False)
    assert (found.text_pairs, found.labels) == (["b", "c"], [["x"], ["y"]])
    assert fitted(rows(["joy"], ["b"]), make_model("label"), pairs=False).text_pairs is None
    assert fitted(rows(["joy"], ["b"]), make_model("label"), pairs=True).text_pairs == ["b"]
    assert fitted(rows([0.3], ["b"]), make_model("embedder"), pairs=False).text_pairs == ["b"]
    with pytest.raises(ValueError, match="Name their column with --text-pair-column"):
        fitted(rows(["x"]), make_model("answerer"), pairs=False)


@pytest.mark.parametrize(
    ("task", "label", "part"),
    [
        ("label", "fear", "labels that the model has not, whose labels are joy, anger, käse"),
        ("label", 3, "Received: 3"),
        ("label", None, "row 1 has a label that is none of this task"),
        ("regression", "much", "Received: 'much'"),
        ("choice", "b", "Received: 'b'"),
        ("tagger", "name", "row 1"),
        ("tagger", [{"start": 0}], "row 1"),
    ],
)
def test_labels_of_another_task_are_refused(task, label, part):
    with pytest.raises(ValueError, match=part):
        fitted(rows([label], ["b"]), make_model(task), pairs=False)
