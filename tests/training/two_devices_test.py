"""`fit` of the models: two devices and one give the same losses; TensorBoard gets them all."""

import glob

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_lib.models import BertClassifier, BertConfig, BertEncoder, BertPretrainer
from keras_bert_lib.training import create_optimizer, create_strategy

STEPS, BATCH, LENGTH, PREDICTIONS, VOCAB = 22, 8, 12, 3, 40


def make_encoder(dropout=0.0):
    keras.utils.set_random_seed(7)
    config = BertConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        num_layers=1,
        num_heads=2,
        intermediate_size=32,
        hidden_dropout=dropout,
        attention_dropout=dropout,
        max_position_embeddings=LENGTH,
    )
    return BertEncoder(config)


def make_inputs(rng, examples):
    lengths = rng.randint(5, LENGTH + 1, size=[examples, 1])
    mask = (np.arange(LENGTH) < lengths).astype("int32")
    return {
        "token_ids": rng.randint(1, VOCAB, size=[examples, LENGTH]).astype("int32") * mask,
        "segment_ids": (np.arange(LENGTH) >= 4).astype("int32") * mask,
        "padding_mask": mask,
    }


def pretraining_data():
    """Examples with 0 to 3 predictions: each replica has another number of them."""
    rng = np.random.RandomState(0)
    examples = STEPS * BATCH
    inputs = make_inputs(rng, examples)
    count = rng.randint(0, PREDICTIONS + 1, size=[examples, 1])
    weights = (np.arange(PREDICTIONS) < count).astype("float32")
    positions = np.sort(rng.randint(1, 5, size=[examples, PREDICTIONS]))
    inputs |= {
        "masked_positions": (positions * weights).astype("int32"),
        "masked_ids": (rng.randint(1, 9, size=positions.shape) * weights).astype("int32"),
        "masked_weights": weights,
        "next_sentence_labels": (inputs["token_ids"][:, 1] % 2).astype("int32"),
    }
    return tf.data.Dataset.from_tensor_slices(inputs).batch(BATCH)


def classification_data():
    inputs = make_inputs(np.random.RandomState(0), STEPS * BATCH)
    labels = np.minimum(inputs["token_ids"][:, 1] % 8, 2).astype("int32")
    return tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(BATCH)


class LossPerStep(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_begin(self, batch, logs=None):
        self.model.reset_metrics()

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])


TASKS = {
    "pretrainer": (BertPretrainer, pretraining_data),
    "classifier": (lambda encoder: BertClassifier(encoder, num_classes=3), classification_data),
}


@pytest.mark.parametrize(
    "task",
    [
        "pretrainer",
        "classifier",
    ],
)
def test_two_devices_train_like_one(task):
    make_model, make_data = TASKS[task]

    def train(strategy):
        with create_strategy(strategy).scope():
            model = make_model(make_encoder())
            # The gradients are longer than this, so that every step is clipped.
            model.compile(create_optimizer(0.02, STEPS, clip_norm=0.05))
        losses = LossPerStep()
        model.fit(make_data(), callbacks=[losses], verbose=0)
        return losses.losses

    one, two = train("one_device"), train("mirrored")
    assert len(one) == STEPS
    assert one[-1] < one[0] - 0.05
    np.testing.assert_allclose(two, one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("task", TASKS)
def test_mixed_precision(task, policy):
    keras.config.set_dtype_policy(policy)
    make_model, make_data = TASKS[task]
    model = make_model(make_encoder())
    model.compile(create_optimizer(0.02, 3, warmup_ratio=0))
    before = [variable.numpy() for variable in model.trainable_variables]
    history = model.fit(make_data().take(3), verbose=0)
    assert np.isfinite(history.history["loss"][0])
    for variable, old in zip(model.trainable_variables, before):
        assert variable.dtype == "float32"
        assert np.any(variable.numpy() != old), variable.path


@pytest.mark.parametrize("task", TASKS)
def test_tensorboard_has_every_loss_metric_and_the_learning_rate(task, tmp_path):
    make_model, make_data = TASKS[task]
    model = make_model(make_encoder(dropout=0.1))
    model.compile(create_optimizer(0.02, total_steps=8, warmup_ratio=0.5))
    data = make_data().take(4)
    board = keras.callbacks.TensorBoard(tmp_path, update_freq=1)
    history = model.fit(data, epochs=2, validation_data=data, callbacks=[board], verbose=0).history

    names = {"pretrainer": ["loss", "mlm_loss", "nsp_loss", "mlm_accuracy", "nsp_accuracy"]}
    names = names.get(task, ["loss", "accuracy"])
    scalars = read_scalars(tmp_path / "train")
    for name in names:
        np.testing.assert_allclose(scalars[f"epoch_{name}"], history[name], rtol=1e-5)
        assert len(scalars[f"batch_{name}"]) == 8
    np.testing.assert_allclose(scalars["epoch_learning_rate"], [0.02, 0.0], atol=1e-8)
    validation = read_scalars(tmp_path / "validation")
    for name in names:
        np.testing.assert_allclose(validation[f"epoch_{name}"], history[f"val_{name}"], rtol=1e-5)


def read_scalars(folder):
    """Returns the values of each scalar in a folder of event files, in their order."""
    scalars = {}
    for file in glob.glob(f"{folder}/*.tfevents.*"):
        for record in tf.data.TFRecordDataset(file):
            for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value:
                if value.metadata.plugin_data.plugin_name in ("scalars", ""):
                    number = tf.make_ndarray(value.tensor)
                    if number.ndim == 0 and number.dtype.kind == "f":
                        scalars.setdefault(value.tag, []).append(float(number))
    return scalars
