"""The learning rate of BERT: a straight line up, then a straight line down."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_bert_lib")
class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that rises linearly from 0 and then falls linearly to 0.

    Step `warmup_steps` has the peak, step `total_steps` and every later one has 0. The first
    step has 0 too unless `warmup_steps` is 0.

    Args:
        learning_rate: float. The peak.
        total_steps: int. Updates of the weights in the whole training, warmup included.
        warmup_steps: int. Updates until the peak, from 0 to `total_steps`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
    ```python
    schedule = kbl.training.WarmupLinearDecay(1e-4, total_steps=100, warmup_steps=10)
    [float(schedule(step)) for step in (0, 5, 10, 55, 100)]    # 0, 5e-5, 1e-4, 5e-5, 0
    ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805), appendix A.2
        - `get_linear_schedule_with_warmup` of Hugging Face transformers, which this equals
    """

    def __init__(self, learning_rate, total_steps, warmup_steps=0):
        super().__init__()
        if not learning_rate >= 0:
            raise ValueError(f"`learning_rate` must be 0 or more. Received: {learning_rate}")
        if not total_steps >= 1:
            raise ValueError(f"`total_steps` must be 1 or more. Received: {total_steps}")
        if not 0 <= warmup_steps <= total_steps:
            raise ValueError(
                "`warmup_steps` must be between 0 and `total_steps`. "
                f"Received: warmup_steps={warmup_steps}, total_steps={total_steps}"
            )
        self.learning_rate = float(learning_rate)
        self.total_steps = int(total_steps)
        self.warmup_steps = int(warmup_steps)

    def __call__(self, step):
        """Returns the learning rate, a float32 scalar, of the update number `step` (from 0)."""
        step = ops.cast(step, "float32")
        up = step / max(self.warmup_steps, 1)
        left = (self.total_steps - step) / max(self.total_steps - self.warmup_steps, 1)
        factor = ops.where(step < self.warmup_steps, up, self._decayed(ops.maximum(left, 0.0)))
        return self.learning_rate * factor

    def _decayed(self, left):
        """Returns the share of the peak when the share `left` of the steps after it is left."""
        return left

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            "learning_rate": self.learning_rate,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
        }
