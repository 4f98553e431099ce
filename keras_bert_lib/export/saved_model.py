"""Writes a model as a SavedModel that takes text."""

import json

import tensorflow as tf

from keras_bert_lib.export import model_card, warmup
from keras_bert_lib.export.answers import LabelAnswers, answers_class
from keras_bert_lib.export.serving_module import ServingModule, is_int
from keras_bert_lib.export.versions import check_version, split_version, write_version
from keras_bert_lib.export.warmup import warmup_requests, write_warmup

# In assets.extra: what a deployment must know of the model and cannot read from the graph.
SIZES_FILE = "sizes.json"


def saved_model(
    model,
    path,
    version=None,
    max_length=None,
    pairs=False,
    top_k=None,
    threshold=None,
    lengths=None,
    weights="float32",
    warmup_texts=None,
    card=True,
    overwrite=False,
):
    """Writes a version of a SavedModel for TensorFlow Serving, or any other loader of SavedModels.

    The tokenizer is in the graph, made of core TensorFlow ops. Loading needs neither this library,
    nor Keras, nor a vocabulary file. Signatures:

    - `serving_default`: `text` string `[batch]`, and where there are pairs `text_pair` alike (for
      multiple choice `[batch, choices]`), to the model's answers, and `truncated` int32 `[batch]`,
      1 where a text had more than `max_length` tokens and was cut.
    - `serve_examples`: `examples` string `[batch]`, serialized `tf.train.Example` messages with
      these texts for features, to the same.
    - `tokens`: `token_ids`, `segment_ids`, `padding_mask` int32 `[batch, seq]` (for multiple choice
      `[batch, choices, seq]`) to the answers.
    - `tokenize`: the texts to these, and to `byte_offsets` and `char_offsets` `[batch, seq, 2]`.

    The answers are those of `tflite`, one row a text; besides, strings where numbers stand for
    names: `label` `[batch]` of a `BertClassifier` of one label a text, and `entity_types`
    `[batch, 64]` of a `BertTokenClassifier`. A text's answer does not depend on its batch mates.
    What other numbers stand for is listed, one a line, in `assets.extra/labels.txt` and
    `assets.extra/vocab.txt`; `assets.extra/sizes.json` tells the `max_length`.

    Texts of a `BertTokenClassifier`, and those that hold the answers of a `BertQuestionAnswerer`,
    are not cut by `max_length`: they are read in windows of so many tokens that overlap. Of a
    string 65,536 bytes are read at most, of those read in windows 131,072; `truncated` is 1 where
    there were more.

    Args:
        model: the model of a task, with a tokenizer.
        path: directory of the model's versions, such as "serving/sentiment", or of one, such as
            "serving/sentiment/1": a path that ends in a number.
        version: int, the version to write; None for the next number.
        max_length: int, most tokens of a text; longer ones are cut. None: as many as the model has
            positions for. Batches are padded to their longest text, not to this.
        pairs: bool, whether a `BertClassifier` takes pairs of texts.
        top_k: int or None. With a number a `BertClassifier` of labels gives the best so many:
            `labels` string, `label_ids` int32 and `probabilities` float32 `[batch, k]`, best first,
            and `label_count` int32 `[batch]`, how many of them are above their `threshold`; "", -1
            and 0 stand in the other places. One label is the default where labels exclude each
            other, else all.
        threshold: float, above which probability a label is given (see `top_k`); a dict of label to
            such a number; or None for all.
        lengths: list of int, or None. With `[32, 64, 128]` batches are padded to the next of these
            lengths, so that compilers and GPUs see few shapes; the greatest is the `max_length`.
        weights: "float32", or, for a file of half the size, "bfloat16" or "float16": what matrices
            are stored in. Loading copies them to float32, in which everything is computed, so that
            answers take as long as before, and the memory is half as much more.
        warmup_texts: list of str, texts as the model will see them; of `(text, text_pair)` where it
            takes pairs; of `(text, [choice, ...])` for multiple choice. Of their words requests of
            several lengths and batch sizes are made, `assets.extra/tf_serving_warmup_requests`,
            which TensorFlow Serving runs before it says that it is ready. None for random words of
            the vocabulary.
        card: bool, whether to write `README.md` beside: what the model is, how it was trained as
            far as its `training_record` tells, its signatures, and how to ask it.
        overwrite: bool, whether to replace the version, where its number is given.

    Returns:
        The `Path` of the version. It is written under another name first, so that a server never
        sees half of it.

    Raises:
        FileExistsError: if the version is there already, without `overwrite`.
        ValueError: if the model cannot be exported, or an argument is none of these.

    Example:
        ```python
        path = kbl.export.saved_model(classifier, "serving/sentiment")  # serving/sentiment/1
        answer = tf.saved_model.load(str(path)).signatures["serving_default"]
        answer(text=tf.constant(["a fine film"]))["label"]
        ```
    """
    check_version(path, version, overwrite)
    if lengths is not None:
        max_length = _checked_lengths(lengths, max_length)
    options = {"lengths": sorted(set(lengths or ())), "weights": weights}
    if top_k is not None or threshold is not None:
        _check_has_labels(model)
        options |= {"top_k": top_k, "threshold": threshold}
    module = ServingModule(model, max_length, pairs=pairs, **options)
    text_function = module.text_function()
    signatures = {
        "serving_default": text_function,
        "tokens": module.tokens_function(),
        "tokenize": module.tokenize_function(),
        "serve_examples": module.examples_function(text_function),
    }
    name = split_version(path)[0].resolve().name
    requests = warmup_requests(module, warmup_texts)

    def write(directory):
        write_saved_model(module, directory, signatures)
        # For callers who look up what a number stands for; no loader needs them.
        extra = directory / "assets.extra"
        extra.mkdir()
        for file, lines in module.answers.lists.items():
            (extra / file).write_bytes("".join(f"{line}\n" for line in lines).encode())
        sizes = json.dumps({"max_length": module.max_length})
        (extra / SIZES_FILE).write_bytes(f"{sizes}\n".encode())
        write_warmup(extra / warmup.FILE, name, requests)
        if card:
            training = model.training_record
            text = model_card.model_card(module, name, signatures, weights, training)
            (directory / model_card.FILE).write_bytes(text.encode())

    return write_version(path, version, overwrite, write)


def _checked_lengths(lengths, max_length):
    """Returns `lengths` as a list, the greatest of which is the `max_length`."""
    lengths = list(lengths) if isinstance(lengths, (list, tuple)) else []
    if not lengths or not all(is_int(x) for x in lengths):
        raise ValueError(
            f"`lengths` must be a list of numbers of tokens. Received: lengths={lengths!r}"
        )
    if max_length not in (None, max(lengths)):
        raise ValueError(
            "The greatest of `lengths` is the most tokens of a text; leave out `max_length`. "
            f"Received: max_length={max_length!r}, lengths={lengths!r}"
        )
    return lengths


def _check_has_labels(model):
    if not issubclass(answers_class(model), LabelAnswers):
        what = getattr(model, "problem_type", type(model).__name__)
        raise ValueError(
            "`top_k` and `threshold` are for a BertClassifier that gives labels. Leave them out. "
            f"Received: a model of {what}"
        )


def write_saved_model(module, directory, signatures):
    """Writes a SavedModel's own files.

    Args:
        module: `ServingModule`.
        directory: path.
        signatures: dict of name to `tf.function`.
    """
    tf.saved_model.save(module, str(directory), signatures=signatures)
