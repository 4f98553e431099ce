"""Adam with decoupled weight decay, as BERT wants it."""

import math
import re

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
    - `layer_decay` gives lower blocks a lower learning rate.
    - A schedule counts updates where `accumulation_steps` puts several batches into one. (With
      `gradient_accumulation_steps` Keras' optimizers ask it for the number of batches.)
    - On TensorFlow each tensor is updated by one fused kernel, and `gradient_norm` holds the norm
      of the last gradient, before it was clipped, where there is a `clip_norm`.

    Args:
        learning_rate: float or `keras.optimizers.schedules.LearningRateSchedule`.
        weight_decay: float. Each update takes `learning_rate * weight_decay` of a weight away.
        beta_1: float. Decay of the mean of the gradients.
        beta_2: float. Decay of the mean of the squared gradients.
        epsilon: float. Keeps the division finite.
        clip_norm: float or None. The largest norm of all gradients taken together; longer ones
            are scaled down to it. None: no clipping.
        no_decay: tuple of str. A variable whose name ends in one of these does not decay.
        layer_decay: float or None. The learning rate of an encoder's block is that of the block
            above times this; the embeddings' is that of the first block times this. The pooler
            and the head have the whole one. None: all have it.
        accumulation_steps: int. Batches whose gradients are averaged to one update. Clipping
            bounds the average. Batches that do not fill up an update at the end of an epoch
            count for the first one of the next.
        use_ema: bool. Whether a moving average of the weights is kept. The model has it at the end
            of `fit`; `keras.callbacks.SwapEMAWeights` evaluates with it before.
        ema_momentum: float. How much of the average stays at each update.
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
        - [Sun et al., 2019](https://arxiv.org/abs/1905.05583), section 5.3.3, and
          [Zhang et al., 2020](https://arxiv.org/abs/2006.05987): learning rates by layer
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
        layer_decay=None,
        accumulation_steps=1,
        use_ema=False,
        ema_momentum=0.99,
        name="adamw",
    ):
        if not weight_decay >= 0:
            raise ValueError(f"`weight_decay` must be 0 or more. Received: {weight_decay}")
        for argument, beta in {"beta_1": beta_1, "beta_2": beta_2}.items():
            if not 0 < beta < 1:
                raise ValueError(f"`{argument}` must be between 0 and 1. Received: {beta}")
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"`clip_norm` must be above 0, or None. Received: {clip_norm}")
        if layer_decay is not None and not 0 < layer_decay <= 1:
            raise ValueError(
                f"`layer_decay` must be above 0 and at most 1, or None. Received: {layer_decay}"
            )
        if not isinstance(accumulation_steps, int) or accumulation_steps < 1:
            raise ValueError(
                f"`accumulation_steps` must be an integer from 1 on. Received: {accumulation_steps}"
            )
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            global_clipnorm=clip_norm,
            # Keras makes the variables that hold the sums, and counts batches and updates.
            gradient_accumulation_steps=accumulation_steps if accumulation_steps > 1 else None,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            name=name,
        )
        self.clip_norm = clip_norm
        self.no_decay = tuple(no_decay)
        self.layer_decay = layer_decay
        self.accumulation_steps = accumulation_steps

    def build(self, variables):
        """Creates the two moments of each of `variables`."""
        if self.built:
            return
        # Of each variable, by its number: the share of the learning rate that it gets, and its
        # weight decay.
        self._rates = tuple(learning_rate_shares(variables, self.layer_decay))
        self._weight_decays = tuple(
            0.0 if variable.name.endswith(self.no_decay) else self.weight_decay
            for variable in variables
        )
        super().build(variables)
        if keras.config.backend() == "tensorflow":
            # For people to watch (`PretrainingProgress`). Keras' own variable would be part of the
            # optimizer's state, and of all files that hold it.
            with tf.init_scope():
                self.gradient_norm = tf.Variable(
                    0.0,
                    trainable=False,
                    aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                    name="gradient_norm",
                )

    def _get_current_learning_rate(self):
        if isinstance(self._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            return self._learning_rate(self.iterations)  # updates, not batches
        return super()._get_current_learning_rate()

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
        self._check_variables_are_known(variables)

        # Keras scales the loss of a replica by 1 / replicas: the sum is the global gradient.
        replica = tf.distribute.get_replica_context()
        grads = replica.all_reduce(tf.distribute.ReduceOp.SUM, list(grads))
        is_update, sums = True, None
        if self.accumulation_steps > 1:
            is_update = tf.equal((self._iterations + 1) % self.accumulation_steps, 0)
            sums = [g + self._sum(v) for v, g in zip(variables, grads)]
            grads = [total / self.accumulation_steps for total in sums]
        if self.clip_norm is not None:
            norm = tf.linalg.global_norm(grads)
            scale = self.clip_norm / tf.maximum(norm, self.clip_norm)
            grads = [g * tf.cast(scale, g.dtype) for g in grads]

        # At the end of a dataset of unknown length the step has no data and fails; then nothing
        # may be updated, so everything waits for the gradients.
        with tf.control_dependencies(grads):
            scalars = self._scalars(tf.cast(self.learning_rate, tf.float32))
            self._iterations.assign_add(1)
            if self.clip_norm is not None:
                self.gradient_norm.assign(norm)
        replica.merge_call(self._update_all, args=(is_update, variables, grads, sums, scalars))

    def _sum(self, variable):
        """Returns the sum of the gradients of `variable` since the last update."""
        total = self._accumulated_gradients[self._get_variable_index(variable)]
        return tf.convert_to_tensor(total.value)

    def _scalars(self, learning_rate):
        # The kernel computes in float32, where 1 - 0.999 is off by 1e-5: the corrections must
        # be those of the betas it really uses.
        step = tf.cast(self.iterations, tf.float32) + 1.0
        correction_1, correction_2 = (
            -tf.math.expm1(step * math.log(np.float32(beta)))  # 1 - beta ** step
            for beta in (self.beta_1, self.beta_2)
        )
        return {
            "learning_rate": learning_rate,
            "corrections": (correction_1, correction_2),
            "lr": learning_rate * tf.sqrt(correction_2) / correction_1,
            # The kernel adds it to the root of the uncorrected moment.
            "epsilon": self.epsilon * tf.sqrt(correction_2),
        }

    def _update_all(self, strategy, is_update, variables, grads, sums, scalars):
        if self.accumulation_steps == 1:
            self._update_variables(strategy, variables, grads, scalars)
            return

        # A branch that updates variables may not be within a replica, only around all of them.
        def update():
            self._update_variables(strategy, variables, grads, scalars)
            self._assign_sums(strategy, variables, [tf.zeros(v.shape, v.dtype) for v in variables])

        def wait():
            self._assign_sums(strategy, variables, sums)

        tf.cond(strategy.experimental_local_results(is_update)[0], update, wait)

    def _assign_sums(self, strategy, variables, sums):
        for variable, total in zip(variables, sums):
            accumulator = self._accumulated_gradients[self._get_variable_index(variable)]
            strategy.extended.update(accumulator.value, _assign, args=(total,), group=False)

    def _update_variables(self, strategy, variables, grads, scalars):
        for variable, grad in zip(variables, grads):
            index = self._get_variable_index(variable)
            m, v = self._momentums[index].value, self._velocities[index].value
            args = (m, v, grad, scalars, index)
            strategy.extended.update(variable.value, self._update, args=args, group=False)
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))

        if self.use_ema:
            # The first average is the weights. Those without a gradient have one too.
            momentum = self.ema_momentum * tf.cast(self.iterations > 1, tf.float32)
            averages = zip(self._trainable_variables, self._model_variables_moving_average)
            for variable, average in averages:
                args = (variable.value, momentum)
                strategy.extended.update(average.value, _move_average, args=args, group=False)

    def _update(self, variable, m, v, grad, scalars, index):
        dtype = variable.dtype
        rate, weight_decay = self._rates[index], self._weight_decays[index]
        if weight_decay:
            decay = scalars["learning_rate"] * (rate * weight_decay)
            variable.assign_sub(variable * tf.cast(decay, dtype))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=m.handle,
            v=v.handle,
            beta1_power=tf.zeros([], dtype),  # the bias is corrected in `lr` and `epsilon`
            beta2_power=tf.zeros([], dtype),
            lr=tf.cast(scalars["lr"] * rate, dtype),
            beta1=tf.constant(self.beta_1, dtype),
            beta2=tf.constant(self.beta_2, dtype),
            epsilon=tf.cast(scalars["epsilon"], dtype),
            grad=tf.cast(grad, dtype),
        )

    def _apply_weight_decay(self, variables):
        pass  # `update_step` does, which knows each variable's learning rate

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable by `keras.ops`: what backends other than TensorFlow use."""
        dtype = variable.dtype
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        gradient = ops.cast(gradient, dtype)
        step = ops.cast(self.iterations, dtype) + 1
        correction_1 = -ops.expm1(step * math.log(self.beta_1))  # 1 - beta ** step
        correction_2 = -ops.expm1(step * math.log(self.beta_2))
        learning_rate = ops.cast(learning_rate, dtype) * self._rates[index]
        self.assign_sub(variable, variable * (learning_rate * self._weight_decays[index]))
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign_add(v, (ops.square(gradient) - v) * (1 - self.beta_2))
        denominator = ops.sqrt(v / correction_2) + self.epsilon
        self.assign_sub(variable, learning_rate * m / correction_1 / denominator)

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
            "layer_decay": self.layer_decay,
            "accumulation_steps": self.accumulation_steps,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "name": self.name,
        }


def _assign(variable, value):
    variable.assign(value)


def _move_average(average, variable, momentum):
    momentum = tf.cast(momentum, average.dtype)
    average.assign(momentum * average + (1 - momentum) * variable)


def learning_rate_shares(variables, layer_decay):
    """Returns the share of the learning rate that each of `variables` gets, by its path.

    Block n - 1 of n, the last one, gets `layer_decay`, block 0 `layer_decay ** n` and the
    embeddings `layer_decay ** (n + 1)`; all else, the pooler and the head, gets 1.

    Raises:
        ValueError: if there is a `layer_decay` and no block.
    """
    if layer_decay is None:
        return [1.0] * len(variables)
    layers = []  # from 0, the embeddings, up; None for what is above all blocks
    for variable in variables:
        block = re.search(r"(?:^|/)block_(\d+)/", variable.path)
        is_embedding = re.search(r"(?:^|/)embeddings/", variable.path)
        layers.append(int(block[1]) + 1 if block else 0 if is_embedding else None)
    top = max((layer for layer in layers if layer is not None), default=0)
    if top == 0:
        raise ValueError(
            "`layer_decay` goes by the blocks of a BertEncoder, and the model has none that is "
            f"trained. Leave it out. Received: layer_decay={layer_decay}"
        )
    return [1.0 if layer is None else layer_decay ** (top + 1 - layer) for layer in layers]
