"""A tiny classifier in each form the commands take, made once."""

import os
import random

import keras
import pytest

import keras_bert_lib as kbl
from keras_bert_lib.cli import main

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "mat", "film", "fine", "dull", "was", "it"]
WORDS += ["and", "rain", "fell", "sun", "rose"]
LABELS = ["neg", "pos"]


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    """Paths by kind: model directory, SavedModel, TFLite file, .keras file."""
    folder = tmp_path_factory.mktemp("artifacts")
    keras.utils.set_random_seed(3)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = kbl.BertTokenizer(vocabulary, max_length=16)
    config = kbl.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_layers=1,
        num_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        initializer_range=0.5,  # texts get different labels without training
    )
    model = kbl.BertClassifier(kbl.BertEncoder(config), tokenizer=tokenizer, labels=LABELS)
    paths = {
        "model": str(folder / "model"),
        "saved_model": str(folder / "serving" / "1"),
        "tflite": str(folder / "model.tflite"),
        "keras": str(folder / "model.keras"),
    }
    model.save_pretrained(paths["model"])
    model.save(paths["keras"])
    kbl.export.saved_model(model, paths["saved_model"])
    kbl.export.tflite(model, paths["tflite"], quantization="none", max_bytes=128, max_length=16)
    return paths


@pytest.fixture
def corpus(tmp_path):
    """A text file of 60 documents; every seventh line of each is long."""
    random.seed(7)
    with open(tmp_path / "corpus.txt", "w", encoding="utf-8") as file:
        for _ in range(60):
            for _ in range(random.randint(2, 6)):
                words = random.choices(WORDS, k=random.randint(4, 9))
                file.write(" ".join(words).capitalize() + ".\n")
            file.write("\n")
    return str(tmp_path / "corpus.txt")


@pytest.fixture
def vocab_file(tmp_path):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *WORDS]
    kbl.text.save_vocabulary(pieces, tmp_path / "vocab.txt")
    return os.fspath(tmp_path / "vocab.txt")


@pytest.fixture
def run_command(capsys):
    """Returns a function that runs a command: (exit code, standard output, standard error)."""

    def run(*argv):
        try:
            code = main.main([str(argument) for argument in argv])
        except SystemExit as error:  # argparse's way out
            code = error.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
