"""A learning rate that goes up in a straight line and down in half a cosine wave."""

import math

import keras
from keras import ops

from keras_bert_lib.training.warmup_linear_decay import WarmupLinearDecay


@keras.saving.register_keras_serializable("keras_bert_lib")
class WarmupCosineDecay(WarmupLinearDecay):
    """Learning rate that rises linearly from 0 and then falls to 0 as a cosine does.

    It stays near the peak for longer than `WarmupLinearDecay`, and near 0 too.

    Args:
        learning_rate: float. The peak.
        total_steps: int. Updates of the weights in the whole training, warmup included.
        warmup_steps: int. Updates until the peak, from 0 to `total_steps`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
    ```python
    schedule = kbl.training.WarmupCosineDecay(1e-4, total_steps=100, warmup_steps=10)
    [float(schedule(step)) for step in (0, 5, 10, 55, 100)]    # 0, 5e-5, 1e-4, 5e-5, 0
    ```

    References:
        - [Loshchilov and Hutter, 2016](https://arxiv.org/abs/1608.03983), without restarts
        - `get_cosine_schedule_with_warmup` of Hugging Face transformers, which this equals
    """

    def _decayed(self, left):
        return 0.5 * (1.0 - ops.cos(math.pi * left))
