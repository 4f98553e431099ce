"""`fit` of the models: two devices and one give the same losses; TensorBoard gets them all."""

import glob

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_lib.training import create_strategy
from tests.training.strategy_tasks import make_data, make_model, train

STEPS = 50


@pytest.mark.parametrize("task", ["pretrainer", "classifier"])
def test_two_devices_train_like_one(task):
    def losses(strategy, **arguments):
        with create_strategy(strategy).scope():
            return train(task, STEPS, **arguments)["losses"]

    one, two = losses("one_device"), losses("mirrored")
    assert len(one) == STEPS
    assert np.mean(one[-5:]) < np.mean(one[:5]) - 0.05
    np.testing.assert_allclose(two, one, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_several_steps_per_execution():
    one = train("pretrainer", 3)
    with create_strategy("mirrored").scope():
        several = train("pretrainer", 3, steps_per_execution=2)
    # The means of the executions' steps; the last one has a single step.
    losses = [np.mean(one["losses"][:2]), one["losses"][2]]
    np.testing.assert_allclose(several["losses"], losses, rtol=0, atol=1e-5)
    np.testing.assert_allclose(several["predict"][1], one["predict"][1], rtol=0, atol=1e-5)
    assert several["evaluate"] == pytest.approx(one["evaluate"], abs=1e-5)


@pytest.mark.xfail(raises=tf.errors.InvalidArgumentError)
def test_keras_runs_several_steps_on_several_devices():
    """Passes, and with it this run fails, once `DistributedModel` may leave them to Keras."""
    with create_strategy("mirrored").scope():
        model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
        model.compile("sgd", "mse", steps_per_execution=2)
    model.fit(np.ones([8, 2], "float32"), np.ones([8, 1], "float32"), batch_size=2, verbose=0)


def test_what_replicas_cannot_do():
    with create_strategy("mirrored").scope():
        model = make_model("classifier", 2)
        compiled = make_model("classifier", 2, jit_compile=True)
    for data in (
        make_data("classifier", 2, batch=7),
        make_data("classifier", 2).unbatch().batch(3),
    ):
        with pytest.raises(ValueError, match=r"Make the batch size a multiple of 2\. Received"):
            model.fit(data, verbose=0)
    with pytest.raises(ValueError, match="XLA cannot compile a step that replicas share"):
        compiled.fit(make_data("classifier", 2), verbose=0)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("task", ["pretrainer", "classifier"])
def test_mixed_precision(task, policy):
    keras.config.set_dtype_policy(policy)
    model = make_model(task, 3, warmup_ratio=0)
    before = [variable.numpy() for variable in model.trainable_variables]
    history = model.fit(make_data(task, 3), verbose=0)
    assert np.isfinite(history.history["loss"][0])
    for variable, old in zip(model.trainable_variables, before):
        assert variable.dtype == "float32"
        assert np.any(variable.numpy() != old), variable.path


@pytest.mark.parametrize("task", ["pretrainer", "classifier"])
def test_tensorboard_has_every_loss_metric_and_the_learning_rate(task, tmp_path):
    model = make_model(task, 8, dropout=0.1, warmup_ratio=0.5)
    data = make_data(task, 4)
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
