"""Token, position and segment embeddings."""

import keras
import numpy as np
from keras import ops

from keras_bert_lib.layers.dropout import Dropout
from keras_bert_lib.layers.initializers import normal
from keras_bert_lib.layers.layer_normalization import LayerNormalization


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class BertEmbeddings(keras.layers.Layer):
    """Adds token, position and segment embeddings, then LayerNorm and dropout.

    The matrix `token_embedding` `[vocab_size, hidden_size]` is public, so that `MaskedLMHead` can
    share it.

    Args:
        vocab_size: int, number of pieces in the vocabulary.
        hidden_size: int, width of the embeddings. Even for sinusoidal positions.
        max_position_embeddings: int, the longest sequence, in tokens.
        type_vocab_size: int, number of segments.
        position_embedding_type: `"learned"`, as in BERT, or `"sinusoidal"`, the fixed sines and
            cosines of the Transformer.
        dropout: float, the rate of dropout on the result.
        layer_norm_eps: float, added to the variance in LayerNorm.
        initializer_range: float, standard deviation of the initial weights.
        **kwargs: keyword arguments of `keras.layers.Layer`, as `name` and `dtype`.

    Call arguments:
        token_ids: int32 `[batch, seq]`.
        segment_ids: int32 `[batch, seq]`; None puts every token in segment 0.
        training: bool, whether dropout is on.
        perturb: function or None. It takes the token embeddings, float32
            `[batch, seq, hidden_size]`, and returns what is used in their place.
        position_ids: int32 `[batch, seq]`; None counts each row from 0 on.

    Returns:
        Float `[batch, seq, hidden_size]`.

    Raises:
        ValueError: for an unknown `position_embedding_type`, an odd `hidden_size` with sinusoidal
            positions, or a sequence that is longer than `max_position_embeddings`.

    Example:
        ```python
        import numpy as np
        from keras_bert_lib.layers import BertEmbeddings

        embeddings = BertEmbeddings(vocab_size=100, hidden_size=16)
        embeddings(np.array([[2, 7, 3]], "int32")).shape  # (1, 3, 16)
        ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
        - [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762) (sinusoidal positions)
    """

    def __init__(
        self,
        vocab_size,
        hidden_size,
        max_position_embeddings=512,
        type_vocab_size=2,
        position_embedding_type="learned",
        dropout=0.1,
        layer_norm_eps=1e-12,
        initializer_range=0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if position_embedding_type not in ("learned", "sinusoidal"):
            raise ValueError(
                '`position_embedding_type` must be "learned" or "sinusoidal". '
                f"Received: position_embedding_type={position_embedding_type!r}"
            )
        if position_embedding_type == "sinusoidal" and hidden_size % 2:
            raise ValueError(
                "`hidden_size` must be even for sinusoidal positions. "
                f"Received: hidden_size={hidden_size}"
            )
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.position_embedding_type = position_embedding_type
        self.dropout = dropout
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.layer_norm = LayerNormalization(
            epsilon=layer_norm_eps, dtype=self.dtype_policy, name="layer_norm"
        )
        self.dropout_layer = Dropout(dropout, dtype=self.dtype_policy, name="dropout")

    def build(self, input_shape):
        """Creates the three tables; `input_shape` is that of `token_ids`."""
        # Rows are gathered in float32 and only what was gathered is cast: under mixed precision,
        # autocasting would copy the whole table.
        self.token_embedding = self.add_weight(
            shape=(self.vocab_size, self.hidden_size),
            initializer=normal(self.initializer_range),
            autocast=False,
            name="token_embedding",
        )
        self.segment_embedding = self.add_weight(
            shape=(self.type_vocab_size, self.hidden_size),
            initializer=normal(self.initializer_range),
            autocast=False,
            name="segment_embedding",
        )
        learned = self.position_embedding_type == "learned"
        self.position_embedding = self.add_weight(
            shape=(self.max_position_embeddings, self.hidden_size),
            initializer=normal(self.initializer_range) if learned else sinusoids,
            trainable=learned,
            autocast=False,
            name="position_embedding",
        )
        self.layer_norm.build((*input_shape, self.hidden_size))

    def call(self, token_ids, segment_ids=None, training=None, perturb=None, position_ids=None):
        """Returns the embeddings `[b, s, h]`."""
        if token_ids.shape[1] is not None and token_ids.shape[1] > self.max_position_embeddings:
            raise ValueError(
                f"`token_ids` is longer than the {self.max_position_embeddings} positions there "
                "are embeddings for. Truncate the text, or raise `max_position_embeddings`. "
                f"Received: token_ids.shape={tuple(token_ids.shape)}"
            )
        if position_ids is None:
            seq = ops.shape(token_ids)[1]
            positions = ops.convert_to_tensor(self.position_embedding)[:seq]  # [s, h]
        else:
            positions = lookup(self.position_embedding, position_ids)  # [b, s, h]
        x = lookup(self.token_embedding, token_ids)  # [b, s, h]
        if perturb is not None:
            x = perturb(x)
        if segment_ids is None:
            x = x + (positions + ops.convert_to_tensor(self.segment_embedding)[0])
        else:
            x = x + positions + lookup(self.segment_embedding, segment_ids)
        x = self.layer_norm(ops.cast(x, self.compute_dtype), training=training)
        return self.dropout_layer(x, training=training)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "max_position_embeddings": self.max_position_embeddings,
            "type_vocab_size": self.type_vocab_size,
            "position_embedding_type": self.position_embedding_type,
            "dropout": self.dropout,
            "layer_norm_eps": self.layer_norm_eps,
            "initializer_range": self.initializer_range,
        }


def lookup(table, ids):
    """Returns the rows of `table` `[n, h]` at `ids` `[b, s]`, as `[b, s, h]`."""
    # The reshape changes nothing but the gradient. Behind it TensorFlow has a dense one instead of
    # slices: the tied matrix gets a dense one anyway, and replicas cannot always gather slices.
    table = ops.reshape(table, table.shape)
    # Keras builds a model with the mean of the replicas' batches, whose ids are floats.
    return ops.take(table, ops.cast(ids, "int32"), axis=0)


def sinusoids(shape, dtype="float32"):
    """Returns the fixed position table of `shape` `[length, width]`.

    Column 2i is sin(position / 10000^(2i / width)), column 2i + 1 the cosine of the same.
    """
    length, width = shape
    rates = np.exp(np.arange(0, width, 2) * (-np.log(10000.0) / width))  # [w / 2]
    angles = np.arange(length)[:, np.newaxis] * rates  # [l, w / 2]
    table = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(shape)
    return ops.convert_to_tensor(table, dtype=dtype)
