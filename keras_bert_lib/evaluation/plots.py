"""Plots of an `Evaluation`, drawn by matplotlib."""

import csv
import os

import numpy as np

_MOST_NAMES = 30  # of classes that can be read beside a confusion matrix


def check_matplotlib(what, instead):
    """Returns matplotlib.

    Args:
        what: str, what needs it.
        instead: str, what to do without it.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(
            f"{what} matplotlib: `pip install 'keras-bert-lib[report]'`, or {instead}."
        ) from error
    return matplotlib


def figures(evaluation, history=None):
    """Draws what there is to draw.

    Args:
        evaluation: `Evaluation`.
        history: see `Evaluation.save_plots`.

    Returns:
        Dict of the name of a file to matplotlib's `Figure`.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if `history` is none.
    """
    check_matplotlib("The plots need", "take the JSON alone")
    curves = {} if history is None else _curves(history)
    found = {}
    if evaluation.confusion is not None:
        found["confusion.png"] = _confusion(**evaluation.confusion)
    if evaluation.calibration is not None:
        error = evaluation.metrics["expected_calibration_error"]
        found["calibration.png"] = _calibration(evaluation.calibration, error)
    if evaluation.task in ("regression", "embedding") and "found" in evaluation.cases:
        found["values.png"] = _values(evaluation.cases["found"], evaluation.cases["right"])
    if curves:
        found["training.png"] = _training(curves)
    return found


def _figure(rows=1, columns=1, size=(4.6, 3.4)):
    from matplotlib.figure import Figure  # no window system, no global state

    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).ravel()


def _confusion(labels, counts):
    counts = np.array(counts)  # [right, found]
    has_names = len(labels) <= _MOST_NAMES
    side = 2.4 + (0.4 * len(labels) if has_names else 6)
    figure, (axes,) = _figure(size=(side, side))
    # Colors are shares of a row: a class with few examples shows its errors, too.
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(title="Confusion", xlabel="found", ylabel="right")
    if has_names:
        axes.set_xticks(range(len(labels)), labels, rotation=90)
        axes.set_yticks(range(len(labels)), labels)
        for (i, j), count in np.ndenumerate(counts):
            color = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, str(count), ha="center", va="center", color=color)
    return figure


def _calibration(bins, error):
    figure, (axes,) = _figure()
    axes.plot([0, 1], [0, 1], color="#bbb", linewidth=1)
    axes.plot(bins["confidence"], bins["accuracy"], marker="o")
    # How many examples say so.
    share = np.array(bins["count"]) / sum(bins["count"])
    axes.bar(bins["confidence"], share, width=0.02, color="#ccc", label="share of answers")
    axes.set(xlabel="probability", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    axes.set_title(f"Calibration: expected error {error:.3f}")
    axes.legend()
    return figure


def _values(found, right):
    figure, (axes,) = _figure()
    axes.scatter(np.ravel(right), np.ravel(found), s=6, alpha=0.5)
    axes.set(title="Values", xlabel="right", ylabel="found")
    return figure


def _training(curves):
    names = [name for name in curves if name not in ("epoch", "step") and name[:4] != "val_"]
    names = names or [name for name in curves if name[:4] == "val_"]
    steps = curves.get("epoch") or list(range(len(next(iter(curves.values())))))
    figure, all_axes = _figure(columns=len(names))
    for name, axes in zip(names, all_axes):
        axes.plot(steps, curves[name], marker="o", label="training")
        if validation := curves.get(f"val_{name}"):
            # There may be one every few epochs.
            every = np.arange(1, len(validation) + 1) * len(steps) // len(validation) - 1
            axes.plot(np.array(steps)[every], validation, marker="o", label="validation")
        axes.set(title=name, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
    return figure


def _curves(history):
    """Returns dict of name to list of float, one an epoch."""
    history = getattr(history, "history", history)
    if isinstance(history, (str, os.PathLike)):
        with open(history, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        history = {name: [_number(row[name]) for row in rows] for name in (rows[0] if rows else ())}
        # Words, as the names of files, are no curve.
        history = {name: x for name, x in history.items() if not np.isnan(x).all()}
    if not isinstance(history, dict) or not history:
        raise ValueError(
            "`history` must be what `fit` returns, or the path of a CSV file with a column a "
            f"metric and a row an epoch. Received: {history!r:.80}"
        )
    return {name: [float(x) for x in values] for name, values in history.items()}


def _number(cell):
    try:
        return float(cell)
    except (TypeError, ValueError):
        return float("nan")
