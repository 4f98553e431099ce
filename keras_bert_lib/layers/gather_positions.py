"""Some positions of each row."""

from keras import ops


def gather_positions(x, positions):
    """Returns the rows of `x` `[b, s, h]` at `positions` `[b, p]`, as `[b, p, h]`."""
    batch, seq, hidden = ops.shape(x)[0], ops.shape(x)[1], x.shape[-1]
    # In the flat [b * s, h], row r of the batch starts at r * s.
    starts = ops.expand_dims(ops.arange(batch, dtype="int32") * seq, 1)  # [b, 1]
    return ops.take(ops.reshape(x, (-1, hidden)), ops.cast(positions, "int32") + starts, axis=0)
