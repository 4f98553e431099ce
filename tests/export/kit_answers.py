"""What the programs of the web and the C++ kit, which print JSON, have to print for texts."""

import functools
import json
import subprocess

import keras_bert_lib as kbl
from keras_bert_lib.export import stock_runtime
from tests.export.task_models import CHOICES, MAX_BYTES, make_model, make_texts

TASKS = {
    "label": "classification",
    "multi_label": "classification",
    "regression": "regression",
    "embedder": "embedding",
    "tagger": "entities",
    "answerer": "question_answering",
    "choice": "multiple_choice",
    "masked": "fill_mask",
}
LEVELS = ("INFO:", "WARNING:", "ERROR:")  # how lines of LiteRT's own log begin
HTML = ["<b>the film</b> was <i>fine</i>", "<img src=x onerror=alert(1)><script>alert(2)</script>"]


def make_file(task, path, quantization="none"):
    options = {"choices": CHOICES} if task == "choice" else {}
    if quantization in ("int8", "int16x8", "int4"):
        options["calibration_texts"] = [text for text, *_ in make_rows(task)]
    kbl.export.tflite(make_model(task), path, quantization, max_bytes=MAX_BYTES, **options)
    return path


def make_rows(task, count=40):
    """Lists of a text and its second texts, none of which have tabs or line ends in them."""
    texts = [text.decode("utf-8", "ignore") for text in make_texts(count)]
    texts = HTML + [text for text in texts if not {"\t", "\n"} & set(text)]
    if task == "answerer":
        return [[question, context] for question, context in zip(texts[::-1], texts)]
    if task == "choice":
        return [[text, *(texts[i - k] for k in (1, 4, 9))] for i, text in enumerate(texts)]
    return [[text] for text in texts]


def run_program(command, rows):
    """The answers of a program, a list of dicts."""
    lines = "".join("\t".join(row) + "\n" for row in rows)
    done = subprocess.run(command, input=lines.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]


def error_of(command):
    """The one line that a program says when it cannot answer."""
    done = subprocess.run(command, input=b"a film\n", capture_output=True, check=False)
    assert done.returncode == 2
    own = [line for line in done.stderr.decode().splitlines() if not line.startswith(LEVELS)]
    assert len(own) == 1, own
    return own[0]


def check(task, path, rows, answers, encoding, tolerance=1e-5):
    """Asserts that answers are those of the Python interpreter.

    Args:
        task: key of `TASKS`.
        path: the file.
        rows: see `make_rows`.
        answers: list of dicts.
        encoding: "utf-8" or "utf-16-le", in whose units places in texts are.
        tolerance: float, of numbers.
    """
    assert_close = functools.partial(assert_alike, tolerance)
    file = stock_runtime.load(path)
    texts = [text for text, *_ in rows]
    seconds = {"answerer": [row[-1] for row in rows], "choice": [row[1:] for row in rows]}.get(task)
    outputs, expected = file(texts, seconds), file.answers(texts, seconds)
    assert len(answers) == len(rows)
    for i, (answer, true) in enumerate(zip(answers, expected)):
        place = Place(seconds[i] if task == "answerer" else texts[i], encoding)
        assert answer["task"] == TASKS[task]
        assert answer["truncated"] == (outputs["truncated"][i] == 1)
        if task in ("label", "multi_label"):
            scored = zip(outputs["probabilities"][i].tolist(), file.labels)
            ranked = [{"label": label, "score": score} for score, label in sorted(scored)[::-1]]
            assert_close(answer["labels"], ranked)
            assert_close({key: answer[key] for key in ("label", "score")}, ranked[0])
        elif task == "regression":
            assert_close(answer["values"], true)
        elif task == "embedder":
            assert_close(answer["embedding"], true.tolist())
        elif task == "tagger":
            assert_close(answer["entities"], [place(entity) for entity in true])
        elif task == "answerer":
            found = {key: answer[key] for key in ("answer", "start", "end", "score")}
            assert_close(found, place(true))
            assert_close(answer["noAnswerScore"], float(outputs["no_answer_score"][i]))
        elif task == "choice":
            assert_close({key: answer[key] for key in true}, true)
            assert_close(answer["scores"], outputs["probabilities"][i].tolist())
        else:
            tokens = [[{k: x[k] for k in ("token", "score")} for x in ranked] for ranked in true]
            found = [
                [{k: x[k] for k in ("token", "score")} for x in mask["tokens"]]
                for mask in answer["masks"]
            ]
            assert_close(found, tokens)
            for mask in answer["masks"]:
                assert mask["text"] == place.cut(mask["start"], mask["end"]) == "[MASK]"
    if task in ("tagger", "masked"):
        assert sum(map(len, expected)) > 10
    if task == "answerer":
        assert sum(answer["answer"] != "" for answer in answers) > 10


class Place:
    """Turns places in characters of a text into places in units of an encoding."""

    def __init__(self, text, encoding):
        self.text, self.encoding = text, encoding
        self.unit = 2 if encoding == "utf-16-le" else 1

    def __call__(self, span):
        ends = {end: len(self.text[: span[end]].encode(self.encoding)) for end in ("start", "end")}
        return {**span, **{end: length // self.unit for end, length in ends.items()}}

    def cut(self, start, end):
        data = self.text.encode(self.encoding)
        return data[start * self.unit : end * self.unit].decode(self.encoding)


def assert_alike(tolerance, found, expected):
    """Asserts that two JSON values are the same but for small differences of their numbers."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_alike(tolerance, found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected):
            assert_alike(tolerance, one, other)
    elif isinstance(expected, float):
        assert abs(found - expected) < tolerance, (found, expected)
    else:
        assert found == expected
