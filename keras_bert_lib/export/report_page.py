"""A `Verification` as one HTML page with plots, drawn by matplotlib."""

import collections
import html
import io

import numpy as np

from keras_bert_lib.evaluation import metrics, plots

_MOST_CLASSES = 30  # of a confusion matrix that can be read
_BINS = 10  # of the calibration
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em;
       color: #222; background: #fff }
table { border-collapse: collapse } td, th { padding: .2em .8em; border-bottom: 1px solid #ddd;
       text-align: left; vertical-align: top } td.number { text-align: right }
figure { display: inline-block; margin: 0 1em 1em 0 } svg { max-width: 100%; height: auto }
"""


def make(report):
    """Returns the page, str.

    Args:
        report: `Verification`.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    plots = [_latency(report), _errors(report), _agreement(report), _scores(report)]
    plots += [_calibration(report), _confusion(report)]
    title = html.escape(f"{report.path} beside its model")
    parts = [
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>",
        _table(report.rows()),
        "<h2>Plots</h2>",
        *(f"<figure>{plot}</figure>" for plot in plots if plot),
        "<h2>Operators</h2>",
        _table(report.operators.items()),
    ]
    for row in report.partitions:
        if row["outside"]:
            parts.append(f"<h2>Operators of {html.escape(row['signature'])} outside XNNPACK</h2>")
            parts.append(_table(row["outside"].items()))
    return "\n".join([*parts, "</body></html>\n"])


def check_matplotlib():
    """Returns matplotlib; raises ImportError unless plots can be drawn."""
    return plots.check_matplotlib("The HTML report needs", "take the JSON alone")


def _table(rows):
    cells = []
    for name, value in rows:
        kind = ' class="number"' if isinstance(value, int) else ""
        cells.append(
            f"<tr><th>{html.escape(name)}</th><td{kind}>{html.escape(str(value))}</td></tr>"
        )
    return "<table>" + "".join(cells) + "</table>"


def _draw(title, draw, size=(4.6, 3.4)):
    """Returns as SVG what `draw` draws on the axes it is given."""
    matplotlib = check_matplotlib()
    from matplotlib.figure import Figure  # no window system, no global state

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    draw(axes)
    file = io.StringIO()
    # Text stays text, and the same numbers give the same page.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()[file.getvalue().index("<svg") :]


def _latency(report):
    def draw(axes):
        for threads in dict.fromkeys(row["threads"] for row in report.latency):
            rows = [row for row in report.latency if row["threads"] == threads]
            label = "TensorFlow's threads" if threads is None else f"threads: {threads}"
            x = [row["tokens"] for row in rows]
            axes.plot(x, [row["milliseconds"] for row in rows], marker="o", label=label)
        axes.set(xlabel="tokens", ylabel="milliseconds a text", ylim=(0, None))
        axes.legend()

    return _draw("Time by length", draw) if report.latency else None


def _errors(report):
    errors = np.array(report.cases.get("error", []), float)
    errors = errors[np.isfinite(errors)]

    def draw(axes):
        least = max(errors[errors > 0].min() if errors.any() else 1e-8, 1e-8)
        bins = np.geomspace(least, max(errors.max(), 2 * least) * 1.01, 30)
        axes.hist(np.maximum(errors, least), bins=bins)
        axes.set(xscale="log", xlabel="greatest difference in a text", ylabel="texts")

    return _draw("Errors", draw) if errors.size else None


def _agreement(report):
    """Cosines of embeddings, else the same answers, by how sure Keras is where that is known."""
    same = np.array(report.cases.get("agreement", []), float)

    def draw(axes):
        if report.task == "embedding":
            axes.hist(same, bins=30)
            axes.set(xlabel="cosine with Keras", ylabel="texts")
        elif "keras_confidence" in report.cases:
            place = _bins(report.cases["keras_confidence"])
            found = np.unique(place)
            shares = [same[place == i].mean() for i in found]
            axes.bar((found + 0.5) / _BINS, shares, width=0.9 / _BINS)
            axes.set(xlabel="probability, Keras", ylabel=report.agreement_name)
            axes.set(xlim=(0, 1), ylim=(0, 1))
        else:
            axes.bar(["same", "another"], [same.sum(), same.size - same.sum()])
            axes.set(xlabel=report.agreement_name, ylabel="texts")

    return _draw("Agreement", draw) if np.isfinite(same).all() and same.size else None


def _bins(probabilities):
    return np.minimum((np.array(probabilities, float) * _BINS).astype(int), _BINS - 1)


def _scores(report):
    keras, file = (np.array(report.cases.get(f"{x}_score", []), float) for x in ("keras", "file"))

    def draw(axes):
        ends = [min(keras.min(), file.min()), max(keras.max(), file.max())]
        axes.plot(ends, ends, color="#bbb", linewidth=1)
        axes.scatter(keras, file, s=6, alpha=0.5)
        axes.set(xlabel="Keras", ylabel="file")
        axes.locator_params(nbins=5)

    is_drawn = keras.size and np.isfinite(keras).all() and np.isfinite(file).all()
    what = "Numbers" if report.task in ("embedding", "regression") else "Scores"
    return _draw(f"{what} of both", draw) if is_drawn else None


def _calibration(report):
    """How often the file's best label is right, by the probability it has."""
    cases = report.cases
    if "label" not in cases or report.task not in (
        "single_label_classification",
        "multiple_choice",
    ):
        return None
    sides = {}
    for side in ("keras", "file"):
        right = [str(a) == str(b) for a, b in zip(cases[f"{side}_answer"], cases["label"])]
        sides[side] = cases[f"{side}_confidence"], right

    def draw(axes):
        axes.plot([0, 1], [0, 1], color="#bbb", linewidth=1)
        for side, (scores, right) in sides.items():
            bins = metrics.reliability(scores, right)
            label = "Keras" if side == "keras" else "file"
            axes.plot(bins["confidence"], bins["accuracy"], marker="o", label=label)
        axes.set(xlabel="probability", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
        axes.legend()

    return _draw("Calibration", draw)


def _confusion(report):
    """The file's labels by the right ones, or where there are none by those of Keras."""
    cases = report.cases
    if report.task != "single_label_classification":
        return None
    truth, title = ("label", "Right labels") if "label" in cases else ("keras_answer", "Keras")
    pairs = collections.Counter(zip(map(str, cases[truth]), map(str, cases["file_answer"])))
    names = sorted({name for pair in pairs for name in pair})
    if len(names) > _MOST_CLASSES:
        return None
    counts = np.array([[pairs[a, b] for b in names] for a in names])  # [right, file]

    def draw(axes):
        axes.imshow(counts, cmap="Blues")
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="file", ylabel="right" if truth == "label" else "Keras")
        for (i, j), count in np.ndenumerate(counts):
            color = "white" if count > counts.max() / 2 else "black"
            axes.text(j, i, str(count), ha="center", va="center", color=color)

    side = 2.4 + 0.4 * len(names)
    return _draw(f"{title} and the file's", draw, (side, side))
