"""Adam with decoupled weight decay, as BERT wants it."""

import math

import keras
import numpy as np
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable("keras_bert_lib")
class AdamW(keras.optimizers.AdamW):
    """Adam with bias correction, decoupled weight decay and clipping by the global norm.

    It computes what `torch.optim.AdamW` computes. Next to `keras.optimizers.AdamW`:

    - Biases and LayerNorm weights do not decay, and this is kept in the saved model. (Keras
      forgets `exclude_from_weight_decay` on saving, and a reloaded model decays everything.)
    - `clip_norm` bounds the gradient of the global batch. (Keras clips the gradient of each
      replica before summing them, so two devices do not train like one.)
    - `epsilon` is added to the corrected second moment, as in the paper.
    - On TensorFlow each tensor is updated by one fused kernel.

    Args:
        learning_rate: float or `keras.optimizers.schedules.LearningRateSchedule`.
        weight_decay: float. Each update takes `learning_rate * weight_decay` of a weight away.
        beta_1: float. Decay of the mean of the gradients.
        beta_2: float. Decay of the mean of the squared gradients.
        epsilon: float. Keeps the division finite.
        clip_norm: float or None. The largest norm of all gradients taken together; longer ones
            are scaled down to it. None: no clipping.
        no_decay: tuple of str. A variable whose name ends in one of these does not decay.
        name: str or None.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
    ```python
    model.compile(optimizer=kbl.training.AdamW(1e-4, weight_decay=0.01, clip_norm=1.0))
    ```

    References:
        - [Kingma and Ba, 2014](https://arxiv.org/abs/1412.6980), algorithm 1
        - [Loshchilov and Hutter, 2017](https://arxiv.org/abs/1711.05101), algorithm 2
        - [Mosbach et al., 2020](https://arxiv.org/abs/2006.04884) and
          [Zhang et al., 2020](https://arxiv.org/abs/2006.05987): why bias correction matters
          to BERT, whose first release had none
    """

    def __init__(
        self,
        learning_rate=1e-4,
        weight_decay=0.01,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-6,
        clip_norm=1.0,
        no_decay=("bias", "gamma", "beta"),
        name="adamw",
    ):
        if not weight_decay >= 0:
            raise ValueError(f"`weight_decay` must be 0 or more. Received: {weight_decay}")
        for argument, beta in {"beta_1": beta_1, "beta_2": beta_2}.items():
            if not 0 < beta < 1:
                raise ValueError(f"`{argument}` must be between 0 and 1. Received: {beta}")
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"`clip_norm` must be above 0, or None. Received: {clip_norm}")
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            global_clipnorm=clip_norm,
            name=name,
        )
        self.clip_norm = clip_norm
        self.no_decay = tuple(no_decay)

    def build(self, variables):
        """Creates the two moments of each of `variables`."""
        if self.built:
            return
        self.exclude_from_weight_decay(
            var_list=[variable for variable in variables if not self._decays(variable)]
        )
        super().build(variables)

    def _decays(self, variable):
        return self.weight_decay > 0 and not variable.name.endswith(self.no_decay)

    def apply(self, grads, trainable_variables=None):
        """Updates `trainable_variables` by `grads`, this replica's share of the gradients."""
        if keras.config.backend() != "tensorflow":
            super().apply(grads, trainable_variables)  # calls update_step below
            return

        variables = list(trainable_variables or self._trainable_variables)
        if not self.built:
            self.build(variables)
        # A variable without a gradient takes no part in the loss, and stays as it is. Sparse
        # gradients become dense: their moments decay at every step, seen or not.
        used = [(v, tf.convert_to_tensor(g)) for v, g in zip(variables, grads) if g is not None]
        if not used:
            raise ValueError("No variable has a gradient: does the loss depend on the model?")
        variables, grads = zip(*used)

        # Keras scales the loss of a replica by 1 / replicas: the sum is the global gradient.
        replica = tf.distribute.get_replica_context()
        grads = replica.all_reduce(tf.distribute.ReduceOp.SUM, list(grads))
        if self.clip_norm is not None:
            scale = self.clip_norm / tf.maximum(tf.linalg.global_norm(grads), self.clip_norm)
            grads = [g * tf.cast(scale, g.dtype) for g in grads]

        # At the end of a dataset of unknown length the step has no data and fails; then nothing
        # may be updated, so everything waits for the gradients.
        with tf.control_dependencies(grads):
            scalars = self._scalars(tf.cast(self.learning_rate, tf.float32))
            self.iterations.assign_add(1)
        replica.merge_call(self._update_all, args=(variables, grads, scalars))

    def _scalars(self, learning_rate):
        # The kernel computes in float32, where 1 - 0.999 is off by 1e-5: the corrections must
        # be those of the betas it really uses.
        step = tf.cast(self.iterations, tf.float32) + 1.0
        correction_1, correction_2 = (
            -tf.math.expm1(step * math.log(np.float32(beta)))  # 1 - beta ** step
            for beta in (self.beta_1, self.beta_2)
        )
        return {
            "decay": learning_rate * self.weight_decay,
            "lr": learning_rate * tf.sqrt(correction_2) / correction_1,
            # The kernel adds it to the root of the uncorrected moment.
            "epsilon": self.epsilon * tf.sqrt(correction_2),
        }

    def _update_all(self, strategy, variables, grads, scalars):
        for variable, grad in zip(variables, grads):
            index = self._get_variable_index(variable)
            m, v = self._momentums[index].value, self._velocities[index].value
            update = self._decay_and_update if self._decays(variable) else self._update
            strategy.extended.update(
                variable.value, update, args=(m, v, grad, scalars), group=False
            )
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))

    def _decay_and_update(self, variable, m, v, grad, scalars):
        variable.assign_sub(variable * tf.cast(scalars["decay"], variable.dtype))
        self._update(variable, m, v, grad, scalars)

    def _update(self, variable, m, v, grad, scalars):
        dtype = variable.dtype
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=m.handle,
            v=v.handle,
            beta1_power=tf.zeros([], dtype),  # the bias is corrected in `lr` and `epsilon`
            beta2_power=tf.zeros([], dtype),
            lr=tf.cast(scalars["lr"], dtype),
            beta1=tf.constant(self.beta_1, dtype),
            beta2=tf.constant(self.beta_2, dtype),
            epsilon=tf.cast(scalars["epsilon"], dtype),
            grad=tf.cast(grad, dtype),
        )

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable by `keras.ops`: what backends other than TensorFlow use."""
        dtype = variable.dtype
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        gradient = ops.cast(gradient, dtype)
        step = ops.cast(self.iterations, dtype) + 1
        correction_1 = -ops.expm1(step * math.log(self.beta_1))  # 1 - beta ** step
        correction_2 = -ops.expm1(step * math.log(self.beta_2))
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign_add(v, (ops.square(gradient) - v) * (1 - self.beta_2))
        denominator = ops.sqrt(v / correction_2) + self.epsilon
        self.assign_sub(variable, ops.cast(learning_rate, dtype) * m / correction_1 / denominator)

    def get_config(self):
        """Returns the constructor's arguments."""
        config = super().get_config()
        return {
            "learning_rate": config["learning_rate"],
            "weight_decay": self.weight_decay,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "clip_norm": self.clip_norm,
            "no_decay": self.no_decay,
            "name": self.name,
        }
