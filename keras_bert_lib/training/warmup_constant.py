"""A learning rate that goes up in a straight line and stays."""

import keras
from keras import ops

from keras_bert_lib.training.warmup_linear_decay import WarmupLinearDecay


@keras.saving.register_keras_serializable("keras_bert_lib")
class WarmupConstant(WarmupLinearDecay):
    """Learning rate that rises linearly from 0 and then stays at its peak.

    For trainings whose length is not known, or that go on after `total_steps`.

    Args:
        learning_rate: float. The peak.
        total_steps: int. Updates of the weights in the whole training, warmup included.
        warmup_steps: int. Updates until the peak, from 0 to `total_steps`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
    ```python
    schedule = kbl.training.WarmupConstant(1e-4, total_steps=100, warmup_steps=10)
    [float(schedule(step)) for step in (0, 5, 10, 55, 100)]    # 0, 5e-5, 1e-4, 1e-4, 1e-4
    ```

    References:
        - `get_constant_schedule_with_warmup` of Hugging Face transformers, which this equals
    """

    def _decayed(self, left):
        return ops.ones_like(left)
