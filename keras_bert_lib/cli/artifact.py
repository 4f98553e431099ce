"""Tells the kinds of files this library reads and writes apart."""

import contextlib
import importlib
import os
import re

TITLES = {
    "keras": "a Keras file",
    "saved_model": "a SavedModel",
    "tflite": "a TFLite file",
}
# The formats of a "model", by their modules in `checkpoints`, in the order in which they are asked
# whether it is theirs.
_FORMATS = {
    "sentence_transformers": "a model directory of sentence-transformers",
    "keras_hub": "a preset of KerasHub",
    "google_bert": "a TensorFlow 1 checkpoint of google-research/bert",
    "model_garden": "a TensorFlow 2 checkpoint of Model Garden",
    "huggingface": "a model directory in the Hugging Face layout",
}


def kind_of(path):
    """Returns the kind of what is at a path, and the path to load.

    Args:
        path: A model directory, a SavedModel directory (or one with numbered versions in it), a
            `.keras` file, a `.tflite` file, or the directory or the prefix of a TensorFlow
            checkpoint.

    Returns:
        `(kind, path)`, where kind is "model" (of whatever library), "saved_model", "keras" or
        "tflite". For a directory of numbered SavedModels the path is that of the newest.

    Raises:
        FileNotFoundError: Where there is nothing at `path`.
        ValueError: Where it is something else.
    """
    if os.path.isfile(f"{path}.index"):
        return "model", path
    if os.path.isdir(path):
        names = os.listdir(path)
        if "config.json" in names or "modules.json" in names:
            return "model", path
        if "saved_model.pb" in names:
            return "saved_model", path
        versions = [name for name in names if name.isdigit()]
        for version in sorted(versions, key=int, reverse=True):
            if os.path.isfile(os.path.join(path, version, "saved_model.pb")):
                return "saved_model", os.path.join(path, version)
        if any(name.endswith(".index") for name in names):
            return "model", path
        raise ValueError(
            f"{path} is neither a model directory (it has no config.json), nor a SavedModel (no "
            "saved_model.pb), nor a TensorFlow checkpoint (no .index file)."
        )
    with open(path, "rb") as file:  # Raises FileNotFoundError, which names the path.
        head = file.read(8)
    if head[4:] == b"TFL3":
        return "tflite", path
    if head.startswith(b"PK") and path.endswith(".keras"):
        return "keras", path
    raise ValueError(f"{path} is neither a .tflite nor a .keras file. Give one, or a directory.")


def is_hub_name(path):
    """Whether this is the name of a model on the Hugging Face hub, and nothing is at such a path.

    Names without an owner are taken for none: they may as well be of a missing directory.
    """
    is_name = re.fullmatch(r"(hf://)?[\w-][\w.-]*/[\w-][\w.-]*", path)
    is_there = os.path.exists(path) or os.path.exists(f"{path}.index")
    return bool(is_name) and not is_there and not path.endswith((".tflite", ".keras"))


def kind_of_model(path):
    """Returns what `kind_of` does, also for the name of a model on the hub."""
    return ("model", path.removeprefix("hf://")) if is_hub_name(path) else kind_of(path)


def was_trained_on_pairs(model):
    """Whether `keras-bert finetune` noted so of a classifier."""
    return bool((model.training_record or {}).get("pairs"))


def title_of(kind, path):
    """Returns what there is at a path, whose kind is known, in words."""
    if kind != "model":
        return TITLES[kind]
    for name, title in _FORMATS.items():
        if importlib.import_module(f"keras_bert_lib.checkpoints.{name}").matches(path):
            return title
    return "a model of the Hugging Face hub"


def model_class(checkpoint):
    """Returns the class of model that a `Checkpoint` was saved from, or the one most like it.

    Heads that are there count for more than the architecture that is written beside them: the
    published checkpoints say BertForMaskedLM, and have the head for next sentences too.
    """
    from keras_bert_lib import models

    if "unsupported" not in checkpoint.config.get("sentence_embedding", {"unsupported": ""}):
        return models.BertTextEmbedder
    names = checkpoint.source.names
    if "cls.seq_relationship.weight" in names:
        return models.BertPretrainer
    if "cls.predictions.bias" in names:
        return models.BertMaskedLM
    if "qa_outputs.weight" in names:
        return models.BertQuestionAnswerer
    if "classifier.weight" not in names:
        return models.BertEncoder
    architectures = checkpoint.config.get("architectures") or []
    for model in (models.BertTokenClassifier, models.BertMultipleChoice):
        if model._architecture in architectures:
            return model
    return models.BertClassifier


def load_model(path):
    """Loads the model of any task in a model directory, by the head it has.

    What was only pretrained fills in masks.

    Raises:
        ValueError: Where the directory holds an encoder alone, or no tokenizer.
    """
    from keras_bert_lib.checkpoints import open_checkpoint
    from keras_bert_lib.models import BertEncoder, BertMaskedLM, BertPretrainer

    kind = model_class(open_checkpoint(path))
    if kind is BertEncoder:
        raise ValueError(
            f"{path} holds a BertEncoder, which has no task. Fine-tune it first: "
            f"keras-bert finetune --model {path} --train FILE --output DIR."
        )
    model = (BertMaskedLM if kind is BertPretrainer else kind).from_pretrained(path)
    if model.tokenizer is None:
        raise ValueError(
            f"{path} has no vocab.txt and no tokenizer.json, so it takes no text. Copy there the "
            "one it was trained with."
        )
    return model


def load_keras(path):
    """Loads the model in a `.keras` file."""
    import keras

    # Keras finds only the classes that have been imported.
    from keras_bert_lib import models, text, training  # noqa: F401

    return keras.saving.load_model(path)


@contextlib.contextmanager
def reading(path):
    """Makes what a runtime says of a damaged file an error that names the file."""
    try:
        yield
    except BrokenPipeError:  # The reader of what we print went away.
        raise
    except (RuntimeError, ValueError, OSError) as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} cannot be read; it may be damaged. Received: {error}") from error
