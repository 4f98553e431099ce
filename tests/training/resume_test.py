"""Trainings that are killed, interrupted or broken, and end as if nothing had been."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_lib.models import BertConfig, BertEncoder, BertPretrainer
from keras_bert_lib.training import Resume, create_optimizer, create_strategy

STEPS_PER_EPOCH = 7
EPOCHS = 4
STEPS = STEPS_PER_EPOCH * EPOCHS


def make_model(steps=STEPS):
    """A model with dropout, whose seeds are part of the state."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.3), keras.layers.Dense(3)]
    )
    model.build((None, 4))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(create_optimizer(0.05, steps), loss, metrics=["accuracy"])
    return model


def make_dataset():
    """An endless dataset in a new order each time round, not in step with the epochs."""
    x = np.random.RandomState(0).normal(size=(48, 4)).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((x, np.argmax(x[:, :3], axis=1)))
    return dataset.shuffle(48, seed=3).batch(6).repeat()


class Record(keras.callbacks.Callback):
    """Keeps the weights' sum after each step, by step, and each epoch's metrics."""

    def __init__(self):
        super().__init__()
        self.weights, self.epochs = {}, {}

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        self.weights[step] = float(sum(np.sum(np.abs(w)) for w in self.model.get_weights()))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs[epoch] = logs


