"""Finds out what a path holds."""

import os

from keras_bert_lib.checkpoints import huggingface

# A format is a module with two functions:
#   matches(path) -> bool          by what is there, never by the path's name; cheap
#   open_checkpoint(path) -> Checkpoint
# The first that matches opens the path. Hugging Face comes last: other layouts have a config.json
# too.
_FORMATS = (huggingface,)


def open_checkpoint(path):
    """Opens a model on disk, in whatever format it is.

    Nothing but names, shapes and the config is read yet.

    Args:
        path: a directory, the prefix of a TensorFlow checkpoint, or the name of a model on the
            Hugging Face hub, which is downloaded.

    Returns:
        `Checkpoint`.

    Raises:
        FileNotFoundError: if there is no such thing, or a file of it is missing.
        ValueError: if a file is damaged.
    """
    path = os.fspath(path)
    for checkpoint_format in _FORMATS:
        if checkpoint_format.matches(path):
            return checkpoint_format.open_checkpoint(path)
    # What is no directory may be on the hub; a directory of another kind gets the error that says
    # what it lacks.
    return huggingface.open_checkpoint(huggingface.find_directory(path))
