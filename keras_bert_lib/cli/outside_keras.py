"""A program of its own: runs an exported file where Keras and this library cannot be imported.

`keras-bert quickstart` starts it once for each file it exported. Arguments: the path of
`export/stock_runtime.py`, the exported file, a JSON file with the texts, the JSON file to write.
"""

import importlib.util
import json
import os
import sys
import time

_TIMED_TEXTS = 100
_BATCH_SIZE = 32


def main():
    """Writes the labels of all texts, and the median milliseconds of one text at a time."""
    runtime_path, path, texts_path, report_path = sys.argv[1:]
    # Not even TensorFlow's own, optional import of it: whatever needs Keras here must fail.
    sys.modules["keras"] = sys.modules["keras_bert_lib"] = None
    spec = importlib.util.spec_from_file_location("stock_runtime", runtime_path)
    stock_runtime = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stock_runtime)
    with open(texts_path, encoding="utf-8") as file:
        texts = json.load(file)

    answer = stock_runtime.load(path)
    answer(texts[:1])  # The first call also plans, or traces.
    seconds = []
    for text in texts[:_TIMED_TEXTS]:
        start = time.perf_counter()
        answer([text])
        seconds.append(time.perf_counter() - start)
    labels = []
    for start in range(0, len(texts), _BATCH_SIZE):
        labels += answer(texts[start : start + _BATCH_SIZE])["label"].tolist()
    report = {"labels": labels, "ms_a_text": 1000 * sorted(seconds)[len(seconds) // 2]}
    with open(report_path + ".tmp", "w", encoding="utf-8") as file:
        json.dump(report, file)
    os.replace(report_path + ".tmp", report_path)


if __name__ == "__main__":
    main()
