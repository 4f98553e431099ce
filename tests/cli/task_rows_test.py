import pytest

from keras_bert_lib.cli.task_rows import TaskRows, WordTags, fitted, masked
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
        ("tagger", [WordTags([(0, 1), (2, 5)], ["B-name", "I-name"])], [[(0, 5, "name")]]),
        ("masked", ["film", ["a", "film"]], [["film"], ["a", "film"]]),
    ],
)
def test_right_answers_in_any_form(task, labels, expected):
    assert fitted(rows(labels), make_model(task), pairs=False).labels == expected


@pytest.mark.parametrize(
    ("task", "label", "expected"),
    [
        ("answerer", "a|b", ["a|b"]),  # a text is one answer
        ("answerer", {"text": ["a", "b"], "answer_start": [0, 4]}, ["a", "b"]),
        ("answerer", None, []),
        ("choice", "c", 1),
        ("choice", "1", 1),
    ],
)
def test_right_answers_about_second_texts(task, label, expected):
    second = ["a", "c"] if task == "choice" else "a | b"
    labels = [label, "a"] if task == "answerer" else [label]
    found = fitted(rows(labels, [second] * len(labels)), make_model(task), pairs=False)
    assert found.labels[0] == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-x I-x B-x O I-y", [(0, 3, "x"), (4, 5, "x"), (8, 9, "y")]),
        ("S-x B-y E-y I-y O", [(0, 1, "x"), (2, 5, "y"), (6, 7, "y")]),
        ("x x y O y", [(0, 3, "x"), (4, 5, "y"), (8, 9, "y")]),
    ],
)
def test_entities_of_tagged_words(tags, expected):
    places = [(i, i + 1) for i in range(0, 10, 2)]
    labels = [WordTags(places, tags.split())]
    if tags.startswith("S-"):  # that these are prefixes is told by an I- or a B- anywhere
        assert "B-y" in tags
    assert fitted(rows(labels), make_model("tagger"), pairs=False).labels == [expected]


def test_every_seventh_piece_is_masked_where_nothing_is():
    model = make_model("masked")
    found = masked(rows([None]), model)._replace(texts=["the film was fine, the film was dull"] * 2)
    found = masked(found._replace(labels=None), model)
    assert found.texts == [
        "[MASK] film was fine, the film [MASK] dull",
        "the [MASK] was fine, the film was [MASK]",
    ]
    assert found.labels == [["the", "was"], ["film", "dull"]]
    assert masked(found._replace(labels=None), model).texts == found.texts


def test_second_texts_where_the_model_takes_some():
    found = fitted(rows(["x", "y"], ["b", "c"]), make_model("answerer"), pairs=False)
    assert (found.text_pairs, found.labels) == (["b", "c"], [["x"], ["y"]])
    # A file of single texts would be compared on half of each row.
    with pytest.raises(ValueError, match="has pairs of texts, and the file would take single"):
        fitted(rows(["joy"], ["b"]), make_model("label"), pairs=False)
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
    second = [["a", "c"]] if task == "choice" else None
    with pytest.raises(ValueError, match=part):
        fitted(rows([label], second), make_model(task), pairs=False)
