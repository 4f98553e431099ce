"""Runs exported files as their users do: by TensorFlow alone, or a TFLite interpreter alone.

This module imports neither this library nor Keras, so it also shows what a client has to do.

    answer = stock_runtime.load("classifier.tflite")
    answer(["a fine film"])          # {"probabilities": [[0.02, 0.98]], "truncated": [0]}
    answer.answers(["a fine film"])  # [{"label": "pos", "score": 0.98}]
"""

import os
import zipfile
from importlib import metadata

import numpy as np


def load(path, num_threads=1):
    """Loads an exported file.

    Args:
        path: a SavedModel directory (or one with numbered versions in it, of which the newest is
            taken), or a `.tflite` file, that takes text.
        num_threads: int, threads of the TFLite interpreter.

    Returns:
        The file. Called with texts, and second texts or None, lists of str or bytes (second texts
        may be lists of choices), it returns its outputs, a dict of name to array `[texts, ...]`,
        the best "label" of each text among them where there are labels. Its method `answers`
        returns what they say as Python objects.

    Raises:
        FileNotFoundError: if nothing is at `path`.
        ValueError: if it is no file of these kinds, takes no text, or the runtime cannot run it.
    """
    path = newest_version(os.fspath(path))
    return _SavedModelFile(path) if os.path.isdir(path) else _TFLiteFile(path, num_threads)


def newest_version(path):
    """Returns the path of the newest version in a directory of SavedModels, or else `path`."""
    if os.path.isdir(path) and not os.path.exists(os.path.join(path, "saved_model.pb")):
        versions = [name for name in os.listdir(path) if name.isascii() and name.isdigit()]
        if versions:
            return os.path.join(path, max(versions, key=int))
    return path


class _TextFile:
    """What is the same for both kinds of files.

    Attributes:
        path: str.
        inputs: names of the inputs, "text" and maybe "text_pair".
        outputs: names of the outputs.
        labels: list of str or None, the labels, or the types of the entities.
        pieces: list of str or None, the vocabulary.
        num_choices: int, of the second texts that come with each text; 0 for one or none.
        has_one_label: bool, whether "probabilities" are those of labels that exclude each other.
    """

    def __call__(self, texts, text_pairs=None):
        """Returns the outputs, a dict of name to array `[texts, ...]`."""
        columns = {"text": texts}
        if text_pairs is not None:
            columns["text_pair"] = text_pairs
        if set(self.inputs) != set(columns):
            what = "pairs of texts" if "text_pair" in self.inputs else "single texts"
            raise ValueError(f"{self.path} takes {what}. Received: {' and '.join(columns)}")
        return self._run(columns)

    def answers(self, texts, text_pairs=None):
        """Returns what the outputs say, one Python object a text; see `decode`."""
        texts = list(texts)
        return self.decode(self(texts, text_pairs), texts, text_pairs) if texts else []

    def decode(self, outputs, texts, text_pairs=None):
        """Returns what the outputs for some texts say, one Python object a text.

        Labels, spans cut out of the texts, choices and pieces come as `predict_text` of the models
        gives them; places are in characters. An embedding comes as float32 `[hidden]`.
        """
        second = [None] * len(texts) if text_pairs is None else text_pairs
        rows = [{name: x[i] for name, x in outputs.items()} for i in range(len(texts))]
        return [self._answer(*row) for row in zip(rows, texts, second)]

    def _answer(self, row, text, second):
        """The answer to one text; `row` is a dict of name to array without the batch."""
        if "embedding" in row:
            return row["embedding"]
        if "values" in row:
            values = row["values"].tolist()
            return values[0] if len(values) == 1 else values
        if "answer_start" in row:
            start, end = int(row["answer_start"].flat[0]), int(row["answer_end"].flat[0])
            span = cut_span(second, start, end)
            return {"answer": span.pop("text"), **span, "score": float(row["score"].flat[0])}
        if "entity_starts" in row:
            return [
                {
                    **cut_span(text, row["entity_starts"][i], row["entity_ends"][i]),
                    "label": _name(self.labels, row["entity_labels"][i]),
                    "score": float(row["entity_scores"][i]),
                }
                for i in range(int(row["entity_count"]))
            ]
        if "mask_starts" in row:
            return [
                [
                    {"token": _name(self.pieces, piece), "score": float(score)}
                    for piece, score in zip(row["token_ids"][i], row["scores"][i])
                ]
                for i in range(int(row["mask_count"]))
            ]
        probabilities = row["probabilities"]
        if "label_count" in row:  # the best labels alone
            ranked = zip(row["labels"].tolist(), probabilities.tolist())
            answers = [{"label": label, "score": score} for label, score in ranked]
            return answers[: int(row["label_count"])]
        best = int(probabilities.argmax())
        if self.num_choices:
            return {"index": best, "choice": second[best], "score": float(probabilities[best])}
        if self.has_one_label:
            label = row["label"] if "label" in row else _name(self.labels, best)
            return {"label": label, "score": float(probabilities[best])}
        return [
            {"label": _name(self.labels, i), "score": float(probabilities[i])}
            for i in np.argsort(-probabilities, kind="stable")
            if probabilities[i] > 0.5
        ]

    def _check_takes_text(self):
        if "text" not in self.inputs:
            raise ValueError(
                f"{self.path} does not take text. Export it with the text interface. "
                f"Received: a file with the inputs {sorted(self.inputs)}"
            )


