"""What an evaluation of a model found."""

import dataclasses
import os
from pathlib import Path

from keras_bert_lib.checkpoints.files import written_aside
from keras_bert_lib.evaluation import plots
from keras_bert_lib.evaluation.json_text import json_text

_MOST_ROWS = 40  # of a table of classes that can be read


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The metrics of a model on labelled examples; print it for a table.

    Attributes:
        task: str, such as "single_label_classification" or "entities".
        examples: int, how many there were.
        metrics: dict of name to float, the task's most telling first. Fractions are from 0 to 1.
        by_class: dict of the name of a class, or of a type of entities, to dict of "precision",
            "recall", "f1" and "support"; empty where there are no classes.
        confusion: dict or None where there is one class an example (or word): "labels", list of
            str, and "counts", list of lists of int, right classes by found ones.
        calibration: dict or None: of bins of the model's probabilities "confidence" and "accuracy",
            lists of float, the means in each, and "count", list of int.
        cases: dict of lists, one element an example: "found" and "right", the answers, and where
            there is such "confidence", the probability of the answer.
    """

    task: str
    examples: int
    metrics: dict
    by_class: dict = dataclasses.field(default_factory=dict)
    confusion: dict | None = None
    calibration: dict | None = None
    cases: dict = dataclasses.field(default_factory=dict, repr=False)

    def __str__(self):
        """A table of one line a metric, and one a class."""
        rows = [("examples", f"{self.examples:,}")]
        rows += [(name.replace("_", " "), f"{x:.4f}") for name, x in self.metrics.items()]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {value:>8}" for name, value in rows]
        if self.by_class:
            # The classes that are wrong most often are those one wants to see.
            classes = sorted(self.by_class.items(), key=lambda row: row[1]["f1"])
            shown = dict(classes[:_MOST_ROWS])
            width = max(5, *(len(name) for name in shown))
            lines += ["", f"{'':<{width}}  precision  recall      f1  support"]
            for name in self.by_class:
                if name in shown:
                    row = shown[name]
                    numbers = f"{row['precision']:9.4f}  {row['recall']:6.4f}  {row['f1']:6.4f}"
                    lines.append(f"{name:<{width}}  {numbers}  {row['support']:7,}")
            if len(classes) > _MOST_ROWS:
                lines.append(f"... and {len(classes) - _MOST_ROWS} classes whose F1 is higher")
        return "\n".join(lines)

    def save_json(self, path):
        """Writes everything as JSON; numbers that are not finite as null.

        Args:
            path: file to write, replaced where it is there.
        """
        path = Path(path)
        with written_aside(path.parent) as folder:
            text = json_text(dataclasses.asdict(self))
            Path(folder, path.name).write_text(text, "utf-8")

    def save_plots(self, directory, history=None):
        """Draws what there is: `confusion.png`, `calibration.png`, `values.png`, `training.png`.

        Args:
            directory: folder to write into, made where it is not there.
            history: what `fit` returned, its `history`, or the path of a file that
                `keras.callbacks.CSVLogger` wrote, for the curves of the training; or None.

        Returns:
            List of the `pathlib.Path`s of the files.

        Raises:
            ImportError: if matplotlib is not installed.
            ValueError: if `history` is none.
        """
        figures = plots.figures(self, history)
        with written_aside(directory) as folder:
            for name, figure in figures.items():
                figure.savefig(os.path.join(folder, name), dpi=120)
        return [Path(directory, name) for name in figures]
