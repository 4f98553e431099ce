import csv
import gzip
import json
import math
import os
import pathlib
import random
import signal
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import keras_bert_lib as kbl
from keras_bert_lib import training
from keras_bert_lib.cli import finetune, tasks
from tests.cli.two_workers import run_two_workers
from tests.integration.task_files import make_pretrained, write_task


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    return make_pretrained(tmp_path_factory.mktemp("bert"))


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
    assert 'Task: text-classification: texts from column "review", labels from "verdict"' in out
    assert "216 texts to train on, 24 to measure on." in out
    assert "Labels: neg, pos" in out
    assert "longer" not in out
    assert "accuracy                      1.0000" in out
    assert "Always answering the most frequent label has accuracy 0.6667." in out
    assert f"keras-bert predict {output}" in out
    assert sorted(os.listdir(output)) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.csv",
        "vocab.txt",
    ]
    model = kbl.BertClassifier.from_pretrained(output)
    assert model.tokenizer.max_length == 12
    answers = model.predict_text(["it was fine", "the dull film"])
    assert [answer["label"] for answer in answers] == ["pos", "neg"]
    assert json.loads((output / "config.json").read_text())["id2label"] == {"0": "neg", "1": "pos"}
    record = model.training_record
    assert (record["data"], record["rows"], record["held-out rows"]) == ("train.csv", 216, 24)
    assert record["held-out accuracy"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "said", "metric"),
    [
        ("multi_label", "(multi-label)", "micro f1"),
        ("regression", "(regression)", "spearman"),
        ("tagger", "Labels: O, B-person, ", "f1"),
        ("answerer", "Task: question-answering", "f1"),
        ("choice", "Task: multiple-choice", "accuracy"),
        ("embedder", "Task: sentence-embedding", "mean reciprocal rank"),
    ],
)
def test_task_is_guessed_learned_and_measured(
    run_command, tmp_path, pretrained, task, said, metric
):
    output, test = tmp_path / "model", write_task(tmp_path, task, 30, seed=1)
    code, out, error = run_command(
        *("finetune", "--train", write_task(tmp_path, task, 150), "--validation", test),
        *("--model", pretrained, "--output", output, "--epochs", "4", "--learning-rate", "5e-3"),
    )
    assert code == 0, error
    assert said in out
    table = out[out.index("On 30") :].splitlines()
    code, measured, error = run_command("evaluate", output, test, "--json", tmp_path / "test.json")
    assert code == 0, error
    assert measured.splitlines()[0] == table[1]  # examples
    assert measured.splitlines()[1] == table[2]
    assert measured.splitlines()[1].startswith(metric)
    metrics = json.loads((tmp_path / "test.json").read_text())["metrics"]
    assert f"{next(iter(metrics.values())):.4f}" in table[2]
    line = {"answerer": "who?\tanna sat", "choice": "who?\tanna\toslo\trome"}.get(task, "anna sat")
    (tmp_path / "lines.txt").write_text(line)
    code, answered, error = run_command("predict", output, "--file", tmp_path / "lines.txt")
    assert code == 0, error
    assert answered.rstrip("\n").endswith(line)


@pytest.mark.slow
def test_recipes_are_followed(run_command, tmp_path, pretrained):
    train = write_task(tmp_path, "label", 100)
    fixed = ("--train", train, "--model", pretrained, "--epochs", "2")
    recipes = {
        "all": (
            *("--schedule", "cosine", "--layer-decay", "0.8", "--accumulation", "2"),
            *("--adversarial", "fgm", "--label-smoothing", "0.1", "--class-weights", "balanced"),
            *("--long-texts", "head-and-tail"),
        ),
        "frozen": ("--freeze-layers", "1", "--seeds", "2"),
        "lora": ("--lora-rank", "2", "--precision", "mixed_bfloat16"),
    }
    before = kbl.BertEncoder.from_pretrained(pretrained)
    for name, flags in recipes.items():
        output = tmp_path / name
        code, out, error = run_command("finetune", *fixed, *flags, "--output", output)
        assert code == 0, error
        if name == "frozen":
            assert [line.split()[0] for line in out.splitlines() if line[:1] == " "][-6:-3]
            assert "deviation" in out
        model = kbl.BertClassifier.from_pretrained(output)
        pairs = zip(before.weights, model.encoder.weights)
        changed = {old.path.split("/", 1)[1] for old, new in pairs if np.any(old != new)}
        if name == "frozen":
            assert changed == {"pooler/dense/kernel", "pooler/dense/bias"}
        else:
            assert any("block_0/attention" in path for path in changed)


