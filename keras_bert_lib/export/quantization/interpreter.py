"""The interpreter that a file is calibrated with."""

import warnings

import tensorflow as tf


def make_interpreter(content, num_threads=1):
    """Returns TensorFlow's own interpreter, its tensors not allocated yet.

    Not that of ai-edge-litert, where it is installed: what else is there must not change the file
    that is made of a model.

    Args:
        content: bytes of a file.
        num_threads: int.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated")
        return tf.lite.Interpreter(model_content=content, num_threads=num_threads)
