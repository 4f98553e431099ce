"""The head that predicts the masked pieces."""

import keras
from keras import ops

from keras_bert_lib.layers.activations import get_activation
from keras_bert_lib.layers.gather_positions import gather_positions
from keras_bert_lib.layers.initializers import normal
from keras_bert_lib.layers.layer_normalization import LayerNormalization
from keras_bert_lib.layers.shapes import leading_dims


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class MaskedLMHead(keras.layers.Layer):
    """Scores every piece of the vocabulary at the masked positions.

    The masked positions are gathered first: 15% of the tokens are masked, and the product with
    the vocabulary is most of the cost. Then dense, activation and LayerNorm, and a product with
    the token embedding, which the head shares instead of having a matrix of its own.

    Args:
        vocab_size: int, number of pieces in the vocabulary.
        hidden_act: `"gelu"`, `"gelu_new"`, `"gelu_tanh"` or `"relu"`.
        layer_norm_eps: float, added to the variance in LayerNorm.
        initializer_range: float, standard deviation of the initial kernel.
        **kwargs: keyword arguments of `keras.layers.Layer`.

    Call arguments:
        sequence_output: float `[batch, seq, hidden]`.
        token_embedding: float `[vocab_size, hidden]`, as a tensor.
        masked_positions: int32 `[batch, predictions]`, indices into the sequence; None scores
            every position.

    Returns:
        Float32 logits `[batch, predictions, vocab_size]`, or `[batch, seq, vocab_size]` where
        there are no `masked_positions`.

    Example:
        ```python
        import numpy as np
        from keras_bert_lib.layers import MaskedLMHead

        head = MaskedLMHead(vocab_size=100)
        hidden = np.random.normal(size=(2, 5, 16)).astype("float32")
        embedding = np.random.normal(size=(100, 16)).astype("float32")
        positions = np.array([[1, 3], [2, 0]], "int32")
        head(hidden, embedding, positions).shape  # (2, 2, 100)
        ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
        - [Press and Wolf, 2016](https://arxiv.org/abs/1608.05859) (tied embeddings)
    """

    def __init__(
        self,
        vocab_size,
        hidden_act="gelu",
        layer_norm_eps=1e-12,
        initializer_range=0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.hidden_act = hidden_act
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.activation = get_activation(hidden_act)
        self.layer_norm = LayerNormalization(
            epsilon=layer_norm_eps, dtype=self.dtype_policy, name="layer_norm"
        )

    def build(self, input_shape):
        """Creates the weights; `input_shape` is that of `sequence_output`."""
        self.dense = keras.layers.Dense(
            input_shape[-1],
            kernel_initializer=normal(self.initializer_range),
            dtype=self.dtype_policy,
            name="dense",
        )
        self.dense.build((None, input_shape[-1]))
        self.layer_norm.build((None, input_shape[-1]))
        self.bias = self.add_weight(
            shape=(self.vocab_size,), initializer="zeros", autocast=False, name="bias"
        )

    def call(self, sequence_output, token_embedding, masked_positions=None, training=None):
        """Returns the logits `[b, p, v]`."""
        if masked_positions is None:
            x = sequence_output  # p is s
        else:
            x = gather_positions(sequence_output, masked_positions)  # [b, p, h]
        batch, predictions = leading_dims(x)
        x = ops.reshape(x, (-1, x.shape[-1]))  # [b * p, h]
        x = self.activation(self.dense(x), training=training)
        x = self.layer_norm(x, training=training)
        token_embedding = ops.cast(token_embedding, self.compute_dtype)
        if training and keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # Its gradient comes as [v, h] and need not be transposed.
            logits = tf.linalg.matmul(x, token_embedding, transpose_b=True)  # [b * p, v]
        else:
            logits = ops.matmul(x, ops.transpose(token_embedding))  # [b * p, v]
        logits = ops.cast(logits, "float32") + self.bias
        return ops.reshape(logits, (batch, predictions, self.vocab_size))

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "vocab_size": self.vocab_size,
            "hidden_act": self.hidden_act,
            "layer_norm_eps": self.layer_norm_eps,
            "initializer_range": self.initializer_range,
        }