@pytest.mark.parametrize(
    ("name", "rows", "said"),
    [
        ("a.csv", "text,label\nit was,x\nthe cat was dull,y\nit ran,x\n", "1 of 3 texts"),
        ("a.tsv", "text\ttext_pair\tlabel\nit\twas\tx\nit ran\tdull\ty\n", "1 of 2 texts"),
        ("b.csv", "anchor,positive\nit,the cat was dull\nit,it\n", "1 of 4 texts"),
        (
            "a.jsonl",
            '{"text": "who", "choices": ["anna", "anna was fine"], "label": 0}\n',
            "1 of 2 texts",
        ),
        ("a.conll", "the O\ncat B-x\nwas O\ndull O\n", None),
    ],
)
def test_count_of_texts_that_are_cut(pretrained, tmp_path, capsys, name, rows, said):
    path = tmp_path / name
    path.write_text(rows)
    args = SimpleNamespace(text_column=None, text_pair_column=None, label_column=None)
    task = tasks.TASKS[tasks.guess_task(str(path))].of_file(str(path), args)
    recipe = finetune.Recipe(max_length=5)
    finetune.print_cut(task, task.read(str(path)), recipe, pretrained)
    out = capsys.readouterr().out
    if said is None:
        assert out == ""
    else:
        assert out.startswith(f"{said} are longer, and are cut: see --max-length")
        assert ("--long-texts head" in out) == (name in ("a.csv", "a.tsv"))


def test_embedder_goes_on_as_it_was_trained_and_lora_learns_faster(pretrained, tmp_path):
    (tmp_path / "pairs.csv").write_text("anchor,positive\nit ran,it sat\n")
    args = SimpleNamespace(text_column=None, text_pair_column=None, label_column=None)
    task = tasks.SentenceEmbedding.of_file(str(tmp_path / "pairs.csv"), args)
    rows = task.read(str(tmp_path / "pairs.csv"))

    def completed(model, **recipe):
        return finetune.completed(finetune.Recipe(**recipe), task, rows, str(model))

    recipe = completed(pretrained)
    assert (recipe.pooling, recipe.normalize) == ("mean", True)
    encoder = kbl.BertEncoder.from_pretrained(pretrained)
    tokenizer = kbl.BertTokenizer.from_pretrained(pretrained)
    start = kbl.BertTextEmbedder(encoder, tokenizer, pooling="max", normalize=False)
    start.save_pretrained(tmp_path / "embedder")
    recipe = completed(tmp_path / "embedder")
    assert (recipe.pooling, recipe.normalize) == ("max", False)
    model = task.make_model(encoder, tokenizer, rows, recipe)
    np.testing.assert_array_equal(model.encode(["it sat"]), start.encode(["it sat"]))
    assert completed(tmp_path / "embedder", pooling="cls").pooling == "cls"
    # Another pooling than ours is not passed over.
    path = tmp_path / "embedder" / "1_Pooling" / "config.json"
    path.write_text('{"pooling_mode": "weightedmean"}')
    with pytest.raises(ValueError, match=r"Choose with --pooling.*Received: weightedmean"):
        completed(tmp_path / "embedder")
    assert completed(tmp_path / "embedder", pooling="mean").pooling == "mean"

    assert completed(pretrained).learning_rate == 5e-4
    assert completed(pretrained, lora_rank=2).learning_rate == pytest.approx(5e-3)
    assert completed(pretrained, lora_rank=2, learning_rate=1e-3).learning_rate == 1e-3


