"""The weights of the best epoch, kept on disk and put back at the end."""

import json
import os

import keras
import numpy as np

_SUFFIX = ".weights.h5"


class BestCheckpoint(keras.callbacks.Callback):
    """Keeps the weights of the best epoch, stops where it gets no better, and puts them back.

    After each epoch that is the best so far, the weights are written to one file, aside and then
    moved in place, so that a crash leaves the ones before. At the end of `fit` the model has the
    best weights.

    It works with `Resume`: an interrupted training that goes on ends with the same weights, and
    stops at the same epoch, as one that was not. The metric after each epoch so far is in a second
    file beside the weights, whose name ends in `.epochs.json`.

    `keras.callbacks.EarlyStopping` and `ModelCheckpoint` together keep the weights in memory and
    overwrite the file in place, and begin to count anew where a training goes on.

    Args:
        path: str. The file, which must end in `.weights.h5`; `model.load_weights` reads it. One
            that is there is replaced.
        metric: str. What is to be best, by its name in the history: "val_accuracy", "val_loss".
        patience: int or None. Epochs without a better one after which the training stops; None
            never stops it.
        mode: "max", "min" or "auto": whether more is better. "auto" takes less for metrics whose
            names end in "loss" or "error", more for others.
        evaluate: callable or None. For a metric that Keras does not know, as F1 of entities:
            takes the model after each epoch and returns a dict of numbers, which join the history
            as `val_` and their names.

    Raises:
        ValueError: if an argument is none of those; from `fit`, if there is no such metric.
        OSError: from `fit`, if the weights cannot be written.

    Example:
    ```python
    best = kbl.training.BestCheckpoint("run/best.weights.h5", "val_accuracy", patience=2)
    model.compile(kbl.training.create_optimizer(3e-5, total_steps))
    model.fit(dataset, validation_data=dataset, epochs=5, callbacks=[best])
    best.best_epoch, best.best_value
    ```

    References:
        - [Prechelt, 1998](https://doi.org/10.1007/3-540-49430-8_3), early stopping
    """

    def __init__(self, path, metric="val_accuracy", patience=None, mode="auto", evaluate=None):
        super().__init__()
        self.path = os.fspath(path)
        if not self.path.endswith(_SUFFIX):
            raise ValueError(f"`path` must end in `{_SUFFIX}`. Received: {self.path}")
        if patience is not None and not patience >= 1:
            raise ValueError(f"`patience` must be 1 or more, or None. Received: {patience}")
        if mode not in ("auto", "max", "min"):
            raise ValueError(f'`mode` must be "max", "min" or "auto". Received: {mode!r}')
        if mode == "auto":
            mode = "min" if metric.endswith(("loss", "error")) else "max"
        self.metric = metric
        self.patience = patience
        self.mode = mode
        self.evaluate = evaluate

    def on_train_begin(self, logs=None):
        """Forgets earlier trainings."""
        self._values = None  # the metric after each epoch; not known yet

    @property
    def best_epoch(self):
        """The epoch with the best value, int, counted from 0; None before the first one's end."""
        if not self._values:
            return None
        # The first of equals; NaN is worse than all.
        best = np.argmax if self.mode == "max" else np.argmin
        worst = -np.inf if self.mode == "max" else np.inf
        return int(best(np.nan_to_num(self._values, nan=worst, posinf=np.inf, neginf=-np.inf)))

    @property
    def best_value(self):
        """The metric's value after the best epoch, float, or None."""
        return None if self.best_epoch is None else self._values[self.best_epoch]

    def on_epoch_begin(self, epoch, logs=None):
        """Reads the epochs before, where the training goes on in a later one."""
        if self._values is None:
            # What is known of this epoch and later ones is computed again, to the same numbers.
            self._values = self._read_values()[:epoch] if epoch else []
            if len(self._values) < epoch:
                raise ValueError(
                    f"The training goes on in epoch {epoch + 1}, and `{self.path}` does not hold "
                    "the metric of all epochs before. Train anew, or leave BestCheckpoint out. "
                    f"Received: {len(self._values)} epochs"
                )

    def on_epoch_end(self, epoch, logs=None):
        """Keeps the weights, if they are the best so far."""
        logs = {} if logs is None else logs
        if self.evaluate is not None:
            found = self.evaluate(self.model)
            logs.update({f"val_{name}": float(number) for name, number in found.items()})
        if self.metric not in logs:
            raise ValueError(
                f"There is no metric {self.metric!r}. Give `fit` validation_data, and `metric` one "
                f"of those there are. Received: {sorted(logs)}"
            )
        self._values.append(float(logs[self.metric]))
        best = self.best_epoch
        # In this order: a crash between the two leaves an epoch that `Resume` ends once more.
        if best == epoch:
            self._replace(self.path, self.model.save_weights)
        self._replace(self._epochs_path, self._write_values)
        if self.patience is not None and epoch - best >= self.patience:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        """Puts the best weights back."""
        if self._values is None:  # `Resume` found that the training had been done
            self._values = self._read_values()
        if self._values:
            self.model.load_weights(self.path)
            history = getattr(self.model, "history", None)
            if history is not None:
                history.best_epoch = self.best_epoch  # which `training_record` reads

    @property
    def _epochs_path(self):
        return self.path.removesuffix(_SUFFIX) + ".epochs.json"

    def _read_values(self):
        if not os.path.exists(self._epochs_path):
            return []
        with open(self._epochs_path, encoding="utf-8") as file:
            return json.load(file)[self.metric]

    def _write_values(self, path):
        with open(path, "w", encoding="utf-8") as file:
            json.dump({self.metric: self._values}, file)

    def _replace(self, path, write):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        # Keras wants the ending of a file of weights.
        temporary = path.removesuffix(_SUFFIX) + f".{os.getpid()}.tmp{_SUFFIX}"
        try:
            write(temporary)
            os.replace(temporary, path)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else error  # h5py's are many lines
            raise OSError(error.errno, f"Could not save the best epoch ({reason})", path) from error
        finally:
            if os.path.exists(temporary):
                os.remove(temporary)
