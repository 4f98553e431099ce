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

    def test_one_step_has_no_warmup(self):
        # With a warmup of one step the only step would have a learning rate of 0.
        np.testing.assert_allclose(create_optimizer(1, total_steps=1).learning_rate, 1.0)

    @parameterized.parameters(
        ({"learning_rate": 0.0}, "`learning_rate` must be above 0. Received: 0.0"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be above 0. Received: nan"),
        ({"total_steps": 0}, "the batches of an epoch times the epochs. Received: 0"),
        ({"warmup_ratio": 10}, "a share of `total_steps`. Received: 10"),
        ({"weight_decay": -1}, "`weight_decay` must be 0 or more. Received: -1"),
        ({"clip_norm": -1}, "`clip_norm` must be above 0, or None. Received: -1"),
    )
    def test_bad_arguments(self, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            create_optimizer(**{"learning_rate": 1e-4, "total_steps": 10, **arguments})
