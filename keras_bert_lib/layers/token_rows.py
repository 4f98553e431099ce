"""The tokens of a padded batch laid end to end, so that padding costs nothing."""

from typing import NamedTuple

from keras import KerasTensor, ops


class TokenRows(NamedTuple):
    """Where the tokens of a batch stand, in the batch and end to end.

    Products with a kernel, LayerNorm and activations know nothing of neighbours, so they may as
    well have the tokens alone, `[t, h]`. Only attention wants the batch.
    """

    places: KerasTensor  # int32 [t]: place of each token among the b * s of the batch
    rows: KerasTensor  # int32 [b, s]: row of each place; at padding that of any token

    @classmethod
    def of_mask(cls, padding_mask):
        """Makes them of a mask int32 `[b, s]`."""
        flat = ops.reshape(padding_mask, (-1,))  # [b * s]
        # Padding has the row of the token before it, so there must be one.
        is_token = ops.concatenate([ops.ones_like(flat[:1]), flat[1:]], axis=0)
        rows = ops.reshape(ops.cumsum(is_token) - 1, ops.shape(padding_mask))
        return cls(ops.nonzero(is_token)[0], rows)

    def pack(self, x):
        """Takes `[b, s, h]` to `[t, h]`."""
        return ops.take(ops.reshape(x, (-1, x.shape[-1])), self.places, axis=0)

    @staticmethod
    def normalize(x, layer):
        """Applies a `keras.layers.LayerNormalization` to `[t, h]`.

        Keras takes squared differences, which TensorFlow has no vector instructions for: one text
        at a time, that was a tenth of the encoder's time.
        """
        x = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(x * x, axis=-1, keepdims=True)
        return x * ops.rsqrt(variance + layer.epsilon) * layer.gamma + layer.beta

    def unpack(self, x):
        """Takes `[t, h]` to `[b, s, h]`; padding has the values of any token."""
        return ops.take(x, self.rows, axis=0)
