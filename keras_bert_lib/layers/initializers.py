"""The initializer every weight matrix of BERT starts from."""

import contextlib
import contextvars

import keras
from keras import ops

_DRAWS = contextvars.ContextVar("draws", default=True)


def normal(stddev):
    """Returns a new truncated normal initializer.

    A new one for every weight: an initializer used twice gives the same numbers twice.
    """
    return keras.initializers.TruncatedNormal(stddev=stddev) if _DRAWS.get() else _undefined


@contextlib.contextmanager
def without_drawing():
    """Leaves weights undefined that layers made in here would start from `normal`.

    For weights that are read from a file next: to draw 100 million numbers takes longer than to
    read them, and memory that nothing has written to yet takes no room.
    """
    token = _DRAWS.set(False)
    try:
        yield
    finally:
        _DRAWS.reset(token)


def _undefined(shape, dtype=None):
    if keras.backend.backend() != "tensorflow":
        return ops.empty(shape, dtype)
    import tensorflow as tf

    return tf.raw_ops.Empty(shape=shape, dtype=dtype)
