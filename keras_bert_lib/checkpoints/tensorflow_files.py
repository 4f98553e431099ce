"""What the directories of google-research/bert and of Model Garden have in common."""

import os

import tensorflow as tf
from absl import logging

from keras_bert_lib.checkpoints.files import read_json, write_json, written_aside
from keras_bert_lib.checkpoints.load_weights import shortlist

CONFIG_FILE = "bert_config.json"
VOCABULARY_FILE = "vocab.txt"
# The prefix of the published checkpoints.
PREFIX = "bert_model.ckpt"
# What is among the tensors of a TensorFlow 2 checkpoint and of no other.
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
# What TensorFlow's reader raises for damaged files.
_READ_ERRORS = (tf.errors.OpError, IndexError, RuntimeError, ValueError)


def find_prefix(path):
    """Returns the prefix of the TensorFlow checkpoint at `path`, or None where there is none.

    Args:
        path: a prefix, or a directory, whose latest checkpoint it is then.

    Raises:
        ValueError: if a directory has several, and no file that says which is the latest.
    """
    path = os.fspath(path)
    if os.path.exists(path + ".index"):
        return path
    held = sorted(os.listdir(path)) if os.path.isdir(path) else []
    # Directories of `transformers` may have a checkpoint for TensorFlow besides.
    if any(name.endswith(".safetensors") for name in held):
        return None
    latest = tf.train.latest_checkpoint(path) if "checkpoint" in held else None
    if latest is not None:
        return latest
    prefixes = [name.removesuffix(".index") for name in held if name.endswith(".index")]
    if len(prefixes) > 1:
        raise ValueError(
            f"{path} has several checkpoints: {shortlist(prefixes)}. Give the path of one, such as "
            f"{os.path.join(path, prefixes[-1])}. Received: {path}"
        )
    return os.path.join(path, prefixes[0]) if prefixes else None


def open_reader(prefix):
    """Returns the reader of the TensorFlow checkpoint at `prefix`."""
    try:
        return tf.train.load_checkpoint(prefix)
    except _READ_ERRORS as error:
        first_line = str(error).split("\n")[0]
        raise ValueError(f"{prefix} is damaged or no checkpoint: {first_line}") from error


def read_tensor(reader, prefix, key):
    """Returns the tensor `key` of the checkpoint at `prefix` as an array."""
    try:
        return reader.get_tensor(key)
    except _READ_ERRORS as error:
        first_line = str(error).split("\n")[0]
        raise ValueError(f"{prefix} is damaged, at {key}: {first_line}") from error


def read_config(directory):
    """Returns the parsed `bert_config.json` of a directory, or None where there is none."""
    path = os.path.join(directory, CONFIG_FILE)
    return read_json(path) if os.path.exists(path) else None


def tokenizer_arguments(directory):
    """Returns the arguments of `BertTokenizer`, where the directory does not have them in a file.

    These checkpoints do not say whether they are uncased, but the pieces do.
    """
    path = os.path.join(directory, VOCABULARY_FILE)
    has_settings = os.path.exists(os.path.join(directory, "tokenizer_config.json"))
    if has_settings or not os.path.exists(path):
        return None
    with open(path, encoding="utf-8", errors="replace") as file:
        pieces = [line.strip() for line in file if not line.startswith("[")]
    cased = any("A" <= letter <= "Z" for piece in pieces for letter in piece)
    return {"vocabulary": path, "lowercase": not cased}


def config_of(model, code, acts):
    """Returns the `bert_config.json` of a model that goes to other code.

    It has what a `config.json` of Hugging Face has, for readers to pick from. What the other code
    has no words for is in a key that only this library reads.

    Args:
        model: `BertEncoder`, or a model that has one.
        code: str, what errors call the other code.
        acts: dict from our `hidden_act` to the other code's.

    Raises:
        ValueError: if the model has LayerNorm before its sublayers.
    """
    config = model._huggingface_config()
    if model.config.norm_first:
        raise ValueError(
            f"{code} has no BERT with LayerNorm before each sublayer and after the last; save it "
            "with `save_pretrained`. Received: norm_first=True"
        )
    if model.config.layer_norm_eps != 1e-12:
        logging.warning(
            "%s always adds 1e-12 in LayerNorm, this model %g: there it gives other numbers.",
            code,
            model.config.layer_norm_eps,
        )
    config["hidden_act"] = acts[model.config.hidden_act]
    own = {"hidden_act": model.config.hidden_act}
    return config | {"keras_bert_lib": config.get("keras_bert_lib", {}) | own}


def write_directory(directory, config, write_weights, tokenizer=None, overwrite=False):
    """Writes a checkpoint with its `bert_config.json` and `vocab.txt`.

    Args:
        directory: path; made where it does not exist.
        config: dict, the contents of `bert_config.json`.
        write_weights: function that writes the checkpoint with the prefix it is given.
        tokenizer: `BertTokenizer` or None.
        overwrite: bool, whether to write among files that are not such a checkpoint's.

    Raises:
        ValueError: if `directory` is a file, or holds something other than such a checkpoint and
            `overwrite` is False.
    """
    directory = os.fspath(directory)
    if os.path.exists(directory) and not os.path.isdir(directory):
        raise ValueError(f"`directory` must be a directory, not a file. Received: {directory}")
    held = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    if held and CONFIG_FILE not in held and not overwrite:
        raise ValueError(
            f"`directory` holds something other than such a checkpoint: {shortlist(held)}. Choose "
            "another, or pass overwrite=True to write among it. Received: directory="
            f"{directory}"
        )
    with written_aside(directory) as temporary:
        write_json(os.path.join(temporary, CONFIG_FILE), config)
        if tokenizer is not None:
            tokenizer.save_pretrained(temporary)
        write_weights(os.path.join(temporary, PREFIX))
        # With this `tf.train.latest_checkpoint` finds it.
        with open(os.path.join(temporary, "checkpoint"), "w", encoding="utf-8") as file:
            file.write(f'model_checkpoint_path: "{PREFIX}"\n')
