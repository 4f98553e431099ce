"""Reports on exported files."""

import json
import math

import numpy as np
import pytest

import keras_bert_lib as kbl
from keras_bert_lib.export import VerificationError, metrics, operators, report_page
from keras_bert_lib.export.verification import Verification


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
    assert page.count("<svg") == page.count("</svg>") == 5
    for part in ["Time by length", "Errors", "Calibration", "milliseconds a text", "GATHER"]:
        assert part in page
    assert "<script" not in page
    assert 'src="' not in page
    report.save_html(tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text("utf-8") == page


def test_html_without_matplotlib_says_what_to_install(report, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-bert-lib\[report\]'"):
        report.save_html(tmp_path / "r.html")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ImportError):
        report_page.check_matplotlib()


def made(**fields):
    """A report with some figures that matter to a test."""
    numbers = {"size_bytes": 1, "texts": 10, "truncated": 0, "agreement": 0.97}
    numbers |= {"min_agreement": 0.0, "max_error": 0.1, "milliseconds_per_text": 1.0}
    names = {"path": "m.tflite", "task": "single_label_classification", "runtime": "r"}
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
    assert metrics.accuracy(["a", "b", "c"], ["a", "b", "d"]) == pytest.approx(2 / 3)
    # 2 right of 3 found and 4 to find: F1 = 4 / 7.
    found, right = [{"a", "b"}, {"c"}], [{"a"}, {"c", "d", "e"}]
    assert metrics.micro_f1(found, right) == pytest.approx(4 / 7)
    assert metrics.micro_f1([set()], [set()]) == 1
    assert metrics.spearman([1, 2, 3, 4], [10, 20, 30, 1000]) == pytest.approx(1)
    assert metrics.spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert math.isnan(metrics.spearman([1, 1], [1, 2]))
    assert metrics.exact_match(["The cat!", "", "x"], [["cat", "dog"], [], ["y"]]) == pytest.approx(
        2 / 3
    )


@pytest.mark.parity
def test_spearman_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 200), rng.normal(size=200)
    assert metrics.spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)


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
