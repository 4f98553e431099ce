"""What a comparison of an exported file with its model found."""

import dataclasses
import math

from keras_bert_lib.evaluation.json_text import json_text
from keras_bert_lib.export.files import write_file
from keras_bert_lib.export.verification_error import VerificationError

# Of each task: what it means that answers agree, and the name of its metric.
_WORDS = {
    "single_label_classification": ("same label as Keras", "accuracy"),
    "multi_label_classification": ("same labels as Keras", "micro F1"),
    "regression": ("value within 1% of the range", "Spearman"),
    "embedding": ("mean cosine with Keras", "Spearman"),
    "entities": ("same entities as Keras", "entity F1"),
    "question_answering": ("same answer as Keras", "exact match"),
    "multiple_choice": ("same choice as Keras", "accuracy"),
    "masked_lm": ("same first pieces as Keras", "accuracy"),
}


@dataclasses.dataclass(frozen=True)
class Verification:
    """An exported file beside its Keras model, on the same texts.

    Times are of this machine, of one text at a time.

    Attributes:
        path: str, the file or directory.
        task: str, such as "single_label_classification" or "embedding".
        interface: str, "saved_model", or of a TFLite file "text" or "tokens", which is also said of
            one for MediaPipe.
        runtime: str, what ran the file, with its version.
        size_bytes: int.
        texts: int, number of texts compared.
        truncated: int, how many of them the file cut; where Keras did not, answers may differ.
        agreement: float, share of texts that get the same answer from both: the same label, set of
            labels, entities, answer, choice or pieces, or values that differ by less than a
            hundredth of their range; of an embedder the mean cosine. Logits that a file gives for
            token ids are read as the model reads its own.
        min_cosine: float or None, of an embedder the least cosine.
        max_error: float, greatest absolute difference of a probability or value, or of the
            score of what both found.
        milliseconds_per_text: float, median time for one of the texts, one thread.
        latency: tuple of dicts of "tokens", "threads" (None: as TensorFlow takes them) and
            "milliseconds", the median for a text of so many tokens.
        operators: dict of the names of the operators and how often each stands in the file.
        partitions: tuple of dicts, one a signature of a TFLite file: "signature", its name,
            "operators", how many it has, "partitions", a list with the number of operators in each
            part that XNNPACK runs, and "outside", a dict of the others and how often each stands
            there. Empty for a SavedModel.
        metric: float or None, the task's metric of the file, where there are labels.
        keras_metric: float or None, the same of the model.
        cases: dict of lists: "agreement" and "error" of each text, "keras_score" and "file_score"
            of the best answers, and where there are such "keras_answer", "file_answer", "label",
            "keras_confidence" and "file_confidence", the probability of the best label or choice.
    """

    path: str
    task: str
    interface: str
    runtime: str
    size_bytes: int
    texts: int
    truncated: int
    agreement: float
    max_error: float
    milliseconds_per_text: float
    latency: tuple
    operators: dict
    partitions: tuple = ()
    metric: float | None = None
    keras_metric: float | None = None
    min_cosine: float | None = None
    cases: dict = dataclasses.field(default_factory=dict, repr=False)

    @property
    def agreement_name(self):
        """What `agreement` counts, str."""
        return _WORDS[self.task][0]

    @property
    def metric_name(self):
        """The name of the task's metric, str."""
        return _WORDS[self.task][1]

    def rows(self):
        """Returns the figures as list of (name, value), both str."""
        rows = [
            ("file", self.path),
            ("size", f"{self.size_bytes / 1e6:.2f} MB"),
            ("texts compared", f"{self.texts:,}"),
        ]
        if self.truncated:
            rows.append(("texts cut by the file", f"{self.truncated:,}"))
        if self.min_cosine is not None:
            rows.append((self.agreement_name, f"{self.agreement:.4f}"))
            rows.append(("least cosine with Keras", f"{self.min_cosine:.4f}"))
        else:
            rows.append((self.agreement_name, f"{self.agreement:.2%}"))
        rows.append(("greatest difference of a number", f"{self.max_error:.2g}"))
        if self.metric is not None:
            both = f"{self.metric:.4f} / {self.keras_metric:.4f}"
            rows.append((f"{self.metric_name}, file / Keras", both))
        rows.append(("median time a text", f"{self.milliseconds_per_text:.2f} ms"))
        for threads in dict.fromkeys(row["threads"] for row in self.latency):
            times = [row for row in self.latency if row["threads"] == threads]
            shown = ", ".join(f"{row['tokens']}: {row['milliseconds']:.2f}" for row in times)
            rows.append((f"ms by tokens, {_threads(threads)}", shown))
        kinds, count = len(self.operators), sum(self.operators.values())
        is_builtin = not any(name.startswith("CUSTOM:") for name in self.operators)
        builtin = ", all built in" if self.partitions and is_builtin else ""
        rows.append(("operators", f"{count:,} of {kinds} kinds{builtin}"))
        for row in self.partitions:
            name = f" of {row['signature']}" if len(self.partitions) > 1 else ""
            parts = " + ".join(map(str, row["partitions"])) or "0"
            count = len(row["partitions"])
            shown = f"{parts} of {row['operators']} operators, {count} partition{'s'[count == 1 :]}"
            rows.append((f"in XNNPACK{name}", shown))
        return [*rows, ("runtime", self.runtime)]

    def __str__(self):
        """A table of one line a figure."""
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)

    def check(self, max_metric_drop=0.01, min_agreement=None):
        """Raises where the file is not as good as it has to be.

        Args:
            max_metric_drop: float, by how much the file's metric may be below the model's; it is
                looked at where there were labels.
            min_agreement: float or None, the least `agreement`.

        Raises:
            VerificationError: saying what is wrong. The file is left as it is.

        Example:
            ```python
            report = kbl.export.verify("model.tflite", classifier, ["a fine film"], labels=["pos"])
            report.check(max_metric_drop=1.0)
            ```
        """
        what = None
        if not math.isfinite(self.max_error):
            what = "it gives numbers that are not finite, where Keras gives others"
        # Written so that NaN fails too.
        elif self.metric is not None and not self.metric >= self.keras_metric - max_metric_drop:
            what = (
                f"its {self.metric_name} is {self.metric:.4f}, that of Keras "
                f"{self.keras_metric:.4f}: more than {max_metric_drop:g} is lost"
            )
        elif min_agreement is not None and not self.agreement >= min_agreement:
            what = f"{self.agreement_name}: {self.agreement:.4f}, less than {min_agreement:g}"
        if what is not None:
            advice = "Try another quantization, or more calibration texts that are like yours."
            if self.truncated:
                advice = (
                    f"It cut {self.truncated} texts: see `max_bytes` and `max_length`. {advice}"
                )
            raise VerificationError(f"{self.path} was written, but {what}. {advice}")

    def save_json(self, path):
        """Writes all figures as JSON.

        Args:
            path: file to write, replaced where it is there.
        """
        content = {"agreement_name": self.agreement_name, "metric_name": self.metric_name}
        content = dataclasses.asdict(self) | content
        write_file(path, json_text(content).encode())

    def save_html(self, path):
        """Writes one page with the figures and plots of them, which needs nothing else.

        Args:
            path: file to write, replaced where it is there.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        from keras_bert_lib.export import report_page

        write_file(path, report_page.make(self).encode())


def _threads(number):
    if number is None:
        return "TensorFlow's threads"
    return "1 thread" if number == 1 else f"{number} threads"
