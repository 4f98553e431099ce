"""Evaluation of a tiny model of each task."""

import csv
import json
import sys
from typing import NamedTuple

import keras
import numpy as np
import pytest

import keras_bert_lib as kbl
from keras_bert_lib.evaluation import Evaluation, evaluate, metrics
from keras_bert_lib.evaluation.word_labels import plain_tags
from keras_bert_lib.models.entity_decoding import read_labels
from tests.export.task_models import make_model

TEXTS = ["the film was fine", "dull", "a fine dull film.", "Was the film dull?", "fine fine", "x"]
TEXTS += [f"{a} {b}" for a in ("cat", "fine", "東京") for b in ("dull", "sings", "x-ray", "")]


def labelled(label_ids, labels, text_pairs=None):
    return kbl.data.LabelledTexts(TEXTS, text_pairs, np.array(label_ids), labels)


def test_one_label_a_text():
    model = make_model("label")
    rng = np.random.default_rng(0)
    labels = ["käse", "anger", "joy"]  # in another order than the model's
    ids = rng.integers(0, 3, len(TEXTS))
    evaluation = evaluate(model, labelled(ids, labels), batch_size=4)
    answers = model.predict_text(TEXTS)
    right = [labels[i] for i in ids]
    assert evaluation.cases["found"] == [row["label"] for row in answers]
    assert evaluation.cases["right"] == right
    confidence = [row["score"] for row in answers]
    np.testing.assert_allclose(evaluation.cases["confidence"], confidence, rtol=1e-5)
    is_right = [row["label"] == label for row, label in zip(answers, right)]
    assert 0 < evaluation.metrics["accuracy"] == np.mean(is_right) < 1
    assert evaluation.metrics["micro_f1"] == pytest.approx(np.mean(is_right))
    error = metrics.expected_calibration_error(confidence, is_right)
    assert evaluation.metrics["expected_calibration_error"] == pytest.approx(error, abs=1e-5)
    counts = np.array(evaluation.confusion["counts"])
    assert evaluation.confusion["labels"] == model.labels == list(evaluation.by_class)
    assert counts.sum() == len(TEXTS)
    assert np.trace(counts) == sum(is_right)
    assert counts.sum(axis=1).tolist() == [right.count(label) for label in model.labels]
    # The same by numbers.
    numbers = labelled([model.labels.index(label) for label in right], ["0", "1", "2"])
    assert evaluate(model, numbers).metrics == pytest.approx(evaluation.metrics, abs=1e-6)
    table = str(evaluation)
    for part in ["examples", "accuracy", f"{np.mean(is_right):.4f}", "käse", "support"]:
        assert part in table


def test_top_5_where_there_are_more_labels():
    keras.utils.set_random_seed(0)
    model = make_model("label")
    labels = [f"class {i}" for i in range(50)]
    model = kbl.BertClassifier(model.encoder, tokenizer=model.tokenizer, labels=labels)
    ids = np.random.default_rng(0).integers(0, 50, len(TEXTS))
    evaluation = evaluate(model, labelled(ids, labels))
    best = np.argsort(-model.predict_scores(TEXTS))[:, :5]
    expected = np.mean([i in row for i, row in zip(ids, best)])
    assert evaluation.metrics["top_5_accuracy"] == expected
    assert "... and 10 classes whose F1 is higher" in str(evaluation)


def test_several_labels_a_text():
    model = make_model("multi_label")
    right = np.random.default_rng(0).integers(0, 2, (len(TEXTS), 2)).astype("float32")
    evaluation = evaluate(model, labelled(right, ["anger", "joy"]))  # nothing is "käse"
    found = [{row["label"] for row in rows} for rows in model.predict_text(TEXTS)]
    sets = [{["anger", "joy"][i] for i in np.flatnonzero(row)} for row in right]
    assert evaluation.metrics["micro_f1"] == pytest.approx(metrics.set_f1(found, sets))
    assert evaluation.metrics["exact_match"] == np.mean([a == b for a, b in zip(found, sets)])
    assert evaluation.by_class["käse"]["support"] == 0
    assert evaluation.by_class["joy"]["support"] == right[:, 1].sum()
    assert [set(row) for row in evaluation.cases["found"]] == found
    assert 0 < evaluation.metrics["label_ranking_average_precision"] < 1


def test_numbers():
    model = make_model("regression")
    found = np.array(model.predict_text(TEXTS))  # [n, 2]
    right = found + np.random.default_rng(0).normal(size=found.shape)
    evaluation = evaluate(model, labelled(right, []))
    expected = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(found.T, right.T)])
    assert evaluation.metrics["pearson"] == pytest.approx(expected, abs=1e-5)
    error = np.abs(found - right).mean()
    assert evaluation.metrics["mean_absolute_error"] == pytest.approx(error, abs=1e-5)


class LabelledTokens(NamedTuple):
    words: list
    tags: list
    labels: list