class _SavedModelFile(_TextFile):
    """A SavedModel that takes text; see `load`."""

    def __init__(self, path):
        import tensorflow as tf

        if not os.path.exists(os.path.join(path, "saved_model.pb")):
            raise ValueError(f"{path} is not a SavedModel: it holds no saved_model.pb.")
        self.path = path
        # A signature alone does not keep its variables alive.
        self._loaded = tf.saved_model.load(path)
        self._signature = self._loaded.signatures.get("serving_default")
        specs = self._signature.structured_input_signature[1] if self._signature else {}
        self.inputs = list(specs)
        self._check_takes_text()
        self.outputs = list(self._signature.structured_outputs)
        has_choices = "text_pair" in specs and specs["text_pair"].shape.rank == 2
        self.num_choices = 2 if has_choices else 0  # or any other number
        self.has_one_label = "label" in self.outputs
        extra = os.path.join(path, "assets.extra")
        self.labels = _read_lines(os.path.join(extra, "labels.txt"))
        self.pieces = _read_lines(os.path.join(extra, "vocab.txt"))

    def _run(self, columns):
        import tensorflow as tf

        inputs = {}
        for name, column in columns.items():
            if self.num_choices and name == "text_pair":
                rows = [[encode(text) for text in choices] for choices in column]
                if len({len(row) for row in rows}) > 1:
                    raise ValueError(
                        f"{self.path} takes equally many choices for all texts of a batch. "
                        f"Received: {sorted({len(row) for row in rows})}"
                    )
                inputs[name] = tf.constant(rows, tf.string, shape=None if rows else [0, 1])
            else:
                rows = [encode(text) for text in column]
                inputs[name] = tf.constant(rows, tf.string, shape=[len(rows)])
        outputs = {name: x.numpy() for name, x in self._signature(**inputs).items()}
        for name in {"label", "labels"} & set(outputs):
            outputs[name] = np.vectorize(bytes.decode, otypes=[object])(outputs[name])
        return outputs


class _TFLiteFile(_TextFile):
    """A `.tflite` file that takes text; see `load`."""

    def __init__(self, path, num_threads=1):
        self.path = path
        self.interpreter = make_interpreter(path, num_threads)
        signature = self.interpreter.get_signature_list().get("serving_default", {"inputs": []})
        self.inputs = signature["inputs"]
        self._check_takes_text()
        self.outputs = signature["outputs"]
        self._runner = self.interpreter.get_signature_runner("serving_default")
        details = self._runner.get_input_details()
        self._shapes = {name: detail["shape"].tolist() for name, detail in details.items()}
        self.max_bytes = self._shapes["text"][1]
        count = self._shapes.get("text_pair", [1])[0]
        self.num_choices = count if count > 1 else 0
        self.has_one_label = not self.num_choices and self._makes("probabilities", "SOFTMAX")
        self.labels = read_associated(path, "labels.txt")
        self.pieces = read_associated(path, "vocab.txt")

    def _makes(self, output, operator):
        """Whether an output, if there is one of this name, comes out of such an operator."""
        if output not in self.outputs:
            return False
        index = self._runner.get_output_details()[output]["index"]
        operators = self.interpreter._get_ops_details()
        makers = {i: op for op in operators if op["op_name"] != "DELEGATE" for i in op["outputs"]}
        while index in makers and makers[index]["op_name"] == "RESHAPE":
            index = makers[index]["inputs"][0]
        return index in makers and makers[index]["op_name"] == operator

    def _run(self, columns):
        rows = []
        for row in zip(*columns.values()):
            inputs = {
                name: self._bytes(name, value if isinstance(value, (list, tuple)) else [value])
                for name, value in zip(columns, row)
            }
            rows.append(self._runner(**inputs))
        if not rows:
            details = self._runner.get_output_details()
            return {
                name: np.zeros([0, *detail["shape"][1:]], detail["dtype"])
                for name, detail in details.items()
            }
        outputs = {name: np.concatenate([row[name] for row in rows]) for name in self.outputs}
        if self.has_one_label and self.labels:
            best = outputs["probabilities"].argmax(axis=-1)
            outputs["label"] = np.array([self.labels[i] for i in best], object)
        return outputs

    def _bytes(self, name, texts):
        count, max_bytes = self._shapes[name]
        if len(texts) != count:
            raise ValueError(
                f"{self.path} takes {count} choices for each text. Received: {len(texts)}"
            )
        return np.concatenate([utf8_bytes(text, max_bytes) for text in texts])


