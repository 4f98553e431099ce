"""The programs in examples/, one after the other, on a few texts."""

import importlib.util
import os

import pytest

import keras_bert_lib as kbl
from tests.integration.task_files import make_pretrained, write_task

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
    load("classify_texts", MAX_LENGTH=32).main("train.csv", "my-bert", "my-classifier")
    load("fill_masks").main("my-bert", "the [MASK] was fine")
    capsys.readouterr()
    load("export_and_run").main("my-classifier", "the film was fine", "café")
    answers = [line.split()[1:] for line in capsys.readouterr().out.splitlines()[:4]]
    assert answers[:2] == answers[2:]
    assert answers[0][0] in ("pos", "neg")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task", "model"),
    [
        ("find_entities", "tagger", kbl.BertTokenClassifier),
        ("answer_questions", "answerer", kbl.BertQuestionAnswerer),
        ("choose_endings", "choice", kbl.BertMultipleChoice),
        ("search_texts", "embedder", kbl.BertTextEmbedder),
    ],
)
def test_example_of_a_task(tmp_path, capsys, name, task, model):
    files = [write_task(tmp_path, task, 60)]
    rest = []
    sizes = {"MAX_LENGTH": 32, "EPOCHS": 1}
    if task == "answerer":
        files.append(write_task(tmp_path, task, 20, seed=1))
        sizes["STRIDE"] = 8
    if task == "embedder":
        rest.append("anna sat")
    output = str(tmp_path / "model")
    load(name, **sizes).main(*files, make_pretrained(tmp_path / "bert"), output, *rest)
    assert "examples " in capsys.readouterr().out  # the table
    assert model.from_pretrained(output).tokenizer is not None


@pytest.mark.parametrize("name", sorted(os.listdir(EXAMPLES)))
def test_examples_say_how_they_are_called(name):
    with open(os.path.join(EXAMPLES, name), encoding="utf-8") as file:
        text = file.read()
    assert f"python examples/{name}" in text[: text.index('"""', 3)]
