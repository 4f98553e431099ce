"""Dropout that can be computed again."""

import keras


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout` whose random numbers may come from a seed that was drawn before.

    A block that is computed again in the backward pass must drop what it dropped at first.

    Call arguments:
        inputs: float tensor.
        training: bool, whether dropout is on.
        seed: what `draw` returned, or None to draw one.
    """

    def draw(self):
        """Returns a new seed, uint32 `[2]`, or None where nothing is dropped."""
        return self.seed_generator.next() if self.rate > 0 else None

    def call(self, inputs, training=False, seed=None):
        """Returns the inputs, some of them 0 in training."""
        if seed is None or not training or self.rate == 0:
            return super().call(inputs, training=training)
        return keras.random.dropout(inputs, self.rate, seed=_Drawn(seed))


class _Drawn(keras.random.SeedGenerator):
    """A seed in the form that `keras.random` takes."""

    def __init__(self, seed):
        self.drawn = seed  # no state of its own

    def next(self, ordered=True):
        return self.drawn