class InterruptedTraining(training.Resume):
    """Meets a Ctrl-C in the second epoch."""

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if self._epoch == 1 and batch == 1:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_interrupted_command_goes_on_to_the_same_result(
    run_command, tmp_path, pretrained, monkeypatch
):
    train = write_task(tmp_path, "label", 100)
    arguments = ("finetune", "--train", train, "--model", pretrained, "--epochs", "3")
    arguments += ("--learning-rate", "1e-2", "--output")
    code, unbroken, error = run_command(*arguments, tmp_path / "unbroken")
    assert code == 0, error
    with monkeypatch.context() as patch:
        patch.setattr(training, "Resume", InterruptedTraining)
        code, _, error = run_command(*arguments, tmp_path / "model")
    assert code == 130
    assert "Run the same command again to go on." in error
    code, _, error = run_command(*arguments, tmp_path / "model", "--batch-size", "16")
    assert code == 2
    assert "batch_size=16 (was 32)" in error
    assert "or another --output, or add --overwrite. Received" in error
    # Killed later, it would have written rows of epochs that are done again.
    with open(tmp_path / "model" / "training" / "seed-1.csv", "a") as file:
        file.write("1,0.5\n2,0.5\n")
    code, out, _ = run_command(*arguments, tmp_path / "model")
    assert code == 0
    assert "Going on with the training" in out
    table = slice(out.index("On 10"), out.index("Wrote"))
    assert out[table] == unbroken[unbroken.index("On 10") : unbroken.index("Wrote")]
    assert not (tmp_path / "model" / "training").exists()
    curve = (tmp_path / "model" / "training.csv").read_text()
    assert curve == (tmp_path / "unbroken" / "training.csv").read_text()
    code, _, error = run_command(*arguments, tmp_path / "model")
    assert code == 2
    assert "exists already" in error


@pytest.mark.slow
def test_two_workers_stop_and_go_on_together(run_command, tmp_path, pretrained):
    train = write_rows(tmp_path / "train.csv", 240)
    arguments = ["finetune", "--train", train, "--text-column", "review", "--model", pretrained]
    arguments += ["--label-column", "verdict", "--learning-rate", "1e-2", "--epochs", "4"]
    arguments += ["--batch-size", "16", "--max-length", "12", "--seeds", "2"]
    arguments += ["--strategy", "multi_worker", "--output", tmp_path / "model"]
    first, _, codes = run_two_workers(arguments, stop_at="Epoch 2")
    assert codes == [143, 143]
    assert "Epoch 4" not in first
    first, second, codes = run_two_workers(arguments)
    assert codes == [0, 0]
    assert "Going on with the training" in first
    assert "accuracy                      1.0000" in first
    assert f"Wrote {tmp_path / 'model'}" in first
    assert "Wrote" not in second
    epochs = [row["epoch"] for row in csv.DictReader((tmp_path / "model/training.csv").open())]
    assert epochs == sorted(set(epochs))  # each is there once
    code, out, _ = run_command("predict", tmp_path / "model", "it was fine")
    assert (code, out.split()[0]) == (0, "pos")


