"""Every task: trained from a file, saved, loaded, exported; all of them answer alike.

What files of random models answer to texts of every kind is tested in tests/export/tasks_test.py
and tests/export/spans_test.py.
"""

import numpy as np
import pytest

import keras_bert_lib as kbl
from keras_bert_lib.cli import artifact, tasks
from keras_bert_lib.cli.finetune import Recipe, finetune
from keras_bert_lib.export import stock_runtime
from tests.integration.task_files import make_pretrained, write_task

TASKS = {
    "label": tasks.TextClassification(),
    "multi_label": tasks.TextClassification(problem_type="multi-label"),
    "regression": tasks.TextClassification(problem_type="regression"),
    "tagger": tasks.TokenClassification(),
    "answerer": tasks.QuestionAnswering(),
    "choice": tasks.MultipleChoice(),
    "embedder": tasks.SentenceEmbedding(),
    "masked": tasks.FillMask(),
}
RECIPE = Recipe(epochs=3, learning_rate=5e-3, max_length=32, patience=0, pooling="mean")
PLACES = ("answer", "label", "text", "start", "end", "index", "choice", "token")


def texts_of(rows):
    """The columns of texts that a model is asked."""
    if isinstance(rows, kbl.data.Texts):
        return ([f"{text.rsplit(' ', 1)[0]} [MASK]" for text in rows.texts],)
    if hasattr(rows, "questions"):
        return rows.questions, rows.contexts
    if hasattr(rows, "words"):
        return ([" ".join(words) for words in rows.words],)
    return (rows.texts, rows.choices) if hasattr(rows, "choices") else (rows.texts,)


def places_and_numbers(answer):
    """Splits an answer into what must be equal and the numbers that must be near."""
    if isinstance(answer, list) and answer and isinstance(answer[0], list):  # of masks
        answer = [{key: ranked[0][key] for key in ("token", "score")} for ranked in answer]
    if isinstance(answer, list) and answer and isinstance(answer[0], dict):
        parts = [places_and_numbers(part) for part in answer]
        return [part[0] for part in parts], np.concatenate([part[1] for part in parts])
    if isinstance(answer, dict):
        return [answer[key] for key in PLACES if key in answer], np.array([answer["score"]])
    return [], np.asarray(answer, "float64").ravel()


def check(found, expected):
    """Answers are equal in 99%, and so are their scores to 1e-4."""
    found, expected = (
        [places_and_numbers(answer) for answer in answers] for answers in (found, expected)
    )
    same = [a[0] == b[0] for a, b in zip(found, expected, strict=True)]
    assert np.mean(same) >= 0.99
    for (_, a), (_, b), is_same in zip(found, expected, same):
        if is_same:
            np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_task_from_file_to_file(tmp_path, name):
    task = TASKS[name]
    train, held_out = (task.read(write_task(tmp_path, name, n, n)) for n in (160, 40))
    trained = finetune(task, train, held_out, make_pretrained(tmp_path / "bert"), RECIPE, verbose=0)
    texts = texts_of(held_out)
    answer = "encode" if name == "embedder" else "predict_text"
    expected = list(getattr(trained, answer)(*texts))

    trained.save_pretrained(tmp_path / "model")
    model = artifact.load_model(str(tmp_path / "model"))
    check(getattr(model, answer)(*texts), expected)
    kbl.export.saved_model(model, tmp_path / "serving" / "1")
    check(stock_runtime.load(tmp_path / "serving" / "1").answers(*texts), expected)
    choices = 3 if name == "choice" else None
    kbl.export.tflite(model, tmp_path / "a.tflite", "none", max_bytes=160, choices=choices)
    check(stock_runtime.load(tmp_path / "a.tflite").answers(*texts), expected)
