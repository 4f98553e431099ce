import argparse
import json
import os
import re
import shutil
import sys

import pytest

import keras_bert_lib as kbl
from keras_bert_lib.cli import export
from keras_bert_lib.export import quantization
from tests.export.task_models import make_model


@pytest.mark.parametrize("name", ["small.tflite", "serving/1"])
def test_exported_file_answers_and_is_verified(run_command, artifacts, tmp_path, name):
    texts = tmp_path / "dev.csv"
    texts.write_text("text,label\nthe film was fine,pos\nrain fell on it,neg\nthe dog,neg\n")
    code, out, _ = run_command(
        *("export", "--model", artifacts["model"], "--output", tmp_path / name),
        *("--quantization", "none", "--max-bytes", "64", "--verify", texts),
    )
    assert code == 0
    assert f"Wrote {tmp_path / name}: " in out
    assert "100.00%" in out
    code, answer, _ = run_command("predict", tmp_path / name, "rain fell")
    assert code == 0
    assert answer == run_command("predict", artifacts["model"], "rain fell")[1]
    # Nothing is written over.
    code, _, error = run_command(
        "export", "--model", artifacts["model"], "--output", tmp_path / name
    )
    assert code == 2
    assert "--overwrite" in error


def test_quantizations_are_those_of_the_library():
    # The command names them without it, for --help is not to wait for TensorFlow.
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    (choices,) = [a.choices for a in parser._actions if "--quantization" in a.option_strings]
    assert choices == quantization.MODES
    assert export.CALIBRATED == quantization.NEED_SAMPLES


def test_tokens_interface_takes_no_text(run_command, artifacts, tmp_path):
    code, out, _ = run_command(
        *("export", "--model", artifacts["model"], "--output", tmp_path / "t.tflite"),
        *("--interface", "tokens"),
    )
    assert code == 0
    assert "predict" not in out
    code, _, error = run_command("predict", tmp_path / "t.tflite", "text")
    assert code == 2
    assert "does not take text" in error


def test_cased_models_are_warned_of_for_mediapipe(run_command, artifacts, tmp_path):
    shutil.copytree(artifacts["model"], tmp_path / "cased")
    tokenizer = kbl.BertTokenizer.from_pretrained(tmp_path / "cased", lowercase=False)
    tokenizer.save_pretrained(tmp_path / "cased")
    options = ("--interface", "mediapipe", "--quantization", "none")
    for model, warnings in [(artifacts["model"], 0), (tmp_path / "cased", 1)]:
        output = tmp_path / f"{warnings}.tflite"
        code, out, _ = run_command("export", "--model", model, "--output", output, *options)
        assert code == 0
        assert out.count("Warning: MediaPipe's tokenizer lowercases") == warnings


def test_saved_models_are_versions_of_a_model(run_command, artifacts, tmp_path):
    (tmp_path / "texts.txt").write_text("the film was fine\nrain fell on it\n")
    name = tmp_path / "sentiment"
    export = ("export", "--model", artifacts["model"], "--output", name)
    options = ("--lengths", "8", "16", "--weights", "bfloat16", "--warmup", tmp_path / "texts.txt")
    code, out, error = run_command(*export, *options)
    assert (code, error) == (0, "")
    assert f"Wrote {name / '1'}: " in out
    code, out, _ = run_command(*export, "--threshold", "pos=0.4", "neg=0.99", "--top-k", "2")
    assert f"Wrote {name / '2'}: " in out
    assert sorted(os.listdir(name)) == ["1", "2"]
    _, out, _ = run_command("predict", name / "1", "the dog")
    assert out.split("\t")[0] == run_command("predict", artifacts["model"], "the dog")[1].split()[0]
    code, out, _ = run_command("predict", name, "--json", "the dog", "rain fell on it")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert all(set(answer) == {"label", "score"} for row in rows for answer in row["answers"])
    code, _, error = run_command(*export, "--version", "2")
    assert code == 2
    assert "--overwrite" in error


