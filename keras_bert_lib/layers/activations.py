"""Activations by the names BERT checkpoints use."""

import functools

from keras import ops

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
    """Returns the function called `name`, one of `HIDDEN_ACTS`."""
    if name not in _ACTIVATIONS:
        raise ValueError(
            f"`hidden_act` must be one of {', '.join(HIDDEN_ACTS)}. Received: hidden_act={name!r}"
        )
    return _ACTIVATIONS[name]
