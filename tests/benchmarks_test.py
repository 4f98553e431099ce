import json
import os
import runpy
import subprocess
import sys
import types
from pathlib import Path

import pytest

import keras_bert_lib as kbl

ROOT = Path(__file__).resolve().parents[1]
SENTENCES = ["the cat sat on the mat .", "a dog ran home .", "rain fell all day .", "it slept ."]

pytestmark = pytest.mark.skipif(
    not (ROOT / "benchmarks").is_dir(), reason="the benchmarks are not in this checkout"
)


def run(program, *arguments):
    """Returns what a benchmark prints; its workers log to files of their own."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    process = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / program), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def table(output):
    """Returns the cells of the table's rows, by the first cell."""
    rows = [line.strip("| ").split(" | ") for line in output.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows[1:]}


@pytest.fixture
def vocab(tmp_path):
    words = sorted({word for sentence in SENTENCES for word in sentence.split()})
    path = tmp_path / "vocab.txt"
    kbl.text.save_vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words], path)
    return path


def pretrain(tmp_path, vocab, libraries):
    # The program cuts the corpus in documents of 50,000 characters, and there must be two.
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(" ".join(SENTENCES * 1200))
    return run(
        "pretrain.py",
        f"--libraries={','.join(libraries)}",
        f"--corpus={corpus}",
        f"--vocab={vocab}",
        "--shape=1x16",
        "--dtype=float32",
        "--max_length=32",
        "--batch_tokens=64",
        "--steps=2",
        "--rounds=1",
    )


@pytest.mark.slow
def test_pretrain(tmp_path, vocab):
    output = pretrain(tmp_path, vocab, ["keras_bert_lib", "modelgarden"])
    rows = table(output)
    assert "L1/H16, float32: batches of 2 x 32, 5 predictions a row" in output
    tokens_a_second, milliseconds, ratio, reached, megabytes, _ = rows[
        f"keras_bert_lib {kbl.__version__}"
    ]
    assert int(tokens_a_second.replace(",", "")) > 0
    assert int(milliseconds) >= 0
    assert ratio == "1.00"
    assert 0 <= float(reached[:-1]) < 100
    assert int(megabytes.replace(",", "")) > 100
    # A peer is in the table, or is said to be missing.
    assert len(rows) == 2 or "modelgarden left out: " in output


@pytest.mark.slow
@pytest.mark.parity
def test_pretrain_of_peers(tmp_path, vocab):
    pytest.importorskip("keras_hub")
    libraries = ["keras_bert_lib", "keras_bert_lib+packing", "keras_hub", "transformers"]
    rows = table(pretrain(tmp_path, vocab, libraries))
    assert [name.split()[0] for name in rows] == libraries


def test_learn_vocabulary(tmp_path):
    for i, sentence in enumerate(SENTENCES):
        (tmp_path / f"{i}.txt").write_text(f"{sentence}\n" * 3)
    strings = tmp_path / "strings.json"
    strings.write_text(json.dumps({"cases": [{"text": text} for text in SENTENCES]}))
    output = run(
        "learn_vocabulary.py",
        f"--corpus={tmp_path}/*.txt",
        "--copies=2",
        "--vocab_size=70",
        f"--strings={strings}",
        "--strings_vocab_size=60",
        "--learners=keras_bert_lib,tokenizers,no_such_peer",
        "--runs=1",
    )
    assert "no_such_peer left out: " in output
    files, strings = output.split("strings in many languages")
    assert "70 pieces asked for" in files
    for part in (files, strings):
        rows = table(part)
        assert list(rows) == ["keras_bert_lib", "tokenizers"]
        _, _, pieces, rate, unknown, same = rows["keras_bert_lib"]
        assert 30 < int(pieces) <= 70
        assert float(rate) >= 1
        assert 0 <= float(unknown[:-1]) < 100
        assert same == "yes"


