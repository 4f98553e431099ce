"""A training that can be killed and goes on where it was."""

import json
import math
import os
import signal
import threading
import zipfile

import keras
import numpy as np
import tensorflow as tf


class Resume(keras.callbacks.Callback):
    """Saves the state of a training, and goes on from it when the same `fit` runs again.

    The state is one file: weights, optimizer, metrics, dropout seeds and the place in the data.
    It is replaced in one step, so that a crash while saving leaves the one before. It is saved
    every `save_every` batches, at Ctrl-C (after the step at hand; a second Ctrl-C stops at once)
    and at the end. Run again after the end, `fit` trains nothing and leaves the final weights
    in the model; delete the file to train anew.

    What follows is the training that an unbroken run would have been, to the last bit on a CPU,
    if the data come in the same order as before: `fit(dataset.repeat(), steps_per_epoch=n)` with
    a seeded dataset. The batches already seen are read again and dropped. Without
    `steps_per_epoch` Keras asks for a new iterator each epoch: the training goes on at the right
    batch, but a dataset that shuffles starts its series of orders over.

    `keras.callbacks.BackupAndRestore` begins the interrupted epoch again instead, with weights
    that have seen part of it; it leaves out seeds and metrics, and overwrites in place.

    TensorFlow backend only. Skipped batches show in the progress bar, at reading speed.

    Args:
        path: str. The file to save to; by habit it ends in `.npz`.
        save_every: int. Batches between two savings.

    Raises:
        ValueError: if `save_every` is below 1; from `fit`, if `path` holds the state of another
            model or of epochs of another length.
        OSError: from `fit`, if the state cannot be written.

    Example:
        ```python
        resume = kbl.training.Resume("run/state.npz", save_every=5)
        model.fit(dataset.repeat(), steps_per_epoch=10, epochs=2, callbacks=[resume])
        model.save_pretrained("run/model")
        os.remove("run/state.npz")
        ```
    """

    def __init__(self, path, save_every=500):
        super().__init__()
        if not save_every >= 1:
            raise ValueError(f"`save_every` must be 1 or more. Received: {save_every}")
        self.path = os.fspath(path)
        self.save_every = save_every

    def on_train_begin(self, logs=None):
        """Restores the state, if there is one, and takes the train function's place."""
        self._epoch, self._batch = 0, 0  # epochs done, and batches done in the one at hand
        self._skip = 0  # how many of its batches an earlier run has done
        self._metrics = None  # and the metrics' state after them
        # Whether one iterator serves all epochs; not known before the second one.
        self._iterator, self._one_iterator = None, None
        self._unsaved = 0  # batches done since the last saving
        self._interrupted = False
        if os.path.exists(self.path):
            self._restore()
        # Keras has no way to start in the middle of an epoch. So the batches are drawn, and
        # counted by Keras as always, but for those already seen no step is made.
        self.model.make_train_function(force=True)
        self._train_function = self.model.train_function
        self.model.train_function = self._skip_or_train
        self._signal_handler = None
        if threading.current_thread() is threading.main_thread():
            self._signal_handler = signal.signal(signal.SIGINT, self._on_signal)

    def on_epoch_begin(self, epoch, logs=None):
        """Counts from here."""
        self._epoch, self._batch = epoch, 0

    def _skip_or_train(self, iterator):
        try:
            if self._iterator is None and self._one_iterator:
                self._drop(iterator, self._epoch * self.params["steps"])
            if self._iterator is not None and self._batch == 0:
                self._one_iterator = iterator is self._iterator
            self._iterator = iterator
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
            if self._interrupted:
                self._stop()
            next(iterator)

    def on_train_batch_end(self, batch, logs=None):
        """Saves when it is time to."""
        self._batch = batch + 1
        if self._batch <= self._skip:
            return
        self._unsaved += self.model.steps_per_execution
        if self._unsaved >= self.save_every or self._interrupted:
            self._save()
        if self._interrupted:
            self._stop()

    def on_epoch_end(self, epoch, logs=None):
        """Ends the skipping."""
        self._skip = 0

    def on_train_end(self, logs=None):
        """Saves that the training is done."""
        self._epoch, self._batch = self.params["epochs"], 0
        self._save()
        if self._interrupted:
            self._stop()
        self._give_back()

    def _on_signal(self, signum, frame):
        signal.signal(signal.SIGINT, self._signal_handler)
        self._interrupted = True
        print(f"\nStopping after this step; saving to {self.path} to go on from.", flush=True)

    def _stop(self):
        self._give_back()
        raise KeyboardInterrupt

    def _give_back(self):
        self.model.train_function = self._train_function
        self.model._initial_epoch = None  # or the next `fit` would start there
        if self._signal_handler is not None:
            signal.signal(signal.SIGINT, self._signal_handler)

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
            "variables": len(state),
        }
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
            os.replace(temporary, self.path)
        except OSError as error:
            if os.path.exists(temporary):
                os.remove(temporary)
            raise OSError(
                error.errno, f"Could not save the training ({error.strerror})", self.path
            ) from error
        self._unsaved = 0

    def _restore(self):
        state = self._state_variables()
        try:
            with np.load(self.path) as archive:
                place = json.loads(archive["place.json"])
                arrays = [archive[str(index)] for index in range(len(archive.files) - 1)]
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"`{self.path}` is not the state of a training. Delete it to train anew."
            ) from error
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
