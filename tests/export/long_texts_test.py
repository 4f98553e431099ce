"""Long texts of classifiers: files answer as the model does, whichever part of a text counts."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import keras_bert_lib as kbl
from keras_bert_lib.export import answers, tflite_file
from keras_bert_lib.export.stock_runtime import utf8_bytes
from tests.export.saved_model_test import operations
from tests.export.task_models import MAX_BYTES, fitting, make_texts, tiny_encoder, tiny_tokenizer
from tests.export.tflite_test import BUILT_IN

TEXTS = fitting(make_texts(40))
LONG = [i for i, text in enumerate(TEXTS) if text.startswith((b"a b c d a", "東京 東京".encode()))]
SINGLE, MULTI = "single_label_classification", "multi_label_classification"
KINDS = [
    ("mean_of_windows", SINGLE),
    pytest.param("head_and_tail", SINGLE, marks=pytest.mark.slow),
    pytest.param("max_of_windows", MULTI, marks=pytest.mark.slow),
]


def make_classifier(long_texts, problem_type=SINGLE):
    keras.utils.set_random_seed(7)
    return kbl.BertClassifier(
        tiny_encoder(),
        tokenizer=tiny_tokenizer(),
        labels=["joy", "anger", "käse"],
        problem_type=problem_type,
        long_texts=long_texts,
    )


@pytest.mark.parametrize(("long_texts", "problem_type"), KINDS)
def test_files_answer_as_the_model_does(tmp_path, monkeypatch, long_texts, problem_type):
    model = make_classifier(long_texts, problem_type)
    expected = model.predict_scores(TEXTS)  # [n, c]
    head = make_classifier("head", problem_type).predict_scores(TEXTS)
    is_other = np.abs(expected - head).max(axis=1) > 1e-3
    assert set(np.flatnonzero(is_other)) >= set(LONG[:1])  # the other one repeats itself
    assert not is_other[[len(text) < 20 for text in TEXTS]].any()

    monkeypatch.setattr(answers, "_MOST_TOKENS", 1000)  # windows come in several parts
    kbl.export.saved_model(model, tmp_path / "1")
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    answer = loaded.signatures["serving_default"]
    found = answer(text=tf.constant(TEXTS))
    np.testing.assert_allclose(found["probabilities"], expected, atol=2e-5)
    assert not [name for name in operations(tmp_path / "1") if "Table" in name]
    alone = answer(text=tf.constant(TEXTS[LONG[0] : LONG[0] + 1]))
    np.testing.assert_allclose(alone["probabilities"][0], expected[LONG[0]], atol=2e-5)
    assert answer(text=tf.zeros([0], tf.string))["probabilities"].shape == (0, 3)

    path = tmp_path / "m.tflite"
    kbl.export.tflite(model, path, "none", max_bytes=MAX_BYTES)
    assert set(tflite_file.operators(path.read_bytes())) <= BUILT_IN | {"LOGISTIC", "DIV"}
    runner = Interpreter(str(path)).get_signature_runner("serving_default")
    rows = [runner(text=utf8_bytes(text, MAX_BYTES)) for text in TEXTS]
    rows = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    np.testing.assert_allclose(rows["probabilities"], expected, atol=2e-5)
    # What is read in windows is not cut by the model, but by the file's bytes.
    fits = [i for i in LONG if len(TEXTS[i]) < MAX_BYTES]
    cut = 1 if long_texts == "head_and_tail" else 0
    assert found["truncated"].numpy()[LONG].tolist() == [cut] * len(LONG)
    assert rows["truncated"][fits].tolist() == [cut] * len(fits)


@pytest.mark.slow
def test_pairs_are_read_in_windows_of_the_second_text(tmp_path):
    model = make_classifier("mean_of_windows")
    firsts = ["was it fine?", "a film", "dull " * 30]
    seconds = ["the film was fine. " * 9, "x", "a b c d " * 12]
    expected = model.predict_scores(firsts, seconds)
    kbl.export.saved_model(model, tmp_path / "1", pairs=True)
    answer = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    found = answer(text=tf.constant(firsts), text_pair=tf.constant(seconds))
    np.testing.assert_allclose(found["probabilities"], expected, atol=2e-5)
    assert found["truncated"].numpy().tolist() == [0, 0, 1]  # the first of the third pair
    path = tmp_path / "m.tflite"
    kbl.export.tflite(model, path, "none", max_bytes=200, pairs=True)
    runner = Interpreter(str(path)).get_signature_runner("serving_default")
    for first, second, row in zip(firsts, seconds, expected):
        found = runner(text=utf8_bytes(first, 200), text_pair=utf8_bytes(second, 200))
        np.testing.assert_allclose(found["probabilities"][0], row, atol=2e-5)
