"""What a comparison of an exported file with its model found."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Verification:
    """An exported file beside its Keras model, on the same texts.

    Attributes:
        path: str, the file or directory.
        size_bytes: int.
        texts: int, number of texts compared.
        agreement: float, share of texts that get the same label from both.
        max_error: float, greatest absolute difference of a probability.
        milliseconds_per_text: float, median time for one text in a batch of one, one thread, as
            measured on this machine.
        operators: tuple of str, the TFLite operators; empty for a SavedModel.
        accuracy: float or None, share of right labels by the file, where labels were given.
        keras_accuracy: float or None, the same by the model.
    """

    path: str
    size_bytes: int
    texts: int
    agreement: float
    max_error: float
    milliseconds_per_text: float
    operators: tuple
    accuracy: float | None = None
    keras_accuracy: float | None = None

    def __str__(self):
        """A table of one line a figure."""
        rows = [
            ("file", self.path),
            ("size", f"{self.size_bytes / 1e6:.2f} MB"),
            ("texts compared", f"{self.texts:,}"),
            ("same label as Keras", f"{self.agreement:.2%}"),
            ("greatest difference of a probability", f"{self.max_error:.2g}"),
            ("median time a text, one thread", f"{self.milliseconds_per_text:.2f} ms"),
        ]
        if self.accuracy is not None:
            rows.append(
                ("accuracy, file / Keras", f"{self.accuracy:.4f} / {self.keras_accuracy:.4f}")
            )
        if self.operators:
            rows.append(("operators", f"{len(self.operators)}, all built in"))
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
