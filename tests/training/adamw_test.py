"""AdamW against PyTorch, under two devices, through saving, and in mixed precision."""

import contextlib
import functools
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from keras_bert_lib.training import (
    AdamW,
    WarmupLinearDecay,
    create_optimizer,
    create_strategy,
)

SHAPES = {"kernel": (2, 3), "bias": (3,)}
STEPS = 20
# The weights after `STEPS` steps of `torch.optim.AdamW` on `random_gradients`, as
# `torch_weights` below computes them (and the parity test checks).
GOLDEN = {
    "kernel": [[0.17433201, -0.0081855338, 0.090884477], [0.2436482, 0.16118349, -0.079829827]],
    "bias": [0.092313044, 0.0031076691, -0.0030902077],
}


def random_weights():
    rng = np.random.RandomState(0)
    return {n: 0.1 * rng.normal(size=shape).astype("float32") for n, shape in SHAPES.items()}


def random_gradients():
    """Yields gradients from well below to well above the clipping norm, noughts among them."""
    rng = np.random.RandomState(1)
    for step in range(STEPS):
        scale = (10, 1, 1e-2, 1e-5)[step % 4]
        gradients = {name: scale * rng.normal(size=shape) for name, shape in SHAPES.items()}
        gradients["kernel"][0, 0] = 0
        yield {name: gradient.astype("float32") for name, gradient in gradients.items()}


def schedule():
    return WarmupLinearDecay(0.01, total_steps=STEPS + 5, warmup_steps=3)


def torch_weights():
    import torch

    weights = {
        name: torch.nn.Parameter(torch.tensor(value)) for name, value in random_weights().items()
    }
    optimizer = torch.optim.AdamW(
        [
            {"params": [weights["kernel"]], "weight_decay": 0.1},
            {"params": [weights["bias"]], "weight_decay": 0.0},
        ],
        eps=1e-6,
    )
    for step, gradients in enumerate(random_gradients()):
        for name, gradient in gradients.items():
            weights[name].grad = torch.tensor(gradient)
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = float(schedule()(step))
        optimizer.step()
    return {name: weight.detach().numpy() for name, weight in weights.items()}


def our_weights(apply, wrap):
    variables = [keras.Variable(value, name=name) for name, value in random_weights().items()]
    optimizer = AdamW(schedule(), weight_decay=0.1)
    optimizer.build(variables)
    step = wrap(lambda grads: apply(optimizer, grads, variables))
    for gradients in random_gradients():
        step([tf.constant(gradients[v.name]) for v in variables])
    return {v.name: v.numpy() for v in variables}