def test_bad_input_gives_one_line_and_leaves_what_is_there(run_command, tmp_path, pretrained):
    train = write_rows(tmp_path / "train.csv", 12)
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    new = tmp_path / "new"

    def finetune(**changed):
        flags = {"train": train, "model": pretrained, "output": new, "label-column": "verdict"}
        flags = {name: value for name, value in (flags | changed).items() if value is not None}
        argv = [part for name, value in flags.items() for part in (f"--{name}", value)]
        code, _, error = run_command("finetune", *argv)
        assert code == 2
        assert error.startswith("keras-bert finetune: error: ")
        assert error.count("\n") == 1
        assert not new.exists()
        return error

    def written(name, text, **changed):
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return finetune(**({"train": path, "label-column": None} | changed))

    assert "exists already. Give another --output, or add --overwrite" in finetune(output=taken)
    assert (taken / "notes.txt").read_text() == "mine"
    mine = tmp_path / "data" / "training"
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("mine")
    assert "training is not what a training leaves" in finetune(output=tmp_path / "data")
    assert (mine / "notes.txt").read_text() == "mine"
    assert "absent.csv: No such file" in finetune(train=tmp_path / "absent.csv")
    assert "--train must be a file" in finetune(train=tmp_path)
    assert "no model directory" in finetune(model=tmp_path / "absent")
    assert "32 tokens at most" in finetune(**{"max-length": 64})
    assert "--max-length must be 5 at least" in finetune(**{"max-length": 4})
    assert "1 layers. Lower --freeze-layers" in finetune(**{"freeze-layers": 2})
    assert "leave out --freeze-layers" in finetune(**{"freeze-layers": 1, "lora-rank": 2})

    # Columns: those that are there are listed.
    error = finetune(**{"text-column": "texts"})
    assert 'no column "texts"' in error
    assert '"review", "verdict", "label"' in error
    error = written("columns.csv", "a,b,c\nx,y,z\n")
    assert "--text-column" in error
    assert '"a", "b", "c"' in error
    assert "empty.csv is empty." in written("empty.csv", "")
    assert 'has two columns "text"' in written("twice.csv", "text,text,label\na,b,x\nc,d,y\n")
    assert "Save its table as .csv" in written("table.xlsx", "PK")
    # Of a later row of JSON lines, and of the first of the other files.
    rows = '{"text": "a", "label": "x"}\n{"text": "b"}\n'
    error = written("rows.jsonl", rows)
    assert 'rows.jsonl line 2 has no column "label". Name one that all rows have with --la' in error

    # Cells and labels.
    assert "cells.csv line 3" in written("cells.csv", "text,label\na cat,x\na dog,\n")
    assert "'x'" in written("one.csv", "text,label\na cat,x\na dog,x\n")
    rows = "text,label\na cat,x\na dog,y\n" * 1
    error = written("few.csv", rows)
    assert "few.csv can be held out. Give --validation, or measure on nothing with --ho" in error
    assert "no label has two of them" in error
    assert "`" not in error
    # Of the validation file, too, a column is named by its flag.
    (tmp_path / "other.csv").write_text("text,verdict\na cat,x\na dog,z\n")
    error = written("two.csv", rows, validation=tmp_path / "other.csv")
    assert 'other.csv has no column "label". Name one that all rows have with --label-col' in error
    assert '"text", "verdict"' in error
    assert "`" not in error
    (tmp_path / "other.csv").write_text("text,label\na cat,x\na dog,z\n")
    error = written("two.csv", rows, validation=tmp_path / "other.csv")
    assert "other.csv line 3 has a label that is not one of x, y" in error
    error = written(
        "numbers.csv", "text,score\na cat,0.5\na dog,many\n", **{"problem-type": "regression"}
    )
    assert "numbers.csv line 3" in error

    # A few cells that are no numbers among fractions are slips, whose labels are no classes.
    rows = "text,score\na,3.5\nb,n/a\n" + "c,1.5\n" * 9
    error = written("slip.csv", rows)
    assert "slip.csv line 3 has a label that is no number" in error
    assert "--problem-type single-label" in error
    assert error.endswith("Received: 'n/a'\n")

    # Recipes of which nothing would be learned.
    error = finetune(accumulation=7, epochs=3)
    assert "The training has 3 batches in all" in error
    assert "Lower --accumulation. Received: 7" in error
    error = written("alone.csv", "anchor,positive\na,b\nb,c\n", **{"batch-size": 1})
    assert "Give a larger --batch-size. Received: --batch-size 1" in error

    # Recipes that are for other tasks.
    error = written("score.csv", "text,score\na,0.5\nb,0.1\n", **{"label-smoothing": 0.1})
    assert error.endswith(
        "error: --label-smoothing is for labels of texts or of words, and choices. Leave it out. "
        "Received: --label-smoothing 0.1\n"
    )
    pairs = "anchor,positive\na,b\n"
    assert "--class-weights is for texts with" in written(
        "pairs.csv", pairs, **{"class-weights": "balanced"}
    )
    assert "--long-texts is for text-cl" in written(
        "words.conll", "anna B-person\n", **{"long-texts": "head-and-tail"}
    )
    assert "--pooling is for sentence-emb" in finetune(pooling="cls")

    # Words, questions and choices.
    assert "has 2 columns, numbered from 0" in written(
        "words.conll", "anna B-person\n", **{"label-column": 5}
    )
    assert "words.conll line 2" in written("words.conll", "anna B-person\nran\n")
    assert "the same tag" in written("none.conll", "anna O\nran O\n")
    assert "1 columns, and the words and the tags must be two" in written("text.txt", "anna,O\n")
    schemes = "anna B-person\nran O\n\noslo S-place\nrome L-place\n"
    assert "schemes.conll" in written("schemes.conll", schemes)
    question = {"id": "q1", "question": "who?", "answers": [{"text": "bo", "answer_start": 0}]}
    squad = {"data": [{"paragraphs": [{"context": "anna ran", "qas": [question]}]}]}
    error = written("squad.json", json.dumps(squad))
    assert "q1" in error
    assert "'bo'" in error
    assert "squad2.json" in written("squad2.json", "{}")
    row = {"text": "who?", "choices": ["anna", "oslo"], "label": 2}
    assert "choices.jsonl line 1" in written("choices.jsonl", json.dumps(row))


