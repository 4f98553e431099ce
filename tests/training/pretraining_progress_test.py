"""Lines and scalars while a model is pretrained."""

import glob
import re
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_lib.training import PretrainingProgress, Resume
from tests.training.resume_test import (
    EPOCHS,
    STEPS,
    STEPS_PER_EPOCH,
    BreakAt,
    fit,
    make_dataset,
    make_model,
)


class Losses(keras.callbacks.Callback):
    """The loss of each step by itself, from means over the epoch."""

    def on_train_begin(self, logs=None):
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        before = 0.0 if batch == 0 else self.sum
        self.sum = float(logs["loss"]) * (batch + 1)
        self.steps.append(self.sum - before)
        time.sleep(0.01)


def test_lines(tmp_path):
    lines, losses = [], Losses()
    progress = PretrainingProgress(
        100, flops_per_step=1e6, flops_per_second=1e9, every=3, write=lines.append
    )
    validation = next(iter(make_dataset()))
    fit(make_model(), progress, losses, validation_data=validation)

    steps = [line for line in lines if line.startswith("step ")]
    assert [int(line.split()[1]) for line in steps] == list(range(3, STEPS + 1, 3))
    for line in steps:
        step = int(line.split()[1])
        loss = float(re.search(r"loss ([\d.]+)", line)[1])
        # Of this epoch, since the last line; the first step is the clock's.
        begin = max(step - 3, (step - 1) // STEPS_PER_EPOCH * STEPS_PER_EPOCH, 1)
        np.testing.assert_allclose(loss, np.mean(losses.steps[begin:step]), rtol=2e-3)
        assert re.fullmatch(
            rf"step \d+ of {STEPS}, accuracy [\d.]+%, loss [\d.]+, [\d,]+ tokens/s, "
            r"\d+% of the matmul rate, \d+ s left",
            line,
        ), line
    assert sum(line.startswith("  held out: accuracy ") for line in lines) == EPOCHS
    # A step sleeps 10 ms, so it cannot be faster.
    assert 0 < progress.tokens_per_second < 100 / 0.01
    assert progress.utilization == pytest.approx(progress.tokens_per_second / 100 * 1e6 / 1e9)


def test_what_is_skipped_is_not_counted(tmp_path):
    path = tmp_path / "state.npz"
    with pytest.raises(RuntimeError, match="broken"):
        fit(make_model(), Resume(path, 4), BreakAt(18))
    lines = []
    progress = PretrainingProgress(1, every=1, write=lines.append)
    fit(make_model(), progress, Resume(path, 4))
    # Step 17 starts the clock.
    assert [int(line.split()[1]) for line in lines] == list(range(18, STEPS + 1))


def test_tensorboard(tmp_path):
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    progress = PretrainingProgress(10, every=7, log_dir=tmp_path, write=lambda line: None)
    model = make_model()
    validation = next(iter(make_dataset()))
    fit(model, progress, validation_data=validation)
    scalars = {}
    for event in loading.EventFileLoader(*glob.glob(f"{tmp_path}/*")).Load():
        for value in event.summary.value:
            scalars.setdefault(value.tag, {})[event.step] = tf.make_ndarray(value.tensor).item()
    steps = list(range(7, STEPS + 1, 7))
    names = {"loss", "accuracy", "learning_rate", "tokens_seen", "tokens_per_second"}
    names.add("gradient_norm")
    assert names | {"val_loss", "val_accuracy"} <= set(scalars)
    assert all(list(scalars[name]) == steps for name in names | {"val_loss"})
    assert min(scalars["gradient_norm"].values()) > 0.01
    assert list(scalars["tokens_seen"].values()) == [10 * step for step in steps]
    assert scalars["learning_rate"][STEPS] == pytest.approx(0.0, abs=1e-6)


def test_arguments():
    with pytest.raises(ValueError, match=r"`every` must be 1 or more\. Received: 0"):
        PretrainingProgress(1, every=0)
