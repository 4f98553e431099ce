"""Activations by the names BERT checkpoints use."""

import functools
import math

import keras
from keras import ops

from keras_bert_lib.layers.fused import fused

_ACTIVATIONS = {
    # BERT's own GELU is the exact form, 0.5 x (1 + erf(x / sqrt 2)).
    "gelu": functools.partial(ops.gelu, approximate=False),
    # The tanh approximation, under the two names it goes by.
    "gelu_new": functools.partial(ops.gelu, approximate=True),
    "gelu_tanh": functools.partial(ops.gelu, approximate=True),
    "relu": ops.relu,
}

HIDDEN_ACTS = tuple(_ACTIVATIONS)


def get_activation(name):
    """Returns the function called `name`, one of `HIDDEN_ACTS`: of a tensor, and of `training`."""
    if name not in _ACTIVATIONS:
        raise ValueError(
            f"`hidden_act` must be one of {', '.join(HIDDEN_ACTS)}. Received: hidden_act={name!r}"
        )

    def activation(x, training=None):
        # Exported files have the plain form, which converters know.
        return _gelu(x) if training and name == "gelu" else _ACTIVATIONS[name](x)

    return activation


@fused
def _gelu(x):
    # XLA would round every step to 16 bits.
    y = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    return ops.cast(y * (0.5 + 0.5 * ops.erf(y * math.sqrt(0.5))), x.dtype)