def write_rows(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_int8_with_calibration_metadata_and_report(run_command, artifacts, tmp_path):
    pytest.importorskip("matplotlib")
    texts = ["the film was fine", "rain fell on it", "the dog", "sun rose and it was fine"]
    (tmp_path / "texts.txt").write_text("\n".join(texts * 5), encoding="utf-8")
    rows = write_rows(tmp_path / "dev.jsonl", [{"sentence": text} for text in texts])
    output = tmp_path / "int8.tflite"
    code, out, error = run_command(
        *("export", "--model", artifacts["model"], "--output", output, "--quantization", "int8"),
        *("--calibration", tmp_path / "texts.txt", "--error-report", tmp_path / "layers.json"),
        *("--verify", rows, "--text-column", "sentence", "--report", tmp_path / "r" / "int8"),
        *("--author", "A. Person", "--license", "CC0"),
    )
    assert code == 0, error
    assert "same label as Keras" in out
    assert "accuracy" not in out  # there are no labels
    report = json.loads((tmp_path / "r" / "int8.json").read_text("utf-8"))
    assert report["size_bytes"] == os.path.getsize(output)
    assert "<svg" in (tmp_path / "r" / "int8.html").read_text("utf-8")
    assert json.loads((tmp_path / "layers.json").read_text("utf-8"))
    assert "A. Person" in run_command("inspect", output)[1]


def test_a_metric_that_falls_too_far_fails_and_leaves_the_file(
    run_command, artifacts, tmp_path, monkeypatch
):
    texts = ["the film was fine", "rain fell on it", "the dog", "sun rose and it was fine"]
    model = kbl.BertClassifier.from_pretrained(artifacts["model"])
    labels = [answer["label"] for answer in model.predict_text(texts)]
    rows = [{"text": text, "label": label} for text, label in zip(texts, labels)]
    write_rows(tmp_path / "dev.jsonl", rows)
    saved_model = kbl.export.saved_model

    def contrary(model, *args, **options):
        # The file of a model that says the contrary of what it said.
        head = model.classifier
        weights = head.get_weights()
        head.set_weights([-weight for weight in weights])
        path = saved_model(model, *args, **options)
        head.set_weights(weights)
        return path

    monkeypatch.setattr(kbl.export, "saved_model", contrary)
    code, out, error = run_command(
        *("export", "--model", artifacts["model"], "--output", tmp_path / "serving"),
        *("--verify", tmp_path / "dev.jsonl"),
    )
    assert code == 1
    assert "accuracy, file / Keras" in out
    assert error.count("\n") == 1
    assert "its accuracy is 0.0000, that of Keras 1.0000: more than 0.01 is lost" in error
    assert run_command("predict", tmp_path / "serving", "the dog")[0] == 0


@pytest.mark.parametrize(
    ("task", "rows"),
    [
        (
            "tagger",
            [
                {"text": "😀 the film", "label": [{"start": 2, "end": 5, "label": "name"}]},
                {"text": "fine", "label": []},
            ],
        ),
        pytest.param(
            "answerer",
            [{"text": "what", "text_pair": "the film was fine", "label": "film"}],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "multi_label",
            [{"text": "the film", "label": "joy|käse"}, {"text": "a", "label": []}],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_verification_of_other_tasks(run_command, tmp_path, task, rows):
    make_model(task).save_pretrained(tmp_path / "model")
    write_rows(tmp_path / "dev.jsonl", rows)
    code, out, error = run_command(
        *("export", "--model", tmp_path / "model", "--output", tmp_path / "serving"),
        *("--verify", tmp_path / "dev.jsonl"),
    )
    assert (code, error) == (0, "")
    name = {"tagger": "entity F1", "answerer": "exact match", "multi_label": "micro F1"}[task]
    assert re.search(rf"{name}, file / Keras +(\d\.\d+) / \1", out)


# What `keras-bert evaluate` takes, by task.
FILES = {
    "label": ("a.tsv", "sentence\tcategory\nthe film was fine\tjoy\ndull\tanger\n"),
    "pairs": ("a.csv", "sentence1,sentence2,label\nthe film,it was,joy\ndull,fine,anger\n"),
    "tagger": ("a.conll", "the O\nfilm B-name\nfine I-name\n\ndull O\n"),
    "tagger.jsonl": ("a.jsonl", '{"tokens": ["the", "film"], "ner_tags": ["O", "B-name"]}\n'),
    "tagger.tsv": ("a.tsv", "tokens\ttags\nthe\tO\nfilm\tB-name\n"),
    "answerer": (
        "a.json",
        json.dumps(
            {
                "data": [
                    {
                        "paragraphs": [
                            {
                                "context": "the film was fine",
                                "qas": [
                                    {
                                        "id": "1",
                                        "question": "what",
                                        "answers": [{"text": "film", "answer_start": 4}],
                                    }
                                ],
                            }
                        ]
                    }
                ]
            }
        ),
    ),
    "answerer.csv": ("a.csv", "question,context,answers\nwhat,the film was fine,film\n"),
    "choice": ("a.jsonl", '{"text": "it was", "choices": ["a", "b", "c"], "label": 1}\n'),
    "choice.csv": ("a.csv", "sent1,ending0,ending1,ending2,label\nit,a,b,c,1\n"),
    "embedder": ("a.csv", "anchor,positive\nthe film,a film\ndull,fine\n"),
    "embedder.csv": ("a.csv", "sentence1,sentence2,score\nfilm,a film,5\ndull,fine,1\nit,,0\n"),
    "masked": ("a.txt", "the film was fine\n"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_evaluate_takes_is_verified(run_command, tmp_path, monkeypatch, name):
    kind = name.split(".")[0]
    model = make_model("label" if kind == "pairs" else kind)
    model.save_pretrained(tmp_path / "model")
    file, content = FILES[name]
    (tmp_path / file).write_text(content.replace("it,,0\n", ""))
    # The file is made in other tests; here it is that its rows are read as they are meant.
    asked = {}

    def saved_model(model, path, **options):
        asked["warmup"] = options["warmup_texts"]
        return path

    def verify(path, model, texts, text_pairs, labels, show_progress):
        asked["verify"] = (texts, text_pairs, labels)
        raise ValueError("Seen.")

    monkeypatch.setattr(kbl.export, "saved_model", saved_model)
    monkeypatch.setattr(kbl.export, "verify", verify)
    monkeypatch.setattr(export, "megabytes", lambda path: "1 MB")
    options = ["--pairs"] if kind == "pairs" else []
    code, _, error = run_command(
        *("export", "--model", tmp_path / "model", "--output", tmp_path / "serving", *options),
        *("--verify", tmp_path / file, "--warmup", tmp_path / file),
    )
    assert (code, error) == (2, "keras-bert export: error: Seen.\n")
    texts, text_pairs, labels = asked["verify"]
    second = {"pairs": "it was", "answerer": "the film was fine", "choice": ["a", "b", "c"]}
    first = {"pairs": "the film", "answerer": "what", "choice": texts[0], "embedder": texts[0]}
    right = {"label": "joy", "pairs": "joy", "answerer": ["film"], "choice": 1, "embedder": 5.0}
    right |= {"tagger": [(4, 13, "name")] if name == "tagger" else [(4, 8, "name")]}
    right |= {"masked": ["the"]}
    if name == "embedder":  # pairs without scores have no right answers
        assert (text_pairs, labels) == (None, None)
    elif kind == "embedder":
        assert (text_pairs, labels) == (["a film", "fine"], [5.0, 1.0])
    else:
        assert labels[0] == right[kind]
        assert (text_pairs and text_pairs[0]) == second.get(kind)
    assert texts[0].split()[-1] == first.get(kind, texts[0]).split()[-1]
    if kind in second:
        assert asked["warmup"][0] == (texts[0], second[kind])
    elif kind != "masked":
        assert asked["warmup"] == texts


def test_bad_input_gives_one_line_and_writes_nothing(run_command, artifacts, tmp_path):
    output = tmp_path / "x.tflite"
    (tmp_path / "empty.txt").write_text(" \n\n")
    (tmp_path / "empty.csv").write_text("text,label\n")
    (tmp_path / "other.csv").write_text("text,label\na cat,dog\n")
    (tmp_path / "columns.csv").write_text("a,b,c\na cat,1,pos\n")
    (tmp_path / "pairs.csv").write_text("text,text_pair,label\na cat,a dog,pos\n")
    model = ["--model", artifacts["model"]]
    int8 = [*model, "--quantization", "int8"]
    saved = ["--format", "saved_model"]
    for argv, part in [
        (["--model", tmp_path / "absent"], "no model directory"),
        (["--model", tmp_path], "config.json"),
        ([*model, "--verify", tmp_path / "absent.csv"], "absent.csv"),
        ([*model, "--max-length", "64"], "16"),
        (int8, "--quantization int8 needs --calibration FILE"),
        ([*int8, "--calibration", tmp_path / "absent.txt"], "absent.txt"),
        ([*int8, "--calibration", tmp_path / "empty.txt"], "--calibration: there is no text in"),
        ([*model, "--verify", tmp_path / "empty.csv"], "--verify: there is no text in"),
        ([*model, "--verify", tmp_path / "columns.csv"], 'Received columns: "a", "b", "c"'),
        ([*model, "--verify", tmp_path / "pairs.csv"], "Add --pairs"),
        ([*model, "--verify", tmp_path / "other.csv"], "labels that the model has not"),
        ([*model, "--report", tmp_path / "r"], "--verify"),
        ([*model, "--format", "saved_model", "--max-length", "8", "16"], "give one"),
        ([*model, "--quantization", "int3"], "invalid choice"),
        ([*model, "--top-k", "1"], "--top-k is for a SavedModel"),
        ([*model, "--weights", "float16"], "--weights is for a SavedModel"),
        ([*model, *saved, "--threshold", "0.5", "pos=0.3"], "one for each label, as LABEL=P"),
        ([*model, *saved, "--threshold", "high"], "one for each label, as LABEL=P"),
        ([*model, *saved, "--threshold", "pos=0.3"], "threshold must have a number for each"),
        ([*model, *saved, "--threshold", "1.5"], "from 0 to below 1"),
        ([*model, *saved, "--top-k", "3"], "between 1 and 2, the number of labels"),
        ([*model, *saved, "--lengths", "8", "64"], "between 3 and 16"),
        ([*model, *saved, "--version", "-1"], "a whole number from 0 on"),
        ([*model, *saved, "--warmup", tmp_path / "empty.txt"], "--warmup: there is no text in"),
        ([*model, *saved, "--top-k", "1", "--verify", tmp_path / "other.csv"], "--verify compares"),
    ]:
        code, _, error = run_command("export", "--output", output, *argv)
        assert code == 2
        assert part in error
        assert error.count("\n") == 1
        assert not os.path.exists(output)


def test_report_without_matplotlib_says_what_to_install(
    run_command, artifacts, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (tmp_path / "dev.csv").write_text("text,label\na cat,pos\n")
    code, _, error = run_command(
        *("export", "--model", artifacts["model"], "--output", tmp_path / "x.tflite"),
        *("--verify", tmp_path / "dev.csv", "--report", tmp_path / "r"),
    )
    assert code == 2
    assert "pip install 'keras-bert-lib[report]'" in error
    assert error.count("\n") == 1
    assert not os.path.exists(tmp_path / "x.tflite")