@pytest.mark.slow
def test_what_is_odd_is_learned_from_all_the_same(run_command, tmp_path, pretrained):
    # A label with one example, and a text longer than any BERT reads.
    rows = "text,label\n" + "the film was fine,pos\nit was dull,neg\n" * 12
    (tmp_path / "odd.csv").write_text(f"{rows}in oslo,place\n{'the cat ran ' * 400},neg\n")
    flags = ("--model", pretrained, "--epochs", "1")
    code, out, error = run_command(
        "finetune", "--train", tmp_path / "odd.csv", *flags, "--output", tmp_path / "a"
    )
    assert code == 0, error
    assert "Labels: neg, place, pos" in out
    # Tags out of order are read as the entities that they tell.
    (tmp_path / "odd.conll").write_text("anna I-person\nran O\n\nin O\noslo I-place\n\n" * 8)
    code, out, error = run_command(
        "finetune", "--train", tmp_path / "odd.conll", *flags, "--output", tmp_path / "b"
    )
    assert code == 0, error
    assert "Labels: O, B-person, " in out


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("text,label", "a,x", ("text", None, "label", "single-label")),
        ("id,Sentence,Category", "1,a,x", ("Sentence", None, "Category", "single-label")),
        ("review,stars", "a,3", ("review", None, "stars", "single-label")),
        ("what,label", "a,x|y", ("what", None, "label", "multi-label")),
        ("text,what", "a,0.5", ("text", None, "what", "regression")),
        ("index,sentence1,sentence2,score", "0,a,b,3.8", ("sentence1", "sentence2", "score", None)),
        ("premise,hypothesis,label", "a,b,1", ("premise", "hypothesis", "label", "single-label")),
    ],
)
def test_columns_are_found_by_usual_names(tmp_path, header, row, expected):
    path = tmp_path / "rows.csv"
    path.write_text(f"{header}\n{row}\n")
    args = SimpleNamespace(text_column=None, text_pair_column=None, label_column=None)
    task = tasks.TextClassification.of_file(str(path), args)
    *columns, problem_type = expected
    assert [task.text_column, task.text_pair_column, task.label_column] == columns
    assert task.problem_type == (problem_type or "regression")


