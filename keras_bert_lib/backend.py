"""What works on one backend of Keras only."""

import keras


def require_tensorflow(what):
    """Raises where Keras does not run on TensorFlow.

    Args:
        what: str, what needs it, as the beginning of a sentence.

    Raises:
        ValueError: if Keras runs on another backend.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"{what} works on the TensorFlow backend only: set the variable KERAS_BACKEND to "
            f"tensorflow. Received: backend {keras.backend.backend()!r}"
        )
