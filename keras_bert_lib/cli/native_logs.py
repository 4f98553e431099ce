"""Keeps what TensorFlow and Keras say to themselves out of a command's output."""

import contextlib
import logging
import os
import sys
import tempfile
import warnings


@contextlib.contextmanager
def hidden():
    """Hides what native code writes to standard error inside the `with` block.

    Some of it ignores `TF_CPP_MIN_LOG_LEVEL` because it is written while TensorFlow is still being
    loaded. A user who wants it all sets that variable to 0, 1 or 2.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        yield
        return
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # Standard error is not a file here.
        yield
        return
    sys.stderr.flush()
    saved = os.dup(descriptor)
    try:
        with tempfile.TemporaryFile() as sink:
            os.dup2(sink.fileno(), descriptor)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(saved, descriptor)
    finally:
        os.close(saved)


def start_tensorflow():
    """Imports TensorFlow and lets it look for its devices, which is when it says the most."""
    warnings.filterwarnings("ignore", module=r"keras\..*")
    logging.getLogger("tensorflow").setLevel("ERROR")
    with hidden():
        import tensorflow as tf

        if "TF_CONFIG" in os.environ:
            tf.config.list_physical_devices()  # workers may use none before they know each other
        else:
            tf.config.list_logical_devices()