@pytest.mark.parametrize(
    ("name", "text", "task"),
    [
        ("a.json", "", "question-answering"),
        ("a.conll", "", "token-classification"),
        ("a.csv", "question,context,answers\n", "question-answering"),
        ("a.jsonl", '{"tokens": ["a"], "ner_tags": ["O"]}', "token-classification"),
        ("a.jsonl", '{"text": "a", "choices": ["b", "c"], "label": 0}', "multiple-choice"),
        ("a.csv", "anchor,positive\n", "sentence-embedding"),
        ("a.tsv", "sentence\tlabel\n", "text-classification"),
    ],
)
def test_task_is_told_by_the_file(tmp_path, name, text, task):
    (tmp_path / name).write_text(text)
    assert tasks.guess_task(str(tmp_path / name)) == task


def test_labels_that_look_like_others_are_what_is_said(tmp_path):
    args = {"text_column": None, "text_pair_column": None, "label_column": None}
    path = tmp_path / "versions.csv"
    path.write_text("text,label\n" + "a,1.5\n" * 9 + "a,beta\n")
    said = SimpleNamespace(**args, problem_type="single-label")
    assert tasks.TextClassification.of_file(str(path), said).problem_type == "single-label"
    # Nor does `evaluate` guess, which asks what the model has learned.
    encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=9))
    model = kbl.BertClassifier(encoder, labels=["1.5", "beta"])
    task = tasks.of_model(model, str(path), SimpleNamespace(**args))
    assert task.problem_type == "single-label"
    # Where many are no numbers, and where all numbers are whole, labels are names.
    for labels in (["1.5", "2.5", "beta"], ["1", "2", "3", "4", "5", "6", "n/a"]):
        path.write_text("text,label\n" + "".join(f"a,{label}\n" for label in labels))
        task = tasks.TextClassification.of_file(str(path), SimpleNamespace(**args))
        assert task.problem_type == "single-label"


@pytest.mark.parametrize(
    ("rate", "flags", "said"),
    [
        ("1e30", "--epochs 2", "The loss is nan after step 2: "),
        # The one step spoils the weights after its loss was counted.
        ("1e30", "--epochs 1 --batch-size 300", "The val_loss is nan"),
        ("3.4e38", "--epochs 1 --batch-size 300 --hold-out 0", "Some weights are NaN or infinite"),
    ],
)
def test_training_that_diverges_says_so_and_leaves_nothing(
    run_command, tmp_path, pretrained, rate, flags, said
):
    output = tmp_path / "model"
    arguments = ("finetune", "--train", write_task(tmp_path, "label", 70), "--model", pretrained)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # of measuring NaN
        code, _, error = run_command(
            *arguments, *flags.split(), "--learning-rate", rate, "--output", output
        )
    assert code == 2
    assert said in error
    assert "Give a lower --learning-rate" in error
    assert error.endswith(f"Received: --learning-rate {float(rate):g}\n")
    assert error.count("\n") == 1
    assert not output.exists()


def test_what_a_training_without_a_state_left_is_not_taken(run_command, tmp_path, pretrained):
    output = tmp_path / "model"
    folder = output / "training"
    folder.mkdir(parents=True)
    # As of a process that was killed before it saved a state, and of an older version's NaN.
    (folder / "settings.json").write_text('{"learning_rate": 1e30}')
    (folder / "seed-1.json").write_text('{"accuracy": NaN}')
    (folder / "seed-1.csv").write_text("epoch,loss\n0,nan\n1,nan\n2,nan\n")
    (folder / "nan.npz").write_bytes(b"")
    code, out, error = run_command(
        *("finetune", "--train", write_task(tmp_path, "label", 40), "--model", pretrained),
        *("--epochs", "1", "--output", output),
    )
    assert code == 0, error
    assert "Going on" not in out
    with open(output / "training.csv") as file:
        [row] = csv.DictReader(file)
    assert row["epoch"] == "0"
    assert math.isfinite(float(row["loss"]))


