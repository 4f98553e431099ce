"""The whole journey through the public API: raw text to a file that takes raw text."""

import random

import keras
import numpy as np

import keras_bert_lib as kbl
from keras_bert_lib.export import stock_runtime

ANIMALS = ["dog", "cat", "horse", "sheep", "otter", "heron"]
TOOLS = ["hammer", "chisel", "spade", "saw", "wrench", "needle"]
SOUNDS = ["barked", "called", "answered", "slept", "drank", "hid"]
USES = ["cut", "struck", "bent", "broke", "gleamed", "rusted"]


def make_sentence(rng, label):
    nouns, verbs = (ANIMALS, SOUNDS) if label == "animals" else (TOOLS, USES)
    return f"The {rng.choice(nouns)} and the {rng.choice(nouns)} {rng.choice(verbs)} at noon."


def test_raw_text_to_file(tmp_path):
    rng = random.Random(0)
    documents = [
        [make_sentence(rng, label) for _ in range(6)]
        for label in rng.choices(["animals", "tools"], k=200)
    ]
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join("\n".join(document) for document in documents), "utf-8")

    # A vocabulary.
    vocabulary = kbl.text.learn_vocabulary(str(corpus), vocab_size=120, show_progress=False)
    kbl.text.save_vocabulary(vocabulary, tmp_path / "vocab.txt")
    tokenizer = kbl.BertTokenizer(tmp_path / "vocab.txt")
    assert "[UNK]" not in tokenizer.tokenize(documents[0][0])

    # Pretraining.
    config = kbl.BertConfig.from_size(
        "tiny",
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=32,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    pretrainer = kbl.BertPretrainer(kbl.BertEncoder(config))
    pretrainer.compile(kbl.training.create_optimizer(3e-3, total_steps=120))
    examples = kbl.data.pretraining_dataset(
        str(corpus), tokenizer, batch_size=16, max_length=48, max_predictions=8, repeat=True
    )
    history = pretrainer.fit(examples, epochs=4, steps_per_epoch=30, verbose=0).history
    assert history["mlm_loss"][-1] < 0.7 * history["mlm_loss"][0]
    pretrainer.save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")

    # Fine-tuning, from a CSV.
    rows = ["text,label"]
    for _ in range(300):
        label = rng.choice(["animals", "tools"])
        rows.append(f'"{make_sentence(rng, label)}",{label}')
    (tmp_path / "train.csv").write_text("\n".join(rows), "utf-8")
    classifier = kbl.BertClassifier.from_pretrained(tmp_path / "bert", labels=["animals", "tools"])
    data = kbl.data.text_classification(tmp_path / "train.csv", tokenizer, 16)
    classifier.compile(kbl.training.create_optimizer(2e-3, total_steps=6 * len(data)))
    classifier.fit(data, epochs=6, verbose=0)

    # Saving.
    texts = [make_sentence(rng, label) for label in ["animals", "tools"] * 20]
    expected = classifier.predict_text(texts)
    assert [answer["label"] for answer in expected] == ["animals", "tools"] * 20
    classifier.save_pretrained(tmp_path / "classifier")
    classifier.save(tmp_path / "classifier.keras")
    for loaded in (
        kbl.BertClassifier.from_pretrained(tmp_path / "classifier"),
        keras.saving.load_model(tmp_path / "classifier.keras"),
    ):
        assert loaded.predict_text(texts) == expected

    # Files that take text.
    kbl.export.saved_model(classifier, tmp_path / "serving" / "1")
    kbl.export.tflite(classifier, tmp_path / "model.tflite")
    for path in (tmp_path / "serving" / "1", tmp_path / "model.tflite"):
        outputs = stock_runtime.load(path)(texts)
        assert outputs["label"].tolist() == [answer["label"] for answer in expected]
        scores = [answer["score"] for answer in expected]
        np.testing.assert_allclose(outputs["probabilities"].max(axis=-1), scores, atol=0.02)
