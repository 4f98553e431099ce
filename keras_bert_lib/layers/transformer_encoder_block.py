"""One block of the Transformer encoder."""

import keras
from keras import ops

from keras_bert_lib.layers.activations import get_activation
from keras_bert_lib.layers.dense import Dense
from keras_bert_lib.layers.dropout import Dropout
from keras_bert_lib.layers.initializers import normal
from keras_bert_lib.layers.layer_normalization import LayerNormalization
from keras_bert_lib.layers.self_attention import SelfAttention
from keras_bert_lib.layers.shapes import leading_dims


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class TransformerEncoderBlock(keras.layers.Layer):
    """Self-attention and a two-layer feed-forward network, each with residual and LayerNorm.

    BERT normalizes after the residual (post-LN); with `norm_first`, before each sublayer
    (pre-LN), which trains deep stacks without warmup and wants one more LayerNorm after the last
    block.

    Args:
        num_heads: int, number of attention heads.
        intermediate_size: int, width of the feed-forward network's inner layer.
        hidden_act: `"gelu"` (the exact erf form, BERT's own), `"gelu_new"` or `"gelu_tanh"` (both
            the tanh approximation) or `"relu"`.
        hidden_dropout: float, the rate of dropout on the output of each sublayer.
        attention_dropout: float, the rate of dropout on the attention probabilities.
        layer_norm_eps: float, added to the variance in LayerNorm.
        initializer_range: float, standard deviation of the initial kernels.
        norm_first: bool, whether LayerNorm comes before each sublayer.
        **kwargs: keyword arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: float `[batch, seq, hidden]`.
        padding_mask: int32 `[batch, seq]`, 1 for tokens and 0 for padding, or None.
        training: bool, whether dropout is on.
        return_attention: bool, whether to return the attention probabilities too.
        token_rows: `TokenRows` of the mask, or None. With them `inputs` and outputs are the tokens
            end to end, `[tokens, hidden]`.
        example_ids: int32 `[batch, seq]` or None, as in `SelfAttention`.
        seeds: what `draw_seeds` returned; None in it draws new ones.

    Returns:
        Float `[batch, seq, hidden]`; with `return_attention`, the pair of it and of the
        probabilities, float32 `[batch, num_heads, seq, seq]`.

    Raises:
        ValueError: for an unknown `hidden_act`, or if `num_heads` does not divide the inputs'
            width.

    Example:
        ```python
        import numpy as np
        from keras_bert_lib.layers import TransformerEncoderBlock

        block = TransformerEncoderBlock(num_heads=2, intermediate_size=64)
        block(np.random.normal(size=(2, 5, 16)).astype("float32")).shape  # (2, 5, 16)
        ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
        - [Xiong et al., 2020](https://arxiv.org/abs/2002.04745) (pre-LN)
    """

    def __init__(
        self,
        num_heads,
        intermediate_size,
        hidden_act="gelu",
        hidden_dropout=0.1,
        attention_dropout=0.1,
        layer_norm_eps=1e-12,
        initializer_range=0.02,
        norm_first=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout = hidden_dropout
        self.attention_dropout = attention_dropout
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.norm_first = norm_first
        self.activation = get_activation(hidden_act)
        dtype = self.dtype_policy
        self.attention = SelfAttention(
            num_heads, attention_dropout, initializer_range, dtype=dtype, name="attention"
        )
        self.attention_norm = LayerNormalization(
            epsilon=layer_norm_eps, dtype=dtype, name="attention_norm"
        )
        self.output_norm = LayerNormalization(
            epsilon=layer_norm_eps, dtype=dtype, name="output_norm"
        )
        self.dropout_layer = Dropout(hidden_dropout, dtype=dtype, name="dropout")

    def build(self, input_shape):
        """Creates the kernels; `input_shape` is `[batch, seq, hidden]`."""
        self.hidden_size = input_shape[-1]
        self.attention.build(input_shape)
        self.attention_norm.build(input_shape)
        self.intermediate_dense = Dense(
            self.intermediate_size,
            kernel_initializer=normal(self.initializer_range),
            dtype=self.dtype_policy,
            name="intermediate",
        )
        self.intermediate_dense.build((None, self.hidden_size))
        self.output_dense = Dense(
            self.hidden_size,
            kernel_initializer=normal(self.initializer_range),
            dtype=self.dtype_policy,
            name="output",
        )
        self.output_dense.build((None, self.intermediate_size))
        self.output_norm.build(input_shape)

    def draw_seeds(self):
        """Returns the seeds of the dropout of one call."""
        return (
            self.attention.dropout_layer.draw(),
            self.dropout_layer.draw(),
            self.dropout_layer.draw(),
        )

    def call(
        self,
        inputs,
        padding_mask=None,
        training=None,
        return_attention=False,
        token_rows=None,
        example_ids=None,
        seeds=(None, None, None),
    ):
        """Returns the block's output `[b, s, h]`, and the attention probabilities on request."""

        def normalize(x, layer):
            if token_rows is not None:
                return token_rows.normalize(x, layer)
            return layer(x, training=training)

        def add(residual, x, layer, seed):
            if self.norm_first or token_rows is not None:
                x = residual + self.dropout_layer(x, training=training, seed=seed)
                return x if self.norm_first else normalize(x, layer)
            return layer.of_sum(residual, x, self.dropout_layer, training, seed)

        x = normalize(inputs, self.attention_norm) if self.norm_first else inputs
        x, attention = self.attention(
            x,
            padding_mask=padding_mask,
            training=training,
            return_attention=True,
            token_rows=token_rows,
            example_ids=example_ids,
            seed=seeds[0],
        )
        x = add(inputs, x, self.attention_norm, seeds[1])

        residual = x  # [b, s, h]
        if self.norm_first:
            x = normalize(x, self.output_norm)
        # As in SelfAttention, matrices spare the graph operations on shapes.
        x = ops.reshape(x, (-1, self.hidden_size))  # [b * s, h]
        x = self.activation(self.intermediate_dense(x), training=training)
        x = self.output_dense(x)  # [b * s, h]
        if token_rows is None:
            x = ops.reshape(x, (*leading_dims(inputs), self.hidden_size))
        x = add(residual, x, self.output_norm, seeds[2])
        if return_attention:
            return x, attention
        return x

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "num_heads": self.num_heads,
            "intermediate_size": self.intermediate_size,
            "hidden_act": self.hidden_act,
            "hidden_dropout": self.hidden_dropout,
            "attention_dropout": self.attention_dropout,
            "layer_norm_eps": self.layer_norm_eps,
            "initializer_range": self.initializer_range,
            "norm_first": self.norm_first,
        }