def test_curve_is_shortened_to_the_epochs_before(tmp_path):
    path = tmp_path / "training.csv"
    for epoch, left in ((0, ""), (1, "0,0.5\n"), (2, "0,0.5\n1,0.4\n"), (9, "0,0.5\n1,0.4\n2,0")):
        path.write_text("epoch,loss\n0,0.5\n1,0.4\n2,0")
        with open(path, "a") as file:  # as Keras has it open
            finetune.drop_epochs(path, epoch)
            file.write("new\n")
        assert path.read_text() == f"epoch,loss\n{left}new\n"
    path.write_text("")
    finetune.drop_epochs(path, 0)
    assert path.read_text() == ""


@pytest.mark.parametrize(
    ("labels", "asked", "said"),
    [
        (["1", "2", "3"], None, True),
        (["-1.0", "0.0", "1.0"], None, True),
        (["0", "1"], None, False),
        (["1", "2", "many"], None, False),
        (["1", "2", "3"], "single-label", False),
    ],
)
def test_whole_numbers_may_be_classes_or_numbers(labels, asked, said):
    args = SimpleNamespace(problem_type=asked)
    hint = finetune.or_numbers(tasks.TextClassification(), args, labels)
    assert ("--problem-type regression" in hint) == said
    assert finetune.or_numbers(tasks.TokenClassification(), args, labels) == ""


def test_seeds_of_which_none_is_best_are_told_so(run_command, tmp_path, pretrained, monkeypatch):
    evaluate = kbl.evaluation.evaluate

    def answers_alike(model, rows):
        found = evaluate(model, rows)
        found.metrics["spearman"] = math.nan
        return found

    monkeypatch.setattr(kbl.evaluation, "evaluate", answers_alike)
    code, out, error = run_command(
        *("finetune", "--train", write_task(tmp_path, "regression", 40), "--model", pretrained),
        *("--epochs", "1", "--seeds", "2", "--output", tmp_path / "model"),
    )
    assert code == 0, error
    assert "Seeds cannot be compared: spearman of seed 1, 2 is NaN." in out
    assert "No seed is best: spearman is NaN for all. The first is kept." in out
    assert "The best seed is kept" not in out


def test_best_seed_is_none_of_nan():
    assert finetune.best_of([math.nan, -0.5, 0.2, math.nan]) == 2
    assert finetune.best_of([math.nan, -0.5]) == 1
    assert finetune.best_of([math.nan, math.nan]) == 0
    assert finetune.best_of([0.7, 0.9, 0.9]) == 1


def test_metrics_of_guessing(tmp_path):
    args = {"text_column": None, "text_pair_column": None, "label_column": None}

    def guessed(name):
        path = write_task(tmp_path, name, 40)
        task = tasks.TASKS[tasks.guess_task(path)].of_file(path, SimpleNamespace(**args))
        rows = tasks.read(task, path)
        return task, rows, finetune.of_guessing(task, rows, rows)

    task, rows, found = guessed("regression")
    assert found == 0
    alike = rows._replace(label_ids=np.ones(40, "float32"))
    assert finetune.of_guessing(task, rows, alike) is None
    assert guessed("tagger")[-1] == guessed("multi_label")[-1] == 0
    assert guessed("choice")[-1] == pytest.approx(1 / 3)
    assert guessed("embedder")[-1] == pytest.approx(sum(1 / i for i in range(1, 41)) / 40)
    task, rows, found = guessed("answerer")
    assert found == sum(not answers for answers in rows.answers) / 40 > 0
    some = [i for i in range(40) if rows.answers[i]]
    answered = type(rows)(*([column[i] for i in some] for column in rows))
    assert finetune.of_guessing(task, answered, answered) == 0


