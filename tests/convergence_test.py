"""The benchmark that pretrains several libraries on equal terms, in small."""

import json

import numpy as np
import pytest

from tests.benchmarks_test import SENTENCES, run, table, vocab

__all__ = ["vocab"]

pytestmark = pytest.mark.slow


def test_pieces_are_run_once_and_reported_together(tmp_path, vocab):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(" ".join(SENTENCES * 3000))  # several documents of 50,000 characters
    intents = [["the cat sat", "a"], ["a dog ran", "b"], ["rain fell", "a"], ["it slept", "b"]]
    data = tmp_path / "clinc150"
    data.mkdir()
    (data / "data_full.json").write_text(
        json.dumps({"train": intents * 4, "val": intents, "test": intents})
    )
    results = tmp_path / "results"
    arguments = [
        f"--corpus={corpus}",
        f"--vocab={vocab}",
        f"--data={tmp_path}",
        f"--results={results}",
        "--shape=1x16",
        "--batch_size=2",
        "--max_length=32",
        "--epochs=1",
        "--seeds=2",
        "--steps=10",
    ]
    output = run("convergence.py", *arguments, "--libraries=keras_bert_lib")
    assert "keras_bert_lib: " in output
    rows = table(output)
    for beginning in ("pretrained", "from scratch"):
        assert rows[beginning][1].count(",") == 1  # two seeds
    first = json.loads((results / "convergence-keras_bert_lib.json").read_text())
    assert [step for step, _ in first["curve"]] == list(range(11))
    assert (results / "convergence.png").read_bytes().startswith(b"\x89PNG")

    for library in ("transformers", "keras_hub"):
        pytest.importorskip(library)
    # A later sitting adds the others, and runs nothing again.
    output = run("convergence.py", *arguments)
    assert "keras_bert_lib: " not in output
    losses = [float(cells[0]) for name, cells in table(output).items() if "." in name]
    assert len(losses) == 3
    # The others begin with every piece as likely, ours with the pieces' frequencies; all are
    # measured alike.
    pieces = len(vocab.read_text().splitlines())
    for library in ("transformers", "keras_hub"):
        other = json.loads((results / f"convergence-{library}.json").read_text())
        assert other["curve"][0][1] == pytest.approx(np.log(pieces), rel=0.05)
        assert other["curve"][0][1] > first["curve"][0][1]
        assert other["curve"][-1][1] == pytest.approx(first["curve"][-1][1], rel=0.2)
