"""Reports on exported files."""

import json
import math
import sys

import numpy as np
import pytest

import keras_bert_lib as kbl
from keras_bert_lib.export import VerificationError, comparison, operators, report_page
from keras_bert_lib.export.quantization import flatbuffer
from keras_bert_lib.export.verification import Verification
from tests.export.task_models import MAX_BYTES, make_model


@pytest.fixture(scope="module")
def report(classifier, files, held_out):
    texts, labels = held_out
    return kbl.export.verify(files["none"], classifier, texts[:60], labels=labels[:60])


def test_table_says_what_was_found(report):
    table = str(report)
    for part in [
        "same label as Keras",
        "100.00%",
        "ms by tokens, 1 thread ",
        "ms by tokens, 2 threads",
        "all built in",
        "in XNNPACK",
        "ai-edge-litert",
        f"accuracy, file / Keras           {report.metric:.4f} / {report.keras_metric:.4f}",
    ]:
        assert part in table
    assert report.metric == report.keras_metric > 0.9


def test_operators_and_partitions_are_those_of_the_file(report, files):
    assert report.operators == operators.count_operators(files["none"])
    assert report.operators["FULLY_CONNECTED"] >= 2 * 4 + 2  # two blocks, pooler, classifier
    (signature,) = report.partitions
    assert signature["signature"] == "serving_default"
    assert signature["operators"] == sum(report.operators.values())
    inside, outside = sum(signature["partitions"]), sum(signature["outside"].values())
    assert inside + outside == signature["operators"]
    assert "FULLY_CONNECTED" not in signature["outside"]  # the encoder runs in the delegate


def test_latency_by_length_ends_at_the_longest_text_the_file_takes(report):
    assert {row["threads"] for row in report.latency} == {1, 2}
    lengths = [row["tokens"] for row in report.latency if row["threads"] == 1]
    assert lengths[:2] == [8, 32]
    assert 100 < lengths[-1] <= 128
    assert all(row["milliseconds"] > 0 for row in report.latency)


def test_json_holds_all_figures(report, tmp_path):
    report.save_json(tmp_path / "reports" / "r.json")
    content = json.loads((tmp_path / "reports" / "r.json").read_text("utf-8"))
    for name in ("agreement", "max_error", "size_bytes", "operators", "metric", "texts"):
        assert content[name] == getattr(report, name), name
    assert content["metric_name"] == "accuracy"
    assert len(content["cases"]["error"]) == 60
    assert max(content["cases"]["error"]) == report.max_error
    assert content["partitions"][0]["partitions"] == report.partitions[0]["partitions"]


