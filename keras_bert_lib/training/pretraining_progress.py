"""What people watch while a model is pretrained."""

import math
import os
import time

import keras


class PretrainingProgress(keras.callbacks.Callback):
    """Prints a line every so many steps, and writes TensorBoard's scalars.

    A line tells the step, the losses since the line before, tokens a second, the model FLOPs
    utilization and the time left. TensorBoard gets these, the learning rate, the tokens seen so
    far, the norm of the gradients where the optimizer keeps it (`gradient_norm`), and after each
    epoch what was measured on held-out data; x is the step.

    A training that goes on (`Resume`) counts on from where it was; what it skips is not counted.

    Args:
        tokens_per_step: float. Tokens of a batch that are no padding, on average.
        flops_per_step: float or None. See `pretraining_flops`.
        flops_per_second: float or None. What the devices could do; see `matmul_rate`. None, like
            `flops_per_step`, leaves the utilization out.
        every: int. Steps from line to line.
        log_dir: str or None. The folder for TensorBoard.
        write: callable. Takes a line; by default it prints it.

    Example:
        ```python
        progress = kbl.training.PretrainingProgress(tokens_per_step=32 * 128, every=5)
        model.fit(dataset.repeat(), steps_per_epoch=10, epochs=2, callbacks=[progress], verbose=0)
        progress.tokens_per_second
        ```

    References:
        - [Chowdhery et al., 2022](https://arxiv.org/abs/2204.02311), section 4.1: model FLOPs
          utilization
    """

    def __init__(
        self,
        tokens_per_step,
        flops_per_step=None,
        flops_per_second=None,
        every=100,
        log_dir=None,
        write=None,
    ):
        super().__init__()
        if not every >= 1:
            raise ValueError(f"`every` must be 1 or more. Received: {every}")
        self.tokens_per_step = tokens_per_step
        self.flops_per_step = flops_per_step
        self.flops_per_second = flops_per_second
        self.every = every
        self.log_dir = log_dir
        self.write = write or (lambda line: print(line, flush=True))
        self._writer = None

    @property
    def tokens_per_second(self):
        """Tokens a second of this `fit`, float; NaN before there are any."""
        return self._steps * self.tokens_per_step / self._seconds if self._seconds else math.nan

    @property
    def utilization(self):
        """The model FLOPs utilization of this `fit`, from 0 to 1; None where it is not known."""
        if not self.flops_per_step or not self.flops_per_second:
            return None
        flops_per_token = self.flops_per_step / self.tokens_per_step
        return self.tokens_per_second * flops_per_token / self.flops_per_second

    def on_train_begin(self, logs=None):
        """Starts to count."""
        if self.log_dir is not None:
            import tensorflow as tf

            self._writer = tf.summary.create_file_writer(os.fspath(self.log_dir))
        self._steps, self._seconds = 0, 0.0
        # The clock starts after the first step, which builds the graph. What `Resume` skips comes
        # before that and makes no update.
        self._clock = None

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the epoch's means anew."""
        if self._clock is None:
            self._updates_before = self._updates()
        self._before = epoch * (self.params["steps"] or 0)
        self._window = 0, {}  # batches of this epoch before the last line, and their means

    def on_train_batch_end(self, batch, logs=None):
        """Writes a line when it is time to."""
        done = batch + 1
        if self._clock is None:
            if self._updates() > self._updates_before:
                self._window = done, _floats(logs)
                self._clock, self._clock_step = time.perf_counter(), self._before + done
            return
        steps = self._before + done
        if steps % self.every >= self.model.steps_per_execution:
            return
        begin, means = self._window
        found = _floats(logs)
        # Of means over the epoch so far, those since the last line; a missing one was 0.
        recent = {
            name: (mean * done - means.get(name, 0.0) * begin) / (done - begin)
            for name, mean in found.items()
        }
        self._window = done, found
        self._read_clock(steps)
        self._write_line(steps, recent)

    def on_test_begin(self, logs=None):
        """Stops the clock while the model is measured."""
        if self._clock is not None:
            self._read_clock(self._before + (self.params["steps"] or 0))

    def on_test_end(self, logs=None):
        """Lets the clock run on."""
        if self._clock is not None:
            self._clock = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Writes what was measured on held-out data."""
        found = {k: v for k, v in _floats(logs).items() if k.startswith("val_")}
        if found:
            steps = (epoch + 1) * (self.params["steps"] or 0)
            names = {name: name.removeprefix("val_") for name in found}
            self.write(f"  held out: {_sentence({names[k]: v for k, v in found.items()})}")
            self._write_scalars(steps, found)

    def on_train_end(self, logs=None):
        """Closes the logs."""
        if self._writer is not None:
            self._writer.close()

    def _updates(self):
        # Replicas have a variable each, which `int` does not take.
        return int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))

    def _read_clock(self, steps):
        now = time.perf_counter()
        self._seconds += now - self._clock
        self._steps += steps - self._clock_step
        self._clock, self._clock_step = now, steps

    def _write_line(self, steps, recent):
        parts = [f"step {steps:,}", _sentence(recent), f"{self.tokens_per_second:,.0f} tokens/s"]
        scalars = recent | {
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "tokens_seen": steps * self.tokens_per_step,
            "tokens_per_second": self.tokens_per_second,
        }
        if self.utilization is not None:
            parts.append(f"{self.utilization:.0%} of the matmul rate")
            scalars["model_flops_utilization"] = self.utilization
        if self.params["steps"] and self._steps:
            total = self.params["steps"] * self.params["epochs"]
            parts[0] += f" of {total:,}"
            parts.append(f"{_duration((total - steps) * self._seconds / self._steps)} left")
        optimizer = self.model.optimizer
        norm = getattr(getattr(optimizer, "inner_optimizer", optimizer), "gradient_norm", None)
        if norm is not None:
            scalars["gradient_norm"] = float(keras.ops.convert_to_numpy(norm))
        self.write(", ".join(part for part in parts if part))
        self._write_scalars(steps, scalars)

    def _write_scalars(self, steps, scalars):
        if self._writer is None:
            return
        import tensorflow as tf

        with self._writer.as_default(step=steps):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
        self._writer.flush()


def _floats(logs):
    return {name: float(value) for name, value in (logs or {}).items()}


def _sentence(numbers):
    """Numbers by their names, for people."""
    return ", ".join(
        f"{name.replace('_', ' ')} {abs(value):.1%}"  # a difference of means may be -0.0
        if name.endswith("accuracy")
        else f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in numbers.items()
    )


def _duration(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
