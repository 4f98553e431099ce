"""Finds out what a path holds."""

import os

from keras_bert_lib.checkpoints import (
    google_bert,
    hub,
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


def open_checkpoint(path, revision=None, token=None, cache_dir=None, local_files_only=False):
    """Opens a model on disk, in whatever format it is.

    Nothing but names, shapes and the config is read yet.

    Args:
        path: a directory, the prefix of a TensorFlow checkpoint, the name of a model on the
            Hugging Face hub or of a preset of KerasHub, which are downloaded, or a model of
            KerasHub itself.
        revision: str, a branch, tag or commit on the Hugging Face hub; None is the main branch.
        token: str, an access token for private models there; None takes the one of the machine's
            login.
        cache_dir: path of the cache of downloads; None is that of `huggingface_hub`.
        local_files_only: bool, whether to take only what is in the cache.

    Returns:
        `Checkpoint`.

    Raises:
        FileNotFoundError: if there is no such thing, or a file of it is missing.
        ValueError: if a file is damaged.
    """
    if not isinstance(path, (str, os.PathLike)):
        return keras_hub.open_checkpoint(path)
    path = os.fspath(path)
    if not os.path.isdir(path) and format_of(path) is None:
        path = hub.download(path, revision, token, cache_dir, local_files_only)
    # A directory of another kind gets the error that says what it lacks.
    return (format_of(path) or huggingface).open_checkpoint(path)


def format_of(path):
    """Returns the module of the format that `path` is in, or None."""
    return next((module for module in _FORMATS if module.matches(path)), None)