def tokenizer(tmp_path, vocab, libraries):
    texts = [f"{first} {second}" for first in SENTENCES for second in SENTENCES * 4]
    (tmp_path / "sst2.tsv").write_text("".join(f"{text}\t0\n" for text in ["sentence", *texts]))
    (tmp_path / "novel.txt").write_text("\n\n".join(texts))
    strings = {"cases": [{"text": "the café slept"}, {"text": "字 it"}]}
    (tmp_path / "strings.json").write_text(json.dumps(strings))
    return run(
        "tokenizer.py",
        f"--libraries={','.join(libraries)}",
        f"--vocab={vocab}",
        "--multilingual_vocab=absent",
        f"--sst2={tmp_path / 'sst2.tsv'}",
        f"--novels={tmp_path / 'novel.txt'}",
        f"--strings={tmp_path / 'strings.json'}",
        "--batch_size=10",
        "--rounds=1",
    )


@pytest.mark.slow
def test_tokenizer(tmp_path, vocab):
    output = tokenizer(tmp_path, vocab, ["keras_bert_lib", "tokenizers", "no_such_peer"])
    assert "no_such_peer left out: " in output
    single, batches, builds = output.split("\n\n| ")[1:]
    lengths = ["64", "128", "256", "512", "as they are"]
    rows = [line.split(" | ") for line in single.splitlines() if line.startswith("| ")]
    assert [row[1] for row in rows] == lengths * 2
    assert all(float(cell.strip("| ")) > 0 for row in rows for cell in row[2:])
    rows = table("| " + batches)
    assert list(rows) == ["keras_bert_lib, tf.data", "tokenizers, encode_batch"]
    for cells in rows.values():
        assert cells[1::2] == ["100.00%"] * 3
        assert all(int(cell.split()[0].replace(",", "")) > 0 for cell in cells[::2])
    ((seconds, megabytes),) = table("| " + builds).values()
    assert float(seconds) > 0
    assert float(megabytes) > 0


@pytest.mark.slow
@pytest.mark.parity
def test_tokenizer_of_peers(tmp_path, vocab):
    for name in ("keras_hub", "tensorflow_text"):
        pytest.importorskip(name)
    libraries = ["keras_bert_lib", "use_tf_text", "tokenizers", "transformers"]
    libraries += ["tensorflow_text", "keras_hub"]
    output = tokenizer(tmp_path, vocab, libraries)
    rows = table("| " + output.split("\n\n| ")[2])
    assert len(rows) == len(libraries)
    # SST-2 and novels, in ASCII here, are the same in all of them.
    assert all(cells[1] == cells[3] == "100.00%" for cells in rows.values())
    assert rows["keras_bert_lib, tf.data"][5] == "100.00%"
    assert rows["keras_bert_lib, tf.data, use_tf_text"][5] == "100.00%"


def tflite(tmp_path, vocab, rows, model_class, **options):
    config = kbl.BertConfig(
        vocab_size=len(kbl.text.load_vocabulary(vocab)),
        hidden_size=16,
        num_layers=1,
        num_heads=2,
        intermediate_size=32,
        initializer_range=0.5,  # answers that differ from text to text
    )
    # KerasHub reads no model without a pooler.
    model = model_class(kbl.BertEncoder(config), tokenizer=kbl.BertTokenizer(vocab), **options)
    model.save_pretrained(tmp_path / "model")
    texts = tmp_path / "texts.tsv"
    lines = [f"{' '.join(SENTENCES[i % 4 :])}\t{i % 2}\n" for i in range(80)]
    texts.write_text("".join(["sentence\tlabel\n", *lines]))
    return run(
        "tflite.py",
        f"--rows={','.join(rows)}",
        f"--reference={rows[0]}",
        f"--model={tmp_path / 'model'}",
        f"--texts={texts}",
        f"--train={texts}",
        "--limit=4",
        "--rounds=1",
    )


