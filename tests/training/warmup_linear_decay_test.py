import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from keras_bert_lib.training import WarmupConstant, WarmupCosineDecay, WarmupLinearDecay


class WarmupLinearDecayTest(parameterized.TestCase):
    @parameterized.parameters(
        (0, 0.0), (5, 0.05), (10, 0.1), (55, 0.05), (100, 0.0), (101, 0.0), (10**9, 0.0)
    )
    def test_shape(self, step, expected):
        schedule = WarmupLinearDecay(0.1, total_steps=100, warmup_steps=10)
        for number in (step, float(step), np.int64(step), tf.constant(step, "int64")):
            self.assertAlmostEqual(float(schedule(number)), expected, places=8)

    def test_no_warmup_starts_at_the_peak(self):
        schedule = WarmupLinearDecay(0.1, total_steps=4)
        np.testing.assert_allclose([schedule(s) for s in range(5)], [0.1, 0.075, 0.05, 0.025, 0])

    def test_only_warmup(self):
        schedule = WarmupLinearDecay(0.1, total_steps=4, warmup_steps=4)
        np.testing.assert_allclose([schedule(s) for s in range(6)], [0, 0.025, 0.05, 0.075, 0, 0])

    @parameterized.parameters((100, 10), (7, 0), (7, 7), (1000, 333))
    @pytest.mark.parity
    def test_equals_transformers(self, total_steps, warmup_steps):
        import torch
        from transformers import get_scheduler

        for name, schedule in (
            ("linear", WarmupLinearDecay),
            ("cosine", WarmupCosineDecay),
            ("constant_with_warmup", WarmupConstant),
        ):
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-5)
            theirs = get_scheduler(name, optimizer, warmup_steps, total_steps)
            ours = schedule(3e-5, total_steps, warmup_steps)
            # From its end on the cosine of transformers rises again.
            for step in range(total_steps + (0 if name == "cosine" else 3)):
                expected = theirs.get_last_lr()[0]
                np.testing.assert_allclose(ours(step), expected, rtol=1e-5, atol=1e-11)
                optimizer.step()
                theirs.step()

    def test_serialization(self):
        schedule = WarmupLinearDecay(0.1, total_steps=100, warmup_steps=10)
        config = keras.saving.serialize_keras_object(schedule)
        copy = keras.saving.deserialize_keras_object(config)
        self.assertIsInstance(copy, WarmupLinearDecay)
        self.assertEqual(copy.get_config(), schedule.get_config())

    @parameterized.parameters(
        ((-1.0, 10, 0), "`learning_rate` must be 0 or more. Received: -1.0"),
        ((1.0, 0, 0), "`total_steps` must be 1 or more. Received: 0"),
        ((1.0, 10, 11), "warmup_steps=11, total_steps=10"),
    )
    def test_bad_arguments(self, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            WarmupLinearDecay(*arguments)
