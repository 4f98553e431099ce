"""The answers of a file beside those of its model, text by text."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_bert_lib.evaluation import metrics
from keras_bert_lib.evaluation.tasks import (
    ANSWERS,
    CHOICE,
    EMBEDDING,
    ENTITIES,
    MASKED_LM,
    task_of,
)
from keras_bert_lib.export import stock_runtime
from keras_bert_lib.export.serving_module import ServingModule
from keras_bert_lib.export.tokens_file import TokensFile
from keras_bert_lib.models import BertMaskedLM
from keras_bert_lib.models.bert_classifier import MULTI_LABEL, REGRESSION, SINGLE_LABEL

_NUMBERS = ("probabilities", "values", "embedding")  # outputs that are compared as they are
_MOST_SCORES = 2000  # enough to plot


class Comparison(NamedTuple):
    """What came of it. Pairs are of Keras and of the file."""

    same: np.ndarray  # float [n]: 1 for the same answer, else 0; the cosine of embeddings
    errors: np.ndarray  # float [n], greatest difference of a number
    scores: tuple  # two float arrays [m]
    answers: tuple  # two lists or arrays [n], in the form of `metric_of`
    truncated: int  # texts that the file cut
    confidences: tuple | None = None  # two float arrays [n], where there is one label or choice


def compare(model, file, texts, text_pairs, batch_size, progress):
    """Gives the same texts to both.

    Args:
        model: a model of any task.
        file: the file, as `stock_runtime.load` gives it, or a `TokensFile`.
        texts: list of str.
        text_pairs: list of str, or of lists of choices, or None.
        batch_size: int.
        progress: function that is called with the number of texts that are done.

    Returns:
        `Comparison`.

    Raises:
        ValueError: if the file has other outputs than a file of this model.
    """
    task = task_of(model)
    if isinstance(file, TokensFile):
        run = _token_spans if task in (ENTITIES, ANSWERS, MASKED_LM) else _token_numbers
    else:
        run = _spans if task in (ENTITIES, ANSWERS, MASKED_LM) else _numbers
    module = ServingModule(model, pairs=text_pairs is not None)
    function = module.text_function()
    _check_outputs(model, file, function if run in (_numbers, _spans) else module.tokens_function())
    keras, found, truncated = [], [], 0
    for start in range(0, len(texts), batch_size):
        columns = [texts[start : start + batch_size]]
        if text_pairs is not None:
            columns.append(text_pairs[start : start + batch_size])
        expected, given, cut = run(model, file, module, function, columns)
        keras += list(expected)
        found += list(given)
        truncated += int(np.sum(cut))
        progress(len(keras))
    if run in (_spans, _token_spans):
        return _compare_spans(task, keras, found, truncated)
    names = model.labels if task in (SINGLE_LABEL, MULTI_LABEL) else None
    return _compare_numbers(task, np.array(keras), np.array(found), names, truncated)


def _check_outputs(model, file, function):
    outputs = function.get_concrete_function().structured_outputs
    if "label_ids" in file.outputs:
        raise ValueError(
            f"{file.path} gives only the best labels, so its probabilities cannot be compared. "
            "Verify one that was exported without `top_k` and `threshold`."
        )
    names = {name for name, spec in outputs.items() if spec.dtype != tf.string}
    if missing := names - {"truncated"} - set(file.outputs):
        raise ValueError(
            f"{file.path} is no file of this {type(model).__name__}, which would give "
            f"{', '.join(sorted(missing))}. Received: a file that gives "
            f"{', '.join(sorted(file.outputs))}"
        )


# What both say of a batch: (Keras, file, whether each text was cut).


def _numbers(model, file, module, function, columns):
    outputs = file(*columns)
    name = next(name for name in _NUMBERS if name in outputs)
    return _of_keras(function, columns)[name].numpy(), outputs[name], outputs["truncated"]


def _token_numbers(model, file, module, function, columns):
    tokens = [file.tokenize(*row) for row in zip(*columns)]
    rows = [file.run(row) for row in tokens]
    name = next(name for name in _NUMBERS if name in rows[0])
    found = np.concatenate([row[name] for row in rows])
    return _of_keras(function, columns)[name].numpy(), found, [row["truncated"] for row in tokens]


def _spans(model, file, module, function, columns):
    outputs = file(*columns)
    return model.predict_text(*columns), file.decode(outputs, *columns), outputs["truncated"]


def _token_spans(model, file, module, function, columns):
    with_file = _ModelOfFile(model, file)
    options = {} if isinstance(model, BertMaskedLM) else {"max_length": file.lengths[-1]}
    found = type(model).predict_text(with_file, *columns, **options)
    return model.predict_text(*columns), found, with_file.truncated


class _ModelOfFile:
    """A model whose logits are those of a file; what makes and reads them is the model's own."""

    def __init__(self, model, file):
        self._model, self._file = model, file
        self.truncated = 0

    def __getattr__(self, name):
        return getattr(self._model, name)

    def predict_on_batch(self, inputs):
        inputs = {name: np.asarray(x) for name, x in inputs.items()}
        longest = self._file.lengths[-1]
        self.truncated += int(inputs["padding_mask"][:, longest:].any(axis=1).sum())
        outputs = self._file.run_rows(inputs)
        if "masked_positions" in inputs:
            positions = np.minimum(inputs["masked_positions"], longest - 1)
            return np.take_along_axis(outputs["logits"], positions[:, :, None], axis=1)
        return outputs.get("logits", outputs)


