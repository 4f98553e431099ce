"""Shapes of which some dimensions are known only when the graph runs."""

from keras import ops


def leading_dims(x):
    """Returns the dimensions b and s of `x` `[b, s, ...]` for a reshape to `(b, s, ...)`.

    Where one is unknown it is -1, so that nothing is computed in the graph; only where both are is
    s computed.
    """
    batch, seq = x.shape[:2]
    if batch is not None and seq is not None:
        return batch, seq
    if batch is not None:
        return batch, -1
    if seq is not None:
        return -1, seq
    return -1, ops.shape(x)[1]
