"""Checkpoints of google-research/bert: `bert_config.json`, `bert_model.ckpt.*`, `vocab.txt`."""

import os
import re

import tensorflow as tf
from absl import logging

from keras_bert_lib.checkpoints import tensorflow_files
from keras_bert_lib.checkpoints.checkpoint import Checkpoint
from keras_bert_lib.checkpoints.load_weights import shortlist
from keras_bert_lib.checkpoints.tensor_names import tensors_by_name, weights_by_name
from keras_bert_lib.checkpoints.tensorflow_source import TensorflowSource

# Hugging Face's name -> name of the TF1 variable. The heads' matrices are `[out, in]` in both.
_NAMES = {
    "embeddings.word_embeddings.weight": "bert/embeddings/word_embeddings",
    "embeddings.position_embeddings.weight": "bert/embeddings/position_embeddings",
    "embeddings.token_type_embeddings.weight": "bert/embeddings/token_type_embeddings",
    "embeddings.LayerNorm.weight": "bert/embeddings/LayerNorm/gamma",
    "embeddings.LayerNorm.bias": "bert/embeddings/LayerNorm/beta",
    "pooler.dense.weight": "bert/pooler/dense/kernel",
    "pooler.dense.bias": "bert/pooler/dense/bias",
    "cls.predictions.transform.dense.weight": "cls/predictions/transform/dense/kernel",
    "cls.predictions.transform.dense.bias": "cls/predictions/transform/dense/bias",
    "cls.predictions.transform.LayerNorm.weight": "cls/predictions/transform/LayerNorm/gamma",
    "cls.predictions.transform.LayerNorm.bias": "cls/predictions/transform/LayerNorm/beta",
    "cls.predictions.bias": "cls/predictions/output_bias",
    "cls.seq_relationship.weight": "cls/seq_relationship/output_weights",
    "cls.seq_relationship.bias": "cls/seq_relationship/output_bias",
    # of run_classifier.py
    "classifier.weight": "output_weights",
    "classifier.bias": "output_bias",
    # of run_squad.py
    "qa_outputs.weight": "cls/squad/output_weights",
    "qa_outputs.bias": "cls/squad/output_bias",
}
# The same below `encoder.layer.0` and `bert/encoder/layer_0`.
_BLOCK = {
    "attention.self.query.weight": "attention/self/query/kernel",
    "attention.self.query.bias": "attention/self/query/bias",
    "attention.self.key.weight": "attention/self/key/kernel",
    "attention.self.key.bias": "attention/self/key/bias",
    "attention.self.value.weight": "attention/self/value/kernel",
    "attention.self.value.bias": "attention/self/value/bias",
    "attention.output.dense.weight": "attention/output/dense/kernel",
    "attention.output.dense.bias": "attention/output/dense/bias",
    "attention.output.LayerNorm.weight": "attention/output/LayerNorm/gamma",
    "attention.output.LayerNorm.bias": "attention/output/LayerNorm/beta",
    "intermediate.dense.weight": "intermediate/dense/kernel",
    "intermediate.dense.bias": "intermediate/dense/bias",
    "output.dense.weight": "output/dense/kernel",
    "output.dense.bias": "output/dense/bias",
    "output.LayerNorm.weight": "output/LayerNorm/gamma",
    "output.LayerNorm.bias": "output/LayerNorm/beta",
}
# Our `hidden_act` -> that of `bert_config.json`.
_ACTS = {"gelu": "gelu", "gelu_new": "gelu", "gelu_tanh": "gelu", "relu": "relu"}
_CANONICAL = {theirs: name for name, theirs in (_NAMES | _BLOCK).items()}
# What training leaves among the weights: step counts and the moments of the optimizers.
_TRAINING = re.compile(r"global_step|beta[12]_power|.+/(adam_[mv]|Adam(_1)?|AdamWeightDecay\w+)")


