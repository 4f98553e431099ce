"""LAMB by its formula, under two devices, in mixed precision; and averages of weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from keras_bert_lib.training import LAMB, create_optimizer, create_strategy
from tests.training.adamw_test import random_gradients, random_weights, small_model, train


def weights_by_formula(learning_rate, weight_decay):
    """The weights of `random_weights` after `random_gradients`, in float64."""
    weights = {name: x.astype("float64") for name, x in random_weights().items()}
    m = {name: np.zeros_like(x) for name, x in weights.items()}
    v = {name: np.zeros_like(x) for name, x in weights.items()}
    for count, gradients in enumerate(random_gradients(), 1):
        norm = np.sqrt(sum((g.astype("float64") ** 2).sum() for g in gradients.values()))
        for name, gradient in gradients.items():
            gradient = gradient / max(norm, 1.0)
            m[name] = 0.9 * m[name] + 0.1 * gradient
            v[name] = 0.999 * v[name] + 0.001 * gradient**2
            step = m[name] / (1 - 0.9**count)
            step = step / (np.sqrt(v[name] / (1 - 0.999**count)) + 1e-6)
            if name == "kernel":
                step = step + weight_decay * weights[name]
                step = step * np.linalg.norm(weights[name]) / np.linalg.norm(step)
            weights[name] = weights[name] - learning_rate * step
    return weights


class LAMBTest(parameterized.TestCase):
    @parameterized.named_parameters(
        ("graph", LAMB.apply), ("keras_ops", keras.optimizers.Optimizer.apply)
    )
    def test_equals_the_formula(self, apply):
        variables = [keras.Variable(value, name=name) for name, value in random_weights().items()]
        optimizer = LAMB(0.05, weight_decay=0.1)
        optimizer.build(variables)
        step = tf.function(lambda grads: apply(optimizer, grads, variables))
        for gradients in random_gradients():
            step([tf.constant(gradients[v.name]) for v in variables])
        for variable in variables:
            expected = weights_by_formula(0.05, 0.1)[variable.name]
            # Betas are float32 in the graph.
            np.testing.assert_allclose(variable, expected, rtol=2e-5, atol=2e-6)

    def test_weights_leave_zero_and_stay_without_a_learning_rate(self):
        variables = [keras.Variable(np.zeros(2, "float32"), name="kernel") for _ in range(2)]
        for variable, learning_rate in zip(variables, (0.1, 0.0)):
            LAMB(learning_rate).apply([tf.constant([1.0, -1.0])], [variable])
        np.testing.assert_allclose(variables[0], [-0.1, 0.1], rtol=1e-4)
        np.testing.assert_array_equal(variables[1], [0, 0])

    @pytest.mark.slow
    def test_two_devices_train_like_one(self):
        losses = []
        for strategy in ("one_device", "mirrored"):
            with create_strategy(strategy).scope():
                optimizer = create_optimizer(0.02, 24, optimizer="lamb", use_ema=True)
                losses.append(train(small_model(), optimizer))
        self.assertLess(losses[0][-1], losses[0][0] - 0.2)
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)

    def test_a_config_makes_the_same(self):
        optimizer = create_optimizer(0.02, 24, optimizer="lamb", use_ema=True, layer_decay=0.9)
        copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
        self.assertIsInstance(copy, LAMB)
        self.assertEqual(copy.get_config(), optimizer.get_config())
        with self.assertRaisesRegex(ValueError, "`optimizer` must be one of.*Received: 'sgd'"):
            create_optimizer(0.02, 24, optimizer="sgd")


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_average_of_the_weights(accumulation_steps):
    variables = [keras.Variable([2.0, 3.0], name="kernel"), keras.Variable([5.0], name="bias")]
    optimizer = create_optimizer(
        0.1, 100, use_ema=True, ema_momentum=0.8, accumulation_steps=accumulation_steps
    )
    optimizer.build(variables)
    average = None
    for step in range(1, 7):
        optimizer.apply([tf.constant([1.0, -2.0]), None], variables)
        if step % accumulation_steps == 0:
            value = variables[0].numpy()
            average = value if average is None else 0.8 * average + 0.2 * value
    optimizer.finalize_variable_values(variables)
    np.testing.assert_allclose(variables[0], average, rtol=1e-6)
    np.testing.assert_allclose(variables[1], [5.0])
