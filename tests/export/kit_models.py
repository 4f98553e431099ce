"""Files for the phone kits, what they are asked, and what they have to answer."""

import keras_bert_lib as kbl
from keras_bert_lib.export import stock_runtime
from tests.export import make_kit_vectors
from tests.export.task_models import MAX_BYTES, make_model, make_texts

TASKS = {"label": "classify", "embedder": "embed", "tagger": "recognize", "answerer": "answer"}
TEXTS = [text.decode("utf-8", "ignore") for text in make_texts(40)]
TEXTS += [text for text in make_kit_vectors.TEXTS if text.isprintable()]
HALF_PAIRS = [text for text in make_kit_vectors.TEXTS if make_kit_vectors.repaired(text) != text]


def make_files(directory):
    """Writes a file for each task, one that takes no text, and two that are no models."""
    for model in TASKS:
        path = directory / f"{model}.tflite"
        kbl.export.tflite(make_model(model), path, "none", max_bytes=MAX_BYTES)
    kbl.export.tflite(make_model("label"), directory / "tokens.tflite", interface="tokens")
    content = (directory / "label.tflite").read_bytes()
    (directory / "half.tflite").write_bytes(content[: len(content) // 2])
    (directory / "page.tflite").write_text("<html>404</html>")


def good_requests():
    """Returns a list of dicts: a model, a task, and requests, lists of a text and a second one."""
    requests = []
    for model, task in TASKS.items():
        texts = TEXTS if task in ("recognize", "answer") else TEXTS + HALF_PAIRS
        pairs = TEXTS[::-1] if task == "answer" else [None] * len(texts)
        rows = [list(row) for row in zip(texts, pairs)]
        requests.append({"model": f"{model}.tflite", "task": task, "requests": rows})
    return requests


def bad_requests():
    """Returns such dicts, and for each what the error message has to say."""
    cases = [
        ("absent.tflite", "classify", None, "absent.tflite cannot be opened"),
        ("page.tflite", "classify", None, "page.tflite is not a TFLite file"),
        ("half.tflite", "classify", None, "half.tflite is not whole"),
        ("tokens.tflite", "classify", None, "tokens.tflite does not take text. Export it with"),
        ("embedder.tflite", "classify", None, "for another task: it has no output `probabilities`"),
        ("label.tflite", "recognize", None, "for another task: it has no output `entity_scores`"),
        ("label.tflite", "classify", "a second", "label.tflite takes single texts"),
        ("answerer.tflite", "classify", None, "answerer.tflite takes pairs of texts"),
    ]
    requests = [
        {"model": model, "task": task, "requests": [["a film", pair]]}
        for model, task, pair, _ in cases
    ]
    return requests, [message for _, _, _, message in cases]


def expected_answers(directory, request):
    """Returns what stock_runtime answers, as the kits print it."""
    texts, pairs = (list(column) for column in zip(*request["requests"]))
    pairs = pairs if request["task"] == "answer" else None
    file = stock_runtime.load(directory / request["model"])
    answers = file.answers(texts, pairs)
    if request["task"] == "embed":
        return [answer.tolist() for answer in answers]
    if request["task"] == "classify":
        outputs = file(texts)
        scores = [
            [{"label": label, "score": float(p)} for label, p in zip(file.labels, row)]
            for row in outputs["probabilities"]
        ]
        for answer, row, truncated in zip(answers, scores, outputs["truncated"]):
            answer["scores"] = sorted(row, key=lambda x: -x["score"])
            answer["truncated"] = bool(truncated)
        return answers
    for text, answer in zip(pairs or texts, answers):
        for span in answer if isinstance(answer, list) else [answer]:
            for end in ("start", "end"):  # in UTF-16, as phones count
                span[end] = len(text[: span[end]].encode("utf-16-le")) // 2
    return answers


def assert_answers(found, expected):
    """Asserts that two answers are the same, their numbers to 6 digits."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), (found, expected)
        for name in expected:
            assert_answers(found[name], expected[name])
    elif isinstance(expected, list):
        assert len(found) == len(expected), (found, expected)
        for one, other in zip(found, expected):
            assert_answers(one, other)
    elif isinstance(expected, float):
        assert abs(found - expected) < 1e-6, (found, expected)
    else:
        assert found == expected
