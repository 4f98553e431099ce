"""A small classifier that has learned something, for all tests of exported files."""

import random

import keras
import numpy as np
import pytest

import keras_bert_lib as kbl

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
GOOD = ["fine", "lovely", "café", "bright", "warm"]
BAD = ["dull", "grey", "cold", "tired", "empty"]
OTHER = ["the", "an", "film", "is", "and", "of", "it", "was", "day", "long"]


def make_text(seed):
    """A text of 3 to 60 words, with good or bad ones among them, and its label."""
    rng = random.Random(seed)
    words = rng.choices(OTHER, k=rng.randint(3, 60))
    label = rng.choice(["neg", "pos"])
    for _ in range(1 + len(words) // 4):
        words.insert(rng.randint(0, len(words)), rng.choice(GOOD if label == "pos" else BAD))
    return " ".join(words) + rng.choice([".", "!", " 😀", ""]), label


def make_classifier(**tokenizer_options):
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [*SPECIALS, *".,!?'-", *letters, *(f"##{c}" for c in letters), *OTHER, *BAD]
    pieces += [word.replace("é", "e") for word in GOOD]
    tokenizer = kbl.BertTokenizer(pieces, max_length=128, **tokenizer_options)
    config = kbl.BertConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=32,
        num_layers=2,
        num_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    return kbl.BertClassifier(kbl.BertEncoder(config), tokenizer=tokenizer, labels=["neg", "pos"])


@pytest.fixture(scope="session")
def classifier():
    keras.utils.set_random_seed(0)
    classifier = make_classifier()
    rows = [make_text(seed) for seed in range(512)]
    inputs = classifier.tokenizer([text for text, _ in rows])
    labels = np.array([classifier.labels.index(label) for _, label in rows])
    classifier.compile(keras.optimizers.Adam(2e-3))
    classifier.fit(inputs, labels, batch_size=32, epochs=4, verbose=0)
    return classifier


@pytest.fixture(scope="session")
def held_out():
    """300 texts and their labels, none of which the classifier was trained on."""
    rows = [make_text(seed) for seed in range(1000, 1300)]
    return [text for text, _ in rows], [label for _, label in rows]


@pytest.fixture(scope="session")
def files(classifier, tmp_path_factory):
    """Every kind of exported file, by name."""
    directory = tmp_path_factory.mktemp("files")
    paths = {"saved_model": directory / "saved" / "1"}
    kbl.export.saved_model(classifier, paths["saved_model"])
    for quantization in ("none", "float16", "dynamic_int8"):
        paths[quantization] = directory / f"{quantization}.tflite"
        kbl.export.tflite(classifier, paths[quantization], quantization=quantization)
    return paths
