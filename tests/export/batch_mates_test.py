"""A text's answer does not depend on the texts it shares a batch with, nor on their order."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bert_lib as kbl
from keras_bert_lib.export.serving_module import ServingModule
from tests.export.task_models import CHOICES, make_model, make_texts

COUNT = 500


def arguments(task, texts):
    """The columns that a model of a task takes, a row a text."""
    columns = {"text": np.array(texts, object)}
    others = np.array(texts[1:] + texts[:1], object)
    if task == "answerer":
        columns["text_pair"] = others
    if task == "choice":
        columns["text_pair"] = np.stack([np.roll(others, i) for i in range(CHOICES)], 1)
    return columns


def in_batches(answer, columns, order, size):
    """Answers in batches of `size` rows in an order, put back in their own."""
    parts = []
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        outputs = answer(**{name: tf.constant(x[rows]) for name, x in columns.items()})
        parts.append({name: x.numpy() for name, x in outputs.items()})
    place = np.argsort(order)
    return {name: np.concatenate([part[name] for part in parts])[place] for name in parts[0]}


def assert_same(outputs, expected):
    assert set(outputs) == set(expected)
    for name, x in expected.items():
        if x.dtype == np.float32:
            np.testing.assert_allclose(outputs[name], x, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(outputs[name], x, err_msg=name)


slow = pytest.mark.slow


@pytest.mark.parametrize(
    "task",
    [
        "label",
        pytest.param("multi_label", marks=slow),
        pytest.param("regression", marks=slow),
        pytest.param("embedder", marks=slow),
        pytest.param("choice", marks=slow),
        pytest.param("masked", marks=slow),
        pytest.param("tagger", marks=slow),
        pytest.param("answerer", marks=slow),
    ],
)
def test_batch_mates_and_their_order(task):
    module = ServingModule(make_model(task))
    answer = module.text_function()
    # The first of these texts repeat themselves, so that spans in them may be equally probable.
    columns = arguments(task, make_texts(54)[14 if task == "answerer" else 0 :][:40])
    rng = np.random.default_rng(0)
    alone = in_batches(answer, columns, np.arange(40), 1)
    for size in (40, 7):
        assert_same(in_batches(answer, columns, rng.permutation(40), size), alone)
    # Answers differ from text to text, or none of this would say anything.
    x = max((x for x in alone.values() if x.dtype == np.float32), key=np.size)
    assert np.abs(x - x[:1]).max() > 1e-2


def real_texts(shared_data):
    """500 texts: sentences of reviews, tweets, and paragraphs that are cut."""
    reviews = (shared_data / "glue" / "SST-2" / "dev.tsv").read_text("utf-8").splitlines()[1:]
    reviews = [line.rsplit("\t", 1) for line in reviews]
    squad = json.loads((shared_data / "squad" / "dev-v1.1.json").read_text("utf-8"))["data"]
    contexts = [x["context"] for article in squad for x in article["paragraphs"]]
    blocks = (shared_data / "ner_wnut17" / "emerging.dev.conll").read_text("utf-8").split("\n\n")
    tweets = [" ".join(line.split("\t")[0] for line in block.splitlines()) for block in blocks]
    texts = [text for text, _ in reviews[:200]] + contexts[::10][:150] + tweets[:150]
    assert len(texts) == COUNT
    return texts, reviews


@pytest.mark.slow
@pytest.mark.shared_data
def test_500_texts_are_answered_as_by_predict_text(shared_data, tmp_path):
    texts, reviews = real_texts(shared_data)
    vocabulary = shared_data / "vocab" / "bert-base-uncased" / "vocab.txt"
    tokenizer = kbl.BertTokenizer(vocabulary, max_length=128)
    config = kbl.BertConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=64,
        num_layers=2,
        num_heads=4,
        intermediate_size=128,
        max_position_embeddings=128,
    )
    classifier = kbl.BertClassifier(
        kbl.BertEncoder(config), tokenizer=tokenizer, labels=["negative", "positive"]
    )
    inputs = tokenizer([text for text, _ in reviews])
    labels = np.array([int(label) for _, label in reviews])
    classifier.compile(keras.optimizers.Adam(1e-3))
    classifier.fit(inputs, labels, batch_size=32, epochs=3, verbose=0)

    predicted = classifier.predict_text(texts)
    loaded = tf.saved_model.load(str(kbl.export.saved_model(classifier, tmp_path / "model")))
    answer, columns = loaded.signatures["serving_default"], arguments("label", texts)
    rng = np.random.default_rng(0)
    for size in (1, 8, 32, 64, COUNT):
        outputs = in_batches(answer, columns, rng.permutation(COUNT), size)
        scores = outputs["probabilities"].max(-1)
        np.testing.assert_allclose(scores, [x["score"] for x in predicted], atol=1e-5)
        given = [label.decode() for label in outputs["label"]]
        assert given == [x["label"] for x in predicted]
    # Paragraphs are longer than 128 tokens; the model is sure of some texts, and of others not.
    assert outputs["truncated"][200:350].sum() > 50
    assert scores.max() > 0.9
    assert scores.min() < 0.7
