import io
import json
import shutil
import sys
from types import SimpleNamespace

import pytest

import keras_bert_lib as kbl
from tests.export.task_models import MAX_BYTES, make_model

KINDS = ["model", "saved_model", "tflite", "keras"]
TEXTS = ["the film was fine", "it was dull", "", "   ", "🙂", "rain and sun and rain", "cat"]


def rows(out):
    return [line.split("\t") for line in out.splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_answers_of_the_model(run_command, artifacts, kind):
    model = kbl.BertClassifier.from_pretrained(artifacts["model"])
    expected = model.predict_text(TEXTS)
    assert len({answer["label"] for answer in expected}) == 2
    code, out, error = run_command("predict", artifacts[kind], *TEXTS)
    assert (code, error) == (0, "")
    assert [row[0] for row in rows(out)] == [answer["label"] for answer in expected]
    for row, answer in zip(rows(out), expected):
        assert float(row[1]) == pytest.approx(answer["score"], abs=1e-3)
    assert [row[2] for row in rows(out)] == TEXTS


def test_numbered_versions_of_a_saved_model_are_found(run_command, artifacts):
    code, out, _ = run_command("predict", artifacts["saved_model"].removesuffix("/1"), "cat")
    assert code == 0
    assert out == run_command("predict", artifacts["saved_model"], "cat")[1]


def test_json_lines(run_command, artifacts):
    _, out, _ = run_command("predict", artifacts["tflite"], "--json", *TEXTS)
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["text"] for answer in answers] == TEXTS
    assert all(0.5 <= answer["score"] <= 1 for answer in answers)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_of_any_kind_on_standard_input_are_answered(
    run_command, artifacts, kind, monkeypatch
):
    data = b"the cat\r\n\nfilm \xff\xfe was\n\x00\n" + b"sun " * 5000 + b"\n" + b"x" * 10_000
    stdin = SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stdin)
    code, out, _ = run_command("predict", artifacts[kind], "--json")
    assert code == 0
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["text"][:4] for answer in answers] == ["the ", "", "film", "\0", "sun ", "xxxx"]
    # What is not UTF-8 changes no answer.
    assert answers[2]["label"] == rows(run_command("predict", artifacts[kind], "film was")[1])[0][0]


def test_file_gives_the_same_in_every_batch_size(run_command, artifacts, tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    outs = {
        run_command(
            "predict", artifacts["saved_model"], "--file", tmp_path / "texts.txt", *options
        )[1]
        for options in [(), ("--batch-size", "2")]
    }
    assert len(outs) == 1
    assert len(outs.pop().splitlines()) == len(TEXTS)


def test_model_that_was_not_fine_tuned_says_so(run_command, artifacts, tmp_path):
    kbl.BertEncoder.from_pretrained(artifacts["model"]).save_pretrained(tmp_path / "encoder")
    shutil.copytree(artifacts["model"], tmp_path / "no_vocab")
    for file in ("vocab.txt", "tokenizer.json"):
        (tmp_path / "no_vocab" / file).unlink()
    for name, part in [("encoder", "Fine-tune it first"), ("no_vocab", "no vocab.txt")]:
        code, _, error = run_command("predict", tmp_path / name, "text")
        assert code == 2
        assert str(tmp_path / name) in error
        assert part in error


LINES = {
    "multi_label": ["the film was fine", "dull"],
    "regression": ["the film was fine", "dull"],
    "embedder": ["the film was fine", "dull"],
    "tagger": ["😀 the film was fine in 東京", "ÀÉÎ dull"],
    "answerer": ["was it fine\t😀 naïveté, the film was fine", "what\tdull"],
    "choice": ["the film was\tfine\tdull\t東京", "dull\tthe\twas\tfilm"],
    "masked": ["the [MASK] was [MASK]", "fine"],
}


def answers_of(model, lines):
    """What Python's methods answer to lines of texts, or of texts and second texts."""
    if isinstance(model, kbl.BertTextEmbedder):
        return model.encode(lines)
    parts = [line.split("\t") for line in lines]
    columns = [[part[0] for part in parts]]
    if isinstance(model, kbl.BertMultipleChoice):
        columns.append([part[1:] for part in parts])
    elif isinstance(model, kbl.BertQuestionAnswerer):
        columns.append([part[1] for part in parts])
    return model.predict_text(*columns)


def same(found, expected):
    """Whether two answers are alike, but for the last digits of numbers."""
    if isinstance(expected, dict):
        # What a file cannot say of a mask is the whole text with it filled in.
        assert set(expected) - set(found) <= {"sequence"}
        return all(same(found[key], expected[key]) for key in found)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float):
        return found == pytest.approx(expected, abs=1e-4)
    return found == expected


QUICK = [("answerer", "model"), ("choice", "model"), ("embedder", "model"), ("tagger", "tflite")]


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        pytest.param(task, kind, marks=[] if (task, kind) in QUICK else pytest.mark.slow)
        for task in LINES
        for kind in ("model", "saved_model", "tflite")
    ],
)
def test_every_task_is_answered(run_command, tmp_path, task, kind):
    model, path = make_model(task), tmp_path / "answers.tflite"
    if kind == "model":
        model.save_pretrained(path)
    elif kind == "saved_model":
        kbl.export.saved_model(model, path)
    else:
        choices = 3 if task == "choice" else None
        kbl.export.tflite(model, path, "none", max_bytes=MAX_BYTES, choices=choices)
    code, out, error = run_command("predict", path, "--json", *LINES[task])
    assert (code, error) == (0, "")
    found = [json.loads(line) for line in out.splitlines()]
    assert [answer.pop("text") for answer in found] == LINES[task]
    expected = answers_of(model, LINES[task])
    if task == "embedder":
        expected = [{"embedding": row.tolist()} for row in expected]
    elif not isinstance(expected[0], dict):
        name = {"regression": "values", "masked": "masks"}.get(task, "answers")
        assert list(found[0]) == [name]
        found = [next(iter(answer.values())) for answer in found]
    assert all(map(same, found, expected)), (found, expected)
    code, out, _ = run_command("predict", path, *LINES[task])
    assert code == 0
    assert all(line.endswith(text) for line, text in zip(out.splitlines(), LINES[task]))
    if task == "tagger":
        assert found[0]  # there is something to cut out
        assert found[0][0]["text"] in out


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["absent", "text"], "absent: No such file or directory."),
        (["{tmp}", "text"], "neither a model directory"),
        (["{tmp}/other.bin", "text"], "neither a .tflite nor a .keras file"),
        (["{model}", "text", "--file", "f"], "not both"),
        (["{model}", "--file", "absent.txt"], "absent.txt: No such file or directory."),
        (["{saved_model}", "a\tb", "--pairs"], "takes single texts"),
        (["{tflite}", "a\tb", "--pairs"], "takes single texts"),
    ],
)
def test_bad_input_gives_one_line(run_command, artifacts, tmp_path, argv, part):
    (tmp_path / "other.bin").write_bytes(b"something else")
    argv = [argument.format(tmp=tmp_path, **artifacts) for argument in argv]
    code, _, error = run_command("predict", *argv)
    assert code == 2
    assert part in error
    assert error.count("\n") == 1
