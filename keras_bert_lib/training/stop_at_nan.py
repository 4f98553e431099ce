"""An end to a training whose loss is no number any more."""

import os

import keras
import numpy as np


class StopAtNaN(keras.callbacks.Callback):
    """Stops where the loss is NaN or infinite, and writes down what it had been fed.

    The weights are spoilt then, so `fit` ends with an error, and nothing is saved any more: what
    `Resume` saved before stands. Written are the batch of that step and the one before it, whose
    update may have spoilt the weights. They tell whether the data are to blame; otherwise a lower
    learning rate, a longer warmup, or bfloat16 in place of float16 helps.

    Looking at the loss waits for the step: on a GPU look at it less often, by `every`. None is
    missed, for the loss that Keras reports is a mean over the steps of the epoch.

    Args:
        path: str. The `.npz` file to write to: an array for each tensor, whose name begins with
            the number of the step, from 1.
        batch_at: callable or None. Takes the number of a batch, counted from 0 over all epochs,
            and returns that batch, a dict or another structure of tensors, read anew: for data
            that are the same each time they are read. None writes nothing.
        every: int. Look at the loss after every so many batches; all of these are written then.

    Raises:
        ValueError: if `every` is below 1.
        FloatingPointError: from `fit`, when the loss is not finite.

    Example:
        ```python
        stop = kbl.training.StopAtNaN(
            "run/nan.npz", lambda number: next(iter(dataset.skip(number)))
        )
        model.fit(dataset.repeat(), steps_per_epoch=10, epochs=2, callbacks=[stop])
        ```
    """

    def __init__(self, path, batch_at=None, every=1):
        super().__init__()
        if not every >= 1:
            raise ValueError(f"`every` must be 1 or more. Received: {every}")
        self.path = os.fspath(path)
        self.batch_at = batch_at
        self.every = every

    def on_epoch_begin(self, epoch, logs=None):
        """Counts from here."""
        self._before = epoch * (self.params["steps"] or 0)

    def on_train_batch_end(self, batch, logs=None):
        """Looks at the loss when it is time to."""
        if (batch + 1) % self.every >= self.model.steps_per_execution:
            return
        loss = (logs or {}).get("loss")
        if loss is None or np.isfinite(float(loss)):
            return
        number = self._before + batch
        message = f"The loss is {float(loss)} after step {number + 1}"
        if self.batch_at is not None:
            first = number - max(self.every, self.model.steps_per_execution)
            arrays = {
                "/".join(map(str, (step + 1, *path))): np.asarray(array)
                for step in range(max(first, 0), number + 1)
                for path, array in keras.tree.flatten_with_path(self.batch_at(step))
            }
            os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
            with open(f"{self.path}.tmp", "wb") as file:
                np.savez(file, **arrays)
            os.replace(f"{self.path}.tmp", self.path)
            message += f"; what it was fed is in {self.path}"
        raise FloatingPointError(
            f"{message}. Try a lower learning rate, or look at the data. What was saved before "
            "stands."
        )