def test_entities_are_counted_by_the_words_of_the_data():
    model = make_model("tagger")
    words = [text.split() for text in TEXTS] + [["Café-au-lait", "\u200b", "x.y.z", "film"] * 12]
    # What the model says of the first piece of each word, one text at a time.
    found = []
    for row in words:
        ids = []
        for word in row:
            pieces = len(model.tokenizer.tokenize_ragged([word])[0])
            ids += [[len(ids), pieces]]
        found.append(ids)
    tags = []
    for row, pieces in zip(words, found):
        places = np.cumsum([1, *(count for _, count in pieces)])[:-1]
        total = 2 + sum(count for _, count in pieces)
        if total > 32:
            tags.append(None)  # in windows
            continue
        logits = np.asarray(model(model.tokenizer([" ".join(row)])))[0]
        tags.append(
            [
                model.labels[logits[place].argmax()] if count else "O"
                for place, (_, count) in zip(places, pieces)
            ]
        )
    tags[-1] = ["O"] * len(words[-1])
    evaluation = evaluate(model, LabelledTokens(words, tags, model.labels), batch_size=5)
    assert evaluation.cases["found"][:-1] == tags[:-1]
    last = evaluation.cases["found"][-1]
    assert len(last) == 48
    assert {last[i] for i in range(1, 48, 4)} == {"O"}  # nothing is left of these words
    expected, rows = metrics.entity_scores(evaluation.cases["found"], tags)
    assert evaluation.metrics["f1"] == expected["f1"] < 1
    assert evaluation.by_class == rows
    assert set(evaluation.by_class) == {"place", "name"}
    assert np.sum(evaluation.confusion["counts"]) == sum(map(len, words))


def test_tags_of_every_scheme_are_read():
    def tags(*labels):
        return plain_tags(read_labels(labels), range(-1, len(labels)))

    assert tags("O", "B-a", "I-a", "L-a", "U-a") == ["O", "O", "B-a", "I-a", "E-a", "S-a"]
    assert tags("name", "O", "place") == ["O", "I-name", "O", "I-place"]


class Questions(NamedTuple):
    ids: list
    questions: list
    contexts: list
    answers: list
    answer_starts: list


def test_answers():
    model = make_model("answerer")
    model.may_have_no_answer = True
    texts = [row["answer"] for row in model.predict_text(TEXTS, TEXTS[::-1])]
    right = [[text] if text and i % 3 else [] for i, text in enumerate(texts)]
    data = Questions(list(range(len(TEXTS))), TEXTS, TEXTS[::-1], right, None)
    evaluation = evaluate(model, data)
    assert evaluation.cases["found"] == texts
    exact = metrics.exact_matches(texts, right)
    assert 0 < evaluation.metrics["exact_match"] == np.mean(exact) < 1
    assert evaluation.metrics["answered_exact_match"] == 1
    assert evaluation.metrics["f1"] >= evaluation.metrics["exact_match"]


class LabelledChoices(NamedTuple):
    texts: list
    choices: list
    label_ids: np.ndarray


