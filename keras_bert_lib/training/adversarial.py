"""Moves of word embeddings, float32 `[b, s, h]`; an example's are counted all together."""

import tensorflow as tf


def zeros(mask, hidden_size):
    """Returns no move for tokens whose `mask` is `[b, s]`."""
    return tf.zeros([*tf.unstack(tf.shape(mask)), hidden_size])


def random_in_box(mask, hidden_size, epsilon, seed):
    """Returns a random move whose norm is below `epsilon`; where the `mask` is 0 there is none.

    Each number is uniform, and smaller the more tokens an example has. `seed` is int32 [2].
    """
    mask = tf.cast(mask, tf.float32)
    shape = [*tf.unstack(tf.shape(mask)), hidden_size]
    numbers = tf.random.stateless_uniform(shape, seed, minval=-1.0, maxval=1.0)
    size = tf.maximum(tf.reduce_sum(mask, axis=1), 1.0) * hidden_size  # [b], numbers of an example
    return numbers * mask[:, :, tf.newaxis] * (epsilon / tf.sqrt(size))[:, tf.newaxis, tf.newaxis]


def along_gradient(gradient, length):
    """Returns the move of `length` along the `gradient` `[b, s, h]`; none where that is 0."""
    # Squares of small gradients are 0 in float32: scaled to a maximum of 1 they are not.
    largest = tf.reduce_max(tf.abs(gradient), axis=[1, 2], keepdims=True)
    gradient = tf.math.divide_no_nan(gradient, largest)
    return tf.math.divide_no_nan(gradient * length, norms(gradient))


def within(perturbation, epsilon):
    """Returns the `perturbation`, shortened to the norm `epsilon` where it is longer."""
    return perturbation * (epsilon / tf.maximum(norms(perturbation), epsilon))


def norms(x):
    """Returns the norm of each example of `x` `[b, s, h]`, as `[b, 1, 1]`."""
    return tf.sqrt(tf.reduce_sum(tf.square(x), axis=[1, 2], keepdims=True))
