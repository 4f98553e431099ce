import keras
import numpy as np
from absl.testing import parameterized

from keras_bert_lib.training import AdamW, create_optimizer


class CreateOptimizerTest(parameterized.TestCase):
    def test_defaults(self):
        optimizer = create_optimizer(3e-5, total_steps=1000)
        self.assertIsInstance(optimizer, AdamW)
        self.assertEqual(optimizer.weight_decay, 0.01)
        self.assertEqual(optimizer.clip_norm, 1.0)
        config = optimizer.get_config()["learning_rate"]["config"]
        self.assertEqual(config, {"learning_rate": 3e-5, "total_steps": 1000, "warmup_steps": 100})

    def test_schedules(self):
        # step 10 of 10 in the warmup, then 45 of the 90 that follow, then the end
        for schedule, shares in {
            "linear": (1.0, 0.5, 0.0),
            "cosine": (1.0, 0.5, 0.0),
            "constant": (1.0, 1.0, 1.0),
        }.items():
            optimizer = create_optimizer(2e-5, total_steps=100, schedule=schedule)
            rates = optimizer.get_config()["learning_rate"]
            rates = keras.optimizers.schedules.deserialize(rates)
            numbers = [float(rates(step)) for step in (0, 5, 10, 55, 100)]
            expected = [0.0, 1e-5, *(2e-5 * share for share in shares)]
            np.testing.assert_allclose(numbers, expected, rtol=1e-5, atol=1e-12)

    def test_recipe_is_kept(self):
        optimizer = create_optimizer(1e-3, 10, layer_decay=0.9, accumulation_steps=4)
        config = AdamW.from_config(optimizer.get_config()).get_config()
        self.assertEqual((config["layer_decay"], config["accumulation_steps"]), (0.9, 4))

    def test_one_step_has_no_warmup(self):
        # With a warmup of one step the only step would have a learning rate of 0.
        np.testing.assert_allclose(create_optimizer(1, total_steps=1).learning_rate, 1.0)

    @parameterized.parameters(
        ({"learning_rate": 0.0}, "`learning_rate` must be above 0. Received: 0.0"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be above 0. Received: nan"),
        ({"total_steps": 0}, "the batches of an epoch times the epochs. Received: 0"),
        ({"warmup_ratio": 10}, "a share of `total_steps`. Received: 10"),
        ({"weight_decay": -1}, "`weight_decay` must be 0 or more. Received: -1"),
        ({"schedule": "step"}, "`schedule` must be one of .*'constant'.*Received: 'step'"),
        ({"clip_norm": -1}, "`clip_norm` must be above 0, or None. Received: -1"),
    )
    def test_bad_arguments(self, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            create_optimizer(**{"learning_rate": 1e-4, "total_steps": 10, **arguments})
