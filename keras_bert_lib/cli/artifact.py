"""Tells the kinds of files this library writes apart."""

import contextlib
import os


def kind_of(path):
    """Returns the kind of what is at a path, and the path to load.

    Args:
        path: A model directory, a SavedModel directory (or one with numbered versions in it), a
            `.keras` file or a `.tflite` file.

    Returns:
        `(kind, path)`, where kind is "model", "saved_model", "keras" or "tflite". For a directory
        of numbered SavedModels the path is that of the newest.

    Raises:
        FileNotFoundError: Where there is nothing at `path`.
        ValueError: Where it is something else.
    """
    if os.path.isdir(path):
        if os.path.isfile(os.path.join(path, "config.json")):
            return "model", path
        if os.path.isfile(os.path.join(path, "saved_model.pb")):
            return "saved_model", path
        versions = [name for name in os.listdir(path) if name.isdigit()]
        for version in sorted(versions, key=int, reverse=True):
            if os.path.isfile(os.path.join(path, version, "saved_model.pb")):
                return "saved_model", os.path.join(path, version)
        raise ValueError(
            f"{path} is neither a model directory (it has no config.json) nor a SavedModel (it has "
            "no saved_model.pb)."
        )
    with open(path, "rb") as file:  # Raises FileNotFoundError, which names the path.
        head = file.read(8)
    if head[4:] == b"TFL3":
        return "tflite", path
    if head.startswith(b"PK") and path.endswith(".keras"):
        return "keras", path
    raise ValueError(f"{path} is neither a .tflite nor a .keras file. Give one, or a directory.")


def load_classifier(path):
    """Loads the `BertClassifier` in a model directory.

    Raises:
        ValueError: Where the directory holds a model that was not fine-tuned to label texts.
    """
    from keras_bert_lib.checkpoints import huggingface
    from keras_bert_lib.models import BertClassifier

    kinds = huggingface.read_config(path).get("architectures") or []
    if kinds and "BertForSequenceClassification" not in kinds:
        raise ValueError(
            f"{path} holds a {', '.join(kinds)}, which does not label texts. Fine-tune it first: "
            f"keras-bert finetune --model {path} --train FILE --output DIR."
        )
    model = BertClassifier.from_pretrained(path)
    if model.tokenizer is None:
        raise ValueError(
            f"{path} has no vocab.txt, so it takes no text. Copy there the one it was trained with."
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