class BreakAt(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == self.step:
            raise RuntimeError("broken")


def fit(
    model, *callbacks, dataset=None, steps_per_epoch=STEPS_PER_EPOCH, epochs=EPOCHS, **arguments
):
    record = Record()
    model.fit(
        make_dataset() if dataset is None else dataset,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        callbacks=[record, *callbacks],
        verbose=0,
        **arguments,
    )
    return record


def assert_same(resumed, unbroken, from_step):
    steps = range(from_step, STEPS + 1)
    assert [resumed.weights[s] for s in steps] == [unbroken.weights[s] for s in steps]
    for epoch, logs in resumed.epochs.items():
        assert logs == unbroken.epochs[epoch]


@pytest.mark.parametrize("broken_at", [5, 7, 16])
def test_goes_on_as_if_never_broken(tmp_path, broken_at):
    unbroken = fit(make_model())
    path = tmp_path / "run" / "state.npz"
    with pytest.raises(RuntimeError, match="broken"):
        fit(make_model(), Resume(path, save_every=3), BreakAt(broken_at))
    resumed = fit(make_model(), Resume(path, save_every=3))

    saved_at = broken_at // 3 * 3
    assert min(resumed.weights) == saved_at  # the steps skipped
    assert_same(resumed, unbroken, saved_at + 1)
    assert list(resumed.epochs) == list(range(saved_at // STEPS_PER_EPOCH, EPOCHS))
    assert os.listdir(path.parent) == ["state.npz"]


def test_goes_on_in_the_same_process_and_breaks_twice(tmp_path):
    unbroken = fit(make_model())
    resume = Resume(tmp_path / "state.npz", save_every=4)
    model = make_model()
    for step in (6, 18):
        with pytest.raises(RuntimeError, match="broken"):
            fit(model, resume, BreakAt(step))
    assert_same(fit(model, resume), unbroken, 17)


def test_finite_dataset_goes_on_at_the_right_batch(tmp_path):
    x = np.random.RandomState(0).normal(size=(35, 4)).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((x, np.argmax(x[:, :3], axis=1))).batch(5)
    for data in (dataset, dataset.filter(lambda *_: True)):  # known and unknown length
        unbroken = fit(make_model(), dataset=data, steps_per_epoch=None)
        path = tmp_path / "state.npz"
        with pytest.raises(RuntimeError, match="broken"):
            fit(make_model(), Resume(path, 3), BreakAt(17), dataset=data, steps_per_epoch=None)
        resumed = fit(make_model(), Resume(path, 3), dataset=data, steps_per_epoch=None)
        assert_same(resumed, unbroken, 16)
        os.remove(path)


def test_validation_and_steps_per_execution(tmp_path):
    x = np.random.RandomState(5).normal(size=(20, 4)).astype("float32")
    validation = {"validation_data": (x, np.argmax(x[:, :3], axis=1))}

    def model():
        model = make_model()
        model.steps_per_execution = 2
        return model

    unbroken = fit(model(), steps_per_epoch=8, **validation)
    with pytest.raises(RuntimeError, match="broken"):
        fit(model(), Resume(tmp_path / "s.npz", 3), BreakAt(22), steps_per_epoch=8, **validation)
    resumed = fit(model(), Resume(tmp_path / "s.npz", 3), steps_per_epoch=8, **validation)
    assert list(resumed.epochs) == [2, 3]
    assert "val_accuracy" in resumed.epochs[3]
    assert resumed.epochs == {epoch: unbroken.epochs[epoch] for epoch in (2, 3)}


@pytest.mark.slow
def test_mirrored_strategy(tmp_path):
    def model():
        with create_strategy("mirrored").scope():
            return make_model()

    unbroken = fit(model())
    with pytest.raises(RuntimeError, match="broken"):
        fit(model(), Resume(tmp_path / "state.npz", 4), BreakAt(18))
    assert_same(fit(model(), Resume(tmp_path / "state.npz", 4)), unbroken, 17)


@pytest.mark.slow
def test_pretrainer_with_loss_scaling(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    rng = np.random.RandomState(0)
    examples, length, predictions = 24, 8, 2
    inputs = {
        "token_ids": rng.randint(1, 30, size=(examples, length)),
        "segment_ids": np.tile([0, 0, 0, 0, 1, 1, 1, 1], (examples, 1)),
        "padding_mask": np.ones((examples, length)),
        "masked_positions": rng.randint(1, length, size=(examples, predictions)),
        "masked_ids": rng.randint(1, 30, size=(examples, predictions)),
        "next_sentence_labels": rng.randint(2, size=examples),
    }
    inputs = {name: array.astype("int32") for name, array in inputs.items()}
    inputs["masked_weights"] = rng.randint(2, size=(examples, predictions)).astype("float32")

    def dataset():
        dataset = tf.data.Dataset.from_tensor_slices(inputs)
        return dataset.shuffle(examples, seed=2).batch(6).repeat()

    def model():
        keras.utils.set_random_seed(1)
        config = BertConfig(30, 16, num_layers=1, num_heads=2, intermediate_size=32)
        model = BertPretrainer(BertEncoder(config))
        model.compile(create_optimizer(0.01, STEPS))
        return model

    path = tmp_path / "state.npz"
    unbroken = fit(model(), dataset=dataset())
    with pytest.raises(RuntimeError, match="broken"):
        fit(model(), Resume(path, 5), BreakAt(18), dataset=dataset())
    resumed = fit(model(), Resume(path, 5), dataset=dataset())
    assert_same(resumed, unbroken, 16)
    assert resumed.epochs[3].keys() >= {"loss", "mlm_loss", "nsp_loss", "mlm_accuracy"}


@pytest.mark.parametrize(("broken_at", "start"), [(5, 2), (7, 5), (16, 14)])
def test_data_may_leave_out_what_was_seen(tmp_path, broken_at, start):
    unbroken = fit(make_model())
    path = tmp_path / "state.npz"
    assert Resume(path).start_batch() == 0
    with pytest.raises(RuntimeError, match="broken"):
        fit(make_model(), Resume(path, save_every=3), BreakAt(broken_at))
    resume = Resume(path, save_every=3)
    # The batch before the place is read again.
    assert resume.start_batch() == start
    resumed = fit(make_model(), resume, dataset=make_dataset().skip(start))
    assert_same(resumed, unbroken, broken_at // 3 * 3 + 1)


def test_data_of_several_steps_at_once_may_leave_out_what_was_seen(tmp_path):
    def model():
        model = make_model()
        model.steps_per_execution = 2
        return model

    unbroken = fit(model(), steps_per_epoch=8)
    path = tmp_path / "state.npz"
    with pytest.raises(RuntimeError, match="broken"):
        fit(model(), Resume(path, 2), BreakAt(22), steps_per_epoch=8)
    resume = Resume(path, 2)
    assert resume.start_batch() == 20
    resumed = fit(model(), resume, steps_per_epoch=8, dataset=make_dataset().skip(20))
    assert resumed.epochs == {epoch: unbroken.epochs[epoch] for epoch in (2, 3)}


def test_older_states_are_kept_and_stand_in_for_a_damaged_one(tmp_path, capsys):
    unbroken = fit(make_model())
    path = tmp_path / "state.npz"
    with pytest.raises(RuntimeError, match="broken"):
        fit(make_model(), Resume(path, 3, keep=3), BreakAt(17))
    assert sorted(os.listdir(tmp_path)) == ["state.1.npz", "state.2.npz", "state.npz"]

    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    path.write_bytes(content)
    resumed = fit(make_model(), Resume(path, 3, keep=3))
    assert f"`{path}` is damaged" in capsys.readouterr().out
    assert min(resumed.weights) == 12
    assert_same(resumed, unbroken, 13)
    # Killed while renaming, there is no newest one.
    os.remove(path)
    assert not fit(make_model(), Resume(path, 3, keep=3)).weights.keys() - {27, 28}
    with pytest.raises(ValueError, match=r"`keep` must be 1 or more. Received: 0"):
        Resume(path, keep=0)


class NaNAt(keras.callbacks.Callback):
    """Makes a weight NaN, and so the loss of the next step."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == self.step:
            kernel = self.model.trainable_variables[-2]
            kernel.assign(kernel * np.nan)


def test_no_state_is_saved_whose_loss_is_not_finite(tmp_path):
    unbroken = fit(make_model())
    path = tmp_path / "state.npz"
    fit(make_model(), Resume(path, 4), NaNAt(17))
    resumed = fit(make_model(), Resume(path, 4))
    assert min(resumed.weights) == 16
    assert_same(resumed, unbroken, 17)


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / "state.npz.12345.tmp").write_bytes(b"half of a state")
    fit(make_model(), Resume(tmp_path / "state.npz"))
    assert os.listdir(tmp_path) == ["state.npz"]


def test_after_the_end_only_the_weights_come_back(tmp_path):
    first, second = make_model(), make_model()
    record = fit(first, Resume(tmp_path / "state.npz"))
    assert len(record.weights) == STEPS
    record = fit(second, Resume(tmp_path / "state.npz"))
    assert not record.weights
    for ours, theirs in zip(second.get_weights(), first.get_weights()):
        np.testing.assert_array_equal(ours, theirs)
    # and another `fit` of the same model starts at its first epoch
    assert len(fit(second).weights) == STEPS


def test_wrong_state_is_refused(tmp_path):
    path = tmp_path / "state.npz"
    fit(make_model(), Resume(path))

    other = keras.Sequential([keras.layers.Dense(3)])
    other.build((None, 4))
    other.compile(create_optimizer(0.05, STEPS), "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"state\.npz` is of another model.*Received: 7 variables"):
        fit(other, Resume(path))
    with pytest.raises(ValueError, match=r"with 7 steps an epoch.*Received: 5 steps"):
        fit(make_model(), Resume(path), steps_per_epoch=5)
    for rubbish in (b"", b"rubbish", path.read_bytes()[:1000]):
        path.write_bytes(rubbish)
        with pytest.raises(ValueError, match=r"state\.npz` is not the state of a training"):
            fit(make_model(), Resume(path))
    with pytest.raises(ValueError, match=r"`save_every` must be 1 or more. Received: 0"):
        Resume(path, save_every=0)


def test_shorter_data_are_refused(tmp_path):
    path = tmp_path / "state.npz"
    with pytest.raises(RuntimeError, match="broken"):
        fit(make_model(), Resume(path, 1), BreakAt(18))
    with pytest.raises(ValueError, match="The data end before the batch"):
        fit(make_model(), Resume(path, 1), dataset=make_dataset().take(10))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_keeps_the_state_before(tmp_path):
    path = tmp_path / "state.npz"

    class FillDisk(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if self.model.optimizer.iterations == 10:
                self.before = path.read_bytes()
                os.symlink("/dev/full", f"{path}.{os.getpid()}.tmp")

    full = FillDisk()
    with pytest.raises(OSError, match=r"Could not save the training \(No space left.*state\.npz"):
        fit(make_model(), Resume(path, 4), full)
    assert path.read_bytes() == full.before
    assert os.listdir(tmp_path) == ["state.npz"]
    resumed = fit(make_model(), Resume(path, 4))
    assert_same(resumed, fit(make_model()), 9)


PROGRAM = """
    import json, sys, time
    import keras
    sys.path.insert(0, {tests!r})
    import resume_test
    from keras_bert_lib.training import Resume

    class Slow(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            print("step", int(self.model.optimizer.iterations), flush=True)
            time.sleep({pause})

    epochs = {epochs}
    model = resume_test.make_model(epochs * resume_test.STEPS_PER_EPOCH)
    record = resume_test.fit(model, Resume({path!r}, {save_every}), Slow(), epochs=epochs)
    json.dump([record.weights, record.epochs], open({path!r} + ".json", "w"))
"""


def start(path, pause, save_every, epochs=EPOCHS):
    tests = os.path.dirname(__file__)
    program = textwrap.dedent(PROGRAM).format(
        tests=tests, path=str(path), pause=pause, save_every=save_every, epochs=epochs
    )
    root = os.path.dirname(os.path.dirname(tests))
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": root, "CUDA_VISIBLE_DEVICES": "-1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_step(process, step):
    for line in process.stdout:
        if line.split() == ["step", str(step)]:
            return
    raise AssertionError(process.stderr.read())


def read_record(path):
    with open(f"{path}.json", encoding="utf-8") as file:
        weights, epochs = json.load(file)
    record = Record()
    record.weights = {int(step): value for step, value in weights.items()}
    record.epochs = {int(epoch): logs for epoch, logs in epochs.items()}
    return record


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_signal(tmp_path, number):
    path = tmp_path / "state.npz"
    # Ctrl-C and SIGTERM must save by themselves; SIGKILL cannot.
    process = start(path, pause=0.2, save_every=4 if number == signal.SIGKILL else 1000)
    wait_for_step(process, 10)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    # Python leaves the end after a KeyboardInterrupt to the signal.
    code = {signal.SIGKILL: -9, signal.SIGINT: -2, signal.SIGTERM: 143}[number]
    assert process.returncode == code
    assert ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)

    process = start(path, pause=0, save_every=4)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    resumed = read_record(path)
    assert min(resumed.weights) >= 8
    assert_same(resumed, fit(make_model()), max(9, min(resumed.weights) + 1))


@pytest.mark.slow
def test_twenty_kills_at_random_moments(tmp_path):
    epochs, save_every = 60, 3
    path = tmp_path / "state.npz"
    rng = np.random.RandomState(4)
    last = 0
    for _ in range(20):
        process = start(path, 0.01, save_every, epochs)
        first = int(process.stdout.readline().split()[1])
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        output, errors = process.communicate()
        assert process.returncode == -9, errors
        # What it printed last may break off in the middle of a line.
        steps = [int(line.split()[1]) for line in output.split("\n")[:-1]]
        # Lost at most what came after the last saving.
        assert first >= last // save_every * save_every
        last = max([first, *steps])
        if path.exists():
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None
    assert last < epochs * STEPS_PER_EPOCH  # all were killed in the run

    process = start(path, 0, save_every, epochs)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    resumed = read_record(path)
    unbroken = fit(make_model(epochs * STEPS_PER_EPOCH), epochs=epochs)
    for step, weights in list(resumed.weights.items())[1:]:  # the first one may be a skipped one
        assert weights == unbroken.weights[step]
    assert resumed.epochs == {epoch: unbroken.epochs[epoch] for epoch in resumed.epochs}
    assert max(resumed.epochs) == epochs - 1
    assert os.listdir(tmp_path) == ["state.npz", "state.npz.json"]
