"""Writes a model as a SavedModel that takes text."""

import os
import shutil
from pathlib import Path

import tensorflow as tf

from keras_bert_lib.export.serving_module import ServingModule, check_free


def saved_model(model, path, max_length=None, pairs=False, overwrite=False):
    """Writes a SavedModel for TensorFlow Serving, or any other loader of SavedModels.

    The tokenizer is in the graph, made of core TensorFlow ops. Loading needs neither this library,
    nor Keras, nor a vocabulary file. Signatures:

    - `serving_default`: `text` string `[batch]`, and where there are pairs `text_pair` alike (for
      multiple choice `[batch, choices]`), to the model's answers, and `truncated` int32 `[batch]`,
      1 where a text had more than `max_length` tokens and was cut.
    - `tokens`: `token_ids`, `segment_ids`, `padding_mask` int32 `[batch, seq]` (for multiple choice
      `[batch, choices, seq]`) to the answers.

    The answers are those of `tflite`, one row a text; besides, strings where numbers stand for
    names: `label` `[batch]` of a `BertClassifier` of one label a text, and `entity_types`
    `[batch, 64]` of a `BertTokenClassifier`. A text's answer does not depend on its batch mates.
    What other numbers stand for is listed, one a line, in `assets.extra/labels.txt` and
    `assets.extra/vocab.txt`.

    Texts of a `BertTokenClassifier`, and those that hold the answers of a `BertQuestionAnswerer`,
    are not cut by `max_length`: they are read in windows of so many tokens that overlap.

    Args:
        model: the model of a task, with a tokenizer.
        path: directory to write, such as "serving/1". Written under another name first, so that a
            server never sees half of it.
        max_length: int, most tokens of a text; longer ones are cut. None: as many as the model has
            positions for. Batches are padded to their longest text, not to this.
        pairs: bool, whether a `BertClassifier` takes pairs of texts.
        overwrite: bool, whether to replace what stands at `path`.

    Raises:
        FileExistsError: if `path` is there already, without `overwrite`.
        ValueError: if the model cannot be exported.

    Example:
        ```python
        kbl.export.saved_model(classifier, "serving/1")
        answer = tf.saved_model.load("serving/1").signatures["serving_default"]
        answer(text=tf.constant(["a fine film"]))["label"]
        ```
    """
    path = Path(path)
    check_free(path, overwrite)
    module = ServingModule(model, max_length, pairs=pairs)
    signatures = {"serving_default": module.text_function(), "tokens": module.tokens_function()}
    write_saved_model(module, path, signatures)


def write_saved_model(module, path, signatures):
    """Saves under a temporary name beside `path`, then moves it there, replacing what stands there.

    Args:
        module: `ServingModule`.
        path: directory.
        signatures: dict of name to `tf.function`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    replaced = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        tf.saved_model.save(module, str(temporary), signatures=signatures)
        # For callers who look up what a number stands for; no loader needs them.
        extra = temporary / "assets.extra"
        extra.mkdir()
        for name, lines in module.answers.lists.items():
            (extra / name).write_bytes("".join(f"{line}\n" for line in lines).encode())
        if path.exists():
            os.rename(path, replaced)
        os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not path.exists() and replaced.exists():
            os.rename(replaced, path)
        shutil.rmtree(replaced, ignore_errors=True)