def test_html_is_one_page_with_plots(report, tmp_path):
    pytest.importorskip("matplotlib")
    report.save_html(tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert page.count("<svg") == page.count("</svg>") == 6
    for part in [
        "Time by length",
        "Errors",
        "Agreement",
        "Calibration",
        "milliseconds a text",
        "GATHER",
    ]:
        assert part in page
    assert "<script" not in page
    assert 'src="' not in page
    report.save_html(tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text("utf-8") == page


def test_html_without_matplotlib_says_what_to_install(report, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-bert-lib\[report\]'"):
        report.save_html(tmp_path / "r.html")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ImportError):
        report_page.check_matplotlib()


def made(**fields):
    """A report with some figures that matter to a test."""
    numbers = {"size_bytes": 1, "texts": 10, "truncated": 0, "agreement": 0.97}
    numbers |= {"max_error": 0.1, "milliseconds_per_text": 1.0}
    names = {"path": "m.tflite", "task": "single_label_classification", "runtime": "r"}
    names |= {"interface": "text"}
    return Verification(**{**names, **numbers, "latency": (), "operators": {}, **fields})


def test_bounds():
    made().check()
    made(metric=0.895, keras_metric=0.9).check()
    made(metric=0.95, keras_metric=0.9).check(max_metric_drop=0)
    made(metric=0.5, keras_metric=0.9).check(max_metric_drop=0.4)
    made().check(min_agreement=0.97)
    with pytest.raises(
        VerificationError, match=r"m.tflite was written, but its accuracy is 0.8800"
    ):
        made(metric=0.88, keras_metric=0.9).check()
    with pytest.raises(VerificationError, match=r"same label as Keras: 0[.]97.*less than 0.98"):
        made().check(min_agreement=0.98)
    for numbers in ({"max_error": math.nan}, {"metric": math.nan, "keras_metric": 0.9}):
        with pytest.raises(VerificationError):
            made(**numbers).check()


def test_a_file_that_is_worse_than_its_model_fails_loudly(classifier, files, held_out):
    other = kbl.BertClassifier.from_config(classifier.get_config())
    other.tokenizer = classifier.tokenizer
    weights = classifier.get_weights()
    other.set_weights([*weights[:-2], -weights[-2], -weights[-1]])  # says the contrary
    texts, labels = held_out[0][:40], held_out[1][:40]
    contrary = [{"neg": "pos", "pos": "neg"}[label] for label in labels]
    report = kbl.export.verify(files["none"], other, texts, labels=contrary)
    assert report.agreement == 0
    assert report.metric < 0.1 < 0.9 < report.keras_metric
    with pytest.raises(VerificationError, match=r"its accuracy is 0[.]0"):
        report.check()


def test_metrics_are_those_of_known_cases():
    def of(task, found, right):
        return pytest.approx(comparison.metric_of(task, found, right))

    assert of("single_label_classification", ["a", "1", "c"], ["a", 1, "d"]) == 2 / 3
    assert of("multiple_choice", [0, 1, 2, 1], [0, 1, 2, 2]) == 3 / 4
    # 2 right of 3 found and 4 to find: F1 = 4 / 7.
    found, right = [{"a", "b"}, {"c"}], [["a"], ["c", "d", "e"]]
    assert of("multi_label_classification", found, right) == 4 / 7
    name, place = (0, 3, "name"), (4, 8, "place")
    right = [[{"start": 0, "end": 3, "label": "name"}, (4, 8, "name")], []]
    assert of("entities", [[name, place], []], right) == 1 / 2
    assert of("entities", [[]], [[]]) == 1
    # Of two outputs the mean: 1 and -1, and 1 and 1.
    found = np.array([[1, 4], [2, 3], [3, 2], [4, 1.0]])
    assert of("regression", found, [[10, 1], [20, 2], [30, 3], [1000, 4]]) == 0
    assert of("regression", found[:, :1], [10, 20, 30, 1000]) == 1
    assert math.isnan(comparison.metric_of("regression", np.ones([2, 1]), [1, 2]))
    # Cosines of pairs 1, 0 and -1.
    found = np.array([[1, 0], [0, 2], [1, 0], [3, 0], [1, 0], [-1, 0.0]])
    assert of("embedding", found, [0.9, 0.4, 0.1]) == 1
    answers = [[(0, 8, "The cat!")], [(0, 0, "")], [(0, 1, "x")]]
    assert of("question_answering", answers, [["cat", "dog"], [], "y"]) == 2 / 3
    assert of("masked_lm", [[(0, "a"), (1, "b")], [(0, "c")]], [["a", "x"], "c"]) == 2 / 3


def test_lists_that_do_not_fit_are_refused(classifier, files):
    with pytest.raises(ValueError, match="Received: 2 texts, 1 labels"):
        kbl.export.verify(files["none"], classifier, ["a", "b"], labels=["pos"])
    with pytest.raises(ValueError, match="takes single texts"):
        kbl.export.verify(files["none"], classifier, ["a"], ["b"])
    answerer = kbl.BertQuestionAnswerer(
        kbl.BertEncoder(classifier.config, use_pooler=False), tokenizer=classifier.tokenizer
    )
    with pytest.raises(ValueError, match="takes pairs: give `text_pairs`"):
        kbl.export.verify(files["none"], answerer, ["a"])


def test_a_file_of_another_model_is_refused(classifier, files):
    encoder, tokenizer = classifier.encoder, classifier.tokenizer
    embedder = kbl.BertTextEmbedder(encoder, tokenizer=tokenizer)
    with pytest.raises(ValueError, match=r"no file of this BertTextEmbedder.*give embedding"):
        kbl.export.verify(files["none"], embedder, ["a"])
    three = kbl.BertClassifier(encoder, tokenizer=tokenizer, num_classes=3)
    with pytest.raises(ValueError, match=r"it gives 2 numbers a text.*gives 3"):
        kbl.export.verify(files["none"], three, ["a"])


def slow(value):
    return pytest.param(*value, marks=pytest.mark.slow)


TEXTS = ["the film was fine", "😀 ÀÉÎ dull", "", "the [MASK] was caf", "a b c 東京", "it's x-ray"]
OPTIONS = [[TEXTS[(i + k) % 6] for k in range(3)] for i in range(6)]


def right_answers(task, model):
    """Second texts, and as labels what the model says itself."""
    if task == "embedder":
        return TEXTS[1:] + TEXTS[:1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    pairs = {"choice": OPTIONS, "answerer": TEXTS[::-1]}.get(task)
    answers = model.predict_text(TEXTS, *([] if pairs is None else [pairs]))
    convert = {
        "multi_label": lambda row: [answer["label"] for answer in row],
        "choice": lambda row: row["index"],
        "masked": lambda row: [fills[0]["token"] for fills in row],
        "tagger": lambda row: row,
        "answerer": lambda row: row["answer"],
    }.get(task, lambda row: row)
    return pairs, [convert(row) for row in answers]


@pytest.mark.parametrize(
    ("task", "interface"),
    [
        slow(("embedder", "mediapipe")),
        ("answerer", "tokens"),
        *(
            slow((task, interface))
            for task in ("multi_label", "regression", "embedder", "choice", "masked", "tagger")
            for interface in ("text", "tokens", "saved_model")
        ),
        slow(("answerer", "text")),
        slow(("answerer", "saved_model")),
    ],
)
def test_files_of_every_task(tmp_path, task, interface):
    model, path = make_model(task), tmp_path / "model.tflite"
    if interface == "saved_model":
        kbl.export.saved_model(model, path)
    else:
        options = {"max_length": [8, 16, 32]} if interface == "tokens" else {}
        choices = 3 if task == "choice" else None
        kbl.export.tflite(
            model, path, "none", interface, max_bytes=MAX_BYTES, choices=choices, **options
        )
    pairs, labels = right_answers(task, model)
    report = kbl.export.verify(path, model, TEXTS, pairs, labels)
    assert report.agreement == pytest.approx(1)
    assert report.max_error < 1e-4
    assert report.truncated == 0
    if interface == "tokens":
        assert [row["tokens"] for row in report.latency] == 2 * [8, 16, 32]
        names = {row["signature"] for row in report.partitions}
        assert names == {"serving_default", "length_8", "length_16"}
    assert report.metric == pytest.approx(report.keras_metric)
    assert task == "embedder" or report.metric == 1
    assert report.agreement_name in str(report)
    if task == "embedder":
        assert report.min_cosine > 0.9999


def test_a_file_that_the_runtime_cannot_run_gives_one_line(files, classifier, tmp_path):
    file = flatbuffer.read(files["none"].read_bytes())
    for code in file.operatorCodes:
        code.version = 99  # as of a runtime that is still to come
    (tmp_path / "newer.tflite").write_bytes(flatbuffer.write(file))
    with pytest.raises(
        ValueError, match=r"newer.tflite cannot be run by ai-edge-litert \d"
    ) as error:
        kbl.export.verify(tmp_path / "newer.tflite", classifier, ["a"])
    assert "another quantization" in str(error.value)
    assert "\n" not in str(error.value)