def small_model():
    """An embedding, a LayerNorm and dense layers: every kind of variable that BERT has."""
    model = keras.Sequential(
        [
            keras.layers.Embedding(11, 4),
            keras.layers.LayerNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    model.build((None, 5))
    # Biases start at 0, where decay does nothing.
    model.set_weights([np.random.RandomState(2).normal(size=w.shape) for w in model.get_weights()])
    return model


def small_data(examples=64):
    rng = np.random.RandomState(3)
    x = rng.randint(11, size=(examples, 5)).astype("int32")
    return x, (x.sum(axis=1) % 3).astype("int32")


class LossPerStep(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_begin(self, batch, logs=None):
        self.model.reset_metrics()

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])


def layer_variables():
    """Variables of two blocks, of embeddings and of a head, by their paths."""
    rng = np.random.RandomState(5)
    paths = ("e/embeddings/token_embedding", "e/block_0/output/kernel", "e/block_1/output/kernel")
    paths += ("e/block_1/output/bias", "e/pooler/dense/kernel", "classifier/kernel")
    variables = []
    for path in paths:
        *scopes, name = path.split("/")
        with contextlib.ExitStack() as stack:
            for scope in scopes:
                stack.enter_context(keras.name_scope(scope))
            value = rng.normal(size=(3, 2))
            variables.append(keras.Variable(value, dtype="float32", name=name))
    assert tuple(v.path for v in variables) == paths
    return variables


def train(model, optimizer, epochs=6, batch_size=16):
    """Returns the loss of each step."""
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = LossPerStep()
    x, y = small_data()
    model.fit(x, y, batch_size, epochs=epochs, shuffle=False, verbose=0, callbacks=[losses])
    return losses.losses


class AdamWTest(parameterized.TestCase):
    @parameterized.named_parameters(
        ("eager", AdamW.apply, lambda step: step),
        ("graph", AdamW.apply, tf.function),
        ("xla", AdamW.apply, functools.partial(tf.function, jit_compile=True)),
        # what other backends run
        ("keras_ops", keras.optimizers.Optimizer.apply, tf.function),
    )
    def test_weights_equal_pytorch(self, apply, wrap):
        weights = our_weights(apply, wrap)
        for name, golden in GOLDEN.items():
            np.testing.assert_allclose(weights[name], golden, rtol=1e-6, atol=1e-8)

    @pytest.mark.parity
    def test_weights_equal_pytorch_live(self):
        weights = torch_weights()
        for name, golden in GOLDEN.items():
            np.testing.assert_allclose(weights[name], golden, rtol=1e-6, atol=1e-8)

    def test_first_step_has_bias_correction(self):
        # Without the correction it would be 0.1 / sqrt(0.001) = 3.2 times as long.
        weight = keras.Variable([1.0, 1.0], name="kernel")
        AdamW(0.01, weight_decay=0.0, clip_norm=None).apply([tf.constant([0.3, -20.0])], [weight])
        np.testing.assert_allclose(weight.numpy(), [0.99, 1.01], rtol=1e-6)

    @pytest.mark.parity
    def test_layer_decay_equals_parameter_groups_of_pytorch(self):
        import torch

        variables = layer_variables()
        shares = (0.5**3, 0.5**2, 0.5, 0.5, 1.0, 1.0)
        weights = [torch.nn.Parameter(torch.tensor(v.numpy())) for v in variables]
        groups = [
            {"params": [w], "lr": 0.1 * share, "weight_decay": 0.0 if "bias" in v.path else 0.2}
            for v, w, share in zip(variables, weights, shares)
        ]
        theirs = torch.optim.AdamW(groups, eps=1e-6)
        ours = AdamW(0.1, weight_decay=0.2, layer_decay=0.5)
        rng = np.random.RandomState(6)
        for _ in range(10):
            gradients = [rng.normal(size=(3, 2)).astype("float32") for _ in variables]
            ours.apply([tf.constant(g) for g in gradients], variables)
            for weight, gradient in zip(weights, gradients):
                weight.grad = torch.tensor(gradient)
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            theirs.step()
        for variable, weight in zip(variables, weights):
            np.testing.assert_allclose(variable, weight.detach().numpy(), rtol=2e-6, atol=1e-7)

    @parameterized.parameters(AdamW.apply, keras.optimizers.Optimizer.apply)
    def test_layer_decay_by_hand(self, apply):
        # The first step of Adam is as long as the learning rate; then 0.2 of it decays.
        variables = layer_variables()
        before = [variable.numpy() for variable in variables]
        optimizer = AdamW(0.1, weight_decay=0.2, layer_decay=0.5, epsilon=1e-12)
        apply(optimizer, [tf.fill(v.shape, 0.3) for v in variables], variables)
        for variable, old, share in zip(variables, before, (0.125, 0.25, 0.5, 0.5, 1, 1)):
            decay = 0.0 if variable.name == "bias" else 0.2
            expected = old * (1 - 0.1 * share * decay) - 0.1 * share
            np.testing.assert_allclose(variable, expected, rtol=1e-5, atol=1e-6)

    def test_layer_decay_wants_blocks(self):
        with self.assertRaisesRegex(ValueError, "has none that is trained.*layer_decay=0.9"):
            train(small_model(), AdamW(0.05, layer_decay=0.9))

    def test_accumulated_batches_are_one_big_batch(self):
        self.check_accumulation("mirrored", "mixed_float16")

    @parameterized.parameters(
        ("one_device", "float32"), ("one_device", "mixed_float16"), ("mirrored", "float32")
    )
    @pytest.mark.slow
    def test_accumulated_batches_are_one_big_batch_elsewhere(self, strategy, policy):
        self.check_accumulation(strategy, policy)

    def check_accumulation(self, strategy, policy):
        x, y = small_data()
        weights = []
        for batch_size, accumulation_steps in ((32, 1), (8, 4)):
            with create_strategy(strategy).scope():
                model = small_model()
                optimizer = create_optimizer(
                    0.05, total_steps=12, clip_norm=0.3, accumulation_steps=accumulation_steps
                )
                if policy == "mixed_float16":
                    optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=64.0)
                model.compile(
                    optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True)
                )
            model.fit(x, y, batch_size, epochs=5, shuffle=False, verbose=0)
            updates = keras.ops.convert_to_numpy(optimizer.iterations)
            self.assertEqual(updates, 10)
            np.testing.assert_allclose(optimizer.learning_rate, 0.05 * 2 / 11, rtol=1e-6)
            weights.append(model.get_weights())
        for accumulated, expected in zip(weights[1], weights[0]):
            np.testing.assert_allclose(accumulated, expected, rtol=0, atol=1e-6)

    @pytest.mark.slow
    @pytest.mark.slow
    def test_accumulation_goes_on_in_the_next_epoch_and_after_saving(self):
        # 5 batches an epoch, 2 an update: the fifth waits for the sixth.
        def optimizer():
            return AdamW(0.05, accumulation_steps=2)

        x, y = small_data(80)
        unbroken, broken = small_model(), small_model()
        for model in (unbroken, broken):
            model.compile(optimizer(), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        unbroken.fit(x, y, 16, epochs=4, shuffle=False, verbose=0)
        self.assertEqual(int(unbroken.optimizer.iterations), 10)
        broken.fit(x, y, 16, epochs=1, shuffle=False, verbose=0)
        with tempfile.TemporaryDirectory() as folder:
            broken.save(f"{folder}/model.keras")
            broken = keras.models.load_model(f"{folder}/model.keras")
        broken.fit(x, y, 16, epochs=3, shuffle=False, verbose=0)
        for weight, expected in zip(broken.get_weights(), unbroken.get_weights()):
            np.testing.assert_allclose(weight, expected, rtol=1e-6)

    def test_bias_and_layer_norm_do_not_decay(self):
        model = small_model()
        before = {v.path: v.numpy() for v in model.trainable_variables}
        optimizer = AdamW(0.1, weight_decay=0.5)
        optimizer.apply(
            [tf.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables
        )
        for variable in model.trainable_variables:
            factor = 0.95 if variable.name in ("kernel", "embeddings") else 1.0
            np.testing.assert_allclose(variable, factor * before[variable.path], rtol=1e-6)

    def test_clips_by_the_norm_of_all_gradients(self):
        variables = [keras.Variable([0.0]), keras.Variable([0.0])]
        optimizer = AdamW(0.01, clip_norm=1.0)
        optimizer.apply([tf.constant([30.0]), tf.constant([40.0])], variables)
        first_moments = [variable.numpy() for variable in optimizer.variables[2::2]]
        np.testing.assert_allclose(first_moments, [[0.06], [0.08]], rtol=1e-6)

    def test_variable_without_gradient_stays(self):
        variables = [keras.Variable([1.0], name="kernel"), keras.Variable([1.0], name="kernel")]
        AdamW(0.1).apply([None, tf.constant([1.0])], variables)
        self.assertEqual(variables[0].numpy(), 1.0)
        self.assertLess(variables[1].numpy(), 1.0)

    def test_sparse_gradient_is_that_of_the_dense_table(self):
        tables = [keras.Variable(np.eye(4, 3), name="embeddings") for _ in range(2)]
        sparse = tf.IndexedSlices(
            tf.constant([[1.0, 2, 3], [4, 5, 6]]), tf.constant([2, 2]), tf.constant([4, 3])
        )
        for table, gradient in zip(tables, (sparse, tf.convert_to_tensor(sparse))):
            optimizer = AdamW(0.1)
            for _ in range(3):
                optimizer.apply([gradient], [table])
        np.testing.assert_array_equal(tables[0], tables[1])
        self.assertLess(np.max(tables[0][2] - np.eye(4, 3)[2]), -0.2)

    def test_no_gradient_at_all_is_an_error(self):
        with self.assertRaisesRegex(ValueError, "No variable has a gradient"):
            AdamW().apply([None], [keras.Variable([1.0])])

    def test_constraint_is_kept(self):
        weight = keras.Variable([0.01, 5.0], name="kernel")
        weight.constraint = keras.constraints.NonNeg()
        AdamW(0.1, weight_decay=0.0).apply([tf.constant([1.0, 1.0])], [weight])
        np.testing.assert_allclose(weight, [0.0, 4.9], rtol=1e-6)

    def test_two_devices_train_like_one(self):
        # Short clipping: each replica's own gradient is longer than the global one, and
        # clipping it before the sum would show.
        one = train(small_model(), AdamW(0.05, clip_norm=0.1))
        with create_strategy("mirrored").scope():
            two = train(small_model(), AdamW(0.05, clip_norm=0.1))
        self.assertLen(one, 24)
        self.assertLess(one[-1], one[0] - 0.2)
        np.testing.assert_allclose(two, one, rtol=1e-5)

    def test_end_of_data_is_no_step(self):
        # Keras runs the step once more to find that there are no more data, and its own
        # optimizers then count that as an iteration.
        model = small_model()
        model.compile(AdamW(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        dataset = tf.data.Dataset.from_tensor_slices(small_data()).batch(16)
        model.fit(dataset.filter(lambda *_: True), epochs=5, verbose=0)
        self.assertEqual(int(model.optimizer.iterations), 20)

    def test_saved_model_trains_on_as_if_never_saved(self):
        model = small_model()
        train(model, create_optimizer(0.05, total_steps=48, weight_decay=0.5))
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/model.keras")
            loaded = keras.models.load_model(f"{folder}/model.keras")

        self.assertEqual(loaded.optimizer.get_config(), model.optimizer.get_config())
        self.assertEqual(int(loaded.optimizer.iterations), 24)
        x, y = small_data()
        for either in (model, loaded):
            either.fit(x, y, 16, epochs=6, shuffle=False, verbose=0)
        for weight, expected in zip(loaded.get_weights(), model.get_weights()):
            np.testing.assert_allclose(weight, expected, rtol=1e-6)

    @parameterized.parameters("mixed_bfloat16", "mixed_float16")
    def test_mixed_precision(self, policy):
        keras.config.set_dtype_policy(policy)
        losses = train(small_model(), create_optimizer(0.05, total_steps=24))
        self.assertLess(losses[-1], losses[0] - 0.2)

    def test_loss_scaling_changes_nothing(self):
        plain = train(small_model(), AdamW(0.05))
        scaled = train(small_model(), keras.optimizers.LossScaleOptimizer(AdamW(0.05)))
        np.testing.assert_allclose(scaled, plain, rtol=1e-5)

    def test_xla(self):
        model = small_model()
        model.jit_compile = True
        self.assertLess(train(model, AdamW(0.05))[-1], 1.0)

    @parameterized.parameters(
        ({"weight_decay": -0.1}, "`weight_decay` must be 0 or more. Received: -0.1"),
        ({"beta_1": 1.0}, "`beta_1` must be between 0 and 1. Received: 1.0"),
        ({"beta_2": 0.0}, "`beta_2` must be between 0 and 1. Received: 0.0"),
        ({"clip_norm": 0.0}, "`clip_norm` must be above 0, or None. Received: 0.0"),
        ({"layer_decay": 1.5}, "`layer_decay` must be above 0 and at most 1.*Received: 1.5"),
        ({"accumulation_steps": 0}, "must be an integer from 1 on. Received: 0"),
    )
    def test_bad_arguments(self, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            AdamW(**arguments)
