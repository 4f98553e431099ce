"""Attention with dropout, in few passes over memory."""

import functools

from keras_bert_lib.layers.dropout import scaled_draws

# Added to the scores of padding. exp(-1000) is 0 in float32, so padding gets no weight at all, as
# with the larger numbers often seen here; but this one fits float16, and leaves an 8-bit
# quantizer, which must cover the whole range, some steps for the real scores.
MASKED_SCORE = -1000.0


def fused_attention(qkv, draws, query_ids, key_ids, num_heads, rate):
    """Computes softmax(QK^T / sqrt(d_k)) V with dropout of the probabilities.

    What lies between the products is `[batch, num_heads, seq, seq]`, and each pass over it costs
    as much as a good part of a product. Here XLA makes one program of what comes before the
    softmax, one of what comes after it, and one of the gradients of all three. Of these large
    tensors two are kept for the gradient: the probabilities, in the compute dtype, and `draws`.
    What the softmax's gradient sums over each row is the sum of the context times its gradient,
    which is a small tensor.

    For training on TensorFlow, where `can_fuse` says so.

    Args:
        qkv: float `[batch, seq, 3 * hidden]`, queries, keys and values, of static shape.
        draws: int16 `[batch, num_heads, seq, seq]`, what `Dropout.draws` returns.
        query_ids: int32, of a shape that broadcasts to `[batch, seq]`.
        key_ids: The same. A token attends to those alone whose number here is its own there.
        num_heads: int.
        rate: float, the rate of dropout.

    Returns:
        Float `[batch, seq, hidden]`.

    References:
        - [Dao, 2023](https://arxiv.org/abs/2307.08691), for the sum of each row
    """
    head_size = qkv.shape[-1] // 3 // num_heads
    return _attention(num_heads, head_size, rate, qkv.dtype)(qkv, draws, query_ids, key_ids)


@functools.cache
def _attention(num_heads, head_size, rate, dtype):
    import tensorflow as tf

    compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
    scale = head_size**-0.5

    @compiled
    def masked(scores, query_ids, key_ids):
        is_seen = query_ids[:, None, :, None] == key_ids[:, None, None, :]  # [b, 1, s, s]
        return tf.cast(scores, tf.float32) * scale + tf.where(is_seen, 0.0, MASKED_SCORE)

    @compiled
    def dropped(attention, draws):
        attention = tf.cast(attention, dtype)
        return attention, attention * tf.cast(scaled_draws(draws, rate), dtype)

    @compiled
    def gradients(d_weights, attention, draws, sums):
        """Of the scores, with what scales them; and the weights once more."""
        kept = scaled_draws(draws, rate)
        weights = attention * tf.cast(kept, dtype)
        d_attention = tf.cast(d_weights, tf.float32) * kept
        d_scores = tf.cast(attention, tf.float32) * (d_attention - sums) * scale
        return tf.cast(d_scores, dtype), weights

    def split(x):  # [b, s, m * n * d] to [m, b, n, s, d]
        batch, seq, width = x.shape
        x = tf.reshape(x, [batch, seq, width // (num_heads * head_size), num_heads, head_size])
        return tf.unstack(tf.transpose(x, [2, 0, 3, 1, 4]))

    def join(tensors):  # the other way round
        x = tf.transpose(tf.stack(tensors), [1, 3, 0, 2, 4])  # [b, s, m, n, d]
        return tf.reshape(x, [*x.shape[:2], -1])

    @tf.custom_gradient
    def attend(qkv, draws, query_ids, key_ids):
        query, key, value = split(qkv)  # each [b, n, s, d]
        scores = masked(tf.matmul(query, key, transpose_b=True), query_ids, key_ids)
        attention, weights = dropped(tf.nn.softmax(scores), draws)  # [b, n, s, s]
        context = tf.matmul(weights, value)  # [b, n, s, d]

        def gradient(upstream):
            (upstream,) = split(upstream)  # [b, n, s, d]
            sums = tf.cast(upstream, tf.float32) * tf.cast(context, tf.float32)
            sums = tf.reduce_sum(sums, axis=-1, keepdims=True)  # [b, n, s, 1]
            d_weights = tf.matmul(upstream, value, transpose_b=True)
            d_scores, weights = gradients(d_weights, attention, draws, sums)
            d_query = tf.matmul(d_scores, key)
            d_key = tf.matmul(d_scores, query, transpose_a=True)
            d_value = tf.matmul(weights, upstream, transpose_a=True)
            return join([d_query, d_key, d_value]), None, None, None

        return join([context]), gradient

    return attend
