"""Multi-head self-attention."""

import keras
from keras import ops

from keras_bert_lib.layers.dense import Dense
from keras_bert_lib.layers.dropout import Dropout
from keras_bert_lib.layers.fused import can_fuse
from keras_bert_lib.layers.fused_attention import MASKED_SCORE, fused_attention
from keras_bert_lib.layers.initializers import normal
from keras_bert_lib.layers.shapes import leading_dims


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class SelfAttention(keras.layers.Layer):
    """Multi-head scaled dot-product self-attention, softmax(QK^T / sqrt(d_k)) V.

    Query, key and value come from one fused kernel `[hidden, 3 * hidden]`: one matrix product
    where three were. Scores and softmax are float32, whatever the compute dtype.

    Args:
        num_heads: int, a divisor of the inputs' width.
        dropout: float, the rate of dropout on the attention probabilities.
        initializer_range: float, standard deviation of the initial kernels.
        **kwargs: keyword arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: float `[batch, seq, hidden]`.
        padding_mask: int32 `[batch, seq]`, 1 for tokens and 0 for padding, which no token attends
            to. With None no mask operation is in the graph.
        training: bool, whether dropout is on.
        return_attention: bool, whether to return the attention probabilities too.
        token_rows: `TokenRows` of the mask, or None. With them `inputs` and outputs are the tokens
            end to end, `[tokens, hidden]`.
        example_ids: int32 `[batch, seq]`, of rows that hold several examples: tokens attend only
            to those of the same number, and padding has a number of its own, so that
            `padding_mask` says nothing more. None: one example a row.
        seed: what `dropout_layer.draw()` returned, or None to draw one.

    Returns:
        Float `[batch, seq, hidden]`; with `return_attention`, the pair of it and of the
        probabilities, float32 `[batch, num_heads, seq, seq]`, before dropout.

    Raises:
        ValueError: if `num_heads` does not divide the inputs' width.

    Example:
        ```python
        import numpy as np
        from keras_bert_lib.layers import SelfAttention

        x = np.random.normal(size=(2, 5, 16)).astype("float32")
        mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], "int32")
        SelfAttention(num_heads=4)(x, padding_mask=mask).shape  # (2, 5, 16)
        ```

    References:
        - [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762)
    """

    def __init__(self, num_heads, dropout=0.1, initializer_range=0.02, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.dropout = dropout
        self.initializer_range = initializer_range
        self.dropout_layer = Dropout(dropout, dtype=self.dtype_policy, name="dropout")

    def build(self, input_shape):
        """Creates the kernels; `input_shape` is `[batch, seq, hidden]`."""
        hidden = input_shape[-1]
        if hidden % self.num_heads:
            raise ValueError(
                "`num_heads` must divide the width of the inputs. "
                f"Received: num_heads={self.num_heads}, width={hidden}"
            )
        self.hidden_size = hidden
        self.head_size = hidden // self.num_heads
        self.qkv = Dense(
            3 * hidden,
            kernel_initializer=normal(self.initializer_range),
            dtype=self.dtype_policy,
            name="qkv",
        )
        self.qkv.build((None, hidden))
        self.output_dense = Dense(
            hidden,
            kernel_initializer=normal(self.initializer_range),
            dtype=self.dtype_policy,
            name="output",
        )
        self.output_dense.build((None, hidden))

    def call(
        self,
        inputs,
        padding_mask=None,
        training=None,
        return_attention=False,
        token_rows=None,
        example_ids=None,
        seed=None,
    ):
        """Returns the attended inputs `[b, s, h]`, and the probabilities on request."""
        batch, seq = leading_dims(inputs if token_rows is None else token_rows.rows)
        # Products with a kernel are of matrices: with more dimensions each would bring a dozen
        # operations on shapes into the graph.
        x = ops.reshape(inputs, (-1, self.hidden_size))  # [b * s, h]
        x = self.qkv(x)  # [b * s, 3 * h]
        if token_rows is not None:
            x = token_rows.unpack(x)  # [b, s, 3 * h]
        attend = self._attend
        if training and self.dropout > 0 and not return_attention and can_fuse(x):
            attend = self._attend_in_programs
        context, attention = attend(x, (batch, seq), padding_mask, example_ids, training, seed)
        context = ops.reshape(context, (-1, self.hidden_size))  # [b * s, h]
        if token_rows is not None:
            context = token_rows.pack(context)  # [t, h]
        outputs = self.output_dense(context)
        if token_rows is None:
            outputs = ops.reshape(outputs, (batch, seq, self.hidden_size))
        if return_attention:
            return outputs, attention
        return outputs

    def _attend(self, qkv, rows, padding_mask, example_ids, training, seed):
        """Returns the context `[b, s, n, d]` and the probabilities `[b, n, s, s]`.

        Of `qkv`, float `[b * s, 3 * h]` or `[b, s, 3 * h]`; `rows` is `(b, s)`.
        """
        heads = (*rows, self.num_heads, self.head_size)  # b, s, n, d
        query, key, value = ops.split(qkv, 3, axis=-1)  # each [b * s, h] or [b, s, h]
        query = query * (self.head_size**-0.5)
        query = ops.transpose(ops.reshape(query, heads), (0, 2, 1, 3))  # [b, n, s, d]
        key = ops.transpose(ops.reshape(key, heads), (0, 2, 3, 1))  # [b, n, d, s]
        value = ops.transpose(ops.reshape(value, heads), (0, 2, 1, 3))  # [b, n, s, d]

        scores = ops.cast(ops.matmul(query, key), "float32")  # [b, n, s, s]
        if example_ids is not None:
            ids = ops.expand_dims(example_ids, 1)  # [b, 1, s]
            is_other = ops.not_equal(ops.expand_dims(ids, 3), ops.expand_dims(ids, 2))
            scores = scores + ops.cast(is_other, "float32") * MASKED_SCORE  # [b, 1, s, s] added
        elif padding_mask is not None:
            padding = 1.0 - ops.cast(padding_mask, "float32")
            padding = ops.expand_dims(ops.expand_dims(padding, 1), 1)  # [b, 1, 1, s]
            scores = scores + padding * MASKED_SCORE
        attention = ops.softmax(scores, axis=-1)  # [b, n, s, s]

        weights = ops.cast(attention, self.compute_dtype)
        weights = self.dropout_layer(weights, training=training, seed=seed)
        return ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3)), attention

    def _attend_in_programs(self, qkv, rows, padding_mask, example_ids, training, seed):
        """Does in training what `_attend` does, in a part of the time; without probabilities."""
        qkv = ops.reshape(qkv, (*rows, 3 * self.hidden_size))
        query_ids = key_ids = ops.zeros((1, 1), "int32")
        if example_ids is not None:
            query_ids = key_ids = example_ids
        elif padding_mask is not None:
            query_ids, key_ids = ops.ones((1, 1), padding_mask.dtype), padding_mask
        draws = self.dropout_layer.draws((rows[0], self.num_heads, rows[1], rows[1]), seed)
        context = fused_attention(
            qkv, draws, query_ids, key_ids, num_heads=self.num_heads, rate=self.dropout
        )
        return context, None

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "num_heads": self.num_heads,
            "dropout": self.dropout,
            "initializer_range": self.initializer_range,
        }
