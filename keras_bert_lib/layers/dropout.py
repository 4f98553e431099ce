"""Dropout that can be computed again."""

import functools
import math

import keras
from keras import ops

from keras_bert_lib.layers.fused import can_fuse, fused

_DRAWS = 2**16  # of a number: half the random bits of a float


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout` whose random numbers may come from a seed that was drawn before.

    A block that is computed again in the backward pass must drop what it dropped at first.

    On TensorFlow a value is dropped by a draw of 16 bits, half of what Keras draws: the rate is
    rounded to a multiple of 1 / 65,536, and what stays is scaled for that.

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
        if not training or self.rate == 0:
            return inputs
        if keras.backend.backend() != "tensorflow":
            seed = self.draw() if seed is None else seed
            return keras.random.dropout(inputs, self.rate, seed=_Drawn(seed))
        return _dropped(inputs, self.draws(ops.shape(inputs), seed), rate=self.rate)

    def draws(self, shape, seed=None):
        """Returns random int16 numbers for `scaled_draws`; on TensorFlow alone."""
        import tensorflow as tf

        seed = self.draw() if seed is None else seed
        if can_fuse(seed) and all(isinstance(size, int) for size in shape):
            return tf.reshape(_hashes()(tf.cast(seed, tf.uint32), math.prod(shape)), shape)
        seed = tf.cast(tf.math.floormod(tf.cast(seed, tf.int64), tf.int32.max), tf.int32)
        count = tf.reduce_prod(shape)
        words = tf.random.stateless_uniform(
            [(count + 1) // 2], seed, minval=None, maxval=None, dtype=tf.int32
        )
        return tf.reshape(tf.reshape(tf.bitcast(words, tf.int16), [-1])[:count], shape)


@functools.cache
def _hashes():
    """Returns the function of a seed, uint32 `[2]`, and a count to as many int16 random numbers.

    Each is a hash of its own place and the seed: a program of few operations, all of them vector
    operations of a CPU. That takes a third to a seventh of the time of TensorFlow's Philox, which
    took a quarter of attention's time.
    """
    import tensorflow as tf

    def uint32(x):
        return tf.constant(x, tf.uint32)

    def mixed(x):
        # https://nullprogram.com/blog/2018/07/31/: every bit in changes about half of those out.
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            x = (x ^ tf.bitwise.right_shift(x, uint32(shift))) * uint32(factor)
        return x ^ tf.bitwise.right_shift(x, uint32(16))

    @functools.partial(tf.function, jit_compile=True, autograph=False)
    def hashes(seed, count):
        # Seeds come one after the other: both keys must be others each time.
        second = mixed(seed[1])
        first = mixed(seed[0] ^ second)
        x = mixed(mixed(tf.cast(tf.range(count), tf.uint32) + first) ^ second)  # [count]
        return tf.bitcast(tf.cast(tf.bitwise.right_shift(x, uint32(16)), tf.uint16), tf.int16)

    return hashes


def scaled_draws(draws, rate):
    """Returns 0 for a share `rate` of int16 random numbers and 1 / (1 - share) for the others."""
    dropped = min(round(rate * _DRAWS), _DRAWS - 1)
    is_kept = draws >= ops.cast(dropped - _DRAWS // 2, "int16")  # int16 begins below 0
    return ops.cast(is_kept, "float32") * (_DRAWS / (_DRAWS - dropped))


@fused
def _dropped(x, draws, rate):
    return x * ops.cast(scaled_draws(draws, rate), x.dtype)


class _Drawn(keras.random.SeedGenerator):
    """A seed in the form that `keras.random` takes."""

    def __init__(self, seed):
        self.drawn = seed  # no state of its own

    def next(self, ordered=True):
        return self.drawn
