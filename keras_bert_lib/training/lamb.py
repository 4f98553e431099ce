"""LAMB, for large batches."""

import math

import keras
from keras import ops

from keras_bert_lib.training.adamw import AdamW


@keras.saving.register_keras_serializable("keras_bert_lib")
class LAMB(AdamW):
    """Adam whose step is, in each tensor, as long as the tensor's weights times the learning rate.

    With it batches may have thousands of examples, and the learning rate grows with the square root
    of the batch. It takes the arguments of `AdamW` and keeps its ways: bias correction, clipping
    of the global gradient, `layer_decay`, `accumulation_steps`, an average of the weights. Weight
    decay is part of the step before its length is set. Variables that do not decay, biases and
    LayerNorm weights, keep the step of Adam, as in the authors' code.

    Args:
        learning_rate: float or `keras.optimizers.schedules.LearningRateSchedule`; the paper has
            1e-3 for batches of 512 and 2e-3 for 2048.
        **kwargs: arguments of `AdamW`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
    ```python
    model.compile(optimizer=kbl.training.LAMB(1e-3, weight_decay=0.01, accumulation_steps=8))
    ```

    References:
        - [You et al., 2019](https://arxiv.org/abs/1904.00962), algorithm 2
    """

    def __init__(self, learning_rate=1e-3, name="lamb", **kwargs):
        super().__init__(learning_rate, name=name, **kwargs)

    def build(self, variables):
        """Creates the two moments of each of `variables`."""
        if self.built:
            return
        self._adapts = tuple(not variable.name.endswith(self.no_decay) for variable in variables)
        super().build(variables)

    def _update(self, variable, m, v, grad, scalars, index):
        m.assign_add((grad - m) * (1 - self.beta_1))
        v.assign_add((ops.square(grad) - v) * (1 - self.beta_2))
        step = self._step(variable, m, v, scalars["corrections"], index)
        variable.assign_sub(scalars["learning_rate"] * self._rates[index] * step)

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable by `keras.ops`: what backends other than TensorFlow use."""
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        count = ops.cast(self.iterations, "float32") + 1
        corrections = [-ops.expm1(count * math.log(beta)) for beta in (self.beta_1, self.beta_2)]
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign_add(v, (ops.square(gradient) - v) * (1 - self.beta_2))
        step = self._step(variable, m, v, corrections, index)
        self.assign_sub(variable, learning_rate * self._rates[index] * step)

    def _step(self, variable, m, v, corrections, index):
        """Returns the step of a variable, to be multiplied by the learning rate."""
        variable = ops.convert_to_tensor(variable)
        m, v = ops.convert_to_tensor(m) / corrections[0], ops.convert_to_tensor(v) / corrections[1]
        step = m / (ops.sqrt(v) + self.epsilon) + self._weight_decays[index] * variable
        if not self._adapts[index]:
            return step
        norm, length = ops.norm(variable), ops.norm(step)
        # Weights that are all 0 must be able to leave it.
        return step * ops.where((norm > 0) & (length > 0), ops.divide_no_nan(norm, length), 1.0)
