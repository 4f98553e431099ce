"""Metrics on cases that were counted by hand, and beside the official scripts."""

import math

import numpy as np
import pytest
from absl.testing import parameterized

from keras_bert_lib.evaluation import metrics

QUESTIONS = [  # answer, right answers
    ("The cat!", ["cat", "a dog"]),
    ("", []),
    ("something", []),
    ("", ["something"]),
    ("the black cat", ["cat", "black dogs"]),
    ("a the an", []),  # nothing is left of it
    ("cat", ["the", "cat"]),
    ("1,000 U.S. dollars", ["1000 US dollars", "1000"]),
    ("cat cat dog", ["cat dog dog"]),
    ("Café — naïve", ["café naïve"]),
    ("don't", ["dont"]),
    ("an  apple\n a day", ["apple day"]),
]

# What `squad_metrics` of transformers 4.57.1 says of these and of `random_answers`, in all.
EXACT_MATCHES, WORD_F1S = 278, 479.72142857142876


class MetricsTest(parameterized.TestCase):
    def test_classes(self):
        found, right = [0, 0, 1, 2], [0, 1, 1, 1]
        # Precision and recall: class 0 1/2, 1; class 1 1, 1/3; class 2 0, 0.
        self.assertAlmostEqual(metrics.f1(found, right, "macro"), (2 / 3 + 1 / 2 + 0) / 3)
        self.assertAlmostEqual(metrics.f1(found, right, "micro"), 0.5)
        self.assertEqual(metrics.accuracy(found, right), 0.5)
        rows = metrics.by_class(found, right, ["a", "b", "c", "d"])
        self.assertEqual([row["support"] for row in rows.values()], [1, 3, 0, 0])
        self.assertAlmostEqual(rows["b"]["f1"], 0.5)
        self.assertEqual(rows["d"]["f1"], 0)

    def test_matthews_correlation_is_the_correlation_of_two_classes(self):
        rng = np.random.default_rng(0)
        found, right = rng.integers(0, 2, 50), rng.integers(0, 2, 50)
        expected = np.corrcoef(found, right)[0, 1]
        self.assertAlmostEqual(metrics.matthews_correlation(found, right), expected)
        self.assertEqual(metrics.matthews_correlation([1, 1], [0, 1]), 0)

    def test_top_k(self):
        scores = [[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.3, 0.5, 0.2]]
        self.assertAlmostEqual(metrics.top_k_accuracy(scores, [1, 2, 1], 2), 2 / 3)

    def test_label_ranking(self):
        # First text: labels at ranks 1 and 3: (1 + 2/3) / 2, one of two pairs out of order.
        # Second: its one label comes second: 1/2, one of two pairs.
        found = metrics.label_ranking([[0.9, 0.5, 0.2], [0.1, 0.4, 0.6]], [[1, 0, 1], [0, 1, 0]])
        np.testing.assert_allclose(found, ((5 / 6 + 1 / 2) / 2, 0.5))

    def test_sets(self):
        # 2 right of 3 found and 4 to find: F1 = 4 / 7.
        found, right = [{"a", "b"}, {"c"}], [{"a"}, {"c", "d", "e"}]
        self.assertAlmostEqual(metrics.set_f1(found, right), 4 / 7)
        self.assertEqual(metrics.set_f1([set()], [set()]), 1)
        self.assertEqual(metrics.set_f1([{(0, 3, "x")}], [set()]), 0)
        # Of labels it is micro F1.
        rng = np.random.default_rng(0)
        found, right = rng.integers(0, 2, (2, 20, 5))
        sets = ([set(np.flatnonzero(row)) for row in x] for x in (found, right))
        self.assertAlmostEqual(metrics.set_f1(*sets), metrics.f1(found, right, "micro"))

    def test_correlations(self):
        self.assertAlmostEqual(metrics.spearman([1, 2, 3, 4], [10, 20, 30, 1000]), 1)
        self.assertAlmostEqual(metrics.spearman([1, 2, 3, 4], [4, 3, 2, 1]), -1)
        # Ties share the mean of their ranks: 1, 2.5, 2.5, 4.
        expected = np.corrcoef([1, 2.5, 2.5, 4], [1, 2, 3, 4])[0, 1]
        self.assertAlmostEqual(metrics.spearman([1, 5, 5, 9], [1, 2, 3, 4]), expected)
        x = np.random.default_rng(0).normal(size=(2, 20))
        self.assertAlmostEqual(metrics.pearson(*x), np.corrcoef(*x)[0, 1])
        for function in (metrics.pearson, metrics.spearman):
            self.assertTrue(math.isnan(function([1, 1], [1, 2])))

    def test_entities(self):
        right = [["B-a", "I-a", "O", "B-b"], ["O", "S-a", "B-a", "E-a"]]
        found = [["B-a", "I-a", "O", "O"], ["B-b", "S-a", "B-a", "I-a"]]
        # Found 4, to find 4, right 3: the last is one whether it ends in I- or in E-.
        scores, rows = metrics.entity_scores(found, right)
        for name in ("precision", "recall", "f1"):
            self.assertAlmostEqual(scores[name], 3 / 4, msg=name)
        self.assertAlmostEqual(rows["a"]["f1"], 1)
        self.assertEqual(rows["b"], {"precision": 0, "recall": 0, "f1": 0, "support": 1})
        self.assertAlmostEqual(scores["macro_f1"], 1 / 2)
        # An I- after an O, or after another type, starts an entity.
        self.assertEqual(metrics.entity_scores([["I-a", "I-b"]], [["B-a", "B-b"]])[0]["f1"], 1)
        self.assertEqual(metrics.entity_scores([["O"]], [["O"]])[0]["f1"], 1)

    def test_answers(self):
        found, right = zip(*QUESTIONS)
        exact = [1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1]
        self.assertEqual(metrics.exact_matches(found, right), exact)
        f1s = [1, 1, 0, 0, 2 / 3, 1, 1, 1, 2 / 3, 0.8, 1, 1]
        np.testing.assert_allclose(metrics.word_f1s(found, right), f1s)

    def test_ranks(self):
        self.assertAlmostEqual(metrics.mean_reciprocal_rank([1, 2, 4]), 7 / 12)
        self.assertEqual(metrics.recall_at([1, 2, 4, 11], 10), 0.75)

    def test_calibration(self):
        confidences, right = [0.95, 0.91, 0.55, 0.52, 1.0, 0.0], [1, 0, 1, 1, 1, 0]
        bins = metrics.reliability(confidences, right)
        self.assertEqual(bins["count"], [1, 2, 3])
        np.testing.assert_allclose(bins["accuracy"], [0, 1, 2 / 3])
        np.testing.assert_allclose(bins["confidence"], [0, 0.535, 2.86 / 3])
        error = (0 + 2 * 0.465 + 3 * (2.86 / 3 - 2 / 3)) / 6
        found = metrics.expected_calibration_error(confidences, right)
        self.assertAlmostEqual(found, error)