def test_learned_nothing_is_told_of_every_task(run_command, tmp_path, pretrained, monkeypatch):
    path = write_task(tmp_path, "tagger", 40)
    packed = tmp_path / "names.conll.gz"
    packed.write_bytes(gzip.compress(pathlib.Path(path).read_bytes()))
    evaluate = kbl.evaluation.evaluate

    def learned_nothing(model, rows):
        found = evaluate(model, rows)
        found.metrics["f1"] = 0.0
        return found

    monkeypatch.setattr(kbl.evaluation, "evaluate", learned_nothing)
    code, out, error = run_command(
        *("finetune", "--train", packed, "--validation", packed, "--model", pretrained),
        *("--epochs", "1", "--output", tmp_path / "model"),
    )
    assert code == 0, error
    assert "Learned nothing: f1 of seed 1 is no better than about 0.0000" in out
    assert "Try a lower --learning-rate, more --epochs" in out
    # What is measured on is said, and kept with the model.
    assert "On 40 sentences that it was trained on" in out
    assert "not trained on" not in out
    record = kbl.BertTokenClassifier.from_pretrained(tmp_path / "model").training_record
    assert record["training rows"] == 40
    assert f"keras-bert evaluate {tmp_path / 'model'} test.conll --plots" in out


def test_fill_mask_keeps_the_head(run_command, tmp_path, pretrained):
    encoder = kbl.BertEncoder.from_pretrained(pretrained, use_pooler=False)
    before = kbl.BertMaskedLM(encoder, tokenizer=kbl.BertTokenizer.from_pretrained(pretrained))
    before.save_pretrained(tmp_path / "before")
    train, after = write_task(tmp_path, "masked", 40), tmp_path / "after"
    code, out, error = run_command(
        *("finetune", "--task", "fill-mask", "--train", train, "--model", tmp_path / "before"),
        *("--epochs", "1", "--learning-rate", "1e-9", "--output", after),
    )
    assert code == 0, error
    assert "36 texts to train on, 4 to measure on." in out
    weights = kbl.BertMaskedLM.from_pretrained(after).get_weights()
    for old, new in zip(before.get_weights(), weights, strict=True):
        np.testing.assert_allclose(new, old, atol=1e-6)
    code, out, error = run_command("evaluate", after, train)
    assert code == 0, error
    assert "accuracy" in out
    assert "perplexity" in out


def test_a_classifier_of_pairs_is_known_as_one(run_command, tmp_path, pretrained, monkeypatch):
    rows = [("it ran", "dull", "no"), ("it sat", "fine", "yes")] * 10
    lines = "".join(f"{','.join(row)}\n" for row in rows)
    (tmp_path / "train.csv").write_text(f"sentence1,sentence2,label\n{lines}")
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda name, **_: asked.append(name) or pretrained
    )
    code, _, error = run_command(
        *("finetune", "--train", tmp_path / "train.csv", "--model", "hf://some/model"),
        *("--output", tmp_path / "model", "--epochs", "1"),
    )
    assert code == 0, error
    assert set(asked) == {"some/model"}
    code, _, error = run_command("predict", tmp_path / "model", "it ran")
    assert code == 2
    assert "has no second text" in error
    code, answered, _ = run_command("predict", tmp_path / "model", "it ran\tdull")
    assert code == 0
    assert answered.endswith("\tit ran\tdull\n")
    code, _, error = run_command(
        *("export", "--model", tmp_path / "model", "--output", tmp_path / "a.tflite"),
        *("--verify", tmp_path / "train.csv"),
    )
    assert code == 0, error
    code, again, _ = run_command("predict", tmp_path / "a.tflite", "it ran\tdull")
    assert (code, again.split()[0]) == (0, answered.split()[0])
