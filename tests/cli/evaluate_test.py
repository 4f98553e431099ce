import json

import pytest

import keras_bert_lib as kbl
from tests.export.task_models import make_model


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "test.csv"
    texts = ["the film was fine", "it was dull", "rain and sun", "cat", "the dog sat on the mat"]
    lines = [f"{text},{label}" for text, label in zip(texts, ["pos", "neg", "pos", "neg", "pos"])]
    path.write_text("\n".join(["text,label", *lines]) + "\n")
    return path


def test_table_and_json_tell_what_the_model_answers(run_command, artifacts, rows, tmp_path):
    code, out, error = run_command(
        "evaluate", artifacts["model"], rows, "--json", tmp_path / "test.json"
    )
    assert code == 0, error
    data = kbl.data.read_labelled_texts(rows, labels=["neg", "pos"])
    answers = kbl.BertClassifier.from_pretrained(artifacts["model"]).predict_text(data.texts)
    right = [data.labels[i] for i in data.label_ids]
    hits = [answer["label"] == label for answer, label in zip(answers, right)]
    assert f"{sum(hits) / len(hits):.4f}" in out.splitlines()[1]
    written = json.loads((tmp_path / "test.json").read_text())
    assert written["metrics"]["accuracy"] == pytest.approx(sum(hits) / len(hits))
    assert written["cases"]["right"] == right


def test_bad_input_gives_one_line(run_command, artifacts, rows, tmp_path):
    (tmp_path / "other.csv").write_text("text,label\ncat,other\ndog,pos\n")
    (tmp_path / "columns.csv").write_text("a,b,c\ncat,dog,pos\n")
    for argv, part in [
        ((artifacts["tflite"], rows), "keras-bert export --verify"),
        ((artifacts["saved_model"], rows), "keras-bert export --verify"),
        ((artifacts["model"], tmp_path / "absent.csv"), "absent.csv: No such file"),
        ((artifacts["model"], tmp_path / "other.csv"), "not one of neg, pos"),
        ((artifacts["model"], tmp_path / "columns.csv"), '"a", "b", "c"'),
        ((tmp_path, rows), "neither a model directory"),
        (
            (artifacts["model"], rows, "--task", "fill-mask"),
            "is for text-classification: leave --task out, or give another model. Received: --ta",
        ),
    ]:
        code, _, error = run_command("evaluate", *argv)
        assert code == 2
        assert part in error
        assert error.count("\n") == 1


def test_the_task_may_be_told(run_command, artifacts, rows):
    expected = run_command("evaluate", artifacts["model"], rows)
    assert expected[0] == 0
    task = ("--task", "text-classification")
    assert run_command("evaluate", artifacts["model"], rows, *task) == expected


def test_columns_of_a_tsv_without_a_header_have_numbers(run_command, tmp_path):
    make_model("tagger").save_pretrained(tmp_path / "model")
    for name in ("a.tsv", "a.conll"):
        (tmp_path / name).write_text("the\tO\nfilm\tB-name\n\ndull\tO\n")
    tsv = ("evaluate", tmp_path / "model", tmp_path / "a.tsv")
    expected = run_command("evaluate", tmp_path / "model", tmp_path / "a.conll")
    assert expected[0] == 0
    assert run_command(*tsv, "--text-column", "0", "--label-column", "1") == expected
    assert run_command(*tsv, "--label-column", "-1") == expected
    code, _, error = run_command(*tsv)
    assert code == 2
    assert "Or give its number, from 0 on, where no line names the columns. Received" in error
    (tmp_path / "b.tsv").write_text("tokens\ttags\nthe\tO\nfilm\tB-name\n\ndull\tO\n")
    assert run_command("evaluate", tmp_path / "model", tmp_path / "b.tsv") == expected