def matches(path):
    """Returns whether `path` is a checkpoint of TensorFlow 1."""
    prefix = tensorflow_files.find_prefix(path)
    if prefix is None:
        return False
    return not tensorflow_files.open_reader(prefix).has_tensor(tensorflow_files.OBJECT_GRAPH)


def open_checkpoint(path):
    """Opens a checkpoint of google-research/bert.

    Args:
        path: its directory, or its prefix, such as `directory/bert_model.ckpt`. The directory has
            the `bert_config.json` in any case.

    Returns:
        `Checkpoint`.

    Raises:
        FileNotFoundError: if there is no `bert_config.json`.
        ValueError: if a file is damaged, or the checkpoint is not one of BERT.
    """
    prefix = tensorflow_files.find_prefix(path)
    reader = tensorflow_files.open_reader(prefix)
    keys = sorted(reader.get_variable_to_shape_map())
    if "bert/embeddings/word_embeddings" not in keys:
        raise ValueError(
            f"{prefix} is no BERT: it has no bert/embeddings/word_embeddings. "
            f"Received: {shortlist(keys)}"
        )
    directory = os.path.dirname(prefix)
    config = tensorflow_files.read_config(directory)
    if config is None:
        raise FileNotFoundError(
            f"{directory} has no bert_config.json, without which nobody knows how many attention "
            f"heads the model has. Copy it beside the checkpoint. Received: {prefix}"
        )
    names = {canonical_name(key): key for key in keys if not _TRAINING.fullmatch(key)}
    return Checkpoint(
        config=config,
        source=TensorflowSource(reader, prefix, names),
        directory=directory,
        tokenizer=tensorflow_files.tokenizer_arguments(directory),
    )


def canonical_name(key):
    """Returns Hugging Face's name of a TF1 variable, or `key` itself if it has no place in BERT."""
    layer = re.fullmatch(r"bert/encoder/layer_(\d+)/(.+)", key)
    if layer and layer[2] in _CANONICAL:
        return f"encoder.layer.{layer[1]}.{_CANONICAL[layer[2]]}"
    return _CANONICAL.get(key, key)


def tf1_name(name):
    """Returns the name of the TF1 variable for Hugging Face's; the inverse of `canonical_name`."""
    layer = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", name)
    return f"bert/encoder/layer_{layer[1]}/{_BLOCK[layer[2]]}" if layer else _NAMES[name]


def save_google_bert(model, directory, overwrite=False):
    """Writes a model as a checkpoint that google-research/bert loads.

    That code knows one GELU. It has been the tanh approximation since 2019, and was the exact form
    when the published checkpoints were made; which one the model has stands in a key of the
    `bert_config.json` that only this library reads, as does what else that file has no words for.

    Args:
        model: `BertEncoder`, or a model that has one.
        directory: path; made where it does not exist.
        overwrite: bool, whether to write among files that are not such a checkpoint's.

    Raises:
        ValueError: if the model has LayerNorm before its sublayers, which that code cannot
            compute, or if `directory` is a file or holds something else and `overwrite` is False.

    Example:
        ```python
        import tempfile
        import keras_bert_lib as kbl

        directory = tempfile.mkdtemp()
        encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=100))
        kbl.checkpoints.save_google_bert(encoder, directory)
        encoder = kbl.BertEncoder.from_pretrained(directory)
        ```

    References:
        - [google-research/bert](https://github.com/google-research/bert), `modeling.py`
    """
    config = tensorflow_files.config_of(model, "google-research/bert", _ACTS)
    tensors = {}
    for name, array in tensors_by_name(weights_by_name(model)).items():
        key = tf1_name(name)
        tensors[key] = array.T if key.endswith("/kernel") else array
    names = sorted(tensors)

    def write_weights(prefix):
        tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tensors[name] for name in names],
        )

    tokenizer = getattr(model, "tokenizer", None)
    tensorflow_files.write_directory(directory, config, write_weights, tokenizer, overwrite)
    logging.info("Wrote %d tensors to %s.", len(names), directory)
