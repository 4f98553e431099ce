import collections
import csv
import json
import os
import random

import pytest

import keras_bert_lib as kbl
from keras_bert_lib.cli.finetune import hold_out, majority_accuracy


@pytest.fixture
def pretrained(tmp_path, vocab_file):
    tokenizer = kbl.BertTokenizer(vocab_file)
    config = kbl.BertConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=16,
        num_layers=1,
        num_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    kbl.BertEncoder(config).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def write_rows(path, count):
    """Texts whose label is told by one word."""
    random.seed(5)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "verdict", "label"])
        for i in range(count):
            words = random.choices(["the", "cat", "dog", "sat", "ran", "film", "was", "it"], k=5)
            label = i % 3 == 0
            words.insert(random.randint(0, 5), "fine" if label else "dull")
            writer.writerow([" ".join(words), "pos" if label else "neg", i % 2])
    return path


def test_finetune_learns_saves_and_answers(run_command, tmp_path, pretrained):
    train = write_rows(tmp_path / "train.csv", 240)
    output = tmp_path / "classifier"
    code, out, _ = run_command(
        *("finetune", "--train", train, "--text-column", "review", "--label-column", "verdict"),
        *("--model", pretrained, "--output", output, "--learning-rate", "1e-2"),
        *("--epochs", "4", "--batch-size", "16", "--max-length", "12"),
    )
    assert code == 0
    assert "216 texts to train on, 24 to measure on." in out
    assert "Labels: neg, pos" in out
    assert "Accuracy on texts not trained on: 100.0% (majority label: 66.7%)" in out
    assert f"keras-bert predict {output}" in out
    assert sorted(os.listdir(output)) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]
    model = kbl.BertClassifier.from_pretrained(output)
    assert model.tokenizer.max_length == 12
    answers = model.predict_text(["it was fine", "the dull film"])
    assert [answer["label"] for answer in answers] == ["pos", "neg"]
    assert json.loads((output / "config.json").read_text())["id2label"] == {"0": "neg", "1": "pos"}


def test_bad_input_gives_one_line_and_leaves_what_is_there(run_command, tmp_path, pretrained):
    train = write_rows(tmp_path / "train.csv", 12)
    one_class = tmp_path / "one.csv"
    one_class.write_text("text,label\na cat,x\na dog,x\n")
    (tmp_path / "empty.csv").write_text("")
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    new = tmp_path / "new"

    def finetune(**changed):
        flags = {"train": train, "model": pretrained, "output": new, "text-column": "review"}
        argv = [part for name, value in (flags | changed).items() for part in (f"--{name}", value)]
        code, _, error = run_command("finetune", *argv)
        assert code == 2
        assert error.startswith("keras-bert finetune: error: ")
        assert error.count("\n") == 1
        assert not new.exists()
        return error

    assert "exists already" in finetune(output=taken)
    assert (taken / "notes.txt").read_text() == "mine"
    assert "absent.csv: No such file" in finetune(train=tmp_path / "absent.csv")
    assert "--train must be a file" in finetune(train=tmp_path)
    assert "no model directory" in finetune(model=tmp_path / "absent")
    assert '"text"' in finetune(**{"text-column": "text"})
    assert "verdict" in finetune(**{"label-column": "absent"})
    assert "'x'" in finetune(train=one_class, **{"text-column": "text"})
    assert "empty.csv" in finetune(train=tmp_path / "empty.csv")
    assert "32 tokens at most" in finetune(**{"max-length": 64})


def test_hold_out_takes_the_same_share_of_each_label():
    rows = [(f"text {i}", "abc"[min(i % 10, 2)]) for i in range(200)]
    train, held_out = hold_out(rows, 0.1, seed=1)
    assert sorted(train + held_out) == sorted(rows)
    assert collections.Counter(label for _, label in held_out) == {"a": 2, "b": 2, "c": 16}
    assert hold_out(rows, 0.1, seed=1) == (train, held_out)
    assert hold_out(rows, 0.1, seed=2)[1] != held_out
    assert train == [row for row in rows if row in set(train)]


def test_hold_out_of_few_rows_leaves_every_label_to_train_on():
    rows = [("a", "x"), ("b", "x"), ("c", "y")]
    train, held_out = hold_out(rows, 0.5, seed=1)
    assert {label for _, label in train} == {"x", "y"}
    assert len(held_out) == 1
    assert hold_out(rows, 0.0, seed=1) == (rows, [])


def test_majority_is_that_of_the_training_rows():
    train = [("", "a"), ("", "a"), ("", "b")]
    assert majority_accuracy(train, [("", "b"), ("", "b"), ("", "a"), ("", "b")]) == 0.25
