"""The example that scores a corpus, run as its users run it."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "batch_predict.py"
pytestmark = pytest.mark.skipif(
    not PROGRAM.exists(), reason="the examples are not in this checkout"
)

TEXTS = [f"text {i} é 東京" for i in range(100)]


class Model(tf.Module):
    """What a text's answer is says whose it is."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="text"),
            tf.TensorSpec([None], tf.string, name="text_pair"),
        ]
    )
    def answer(self, text, text_pair):
        tf.debugging.assert_less_equal(tf.size(text), 7)
        lengths = tf.strings.length([text, text_pair])  # [2, b]
        return {
            "label": text + "|" + text_pair,
            "words": tf.stack([text, text_pair], axis=1),
            "probabilities": tf.transpose(tf.cast(lengths, tf.float32)),
        }


@pytest.fixture
def folder(tmp_path):
    """A model, and files of every kind."""
    model = Model()
    tf.saved_model.save(model, str(tmp_path / "model" / "1"), signatures=model.answer)
    pairs = [[text, f"pair {i}, of many"] for i, text in enumerate(TEXTS)]
    with gzip.open(tmp_path / "a.jsonl.gz", "wt", encoding="utf-8") as lines:
        for row in pairs:
            lines.write(json.dumps(dict(zip(("text", "other"), row))) + "\n\n")
    (tmp_path / "b.csv").write_text(
        "other,text\n" + "".join(f'"{other}",{text}\n' for text, other in pairs), "utf-8"
    )
    (tmp_path / "c.tsv").write_text("text\tother\n", "utf-8")
    return tmp_path


def run(folder, *arguments, code=0):
    process = subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, arguments)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == code, process.stdout + process.stderr
    return process.stdout if code == 0 else process.stderr


def check_answers(path):
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [row["words"][0] for row in rows] == TEXTS
    for i, row in enumerate(rows):
        assert row["label"] == f"{TEXTS[i]}|pair {i}, of many"
        lengths = [len(x.encode()) for x in row["words"]]
        np.testing.assert_array_equal(row["probabilities"], lengths)


def test_scores_what_is_missing_in_order(folder):
    (folder / "scores").mkdir()
    (folder / "scores" / "done.txt.jsonl").write_text("as it was")
    (folder / "done.txt").write_text("a text\n")
    arguments = ["--nobeam", "--pair_column=other", "--batch_size=7", "model/1", "scores", "*.txt"]
    output = run(folder, *arguments, "a.*", "b.csv", "c.tsv")
    assert "[1/3] a.jsonl.gz: 100 texts" in output
    assert output.splitlines()[-1].startswith("Scored 200 texts of 3 files in ")
    assert "; 1 were there. See scores." in output
    check_answers(folder / "scores" / "a.jsonl.gz.jsonl")
    check_answers(folder / "scores" / "b.csv.jsonl")
    assert (folder / "scores" / "c.tsv.jsonl").read_text() == ""
    assert (folder / "scores" / "done.txt.jsonl").read_text() == "as it was"
    assert len(list((folder / "scores").iterdir())) == 4  # nothing half written


@pytest.mark.slow
def test_says_what_is_wrong(folder):
    (folder / "lines.txt").write_text("one\n")
    for arguments, message in {
        ("model/1", "scores", "b.csv"): "b.csv, row 1 has no text in absent.",
        ("model/1", "scores", "nothing.*"): "nothing.* is no file",
        ("nowhere", "scores", "b.csv"): "nowhere",
        ("model/1",): "Give a SavedModel",
    }.items():
        error = run(folder, "--nobeam", "--column=absent", *arguments, code=1)
        assert message in error
        assert "Traceback" not in error
    assert not list((folder / "scores").iterdir())


@pytest.mark.slow
@pytest.mark.parity
def test_apache_beam(folder):
    pytest.importorskip("apache_beam")
    arguments = ["--beam", "--pair_column=other", "--batch_size=7", "model/1", "scores"]
    output = run(folder, *arguments, "a.*", "b.csv", "c.tsv", "--runner=DirectRunner")
    assert output.splitlines()[-1].startswith("Scored 200 texts of 3 files in ")
    check_answers(folder / "scores" / "a.jsonl.gz.jsonl")
    check_answers(folder / "scores" / "b.csv.jsonl")
    assert (folder / "scores" / "c.tsv.jsonl").read_text() == ""
    assert "0 texts of 0 files" in run(folder, *arguments, "a.*", "b.csv", "c.tsv")
