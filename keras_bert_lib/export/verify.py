"""Compares an exported file with the model it came from."""

import time
from pathlib import Path

import numpy as np

from keras_bert_lib.export import stock_runtime, tflite_file
from keras_bert_lib.export.verification import Verification

_TIMED_TEXTS = 100


def verify(path, model, texts, text_pairs=None, labels=None, batch_size=32):
    """Runs an exported file on a stock runtime and compares its answers with the model's.

    Args:
        path: a SavedModel directory or a `.tflite` file that takes text.
        model: the `BertClassifier` it was made from.
        texts: list of str.
        text_pairs: list of str, for files that take pairs, or None.
        labels: list of str, the right labels, or None.
        batch_size: int, texts at once for Keras and for a SavedModel.

    Returns:
        `Verification`; print it for a table.

    Raises:
        ValueError: if there is no text, or the file takes no text.
        FileNotFoundError: if nothing is at `path`.

    Example:
        ```python
        print(kbl.export.verify("model.tflite", classifier, ["a fine film", "a dull one"]))
        ```
    """
    path, texts = Path(path), list(texts)
    if not texts:
        raise ValueError("`texts` must hold at least one text. Received: []")
    columns = [texts] if text_pairs is None else [texts, list(text_pairs)]
    answer = stock_runtime.load(path)

    def batches(function):
        parts = []
        for start in range(0, len(texts), batch_size):
            parts.append(function(*(column[start : start + batch_size] for column in columns)))
        return parts

    parts = batches(answer)
    probabilities = np.concatenate([part["probabilities"] for part in parts])  # [n, c]
    found = [label for part in parts for label in part["label"]]
    seconds = []
    for row in zip(*columns):
        if len(seconds) == _TIMED_TEXTS:
            break
        start = time.perf_counter()
        answer(*([text] for text in row))
        seconds.append(time.perf_counter() - start)

    # The model cuts texts at its own limit: a file with a smaller one differs on longer texts.
    expected = np.concatenate(batches(lambda *columns: _probabilities(model, *columns)))
    expected_labels = [model.labels[i] for i in expected.argmax(axis=-1)]
    right = None if labels is None else np.array(list(labels))
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return Verification(
        path=str(path),
        size_bytes=sum(file.stat().st_size for file in files),
        texts=len(texts),
        agreement=float(np.mean(np.array(found) == np.array(expected_labels))),
        max_error=float(np.abs(probabilities - expected).max()),
        milliseconds_per_text=1000 * float(np.median(seconds)),
        operators=tuple(tflite_file.operators(path.read_bytes())) if path.is_file() else (),
        accuracy=None if right is None else float(np.mean(np.array(found) == right)),
        keras_accuracy=None
        if right is None
        else float(np.mean(np.array(expected_labels) == right)),
    )


def _probabilities(model, texts, text_pairs=None):
    """Returns the model's probabilities `[n, c]`."""
    max_length = min(model.tokenizer.max_length, model.config.max_position_embeddings)
    logits = model.predict_on_batch(model.tokenizer(texts, text_pairs, max_length=max_length))
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
