"""Attention in programs: what the layer's operations give, forward and backward."""

from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from keras_bert_lib.layers import SelfAttention, self_attention

BATCH, SEQ, HEADS, HIDDEN = 3, 64, 2, 64
MASKS = {
    "none": {},
    "padding": {"padding_mask": np.arange(SEQ) < [[SEQ], [20], [1]]},
    "examples": {"example_ids": np.arange(SEQ)[None] // [[3], [25], [SEQ]]},
}


def context_and_gradients(policy, mask, is_fused, rate=0.3):
    """Of weights and inputs that are the same each time, in float64."""
    keras.utils.set_random_seed(0)
    layer = SelfAttention(HEADS, rate, initializer_range=0.1, dtype=policy)
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(BATCH, SEQ, HIDDEN)), layer.compute_dtype)
    upstream = tf.constant(rng.normal(size=x.shape), layer.compute_dtype)
    layer.build(x.shape)
    mask = {name: tf.constant(value, "int32") for name, value in MASKS[mask].items()}

    @tf.function(autograph=False)
    def run():
        with tf.GradientTape() as tape:
            tape.watch(x)
            seed = tf.constant([3, 5], tf.uint32)
            result = layer(x, training=True, seed=seed, **mask)
        sources = [x, *(v.value for v in layer.trainable_variables)]
        return [result, *tape.gradient(result, sources, upstream)]

    with mock.patch.object(self_attention, "can_fuse", return_value=is_fused):
        return [np.asarray(tf.cast(value, tf.float64)) for value in run()]


def errors(values, expected):
    """Of each tensor: the root mean square, as a share of its own."""
    pairs = zip(values, expected, strict=True)
    return [np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)) for a, b in pairs]


class FusedAttentionTest(parameterized.TestCase):
    @parameterized.product(mask=list(MASKS), rate=[0.1, 0.6])
    def test_equals_the_operations(self, mask, rate):
        values, expected = (
            context_and_gradients("float32", mask, is_fused, rate) for is_fused in (True, False)
        )
        # Sums in another order.
        self.assertLess(max(errors(values, expected)), 1e-6)

    @parameterized.product(policy=["mixed_bfloat16", "mixed_float16"], mask=list(MASKS))
    def test_half_precision_is_as_exact_as_the_operations(self, policy, mask):
        exact = context_and_gradients("float32", mask, False)
        ours, of_operations = (
            errors(context_and_gradients(policy, mask, is_fused), exact)
            for is_fused in (True, False)
        )
        # Both are rounding, of other numbers in other places.
        for error, other in zip(ours, of_operations, strict=True):
            self.assertLess(error, 1.6 * other)

    def test_training_takes_it_and_inference_does_not(self):
        layer = SelfAttention(HEADS, 0.1)
        x = tf.ones((BATCH, SEQ, HIDDEN))
        layer.build(x.shape)
        with mock.patch.object(
            self_attention, "fused_attention", wraps=self_attention.fused_attention
        ) as fused:
            layer(x)
            layer(x, training=True, return_attention=True)
            fused.assert_not_called()
            layer(x, training=True)
            fused.assert_called_once()
