"""Compares an exported file with the model it came from."""

import itertools
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_bert_lib.backend import require_tensorflow
from keras_bert_lib.export import latency, operators, stock_runtime
from keras_bert_lib.export.comparison import EMBEDDING, compare, metric_of, task_of
from keras_bert_lib.export.serving_module import ServingModule
from keras_bert_lib.export.tokens_file import TokensFile
from keras_bert_lib.export.verification import Verification

_THREADS = (1, 2)
_TIMED_TEXTS = 100


def verify(
    path,
    model,
    texts,
    text_pairs=None,
    labels=None,
    batch_size=32,
    show_progress=False,
):
    """Runs an exported file on a stock runtime and compares its answers with the model's.

    SavedModels and TFLite files of every interface are understood; to those that take token ids
    the model's tokenizer gives them.

    Args:
        path: a SavedModel directory (or one with numbered versions in it, of which the newest is
            taken) or a `.tflite` file.
        model: the model it was made from, of any task.
        texts: list of str; for question answering the questions.
        text_pairs: list of str, for models that take pairs; for question answering the contexts;
            for multiple choice a list of choices for each text; for an embedder the texts whose
            likeness `labels` tell. Else None.
        labels: the right answers, one a text, or None: a label, a list of labels where there may
            be several, a number or a list of them for a regression, the likeness of a text and its
            pair for an embedder, a list of `(start, end, label)` in characters for entities, an
            answer or a list of right ones for a question, the index of a choice, a list of pieces
            for the masks of a text.
        batch_size: int, texts at once for Keras and for a SavedModel.
        show_progress: bool, whether to show a progress bar.

    Returns:
        `Verification`; print it for a table.

    Raises:
        ValueError: if there is no text, the lists do not fit each other or the model, or the file
            cannot be run.
        FileNotFoundError: if nothing is at `path`.

    Example:
        ```python
        report = kbl.export.verify("model.tflite", classifier, ["a fine film", "a dull one"])
        print(report)
        report.save_json("report.json")
        report.check()
        ```
    """
    require_tensorflow("Verification of exported files")
    path, texts = Path(stock_runtime.newest_version(path)), list(texts)
    text_pairs = None if text_pairs is None else list(text_pairs)
    labels = None if labels is None else list(labels)
    _check_lists(model, texts, text_pairs, labels)
    task, tokenizer = task_of(model), model.tokenizer

    interface = "saved_model"
    if not path.is_dir():
        interface = "text" if "text" in stock_runtime.input_names(path) else "tokens"

    def open_file(threads=1):
        if interface == "tokens":
            return TokensFile(path, tokenizer, threads)
        return stock_runtime.load(path, threads)

    file = open_file()
    given, given_pairs = texts, text_pairs
    if task == EMBEDDING and text_pairs is not None:  # both are texts of their own
        given, given_pairs = texts + text_pairs, None
    progress = keras.utils.Progbar(len(given), unit_name="text") if show_progress else None
    found = compare(
        model,
        file,
        given,
        given_pairs,
        batch_size,
        progress.update if show_progress else lambda done: None,
    )
    metrics = [None, None]
    if labels is not None and (task != EMBEDDING or text_pairs is not None):
        metrics = [metric_of(task, answers, labels) for answers in found.answers]

    def one_text(text, text_pair=None):
        if interface == "tokens":  # the time of the tokenizer is none of the file's
            tokens = file.tokenize(text, text_pair)
            return lambda: file.run(tokens)
        return lambda: file([text], *([] if text_pair is None else [[text_pair]]))

    columns = [given] if given_pairs is None else [given, given_pairs]
    singles = [one_text(*row) for row in itertools.islice(zip(*columns), _TIMED_TEXTS)]

    def calls(threads):
        file = open_file(threads)
        if interface == "tokens":
            return file.calls(given, given_pairs)
        return latency.text_calls(file, tokenizer, given, model.config.max_position_embeddings)

    is_tflite = interface != "saved_model"
    files = [path] if is_tflite else [file for file in path.rglob("*") if file.is_file()]
    return Verification(
        path=str(path),
        task=task,
        interface=interface,
        runtime=stock_runtime.runtime_name() if is_tflite else f"tensorflow {tf.__version__}",
        size_bytes=sum(file.stat().st_size for file in files),
        texts=len(texts),
        truncated=found.truncated,
        agreement=float(found.same.mean()),
        min_cosine=float(found.same.min()) if task == EMBEDDING else None,
        max_error=float(found.errors.max()),
        metric=metrics[1],
        keras_metric=metrics[0],
        milliseconds_per_text=latency.median_ms_of_each(singles),
        latency=latency.by_length(calls, _THREADS if is_tflite else (None,)),
        operators=operators.count_operators(path),
        partitions=operators.count_partitions(path) if is_tflite else (),
        cases=_cases(found, labels),
    )


def _check_lists(model, texts, text_pairs, labels):
    if not texts:
        raise ValueError("`texts` must hold at least one text. Received: []")
    for name, column in (("text_pairs", text_pairs), ("labels", labels)):
        if column is not None and len(column) != len(texts):
            raise ValueError(
                f"`{name}` must be as long as `texts`. Received: {len(texts)} texts, "
                f"{len(column)} {name}"
            )
    is_pairs = text_pairs is not None and task_of(model) != EMBEDDING
    if ServingModule(model, pairs=is_pairs).pairs and text_pairs is None:
        raise ValueError(
            f"A {type(model).__name__} takes pairs: give `text_pairs`. Received: text_pairs=None"
        )


def _cases(found, labels):
    """What is known of each text, for the report's plots and for a closer look."""
    keras_scores, file_scores = found.scores
    cases = {
        "agreement": found.same.tolist(),
        "error": found.errors.tolist(),
        "keras_score": np.asarray(keras_scores, float).tolist(),
        "file_score": np.asarray(file_scores, float).tolist(),
    }
    if isinstance(found.answers[0], list):
        keras_answers, file_answers = found.answers
        cases |= {"keras_answer": keras_answers, "file_answer": file_answers}
    if found.confidences is not None:
        keras_confidences, file_confidences = (x.tolist() for x in found.confidences)
        cases |= {"keras_confidence": keras_confidences, "file_confidence": file_confidences}
    return cases | ({} if labels is None else {"label": labels})
