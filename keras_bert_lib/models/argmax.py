"""Where the greatest value is."""

from keras import ops


def argmax(x):
    """Returns the index, int32 `[...]`, of the first of the greatest values in `x` `[..., n]`."""
    # `ops.argmax` looks for negative zeros with bit operations, which TFLite does not have.
    count = ops.shape(x)[-1]
    is_greatest = ops.equal(x, ops.max(x, axis=-1, keepdims=True))
    return ops.min(ops.where(is_greatest, ops.arange(count), count - 1), axis=-1)
