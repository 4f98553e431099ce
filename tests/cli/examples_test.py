"""The programs in examples/, one after the other, on a few texts."""

import importlib.util
import os

import pytest

EXAMPLES = os.path.join(os.path.dirname(__file__), "..", "..", "examples")


def load(name, **constants):
    spec = importlib.util.spec_from_file_location(name, os.path.join(EXAMPLES, f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for constant, value in constants.items():
        assert hasattr(module, constant)
        setattr(module, constant, value)
    return module


@pytest.mark.slow
def test_examples_work_one_after_the_other(corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with open("train.csv", "w", encoding="utf-8") as file:
        file.write("text,label\n" + "the film was fine,pos\nit was a dull film,neg\n" * 20)
    load("pretrain", EPOCHS=1, MAX_LENGTH=32).main("my-bert", corpus)
    load("finetune", MAX_LENGTH=32).main("train.csv", "my-bert", "my-classifier")
    capsys.readouterr()
    load("export_and_run").main("my-classifier", "the film was fine", "café")
    answers = [line.split()[1:] for line in capsys.readouterr().out.splitlines()[:4]]
    assert answers[:2] == answers[2:]
    assert answers[0][0] in ("pos", "neg")
