"""A training that can be killed and goes on where it was."""

import glob
import json
import math
import os
import signal
import threading
import zipfile

import keras
import numpy as np
import tensorflow as tf

from keras_bert_lib.backend import require_tensorflow
from keras_bert_lib.training.workers import Workers

# Workers ask each other every so many steps whether to stop.
_STEPS_BETWEEN_QUESTIONS = 10


class Resume(keras.callbacks.Callback):
    """Saves the state of a training, and goes on from it when the same `fit` runs again.

    The state is one file: weights, optimizer, metrics, dropout seeds and the place in the data.
    It is replaced in one step, so that a crash or a full disk while saving leaves the one before.
    It is saved every `save_every` batches, at the end, and after the step at hand when Ctrl-C or
    SIGTERM asks to stop: `fit` then ends with KeyboardInterrupt, or with SystemExit and code 143
    (a second Ctrl-C stops at once). A state whose loss is not finite is never saved. Run again
    after the end, `fit` trains nothing and leaves the final weights in the model; delete the files
    to train anew.

    What follows is the training that an unbroken run would have been, to the last bit on a CPU,
    if the data come in the same order as before: `fit(dataset.repeat(), steps_per_epoch=n)` with
    a seeded dataset. The batches already seen are read again and dropped, unless the data start
    where `start_batch` says. Without `steps_per_epoch` Keras asks for a new iterator each epoch:
    the training goes on at the right batch, but a dataset that shuffles starts its series of
    orders over.

    Under `MultiWorkerMirroredStrategy` the first worker writes and all read: `path` must be on a
    disk that they share. Asked to stop, any of them stops all, within ten steps.

    `keras.callbacks.BackupAndRestore` begins the interrupted epoch again instead, with weights
    that have seen part of it; it leaves out seeds and metrics, and overwrites in place.

    TensorFlow backend only. Skipped batches show in the progress bar, at reading speed.

    Args:
        path: str. The file to save to; by habit it ends in `.npz`.
        save_every: int. Batches between two savings.
        keep: int. The newest states to keep: of `state.npz` the one before is `state.1.npz`, the
            one before that `state.2.npz`. A damaged one is passed over, with a line that says so.

    Raises:
        ValueError: if `save_every` or `keep` is below 1; from `fit`, if `path` holds the state of
            another model or of epochs of another length.
        OSError: from `fit`, if the state cannot be written.

    Example:
        ```python
        resume = kbl.training.Resume("run/state.npz", save_every=5)
        model.fit(dataset.repeat(), steps_per_epoch=10, epochs=2, callbacks=[resume])
        model.save_pretrained("run/model")
        os.remove("run/state.npz")
        ```
    """

    def __init__(self, path, save_every=500, keep=1):
        require_tensorflow("`Resume`")
        super().__init__()
        for name, number in {"save_every": save_every, "keep": keep}.items():
            if not number >= 1:
                raise ValueError(f"`{name}` must be 1 or more. Received: {number}")
        self.path = os.fspath(path)
        self.save_every = save_every
        self.keep = keep
        self._left_out = 0  # batches that the data leave out at their start

    def start_batch(self):
        """Returns how many batches the data may leave out; `fit` then counts on that they do.

        For data that find a place faster than by reading all that comes before it, one dataset for
        all epochs. The next `fit` must have a dataset whose first batch is the one of this number,
        counted from 0.

        Returns:
            int. 0 where there is no state.
        """
        place, _ = self._read(with_arrays=False)
        self._left_out = 0 if place is None else place["start"]
        return self._left_out

    def on_train_begin(self, logs=None):
        """Restores the state, if there is one, and takes the train function's place."""
        self._epoch, self._batch = 0, 0  # epochs done, and batches done in the one at hand
        self._skip = 0  # how many of its batches an earlier run has done
        self._metrics = None  # and the metrics' state after them
        # Whether one iterator serves all epochs; not known before the second one.
        self._iterator, self._one_iterator = None, None
        self._unsaved = 0  # batches done since the last saving
        self._asked_to_stop = None  # the number of the signal
        self._workers = Workers(self.model.distribute_strategy)
        self._restore()
        if self._workers.is_first:
            for path in glob.glob(f"{glob.escape(self.path)}.*.tmp"):
                os.remove(path)  # of a process that was killed while it wrote
        # Keras has no way to start in the middle of an epoch. So the batches are drawn, and
        # counted by Keras as always, but for those already seen no step is made.
        self.model.make_train_function(force=True)
        self._train_function = self.model.train_function
        self.model.train_function = self._skip_or_train
        self._signal_handlers = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._signal_handlers[number] = signal.signal(number, self._on_signal)

    def on_epoch_begin(self, epoch, logs=None):
        """Counts from here."""
        self._epoch, self._batch = epoch, 0

    def _skip_or_train(self, iterator):
        try:
            if self._iterator is None:
                before = self._epoch * self.params["steps"] if self._one_iterator else 0
                self._drop(iterator, max(before - self._left_out, 0))
                self._left_out = max(self._left_out - before, 0)  # of the epoch at hand
            elif self._batch == 0:
                self._one_iterator = iterator is self._iterator
            self._iterator = iterator
            if self._batch < min(self._left_out, self._skip):
                return {}
            if self._batch < self._skip:
                if self._metrics is not None:
                    # Keras makes the metrics' variables at the first batch it sees.
                    self.model.make_test_function()
                    self.model.test_function(iterator)
                    self._assign(self.model.metrics_variables, self._metrics)
                    self._metrics = None
                else:
                    self._drop(iterator, self.model.steps_per_execution)
                return self.model.get_metrics_result()
        except (StopIteration, tf.errors.OutOfRangeError):
            raise ValueError(
                f"The data end before the batch at which the training in `{self.path}` "
                "stopped. Give `fit` the same data, or delete the file to train anew."
            ) from None
        return self._train_function(iterator)

    def _drop(self, iterator, batches):
        for _ in range(batches):
            if self._asked_to_stop and self._workers.count == 1:
                self._stop()
            next(iterator)

    def on_train_batch_end(self, batch, logs=None):
        """Saves when it is time to."""
        self._batch = batch + 1
        if self._batch <= self._skip:
            return
        self._unsaved += self.model.steps_per_execution
        stops = self._asked_to_stop is not None
        if self._workers.count > 1:
            # All stop after the same step; to ask after each would cost an exchange.
            is_time = self._batch % _STEPS_BETWEEN_QUESTIONS < self.model.steps_per_execution
            is_time = is_time or self._batch >= (self.params["steps"] or math.inf)
            stops = is_time and self._workers.sum(int(stops)) > 0
        # The loss is a mean over the epoch's batches: once not finite, it stays so.
        if (self._unsaved >= self.save_every or stops) and _is_finite(logs):
            self._save()
        if stops and self._asked_to_stop is None:
            print("\nStopping: another worker was asked to.", flush=True)
        if stops:
            self._stop()

    def on_epoch_end(self, epoch, logs=None):
        """Ends the skipping."""
        self._skip = 0

    def on_train_end(self, logs=None):
        """Saves that the training is done."""
        self._epoch, self._batch = self.params["epochs"], 0
        if _is_finite(logs):
            self._save()
        if self._asked_to_stop and self._workers.count == 1:
            self._stop()
        self._give_back()

    def _on_signal(self, signum, frame):
        signal.signal(signum, self._signal_handlers[signum])
        self._asked_to_stop = signum
        print(f"\nStopping after this step; saving to {self.path} to go on from.", flush=True)

    def _stop(self):
        self._give_back()
        if self._asked_to_stop == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + signal.SIGTERM)  # what a shell makes of a process that it ended

    def _give_back(self):
        self.model.train_function = self._train_function
        self.model._initial_epoch = None  # or the next `fit` would start there
        for number, handler in self._signal_handlers.items():
            signal.signal(number, handler)

    def _assign(self, variables, arrays):
        was, now = [a.shape for a in arrays], [tuple(v.shape) for v in variables]
        if was != now:
            raise ValueError(
                f"`{self.path}` is of another model, optimizer or list of metrics: {len(was)} "
                f"variables of {sum(map(math.prod, was))} numbers. Make them as they were, or "
                "delete the file to train anew. "
                f"Received: {len(now)} variables of {sum(map(math.prod, now))} numbers"
            )
        for variable, array in zip(variables, arrays):
            variable.assign(array)

    def _state_variables(self):
        with self.model.distribute_strategy.scope():
            if not self.model.optimizer.built:
                self.model.optimizer.build(self.model.trainable_variables)
        # `model.variables` holds the seeds of dropout, which `save_weights` leaves out.
        return self.model.variables + self.model.optimizer.variables

    def _save(self):
        state, metrics = self._state_variables(), self.model.metrics_variables
        place = {
            "epoch": self._epoch,
            "batch": self._batch,
            "steps": self.params["steps"],
            "one_iterator": self._one_iterator,
            "start": self._start(),
            "variables": len(state),
        }
        self._unsaved = 0
        if not self._workers.is_first:
            # Workers sum up the metrics of all of them to read them, all at the same time.
            for variable in metrics:
                keras.ops.convert_to_numpy(variable)
            return
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        temporary = f"{self.path}.{os.getpid()}.tmp"
        try:
            with open(temporary, "wb") as file:
                with zipfile.ZipFile(file, "w") as archive:
                    archive.writestr("place.json", json.dumps(place))
                    for index, variable in enumerate(state + metrics):
                        array = keras.ops.convert_to_numpy(variable)
                        if array.dtype.name == "bfloat16":  # which NumPy files cannot hold
                            array = array.astype("float32")
                        with archive.open(f"{index}.npy", "w", force_zip64=True) as member:
                            np.lib.format.write_array(member, array)
                file.flush()
                os.fsync(file.fileno())
            # From the oldest on: killed in between, each state still stands under some name.
            for number in range(self.keep - 1, 0, -1):
                if os.path.exists(self._older(number - 1)):
                    os.replace(self._older(number - 1), self._older(number))
            os.replace(temporary, self.path)
        except OSError as error:
            if os.path.exists(temporary):
                os.remove(temporary)
            raise OSError(
                error.errno, f"Could not save the training ({error.strerror})", self.path
            ) from error

    def _start(self):
        """How many batches need not be read to go on from here."""
        if not (self._one_iterator or self._epoch == 0):
            return 0
        start = self._epoch * (self.params["steps"] or 0) + self._batch
        # Within an epoch, those of the last step are read again, to make the metrics.
        return start - (self.model.steps_per_execution if self._batch else 0)

    def _older(self, number):
        """The path of the state that was saved so many times before the newest."""
        if number == 0:
            return self.path
        root, extension = os.path.splitext(self.path)
        return f"{root}.{number}{extension}"

    def _read(self, with_arrays=True):
        """Returns the place and the arrays of the newest state that is whole, or None twice."""
        damage = None
        for path in filter(os.path.exists, map(self._older, range(self.keep))):
            try:
                with np.load(path) as archive:
                    place = json.loads(archive["place.json"])
                    names = map(str, range(len(archive.files) - 1))
                    return place, [archive[name] for name in names] if with_arrays else None
            except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                damage = error
                print(f"`{path}` is damaged, or not the state of a training.", flush=True)
        if damage:
            raise ValueError(
                f"`{self.path}` is not the state of a training. Delete it to train anew."
            ) from damage
        return None, None

    def _restore(self):
        place, arrays = self._read()
        if self._workers.count > 1:
            position = 0 if place is None else 1 + place["start"]
            if self._workers.sum(position) != self._workers.sum(1) * position:
                raise ValueError(
                    "The workers found different states of the training. Give `Resume` a path on "
                    f"a disk that all of them share. Received: {self.path}"
                )
        if place is None:
            return
        state = self._state_variables()
        if place["steps"] != self.params["steps"]:
            raise ValueError(
                f"`{self.path}` is of a training with {place['steps']} steps an epoch. Give `fit` "
                "the same data and batch size, or delete the file to train anew. "
                f"Received: {self.params['steps']} steps an epoch"
            )
        self._assign(state, arrays[: place["variables"]])
        self._metrics = arrays[place["variables"] :]
        self._skip = place["batch"]
        self._one_iterator = place["one_iterator"]
        self.model._initial_epoch = place["epoch"]  # what Keras' own callback sets
        if self.params["verbose"]:
            print(f"Resuming from {self.path}: epoch {place['epoch'] + 1}, batch {self._skip + 1}")


def _is_finite(logs):
    return bool(np.isfinite(float((logs or {}).get("loss", 0.0))))
