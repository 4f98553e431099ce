import keras
import numpy as np
from absl.testing import parameterized

from keras_bert_lib.training import repeat


class RepeatTest(parameterized.TestCase):
    def test_mean_and_deviation(self):
        accuracies = {3: 0.90, 4: 0.92, 7: 0.91}
        repeats = repeat(lambda seed: {"accuracy": accuracies[seed], "f1": 0.5}, seeds=[3, 4, 7])
        self.assertEqual(repeats.seeds, [3, 4, 7])
        self.assertEqual([r["accuracy"] for r in repeats.results], [0.90, 0.92, 0.91])
        np.testing.assert_allclose(repeats.mean["accuracy"], 0.91)
        np.testing.assert_allclose(repeats.deviation["accuracy"], 0.01)
        self.assertEqual(repeats.deviation["f1"], 0.0)
        self.assertEqual(repeats.disagreements, [])
        lines = str(repeats).split("\n")
        self.assertEqual(lines[0].split(), ["seed", "accuracy", "f1"])
        self.assertEqual(lines[2].split(), ["4", "0.9200", "0.5000"])
        self.assertEqual(lines[-1].split(), ["deviation", "0.0100", "0.0000"])

    def test_seeds_are_set(self):
        def draw(seed):
            return {"x": np.random.normal(), "y": float(keras.random.normal([]))}

        first, again = repeat(draw, seeds=[1, 2]), repeat(draw, seeds=[1, 2])
        self.assertEqual(first.results, again.results)
        self.assertNotEqual(first.results[0], first.results[1])

    def test_says_when_seeds_disagree(self):
        numbers = iter([0.70, 0.66, 0.53])
        repeats = repeat(
            lambda _: {"accuracy": next(numbers)}, seeds=[0, 1, 2], majority={"accuracy": 0.527}
        )
        self.assertLen(repeats.disagreements, 2)
        self.assertRegex(repeats.disagreements[0], "deviation of accuracy is 0.0889, above 0.02")
        self.assertRegex(repeats.disagreements[1], "accuracy of seed 2 is no better than about 0.5")
        self.assertTrue(str(repeats).endswith("that of guessing."))

    def test_nan_disagrees(self):
        numbers = iter([0.7, float("nan")])
        repeats = repeat(lambda _: {"f1": next(numbers)}, seeds=[0, 1])
        self.assertEqual(repeats.disagreements, ["Seeds cannot be compared: f1 of seed 1 is NaN."])
        repeats = repeat(lambda _: {"f1": float("nan")}, seeds=[4], majority={"f1": 0.0})
        self.assertLen(repeats.disagreements, 1)
        self.assertRegex(repeats.disagreements[0], "Learned nothing: f1 of seed 4 is no better")
        repeats = repeat(lambda _: {"f1": float("nan")}, seeds=[4], majority={"f1": None})
        self.assertEqual(repeats.disagreements, [])

    def test_one_seed_has_no_deviation(self):
        repeats = repeat(lambda seed: {"accuracy": 0.9}, seeds=[5])
        self.assertEqual((repeats.deviation["accuracy"], repeats.disagreements), (0.0, []))

    @parameterized.parameters(
        ([], lambda seed: {"a": 1}, r"one or more different integers. Received: \[\]"),
        ([1, 1], lambda seed: {"a": 1}, r"Received: \[1, 1\]"),
        ([1], lambda seed: 0.9, "must return a dict of metrics.*Received: 0.9"),
        ([1, 2], lambda seed: {str(seed): 1}, "the same ones for each seed.*Received: {'2': 1}"),
    )
    def test_bad_arguments(self, seeds, train, message):
        with self.assertRaisesRegex(ValueError, message):
            repeat(train, seeds)