def test_choices():
    model = make_model("choice")
    choices = [TEXTS[i % 5 : i % 5 + 2 + i % 2] for i in range(len(TEXTS))]
    ids = np.array([0, 1] * (len(TEXTS) // 2))
    evaluation = evaluate(model, LabelledChoices(TEXTS, choices, ids))
    found = [row["index"] for row in model.predict_text(TEXTS, choices)]
    assert evaluation.metrics["accuracy"] == np.mean(np.array(found) == ids)


class TextPairs(NamedTuple):
    texts: list
    text_pairs: list
    scores: np.ndarray | None


def test_pairs_of_embeddings():
    model = make_model("embedder")
    scores = np.random.default_rng(0).normal(size=len(TEXTS))
    evaluation = evaluate(model, TextPairs(TEXTS, TEXTS[::-1], scores))
    vectors = model.encode(TEXTS)
    cosines = (vectors * vectors[::-1]).sum(axis=-1)
    expected = metrics.spearman(cosines, scores)
    assert evaluation.metrics["spearman"] == pytest.approx(expected)

    order = np.roll(np.arange(len(TEXTS)), 1)
    pairs = [TEXTS[i] for i in order]
    evaluation = evaluate(model, TextPairs(TEXTS, pairs, None))
    scores = vectors @ vectors[order].T
    ranks = [1 + sum(row > row[i]) for i, row in enumerate(scores)]
    assert evaluation.cases["rank"] == ranks
    assert len(set(ranks)) > 3
    assert evaluation.metrics["mean_reciprocal_rank"] == np.mean(1 / np.array(ranks))
    # A text that looks for itself, twice in the data, finds it; several may be right.
    same = evaluate(model, TextPairs([*TEXTS, TEXTS[0]], [*TEXTS, TEXTS[1]], None))
    assert same.metrics["mean_reciprocal_rank"] == 1


def test_masked_pieces():
    """The same masks by hand, a text at a time, filled in by `predict_text`."""
    model = make_model("masked")
    tokenizer = model.tokenizer
    evaluation = evaluate(model, kbl.data.Texts(TEXTS), batch_size=4)
    hits, near, losses = [], [], []
    for i, text in enumerate(TEXTS):
        ids = tokenizer([text])["token_ids"].numpy()[0]
        pieces = [p for p, x in enumerate(ids) if x not in tokenizer.special_token_ids]
        chosen = pieces[i % min(7, len(pieces) or 1) :: 7]
        masked = ids.copy()
        masked[chosen] = tokenizer.mask_token_id
        logits = np.asarray(model({"token_ids": masked[None]}), "float64")[0, chosen]
        right = ids[chosen]
        assert evaluation.cases["right"][i] == [tokenizer.id_to_token(int(x)) for x in right]
        losses += (np.log(np.exp(logits).sum(-1)) - logits[range(len(right)), right]).tolist()
        order = np.argsort(-logits, axis=-1)
        hits += (order[:, 0] == right).tolist()
        near += [x in row[:5] for x, row in zip(right, order)]
    assert len(hits) > len(TEXTS) / 2
    assert evaluation.metrics == pytest.approx(
        {
            "accuracy": np.mean(hits),
            "top_5_accuracy": np.mean(near),
            "perplexity": np.exp(np.mean(losses)),
        },
        rel=1e-4,
    )


def test_bad_data():
    label, tagger = make_model("label"), make_model("tagger")
    with pytest.raises(ValueError, match="BertTokenClassifier is evaluated on `LabelledTokens`"):
        evaluate(tagger, labelled([0] * len(TEXTS), ["joy"]))
    with pytest.raises(ValueError, match=r"labels that the model has not.*joy, anger.*: pride"):
        evaluate(label, labelled([0] * len(TEXTS), ["pride", "joy"]))
    with pytest.raises(ValueError, match=r"one label a text.*`problem_type`.*float64"):
        evaluate(label, labelled([0.5] * len(TEXTS), ["joy"]))
    with pytest.raises(ValueError, match="nothing to evaluate on"):
        evaluate(label, kbl.data.LabelledTexts([], None, np.zeros([0], int), ["joy"]))
    with pytest.raises(ValueError, match=r"whose labels are place, name. Received: person"):
        evaluate(tagger, LabelledTokens([["x"]], [["B-person"]], ["O", "B-person"]))
    with pytest.raises(ValueError, match="BertMaskedLM is evaluated on `Texts`"):
        evaluate(make_model("masked"), kbl.data.LabelledTokens([["x"]], [["O"]], ["O"]))
    with pytest.raises(ValueError, match="Received: 2 empty texts"):
        evaluate(make_model("masked"), kbl.data.Texts(["", " "]))


@pytest.fixture
def made():
    calibration = {"confidence": [0.4, 0.9], "accuracy": [0.5, 0.8], "count": [2, 8]}
    confusion = {"labels": ["neg", "pos"], "counts": [[3, 1], [2, 4]]}
    numbers = {"accuracy": 0.7, "expected_calibration_error": 0.1, "pearson": float("nan")}
    return Evaluation("single_label_classification", 10, numbers, {}, confusion, calibration)


def test_json_holds_everything(made, tmp_path):
    made.save_json(tmp_path / "new" / "e.json")
    content = json.loads((tmp_path / "new" / "e.json").read_text("utf-8"))
    assert content["metrics"] == {
        "accuracy": 0.7,
        "expected_calibration_error": 0.1,
        "pearson": None,
    }
    assert content["confusion"] == made.confusion
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["e.json"]


def test_plots(made, tmp_path):
    matplotlib = pytest.importorskip("matplotlib.image")
    history = {"loss": [2.0, 1.0, 0.5, 0.4], "accuracy": [0.5, 0.6, 0.7, 0.7]}
    history |= {"val_loss": [1.5, 1.0]}  # every second epoch
    log = tmp_path / "log.csv"
    with log.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["epoch", "loss", "val_loss"])
        rows.writerows([[0, 2.0, 1.5], [1, 1.0, 1.2]])
    fitted = keras.callbacks.History()
    fitted.history = history
    for name, given in (("a", history), ("b", str(log)), ("c", fitted), ("d", None)):
        paths = made.save_plots(tmp_path / name, given)
        names = ["confusion.png", "calibration.png"] + ["training.png"] * (given is not None)
        assert [path.name for path in paths] == names
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == sorted(names)
        for path in paths:
            image = matplotlib.imread(path)  # [y, x, rgba]
            assert image.shape[0] > 200
            assert image[..., :3].std() > 0.01
    # Many classes have no names, numbers have a plot of their own.
    many = {"labels": [f"class {i}" for i in range(150)], "counts": np.eye(150).tolist()}
    Evaluation("single_label_classification", 150, {}, {}, many).save_plots(tmp_path / "e")
    numbers = {"found": [[0.1, 1], [0.2, 2]], "right": [[0.0, 1], [0.5, 3]]}
    (path,) = Evaluation("regression", 2, {}, cases=numbers).save_plots(tmp_path / "f")
    assert path.name == "values.png"
    with pytest.raises(ValueError, match=r"`history` must be.*Received: 5"):
        made.save_plots(tmp_path / "g", 5)


def test_plots_without_matplotlib_say_what_to_install(made, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-bert-lib\[report\]'"):
        made.save_plots(tmp_path / "plots")
    assert not list(tmp_path.iterdir())