def random_answers():
    rng = np.random.default_rng(0)
    words = ["the", "The", "a", "an", "cat", "Cat,", "dog", "U.S.", "1,000", "—", "don't", "", "é"]

    def phrase():
        return " ".join(rng.choice(words, rng.integers(0, 5)))

    return [(phrase(), [phrase() for _ in range(rng.integers(0, 4))]) for _ in range(2000)]


def test_answers_are_scored_as_by_the_script_of_squad():
    found, right = zip(*QUESTIONS, *random_answers())
    assert sum(metrics.exact_matches(found, right)) == EXACT_MATCHES
    assert sum(metrics.word_f1s(found, right)) == pytest.approx(WORD_F1S)


@pytest.mark.parity
def test_answers_are_scored_one_by_one_as_by_the_script_of_squad():
    squad = pytest.importorskip(
        "transformers.data.metrics.squad_metrics", reason="transformers 5 has it no more"
    )
    found, right = zip(*QUESTIONS, *random_answers())
    rows = zip(found, right, metrics.exact_matches(found, right), metrics.word_f1s(found, right))
    sums = np.zeros(2)
    for answer, texts, exact, f1 in rows:
        texts = [text for text in texts if squad.normalize_answer(text)] or [""]
        assert exact == max(squad.compute_exact(text, answer) for text in texts)
        assert f1 == pytest.approx(max(squad.compute_f1(text, answer) for text in texts))
        sums += exact, f1
    assert sums == pytest.approx([EXACT_MATCHES, WORD_F1S])
