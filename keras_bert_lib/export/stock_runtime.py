"""Runs exported files as their users do: by TensorFlow alone, or a TFLite interpreter alone.

This module imports neither this library nor Keras, so it also shows what a client has to do.
"""

import os
import zipfile

import numpy as np


def load(path, num_threads=1):
    """Loads an exported file.

    Args:
        path: a SavedModel directory, or a `.tflite` file, that takes text.
        num_threads: int, threads of the TFLite interpreter.

    Returns:
        A function from texts, and second texts or None, both lists of str or bytes, to
        `(probabilities, labels)`: float32 `[texts, classes]`, and list of str, the best label of
        each text.

    Raises:
        FileNotFoundError: if nothing is at `path`.
        ValueError: if it is no file of these kinds, or takes no text.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        return _load_saved_model(path)
    return _load_tflite(path, num_threads)


def make_interpreter(path, num_threads=1):
    """Returns an allocated TFLite interpreter: ai-edge-litert's, or else the one in TensorFlow.

    Args:
        path: a `.tflite` file.
        num_threads: int.

    Raises:
        FileNotFoundError: if nothing is at `path`.
        ValueError: if it is no TFLite file.
    """
    with open(path, "rb") as file:  # the runtime's own messages do not say what is wrong
        if file.read(8)[4:] != b"TFL3":
            raise ValueError(f"{path} is not a TFLite file.")
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import warnings

        import tensorflow as tf

        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated")
        Interpreter = tf.lite.Interpreter  # noqa: N806
    interpreter = Interpreter(model_path=path, num_threads=num_threads)
    interpreter.allocate_tensors()
    return interpreter


def read_labels(path):
    """Returns the labels that stand in a `.tflite` file, list of str; None if it has none."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        if "labels.txt" not in archive.namelist():
            return None
        return archive.read("labels.txt").decode("utf-8").split("\n")[:-1]


def utf8_bytes(text, max_bytes):
    """Returns a text (str or bytes) as int32 `[1, max_bytes]`, zero-padded.

    One that is too long is cut between characters, and spaces fill the last places: by those the
    file knows that it was cut.
    """
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if len(data) > max_bytes:
        end = max_bytes
        while end > max(max_bytes - 4, 0) and data[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        data = data[:end].ljust(max_bytes, b" ")
    padded = np.zeros([1, max_bytes], np.int32)
    padded[0, : len(data)] = np.frombuffer(data, np.uint8)
    return padded


def _load_saved_model(path):
    import tensorflow as tf

    if not os.path.exists(os.path.join(path, "saved_model.pb")):
        raise ValueError(f"{path} is not a SavedModel: it holds no saved_model.pb.")
    loaded = tf.saved_model.load(path)
    names = {}
    if "serving_default" in loaded.signatures:
        signature = loaded.signatures["serving_default"]
        names = signature.structured_input_signature[1]

    def answer(texts, text_pairs=None):
        inputs = {"text": texts} if text_pairs is None else {"text": texts, "text_pair": text_pairs}
        inputs = {
            name: tf.constant([_encode(text) for text in column], tf.string, shape=[len(column)])
            for name, column in inputs.items()
        }
        _check_names(path, names, inputs)
        outputs = signature(**inputs)
        labels = [label.decode() for label in outputs["label"].numpy()]
        return outputs["probabilities"].numpy(), labels

    answer.loaded = loaded  # a signature alone does not keep its variables alive
    _check_names(path, names)
    return answer


def _load_tflite(path, num_threads):
    interpreter = make_interpreter(path, num_threads)
    signature = interpreter.get_signature_list().get("serving_default", {"inputs": []})
    _check_names(path, signature["inputs"])
    runner = interpreter.get_signature_runner("serving_default")
    max_bytes = {name: int(d["shape"][1]) for name, d in runner.get_input_details().items()}
    labels = read_labels(path)

    def answer(texts, text_pairs=None):
        columns = (
            {"text": texts} if text_pairs is None else {"text": texts, "text_pair": text_pairs}
        )
        _check_names(path, max_bytes, columns)
        rows = []
        for row in zip(*columns.values()):
            inputs = {name: utf8_bytes(text, max_bytes[name]) for name, text in zip(columns, row)}
            rows.append(runner(**inputs)["probabilities"][0])
        best = [int(row.argmax()) for row in rows]
        return np.array(rows), [labels[i] if labels else str(i) for i in best]

    return answer


def _encode(text):
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def _check_names(path, names, given=None):
    """Raises unless the inputs given are those that the file takes."""
    if "text" not in names:
        raise ValueError(
            f"{path} does not take text. Export it with the text interface. "
            f"Received: a file with the inputs {sorted(names)}"
        )
    if given is not None and set(names) != set(given):
        what = "pairs of texts" if "text_pair" in names else "single texts"
        raise ValueError(f"{path} takes {what}. Received: {' and '.join(given)}")
