"""Finds out what a path holds."""

import os

from keras_bert_lib.checkpoints import (
    google_bert,
    huggingface,
    keras_hub,
    model_garden,
    sentence_transformers,
)

# A format is a module with two functions:
#   matches(path) -> bool          by what is there, never by the path's name; cheap
#   open_checkpoint(path) -> Checkpoint
# The first that matches opens the path. Hugging Face comes last: other layouts have a config.json
# too.
_FORMATS = (sentence_transformers, keras_hub, google_bert, model_garden, huggingface)


def open_checkpoint(path):
    """Opens a model on disk, in whatever format it is.

    Nothing but names, shapes and the config is read yet.

    Args:
        path: a directory, the prefix of a TensorFlow checkpoint, the name of a model on the
            Hugging Face hub or of a preset of KerasHub, which are downloaded, or a model of
            KerasHub itself.

    Returns:
        `Checkpoint`.

    Raises:
        FileNotFoundError: if there is no such thing, or a file of it is missing.
        ValueError: if a file is damaged.
    """
    if not isinstance(path, (str, os.PathLike)):
        return keras_hub.open_checkpoint(path)
    path = os.fspath(path)
    if not any(checkpoint_format.matches(path) for checkpoint_format in _FORMATS):
        # What is no directory may be on the hub.
        path = huggingface.find_directory(path)
    # A directory of another kind gets the error that says what it lacks.
    matching = [
        checkpoint_format for checkpoint_format in _FORMATS if checkpoint_format.matches(path)
    ]
    return (*matching, huggingface)[0].open_checkpoint(path)
