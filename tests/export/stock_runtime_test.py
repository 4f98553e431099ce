import sys

import numpy as np
import pytest

import keras_bert_lib as kbl
from keras_bert_lib.export import stock_runtime
from keras_bert_lib.export.stock_runtime import cut_span, utf8_bytes
from tests.export.task_models import make_model


@pytest.mark.parametrize(
    ("before", "span"),
    [
        ("", "film"),
        ("😀 ", "film"),
        ("Café 東京 ", "naïve"),
        ("\ud800x", "e\u0301"),
        ("👩‍👩‍👧", "😀"),
    ],
)
def test_spans_are_cut_by_bytes_and_counted_in_characters(before, span):
    text = f"{before}{span} and more"
    start = len(before.encode("utf-8", "surrogatepass"))
    end = start + len(span.encode())
    found = cut_span(text, start, end)
    assert found == {"text": span, "start": len(before), "end": len(before) + len(span)}
    assert text[found["start"] : found["end"]] == span


def test_spans_of_bytes_that_are_no_text_are_cut_too():
    found = cut_span(b"\xff\xc3 film", 3, 7)
    assert found == {"text": "film", "start": 3, "end": 7}


def test_texts_that_are_too_long_are_cut_between_characters():
    for text, kept in [("a" * 9, "a" * 8), ("éééé", "éééé"), ("aéééé", "aééé"), ("aa😀😀", "aa😀")]:
        data = bytes(utf8_bytes(text, 8)[0].astype(np.uint8).tolist())
        assert data.decode().rstrip() == kept
        assert len(data.rstrip(b"\0")) == 8  # full, by which the file knows


def test_choices_must_be_as_many_as_the_file_takes(tmp_path):
    model = make_model("choice")
    kbl.export.saved_model(model, tmp_path / "1")
    file = stock_runtime.load(tmp_path / "1")
    two, three = file(["a"], [["b", "c"]]), file(["a"], [["b", "c", "d"]])
    assert two["probabilities"].shape == (1, 2)
    assert three["probabilities"].shape == (1, 3)
    with pytest.raises(ValueError, match=r"equally many choices .* Received: \[2, 3\]"):
        file(["a", "b"], [["b", "c"], ["b", "c", "d"]])


def test_without_litert_the_interpreter_of_tensorflow_runs_files(files, held_out, monkeypatch):
    expected = stock_runtime.load(files["none"])(held_out[0][:5])["probabilities"]
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    assert stock_runtime.runtime_name().startswith("tensorflow 2.")
    found = stock_runtime.load(files["none"])(held_out[0][:5])["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