@pytest.mark.slow
def test_tflite(tmp_path, vocab):
    output = tflite(tmp_path, vocab, ["none", "dynamic_int8"], kbl.BertClassifier, num_classes=2)
    rows = table(output)
    assert list(rows) == ["keras_bert_lib, TFLite none", "keras_bert_lib, TFLite dynamic_int8"]
    for megabytes, accuracy, agreement, *times in rows.values():
        assert float(megabytes) > 0
        assert accuracy.endswith("%")
        assert agreement == "100.00%"
        assert len(times) == 4
    assert all(cell.endswith("(1.00)") for cell in rows["keras_bert_lib, TFLite none"][3:])


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("model_class", [kbl.BertClassifier, kbl.BertTextEmbedder])
def test_tflite_of_peers(tmp_path, vocab, model_class):
    for package in ("keras_hub", "onnx", "onnxruntime", "transformers"):
        pytest.importorskip(package)
    rows = ["none", "saved_model", "torch", "onnx", "keras_hub_litert"]
    options = {"num_classes": 2} if model_class is kbl.BertClassifier else {}
    rows = table(tflite(tmp_path, vocab, rows, model_class, **options))
    assert len(rows) == 5
    # The same label for each text, or the same embedding.
    which = 2 if model_class is kbl.BertClassifier else 1
    assert {cells[which] for cells in rows.values()} <= {"100.00%", "1.0000"}


def load(libraries):
    return run("load.py", "--size=tiny", "--rounds=1", f"--libraries={','.join(libraries)}")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_load():
    output = load(["keras_bert_lib"])
    assert "BERT-tiny, 18 MB of float32" in output
    seconds, first_output, peak, after, difference = table(output)[
        f"keras_bert_lib {kbl.__version__}"
    ]
    assert seconds.endswith("(1.00)")
    assert first_output.endswith("(1.00)")
    # All weights are in memory at last.
    assert float(peak) >= float(after) > 0.9
    assert float(difference) == 0


@pytest.mark.slow
@pytest.mark.parity
def test_load_of_peers():
    pytest.importorskip("keras_hub")
    rows = table(load(["keras_bert_lib", "transformers", "keras_hub"]))
    assert [name.split()[0] for name in rows] == ["keras_bert_lib", "transformers", "keras_hub"]
    assert all(float(difference) < 1e-3 for *_, difference in rows.values())


@pytest.fixture
def finetune_arguments(tmp_path, vocab):
    """A tiny model, and the data of SST-2 as GLUE lays them out."""
    config = kbl.BertConfig(
        vocab_size=len(kbl.text.load_vocabulary(vocab)),
        hidden_size=16,
        num_layers=1,
        num_heads=2,
        intermediate_size=32,
    )
    kbl.BertEncoder(config).save_pretrained(tmp_path / "model")
    kbl.BertTokenizer(vocab).save_pretrained(tmp_path / "model")
    folder = tmp_path / "data" / "glue" / "SST-2"
    folder.mkdir(parents=True)
    lines = [f"{' '.join(SENTENCES[i % 4 :])}\t{i % 2}\n" for i in range(40)]
    for name in ("train.tsv", "dev.tsv"):
        (folder / name).write_text("".join(["sentence\tlabel\n", *lines]))
    return [
        f"--model={tmp_path / 'model'}",
        f"--data={tmp_path / 'data'}",
        f"--results={tmp_path / 'results'}",
    ]


