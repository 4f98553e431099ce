"""Writes vectors.json, by which the Android and the iOS kit test themselves without a model.

What the kits have to do with texts and outputs is what stock_runtime does. Texts stand in the file
as UTF-16 units: JSON in Swift refuses half a surrogate pair.

PYTHONPATH=. python tests/export/make_kit_vectors.py
"""

import base64
import json
import os
import random
import re
import tempfile
import zipfile

import numpy as np

from keras_bert_lib.export import stock_runtime

ROOT = os.path.join(os.path.dirname(__file__), "..", "..", "export")
PATHS = (
    os.path.join(ROOT, "android", "bert-text", "src", "test", "resources", "vectors.json"),
    os.path.join(ROOT, "ios", "Tests", "BertTextTests", "vectors.json"),
)
TEXTS = [
    "",
    "a fine film",
    "Café crème, Straße, Kraków",
    "Cafe\u0301 with combining marks, Han\u0307",
    "我爱北京。Tokyo 東京",
    "family 👨‍👩‍👧‍👦 flags 🇵🇱🇯🇵 done",
    "مرحبا بالعالم שלום",
    "lone \ud83d high and \ude00 low",
    "\ud800",
    "ends in half a pair \udbff",
    "nul \0 inside\ufeff\u200b\U0010ffff",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
]


def main():
    for path in PATHS:
        with open(path, "w", encoding="utf-8") as file:
            file.write(content())


def content():
    """Returns what the files hold, str."""
    rng = random.Random(0)
    texts = TEXTS + [_random_text(rng) for _ in range(12)]
    vectors = {
        "utf8": [_utf8(text, n) for text in texts for n in (7, 64)]
        + [_utf8("a" * 16, n) for n in (15, 16, 17)]
        + [_utf8("é😀", 101, repeat=180_000)],  # more than 1 MB
        "spans": [_span(rng, text) for text in texts if text for _ in range(2)],
        "packed": _packed(),
        "classifications": _classifications(),
        "entities": _entities(),
        "answers": _answers(),
    }
    lines = [
        f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]"
        for name, cases in vectors.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _random_text(rng):
    pools = ["abc XYZ.,!", "éßçłØ", "中文字", "😀👍🏽\u200d", "\ud83d\udc00"]
    text = "".join(rng.choice(rng.choice(pools)) for _ in range(rng.randrange(5, 40)))
    # Two halves that came to stand together are a pair, as they are in Kotlin.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _units(text):
    return np.frombuffer(text.encode("utf-16-le", "surrogatepass"), "<u2").tolist()


def _codes(text, max_bytes):
    codes = stock_runtime.utf8_bytes(text, max_bytes)[0]
    return codes.astype(np.uint8).tobytes().rstrip(b"\0").hex()


def _utf8(text, max_bytes, repeat=1):
    case = {"utf16": _units(text), "repeat": repeat, "max_bytes": max_bytes}
    case["codes"] = _codes(text * repeat, max_bytes)
    # A String of Swift cannot hold half a pair, and has U+FFFD in its place.
    case["repaired"] = _codes(repaired(text) * repeat, max_bytes)
    return case


def repaired(text):
    """Returns a text with each half of a surrogate pair replaced, as a String of Swift has it."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _span(rng, text):
    cuts = sorted(rng.choices(range(len(text) + 1), k=2))
    start, end = (len(text[:cut].encode("utf-8", "surrogatepass")) for cut in cuts)
    span = stock_runtime.cut_span(text, start, end)
    before, inside = text[: span["start"]], span["text"]
    return {
        "utf16": _units(text),
        "start": start,
        "end": end,
        "utf16_start": len(_units(before)),
        "utf16_end": len(_units(before + inside)),
    }


def _packed():
    model = b"\x1c\0\0\0TFL3" + bytes(range(40))
    files = [
        (model, None),
        _zipped(model, ["neg", "pos"]),
        _zipped(model, ["très bien", "", "悪い", "😀"]),
        _zipped(model, ["neg", "pos"], comment=b"a comment"),
        (b"PK\x05\x06 in a text file", None),
    ]
    return [
        {
            "base64": base64.b64encode(file).decode(),
            "tflite": file[4:8] == b"TFL3",
            "whole": lines is not None,
            "lines": lines,
        }
        for file, lines in files
    ]


def _zipped(model, lines, comment=b""):
    """Returns a file with lines packed into it, and the lines as stock_runtime reads them."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "model.tflite")
        with open(path, "wb") as file:
            file.write(model)
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = comment
            for name, content in (
                ("vocab.txt", "[PAD]\n"),
                ("labels.txt", "\n".join(lines) + "\n"),
            ):
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
        with open(path, "rb") as file:
            return file.read(), stock_runtime.read_associated(path, "labels.txt")


def _classifications():
    return [
        {
            "labels": labels,
            "probabilities": [0.25, 0.5, 0.125, 0.125],
            "best": [(labels or "0123")[i] for i in (1, 0, 2, 3)],
        }
        for labels in (["a", "b", "c", "d"], None)
    ]


def _entities():
    text = "👋 Zoë Öz went to 東京 with Łukasz"
    found = [("Zoë Öz", "PER", 0.875), ("東京", "LOC", 0.75), ("Łukasz", "PER", 0.5)]
    labels = ["LOC", "PER"]
    starts, ends = [], []
    for name, _, _ in found:
        starts.append(len(text[: text.index(name)].encode()))
        ends.append(starts[-1] + len(name.encode()))
    spans = [stock_runtime.cut_span(text, start, end) for start, end in zip(starts, ends)]
    assert [span["text"] for span in spans] == [name for name, _, _ in found]
    unused = [0] * 5
    return [
        {
            "utf16": _units(text),
            "labels": labels,
            "entity_starts": starts + unused,
            "entity_ends": ends + unused,
            "entity_labels": [labels.index(label) for _, label, _ in found] + [-1] * 5,
            "entity_scores": [score for _, _, score in found] + unused,
            "entity_count": len(found),
            "names": [name for name, _, _ in found],
            "types": [label for _, label, _ in found],
        }
    ]


def _answers():
    context = "Zoë 🎻 moved to Kraków in 1999."
    start = len(context[: context.index("Kraków")].encode())
    end = start + len("Kraków".encode())
    return [
        {
            "utf16": _units(context),
            "answer_start": start,
            "answer_end": end,
            "score": 0.75,
            "no_answer_score": 0.25,
            "answer": answer,
        }
        for start, end, answer in [(start, end, "Kraków"), (0, 4, "Zoë"), (0, 0, "")]
    ]


if __name__ == "__main__":
    main()