def _of_keras(function, columns):
    encoded = [_encoded(column) for column in columns]
    return function(*(tf.constant(column, tf.string) for column in encoded))


def _encoded(column):
    if isinstance(column, (list, tuple)):
        return [_encoded(text) for text in column]
    return stock_runtime.encode(column)


# What comes of all texts.


def _compare_numbers(task, keras, found, names, truncated):
    if keras.shape != found.shape:
        raise ValueError(
            f"The file is none of this model: it gives {found.shape[1]} numbers a text. "
            f"Received: a model that gives {keras.shape[1]}"
        )
    errors = np.abs(found - keras).max(axis=-1)  # of [n, c]
    sampled = slice(None, None, max(keras.size // _MOST_SCORES, 1))
    scores = tuple(x.ravel()[sampled] for x in (keras, found))
    if task == EMBEDDING:
        norms = np.linalg.norm(keras, axis=-1) * np.linalg.norm(found, axis=-1)
        same = (keras * found).sum(axis=-1) / np.maximum(norms, 1e-12)
        return Comparison(same, errors, scores, (keras, found), truncated)
    if task == REGRESSION:
        same = np.isclose(found, keras, atol=0.01 * max(np.ptp(keras), 1e-6)).all(axis=-1)
        return Comparison(same.astype(float), errors, scores, (keras, found), truncated)
    if task == MULTI_LABEL:
        answers = [
            [{names[i] for i in np.flatnonzero(row > 0.5)} for row in x] for x in (keras, found)
        ]
    else:
        best = keras.argmax(axis=-1)[:, None]
        scores = tuple(np.take_along_axis(x, best, axis=-1)[:, 0] for x in (keras, found))
        answers = [x.argmax(axis=-1).tolist() for x in (keras, found)]
        if names is not None:
            answers = [[names[i] for i in x] for x in answers]
    same = np.array([float(a == b) for a, b in zip(*answers)])
    confidences = None if task == MULTI_LABEL else (keras.max(axis=-1), found.max(axis=-1))
    return Comparison(same, errors, scores, tuple(answers), truncated, confidences)


def _compare_spans(task, keras, found, truncated):
    answers, all_scores = [], []
    for rows in (keras, found):
        if task == ENTITIES:
            keys = [{(e["start"], e["end"], e["label"]): e["score"] for e in row} for row in rows]
        elif task == ANSWERS:
            keys = [{(row["start"], row["end"], row["answer"]): row["score"]} for row in rows]
        else:
            keys = [{(i, m[0]["token"]): m[0]["score"] for i, m in enumerate(row)} for row in rows]
        answers.append([list(key) for key in keys])
        all_scores.append(keys)
    same = np.array([float(a == b) for a, b in zip(*answers)])
    # Scores of what both found; what only one did counts as another answer, not as an error.
    both = [[(a[key], b[key]) for key in a if key in b] for a, b in zip(*all_scores)]
    errors = np.array([max((abs(a - b) for a, b in row), default=0.0) for row in both])
    scores = np.array([pair for row in both for pair in row]).reshape([-1, 2])[:_MOST_SCORES]
    return Comparison(same, errors, (scores[:, 0], scores[:, 1]), tuple(answers), truncated)


def metric_of(task, answers, labels):
    """Returns the metric of a task for answers of a `Comparison` and the right ones."""
    if task == MULTI_LABEL:
        return metrics.set_f1(answers, [set(map(str, row)) for row in labels])
    if task == REGRESSION:
        right = np.reshape(np.asarray(labels, np.float64), answers.shape)
        return float(np.mean([metrics.spearman(a, b) for a, b in zip(answers.T, right.T)]))
    if task == EMBEDDING:
        first, second = np.split(answers, 2)
        norms = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
        return metrics.spearman((first * second).sum(axis=-1) / np.maximum(norms, 1e-12), labels)
    if task == ENTITIES:
        return metrics.set_f1([set(row) for row in answers], [_entities(row) for row in labels])
    if task == ANSWERS:
        right = [[row] if isinstance(row, str) else list(row) for row in labels]
        return float(np.mean(metrics.exact_matches([row[0][2] for row in answers], right)))
    if task == MASKED_LM:
        right = [[row] if isinstance(row, str) else list(row) for row in labels]
        found = [dict(row) for row in answers]
        pieces = [
            (row.get(i), piece) for row, all in zip(found, right) for i, piece in enumerate(all)
        ]
        return metrics.accuracy(*zip(*pieces)) if pieces else None
    if task == CHOICE:
        return metrics.accuracy(answers, [int(label) for label in labels])
    return metrics.accuracy(answers, [str(label) for label in labels])


def _entities(row):
    """The right entities of a text, dicts or tuples, as a set of (start, end, label)."""
    return {(e["start"], e["end"], e["label"]) if isinstance(e, dict) else tuple(e) for e in row}