def make_interpreter(path, num_threads=1):
    """Returns an allocated TFLite interpreter: ai-edge-litert's, or else the one in TensorFlow.

    Args:
        path: a `.tflite` file.
        num_threads: int.

    Raises:
        FileNotFoundError: if nothing is at `path`.
        ValueError: if it is no TFLite file, or one that this interpreter cannot run.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:  # the runtime's own messages do not say what is wrong
        if file.read(8)[4:] != b"TFL3":
            raise ValueError(f"{path} is not a TFLite file.")
    interpreter_class, _ = _runtime()
    try:
        interpreter = interpreter_class(model_path=path, num_threads=num_threads)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be run by {runtime_name()}: the file is damaged, or its operators or "
            "types are newer than the runtime. Try `pip install -U ai-edge-litert`, or export it "
            f"with another quantization. Received: {' '.join(str(error).split())}"
        ) from error
    return interpreter


def input_names(path):
    """Returns the names of the inputs of all signatures of a `.tflite` file, as a set."""
    signatures = make_interpreter(path).get_signature_list().values()
    return {name for signature in signatures for name in signature["inputs"]}


def runtime_name():
    """Returns the name and the version of the package whose interpreter is used."""
    return _runtime()[1]


def _runtime():
    """Returns the class of interpreters, and the name and the version of its package."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import warnings

        import tensorflow as tf

        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated")
        return tf.lite.Interpreter, f"tensorflow {tf.__version__}"
    return Interpreter, f"ai-edge-litert {metadata.version('ai-edge-litert')}"


def read_labels(path):
    """Returns the labels that stand in a `.tflite` file, list of str; None if it has none."""
    return read_associated(path, "labels.txt")


def read_associated(path, name):
    """Returns the lines of a file packed into a `.tflite` file, list of str; None without it."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        if name not in archive.namelist():
            return None
        return archive.read(name).decode("utf-8").removesuffix("\n").split("\n")


def utf8_bytes(text, max_bytes):
    """Returns a text (str or bytes) as int32 `[1, max_bytes]`, zero-padded.

    One that is too long is cut between characters, and spaces fill the last places: by those the
    file knows that it was cut.
    """
    data = encode(text)
    if len(data) > max_bytes:
        end = max_bytes
        while end > max(max_bytes - 4, 0) and data[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        data = data[:end].ljust(max_bytes, b" ")
    padded = np.zeros([1, max_bytes], np.int32)
    padded[0, : len(data)] = np.frombuffer(data, np.uint8)
    return padded


def cut_span(text, start, end):
    """Returns what stands between two places, counted in UTF-8 bytes, of a text (str or bytes).

    Returns:
        Dict of "text" and of "start" and "end", places in characters.
    """
    errors = "replace" if isinstance(text, bytes) else "surrogatepass"
    data = encode(text)
    before, span = (part.decode("utf-8", errors) for part in (data[:start], data[start:end]))
    return {"text": span, "start": len(before), "end": len(before) + len(span)}


def _name(names, index):
    return names[index] if names else str(index)


def encode(text):
    """Returns the UTF-8 bytes of a text, str or bytes."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def _read_lines(path):
    if not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8", newline="\n") as file:
        return file.read().removesuffix("\n").split("\n")
