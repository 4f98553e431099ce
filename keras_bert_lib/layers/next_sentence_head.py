"""The head that tells whether one segment follows the other."""

import keras

from keras_bert_lib.layers.initializers import normal


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class NextSentenceHead(keras.layers.Layer):
    """Scores whether the second segment is the real next one (class 0) or a random one (1).

    Args:
        initializer_range: float, standard deviation of the initial kernel.
        **kwargs: keyword arguments of `keras.layers.Layer`.

    Call arguments:
        pooled_output: float `[batch, hidden]`.

    Returns:
        Float32 logits `[batch, 2]`.

    Example:
        ```python
        import numpy as np
        from keras_bert_lib.layers import NextSentenceHead

        NextSentenceHead()(np.random.normal(size=(4, 16)).astype("float32")).shape  # (4, 2)
        ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """

    def __init__(self, initializer_range=0.02, **kwargs):
        super().__init__(**kwargs)
        self.initializer_range = initializer_range
        self.dense = keras.layers.Dense(
            2, kernel_initializer=normal(initializer_range), dtype="float32", name="dense"
        )

    def build(self, input_shape):
        """Creates the kernel; `input_shape` is `[batch, hidden]`."""
        self.dense.build(input_shape)

    def call(self, pooled_output):
        """Returns the logits `[b, 2]`."""
        return self.dense(pooled_output)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | {"initializer_range": self.initializer_range}
