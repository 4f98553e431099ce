"""Runs exported files on a stock runtime: TensorFlow alone, or a TFLite interpreter alone.

This file imports nothing of the library and no Keras. `keras-bert predict` calls its two loaders;
`keras-bert quickstart` runs it as a program of its own, in a process in which Keras cannot be
imported, to show that the exported files need neither.
"""

import json
import os
import sys
import time
import zipfile


def load_saved_model(path):
    """Loads a SavedModel.

    Args:
        path: A SavedModel directory with a `serving_default` signature that takes `text`.

    Returns:
        A function from texts (and `text_pairs` or None) to a list of `(label, score)`.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    if "serving_default" not in loaded.signatures:
        raise ValueError(
            f"{path} has no `serving_default` signature, so it does not take text. Export it with "
            f"`keras-bert export`. Received: signatures {sorted(loaded.signatures)}"
        )
    signature = loaded.signatures["serving_default"]
    names = sorted(signature.structured_input_signature[1])

    def answer(texts, text_pairs=None):
        inputs = {"text": tf.constant([text.encode() for text in texts])}
        _check_inputs(path, names, text_pairs)
        if text_pairs is not None:
            inputs["text_pair"] = tf.constant([text.encode() for text in text_pairs])
        outputs = signature(**inputs)
        labels = [label.decode() for label in outputs["label"].numpy()]
        return list(zip(labels, outputs["probabilities"].numpy().max(axis=-1).tolist()))

    answer.loaded = loaded  # The signature holds its variables only weakly.
    return answer


def make_interpreter(path):
    """Returns an allocated TFLite interpreter: ai-edge-litert's, or the one in TensorFlow."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It says to move to ai-edge-litert.
            import tensorflow as tf

            Interpreter = tf.lite.Interpreter  # noqa: N806
    with open(path, "rb") as file:  # The runtime's own message does not say what is wrong.
        if file.read(8)[4:] != b"TFL3":
            raise ValueError(f"{path} is not a TFLite file.")
    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def load_tflite(path):
    """Loads a TFLite file with `interface="text"`.

    Args:
        path: A `.tflite` file that takes UTF-8 bytes.

    Returns:
        A function from texts (and `text_pairs` or None) to a list of `(label, score)`.
    """
    interpreter = make_interpreter(path)
    signatures = interpreter.get_signature_list()
    name = "serving_default" if "serving_default" in signatures else next(iter(signatures), None)
    names = signatures[name]["inputs"] if name else []
    if "text" not in names:
        raise ValueError(
            f"{path} does not take text. Export it with `keras-bert export --interface text`. "
            f"Received: inputs {names}"
        )
    runner = interpreter.get_signature_runner(name)
    shapes = {key: detail["shape"] for key, detail in runner.get_input_details().items()}
    labels = tflite_labels(path)

    def answer(texts, text_pairs=None):
        _check_inputs(path, names, text_pairs)
        answers = []
        for i, text in enumerate(texts):
            inputs = {"text": _utf8_bytes(text, shapes["text"])}
            if text_pairs is not None:
                inputs["text_pair"] = _utf8_bytes(text_pairs[i], shapes["text_pair"])
            probabilities = runner(**inputs)["probabilities"][0]
            best = int(probabilities.argmax())
            answers.append((labels[best] if labels else str(best), float(probabilities[best])))
        return answers

    return answer


def tflite_labels(path):
    """The labels that stand in a `.tflite` file, one a class; None where it has none."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if "labels.txt" in archive.namelist():
                return archive.read("labels.txt").decode().split("\n")[:-1]
    return None


def _utf8_bytes(text, shape):
    """The first bytes of a text as int32 [1, max_bytes], zero-padded, no character cut in two."""
    import numpy as np

    data = text.encode()[: shape[-1]].decode(errors="ignore").encode()
    padded = np.zeros(shape, "int32")
    padded[0, : len(data)] = np.frombuffer(data, "uint8")
    return padded


def _check_inputs(path, names, text_pairs):
    if text_pairs is None and "text_pair" in names:
        raise ValueError(f"{path} takes pairs of texts: give the second texts too (--pairs).")
    if text_pairs is not None and "text_pair" not in names:
        raise ValueError(f"{path} takes single texts, not pairs. Received: inputs {names}")


def _measure(path, texts, timed):
    """All answers, and the median milliseconds of one text at a time."""
    answer = (load_tflite if path.endswith(".tflite") else load_saved_model)(path)
    answer(texts[:1])  # The first call also plans or traces.
    seconds = []
    for text in texts[:timed]:
        start = time.perf_counter()
        answer([text])
        seconds.append(time.perf_counter() - start)
    answers = [pair for i in range(0, len(texts), 32) for pair in answer(texts[i : i + 32])]
    milliseconds = 1000 * sorted(seconds)[len(seconds) // 2]
    return {"labels": [label for label, _ in answers], "ms_a_text": milliseconds}


if __name__ == "__main__":
    # Not even TensorFlow's own optional import of it: whoever needs Keras here must fail.
    sys.modules["keras"] = None
    path, texts_path, report_path = sys.argv[1:]
    with open(texts_path, encoding="utf-8") as texts_file:
        report = _measure(path, json.load(texts_file), timed=100)
    with open(report_path + ".tmp", "w", encoding="utf-8") as report_file:
        json.dump(report, report_file)
    os.replace(report_path + ".tmp", report_path)