@pytest.mark.slow
def test_finetune(finetune_arguments):
    arguments = ["--tasks=sst2", "--libraries=keras_bert_lib,no_such_peer", *finetune_arguments]
    output = run("finetune.py", *arguments)
    assert "sst2, no_such_peer left out: " in output
    assert "sst2, keras_bert_lib, seed 0: accuracy " in output
    recipe, metric, seeds, accuracy, _ = table(output)["SST-2"]
    assert recipe.startswith("40 examples x 1, batches of 32")
    assert (metric, seeds) == ("accuracy", "1")
    assert 0 <= float(accuracy) <= 100
    # A piece that is there is not run again, unless it had other settings.
    output = run("finetune.py", *arguments)
    assert "seed 0" not in output
    assert table(output)["SST-2"][3] == accuracy
    output = run("finetune.py", "--limit=20", *arguments)
    assert "sst2, keras_bert_lib, seed 0: accuracy " in output
    assert table(output)["SST-2"][0].startswith("20 examples")


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.shared_data
def test_finetune_of_peers(finetune_arguments, shared_data):
    """Each kind of task is read, trained and scored by both, though nothing is learned so fast."""
    for name in ("transformers", "seqeval"):
        pytest.importorskip(name)
    model, _, results = finetune_arguments
    options = ["--tasks=stsb,wnut17,squad", "--limit=8", f"--data={shared_data}", model, results]
    output = run("finetune.py", *options)
    assert "left out" not in output
    rows = table(output)
    assert list(rows) == ["STS-B", "WNUT-17", "SQuAD 1.1"]
    assert all(-100 <= float(cell) <= 100 for row in rows.values() for cell in row[3:])


@pytest.mark.slow
@pytest.mark.parity
def test_finetune_throughput_of_peers(finetune_arguments):
    for name in ("keras_hub", "transformers"):
        pytest.importorskip(name)
    options = ["--texts=40", "--rounds=1", *finetune_arguments]
    rows = table(run("finetune.py", "throughput", *options))
    assert [name.split()[0] for name in rows] == ["keras_bert_lib", "keras_hub", "transformers"]
    assert all(float(row[1]) > 0 for row in rows.values())


@pytest.mark.slow
def test_finetune_adversarial(finetune_arguments):
    libraries = ["keras_bert_lib", "keras_bert_lib+FGM"]
    options = ["--tasks=sst2_small", "--seeds=1", "--texts=40", "--rounds=1"]
    options += [f"--libraries={','.join(libraries)}", *finetune_arguments]
    output = run("finetune.py", "adversarial", *options)
    speed, scores = output.split("| task |")
    assert [name.split()[0] for name in table(speed)] == libraries
    assert all(0 <= float(cell) <= 100 for cell in table("| task |" + scores)["SST-2"][3:])


@pytest.fixture
def finetune_tasks():
    return types.SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks/finetune_tasks.py")))


def test_scores_of_finetune(finetune_tasks):
    answers = [["The cat sat.", "a mat"], ["Paris"], ["in 1990"]]
    scores = finetune_tasks.score_answers(["cat  sat", "London, Paris", "rain"], answers)
    assert scores["EM"] == pytest.approx(100 / 3)
    assert scores["F1"] == pytest.approx(100 * (1 + 2 / 3 + 0) / 3)
    examples = [("a", "b", 1.0), ("c", "d", 3.0), ("e", "f", 2.0)]
    assert finetune_tasks.score("stsb", examples, [0.1, 0.7, 0.4])["Spearman"] == pytest.approx(100)
    examples = [("a", None, "x"), ("b", None, "y")]
    assert finetune_tasks.score("sst2", examples, ["x", "x"]) == {"accuracy": 50}


@pytest.mark.shared_data
def test_examples_of_finetune(finetune_tasks, shared_data):
    def read(name, split, limit=None):
        return finetune_tasks.read(name, split, shared_data, limit)

    assert len(read("sst2", "train")) == 20_000
    assert len(read("sst2", "test")) == 872
    intents = finetune_tasks.labels_of(read("clinc150", "train"))
    assert len(intents) == 150
    assert intents == finetune_tasks.labels_of(read("clinc150", "test"))
    scores = [score for *_, score in read("stsb", "test")]
    assert len(scores) == 1500
    assert (min(scores), max(scores)) == (0, 5)
    tags = finetune_tasks.labels_of(read("wnut17", "train"))
    assert len(tags) == 13
    assert tags == finetune_tasks.labels_of(read("wnut17", "test"))
    questions = read("squad", "train", limit=50)
    assert len(questions) == 50
    for row in questions:
        assert row["context"][row["answer_start"] :].startswith(row["answers"][0])
