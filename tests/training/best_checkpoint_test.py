"""The best epoch: kept, put back, stopped at, and the same after a training was broken off."""

import json
import os

import keras
import numpy as np
import pytest

from keras_bert_lib.training import BestCheckpoint, Resume
from tests.training.resume_test import EPOCHS, STEPS_PER_EPOCH, BreakAt, make_dataset, make_model

RNG = np.random.RandomState(8)
X = RNG.normal(size=(30, 4)).astype("float32")
VALIDATION = (X, RNG.randint(3, size=30))  # noise, on which a model gets worse as it learns


class Weights(keras.callbacks.Callback):
    """Keeps the weights after each epoch."""

    def on_train_begin(self, logs=None):
        self.by_epoch = []

    def on_epoch_end(self, epoch, logs=None):
        self.by_epoch.append(self.model.get_weights())


def fit(model, *callbacks, epochs=EPOCHS, **arguments):
    return model.fit(
        make_dataset(),
        epochs=epochs,
        steps_per_epoch=STEPS_PER_EPOCH,
        callbacks=list(callbacks),
        validation_data=VALIDATION,
        verbose=0,
        **arguments,
    ).history


def assert_equal_weights(weights, expected):
    for ours, theirs in zip(weights, expected):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
def test_best_epoch_comes_back(tmp_path, metric):
    model, weights = make_model(), Weights()
    path = tmp_path / "run" / "best.weights.h5"
    best = BestCheckpoint(path, metric)
    history = fit(model, weights, best)
    values = history[metric]
    expected = np.argmin(values) if metric == "val_loss" else np.argmax(values)
    assert best.best_epoch == expected
    assert best.best_value == values[expected]
    assert_equal_weights(model.get_weights(), weights.by_epoch[expected])
    other = make_model()
    other.load_weights(path)
    assert_equal_weights(other.get_weights(), weights.by_epoch[expected])
    assert sorted(os.listdir(path.parent)) == ["best.epochs.json", "best.weights.h5"]


def scripted(*values):
    """Returns what `evaluate` takes: a function that gives these numbers, one an epoch."""
    values = iter(values)
    return lambda model: {"f1": next(values)}


def test_stops_when_it_gets_no_better(tmp_path):
    weights = Weights()
    best = BestCheckpoint(
        tmp_path / "best.weights.h5",
        "val_f1",
        patience=2,
        evaluate=scripted(0.1, float("nan"), 0.5, 0.5, 0.4, 0.9),
    )
    model = make_model()
    history = fit(model, best, weights, epochs=9)
    np.testing.assert_array_equal(history["val_f1"], [0.1, np.nan, 0.5, 0.5, 0.4])
    assert (best.best_epoch, best.best_value) == (2, 0.5)
    assert_equal_weights(model.get_weights(), weights.by_epoch[2])


def test_trains_anew_where_a_file_is_there(tmp_path):
    path = tmp_path / "best.weights.h5"
    fit(make_model(), BestCheckpoint(path, "val_f1", evaluate=scripted(9.0, 8.0)), epochs=2)
    best = BestCheckpoint(path, "val_f1", evaluate=scripted(0.1, 0.3, 0.2))
    fit(make_model(), best, epochs=3)
    assert (best.best_epoch, best.best_value) == (1, 0.3)
    assert json.loads((tmp_path / "best.epochs.json").read_text()) == {"val_f1": [0.1, 0.3, 0.2]}


# In the middle of an epoch and at its first batch, and twice at the last one.
@pytest.mark.parametrize("broken_at", [[3, 8], pytest.param([7, 14], marks=pytest.mark.slow)])
def test_resumed_training_ends_the_same(tmp_path, broken_at):
    unbroken_model = make_model()
    unbroken = BestCheckpoint(tmp_path / "unbroken.weights.h5", "val_accuracy", patience=2)
    history = fit(unbroken_model, unbroken)

    def callbacks(*others):
        best = BestCheckpoint(tmp_path / "best.weights.h5", "val_accuracy", patience=2)
        return (best, Resume(tmp_path / "state.npz", save_every=3), *others)

    for step in broken_at:
        with pytest.raises(RuntimeError, match="broken"):
            fit(make_model(), *callbacks(BreakAt(step)))
    for _ in range(2):  # the second time all is done already
        model = make_model()
        best, *others = callbacks()
        fit(model, best, *others)
        assert (best.best_epoch, best.best_value) == (unbroken.best_epoch, unbroken.best_value)
        assert_equal_weights(model.get_weights(), unbroken_model.get_weights())
    epochs = json.loads((tmp_path / "best.epochs.json").read_text())
    assert epochs == {"val_accuracy": history["val_accuracy"]}


def test_resume_without_the_epochs_before_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="broken"):
        fit(make_model(), Resume(tmp_path / "state.npz", 3), BreakAt(12))
    with pytest.raises(ValueError, match=r"goes on in epoch 2.*Received: 0 epochs"):
        fit(make_model(), Resume(tmp_path / "state.npz"), BestCheckpoint(tmp_path / "a.weights.h5"))


def test_unknown_metric(tmp_path):
    with pytest.raises(ValueError, match=r"no metric 'val_f1'.*Received: .*'val_accuracy'"):
        fit(make_model(), BestCheckpoint(tmp_path / "best.weights.h5", "val_f1"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_keeps_what_was_there(tmp_path):
    path = tmp_path / "best.weights.h5"
    fit(make_model(), BestCheckpoint(path, "val_loss"), epochs=1)
    before = path.read_bytes()
    os.symlink("/dev/full", tmp_path / f"best.{os.getpid()}.tmp.weights.h5")
    with pytest.raises(OSError, match=r"the best epoch \(No space left.*best\.weights\.h5"):
        fit(make_model(), BestCheckpoint(path, "val_loss"), epochs=1)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "best.h5"}, r"must end in `.weights.h5`. Received: best.h5"),
        ({"patience": 0}, "`patience` must be 1 or more, or None. Received: 0"),
        ({"mode": "best"}, "`mode` must be .* Received: 'best'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        BestCheckpoint(**({"path": "best.weights.h5"} | arguments))
