"""The training step that learns each batch several times, its word embeddings moved."""

import contextlib

import keras

from keras_bert_lib.models.bert_encoder import PERTURB
from keras_bert_lib.models.pretrained_model import random_states


def adversarial_step(model, data):
    """Trains `model` on a batch; what `train_step` of a model with `adversarial` does.

    Args:
        model: compiled `TaskModel`, whose `adversarial` says how far embeddings are moved in each
            pass.
        data: batch as `keras.Model.train_step` takes it.

    Returns:
        Dict of the metrics. They and the loss are those of the first pass, but for metrics that a
        model's own `compute_loss` counts, which see all of them.
    """
    import tensorflow as tf

    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    adversarial, optimizer = model.adversarial, model.optimizer
    variables = model.trainable_variables
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    step = tf.cast(tf.convert_to_tensor(optimizer.iterations), tf.int32)
    moves = _Moves(adversarial, seed=tf.stack([step, tf.cast(replica, tf.int32)]))
    # The same dropout in each pass: the gradient leads up only where the model stays the same.
    states = random_states(model)
    before = [tf.identity(state) for state in states]
    totals = [None] * len(variables)
    for number in range(adversarial.passes):
        if number:
            for state, value in zip(states, before):
                state.assign(value)
        with tf.GradientTape() as tape:
            with moves.made_in(tape):
                outputs = model(x, training=True)
            loss = model.compute_loss(x, y, outputs, sample_weight, training=True)
            scaled_loss = optimizer.scale_loss(loss * adversarial.share)
        if number == 0:
            y_pred = outputs
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            model._loss_tracker.update_state(
                loss * replicas, sample_weight=tf.shape(keras.tree.flatten(x)[0])[0]
            )
        gradients, ascents = tape.gradient(scaled_loss, [variables, moves.moves])
        totals = [a if b is None else b if a is None else a + b for a, b in zip(gradients, totals)]
        moves.moves = [adversarial.move(m, g) for m, g in zip(moves.moves, ascents)]
    optimizer.apply(totals, variables)
    return model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


class _Moves:
    """How far the embeddings of each call of the encoder are moved; some models make several."""

    def __init__(self, adversarial, seed):
        self.adversarial = adversarial
        self.seed = seed  # int32 [2]
        self.moves = []  # each float32 [b, s, h]

    @contextlib.contextmanager
    def made_in(self, tape):
        """Moves the embeddings of what is called within; `tape` watches the moves."""
        self.tape, self.calls = tape, 0
        token = PERTURB.set(self.add)
        try:
            yield
        finally:
            PERTURB.reset(token)

    def add(self, embeddings, padding_mask):
        """Returns the `embeddings` `[b, s, h]`, moved."""
        if self.calls == len(self.moves):
            mask = keras.ops.ones_like(embeddings[..., 0]) if padding_mask is None else padding_mask
            seed = self.seed * 16 + self.calls
            self.moves.append(self.adversarial.start(mask, embeddings.shape[-1], seed))
        move = self.moves[self.calls]
        self.calls += 1
        self.tape.watch(move)
        return embeddings + move
