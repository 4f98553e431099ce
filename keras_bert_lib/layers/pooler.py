"""One vector for the whole sequence."""

import keras
from keras import ops

from keras_bert_lib.layers.gather_positions import gather_positions
from keras_bert_lib.layers.initializers import normal
from keras_bert_lib.layers.shapes import leading_dims


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class Pooler(keras.layers.Layer):
    """Turns the first token, `[CLS]`, into one vector for the sequence: dense, then tanh.

    Args:
        initializer_range: float, standard deviation of the initial kernel.
        **kwargs: keyword arguments of `keras.layers.Layer`.

    Call arguments:
        sequence_output: float `[batch, seq, hidden]`.
        cls_positions: int32 `[batch, examples]`, where the `[CLS]` of each example stands in rows
            that hold several; None: one example a row, from its first token on.

    Returns:
        Float `[batch, hidden]`, or `[batch, examples, hidden]` with `cls_positions`.

    Example:
        ```python
        import numpy as np
        from keras_bert_lib.layers import Pooler

        Pooler()(np.random.normal(size=(2, 5, 16)).astype("float32")).shape  # (2, 16)
        ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """

    def __init__(self, initializer_range=0.02, **kwargs):
        super().__init__(**kwargs)
        self.initializer_range = initializer_range

    def build(self, input_shape):
        """Creates the kernel; `input_shape` is `[batch, seq, hidden]`."""
        self.dense = keras.layers.Dense(
            input_shape[-1],
            activation="tanh",
            kernel_initializer=normal(self.initializer_range),
            dtype=self.dtype_policy,
            name="dense",
        )
        self.dense.build((input_shape[0], input_shape[-1]))

    def call(self, sequence_output, cls_positions=None):
        """Returns the pooled output `[b, h]`, or `[b, e, h]` of packed rows."""
        if cls_positions is not None:
            return self.dense(gather_positions(sequence_output, cls_positions))
        # A slice and a reshape, for XNNPACK has no slice that drops a dimension: where there is one
        # a TFLite file falls apart into two parts. A batch of one is to stay one in its shapes.
        batch, _ = leading_dims(sequence_output)
        first = ops.reshape(sequence_output[:, :1], (batch, sequence_output.shape[-1]))  # [b, h]
        return self.dense(first)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | {"initializer_range": self.initializer_range}
