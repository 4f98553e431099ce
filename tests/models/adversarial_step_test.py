"""FGM and FreeLB against the papers' formulas in float64, in every model, on two devices."""

import os
import tempfile
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import keras_bert_lib as kbl
from keras_bert_lib.models.bert_classifier import MULTI_LABEL
from keras_bert_lib.training import FGM, FreeLB, create_strategy

SEQ, VOCAB = 5, 64
RNG = np.random.default_rng(0)
LENGTHS = np.array([5, 3, 4, 2, 5, 4])
MASK = (np.arange(SEQ) < LENGTHS[:, np.newaxis]).astype("int32")  # [b, s]
# No id is there twice: then to move a token's embedding is to move a row of the table.
IDS = RNG.permutation(np.arange(1, VOCAB))[: MASK.size].reshape(MASK.shape).astype("int32")
X = {"token_ids": IDS, "padding_mask": MASK}
CHOICES = {name: x.reshape(2, 3, SEQ) for name, x in X.items()}
PAIRS = {
    "anchor": {name: x[:3] for name, x in X.items()},
    "positive": {name: x[3:] for name, x in X.items()},
}
TAGS = np.where(MASK == 1, RNG.integers(0, 3, MASK.shape), -100)
SPANS = {name: RNG.integers(0, 2, 6) for name in ("start_logits", "end_logits")}
MODELS = (
    ("classifier", kbl.BertClassifier, {"num_classes": 3}, X, RNG.integers(0, 3, 6)),
    (
        "several_labels",
        kbl.BertClassifier,
        {"num_classes": 2, "problem_type": MULTI_LABEL},
        X,
        RNG.integers(0, 2, (6, 2)).astype("float32"),
    ),
    ("regression", kbl.BertClassifier, {"num_classes": 1}, X, RNG.normal(size=6)),
    ("tokens", kbl.BertTokenClassifier, {"num_classes": 3}, X, TAGS),
    ("questions", kbl.BertQuestionAnswerer, {}, X, SPANS),
    ("choices", kbl.BertMultipleChoice, {}, CHOICES, RNG.integers(0, 3, 2)),
    ("pairs", kbl.BertTextEmbedder, {}, PAIRS, None),
)


def make(model_class, arguments, dropout=0.0, dtype="float32"):
    keras.utils.set_random_seed(5)
    config = kbl.BertConfig(
        vocab_size=VOCAB,
        hidden_size=8,
        num_layers=1,
        num_heads=2,
        intermediate_size=12,
        max_position_embeddings=SEQ,
        hidden_dropout=dropout,
        attention_dropout=dropout,
        initializer_range=0.5,
    )
    encoder = kbl.BertEncoder(config, use_pooler=model_class._use_pooler, dtype=dtype)
    return model_class(encoder, **arguments)


def reference(model_class, arguments, weights, x, y, adversarial, start):
    """Returns the gradients of the step, computed in float64 by moving rows of the table."""
    model = make(model_class, arguments, dtype="float64")
    model.set_weights(weights)
    model.compile("sgd")
    table = model.encoder.embeddings.token_embedding
    original = table.numpy()
    variables = model.trainable_variables
    # The rows of each example, in the order of `X`.
    rows = IDS  # [b, s]
    move = start
    total = 0.0
    for _ in range(adversarial.passes):
        moved = original.copy()
        moved[rows] += move
        table.assign(moved)
        with tf.GradientTape() as tape:
            outputs = model(x, training=True)
            loss = model.compute_loss(x, y, outputs, training=True)
        gradients = [g.numpy() for g in tape.gradient(loss, variables)]
        total = [t + adversarial.share * g for t, g in zip(total or [0.0] * 99, gradients)]
        ascent = gradients[[v is table for v in variables].index(True)][rows]  # [b, s, h]
        norm = np.sqrt((ascent**2).sum((1, 2), keepdims=True))
        if isinstance(adversarial, FGM):
            move = adversarial.epsilon * ascent / norm
        else:
            move = move + adversarial.step_size * ascent / norm
            length = np.sqrt((move**2).sum((1, 2), keepdims=True))
            move = move * np.minimum(1.0, adversarial.epsilon / length)
    return {v.path.split("/", 1)[1]: t for v, t in zip(variables, total)}


def random_start(adversarial, model_class):
    """Returns the step's random moves, which are of the first step on the first device."""
    shapes = {"BertTextEmbedder": [3, 3]}.get(model_class.__name__, [6])
    parts = np.split(MASK, np.cumsum(shapes)[:-1])
    seed = np.array([0, 0], "int32") * 16
    starts = [adversarial.start(mask, 8, seed + i) for i, mask in enumerate(parts)]
    return np.concatenate(starts).astype("float64")


def gradients_of_step(model, x, y, adversarial, **compile_arguments):
    """Returns the gradients that a step of `model` applies, by the names of the variables."""
    model.compile(keras.optimizers.SGD(1.0), adversarial=adversarial, **compile_arguments)
    before = [v.numpy() for v in model.trainable_variables]
    model.train_on_batch(x, y)
    return {
        v.path.split("/", 1)[1]: old - v.numpy()
        for v, old in zip(model.trainable_variables, before)
    }


class AdversarialStepTest(parameterized.TestCase):
    def check_gradient(self, model_class, arguments, x, y, adversarial):
        model = make(model_class, arguments)
        task = (model_class, arguments, model.get_weights(), x, y)
        gradients = gradients_of_step(model, x, y, adversarial, run_eagerly=y is None)
        start = random_start(adversarial, model_class)
        expected = reference(*task, adversarial, start)
        unmoved = reference(*task, FreeLB(2, 1e-9, 1e-9), start * 0)
        difference = 0.0
        for name, gradient in gradients.items():
            np.testing.assert_allclose(gradient, expected[name], rtol=2e-4, atol=2e-5)
            mean = expected[name] / (adversarial.share * adversarial.passes)
            difference = max(difference, np.abs(mean - unmoved[name]).max())
        self.assertGreater(difference, 0.01)

    @parameterized.named_parameters(MODELS[3], MODELS[6])
    def test_fgm_equals_the_formula(self, *task):
        self.check_gradient(*task, FGM(0.7))

    @parameterized.named_parameters(*MODELS[:3], *MODELS[4:6])
    @pytest.mark.slow
    def test_fgm_equals_the_formula_in_other_models(self, *task):
        self.check_gradient(*task, FGM(0.7))

    @parameterized.named_parameters(MODELS[3], MODELS[6])
    def test_freelb_equals_the_formula(self, *task):
        self.check_gradient(*task, FreeLB(steps=3, step_size=0.4, epsilon=0.6))

    def test_masked_lm_trains(self):
        model = make(kbl.BertMaskedLM, {})
        x = X | {"masked_positions": np.zeros([6, 1], "int32"), "masked_ids": IDS[:, 1:2]}
        x["masked_weights"] = np.ones([6, 1], "float32")
        model.compile(keras.optimizers.Adam(0.03), adversarial=FGM(0.7), run_eagerly=True)
        losses = [model.train_on_batch(x, return_dict=True)["loss"] for _ in range(8)]
        self.assertLess(losses[-1], losses[0] - 0.5)

    @pytest.mark.slow
    def test_dropout_is_the_same_in_all_passes_and_another_in_the_next_step(self):
        _, model_class, arguments, x, y = MODELS[0]
        gradients = []
        for adversarial in (None, FGM(1e-6)):
            model = make(model_class, arguments, dropout=0.5)
            gradients.append(gradients_of_step(model, x, y, adversarial))
            gradients.append(gradients_of_step(model, x, y, adversarial))
        plain, _, twice, next_twice = gradients
        for name in plain:
            np.testing.assert_allclose(2 * plain[name], twice[name], atol=1e-4)
        self.assertGreater(
            np.abs(twice["classifier/kernel"] - next_twice["classifier/kernel"]).max(), 0.01
        )

    @pytest.mark.slow
    def test_loss_and_metrics_are_those_of_the_batch_as_it_is(self):
        _, model_class, arguments, x, y = MODELS[0]
        model = make(model_class, arguments)
        model.compile("adam", metrics=["accuracy"])
        expected = model.evaluate(x, y, verbose=0, return_dict=True)
        model.compile("adam", adversarial=FGM(5.0))
        logs = model.train_on_batch(x, y, return_dict=True)
        for name in ("loss", "accuracy"):
            np.testing.assert_allclose(logs[name], expected[name], rtol=1e-5)

    @pytest.mark.slow
    def test_two_devices_train_like_one(self):
        _, model_class, arguments, x, y = MODELS[0]
        losses = []
        for strategy in ("one_device", "mirrored"):
            with create_strategy(strategy).scope():
                model = make(model_class, arguments)
                optimizer = kbl.training.create_optimizer(
                    0.02, 6, layer_decay=0.9, accumulation_steps=2
                )
                model.compile(optimizer, adversarial=FGM(0.7))
            fit = model.fit(x, y, batch_size=2, epochs=4, shuffle=False, verbose=0)
            losses.append(fit.history["loss"])
        self.assertLess(losses[0][-1], losses[0][0] - 0.1)
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)

    @pytest.mark.slow
    def test_recipes_together_in_mixed_float16(self):
        self.check_recipes_together("mixed_float16", "LossScaleOptimizer")

    @pytest.mark.slow
    def test_recipes_together_in_mixed_bfloat16(self):
        self.check_recipes_together("mixed_bfloat16", "AdamW")

    def check_recipes_together(self, policy, optimizer_name):
        keras.config.set_dtype_policy(policy)
        _, model_class, arguments, x, y = MODELS[3]
        keras.utils.set_random_seed(5)
        model = make(model_class, arguments, dropout=0.1, dtype=policy)
        model.encoder.enable_lora(4, targets="all")
        optimizer = kbl.training.create_optimizer(
            0.1, 15, schedule="cosine", layer_decay=0.9, accumulation_steps=2
        )
        model.compile(optimizer, label_smoothing=0.1, adversarial=FreeLB(2), auto_scale_loss=True)
        history = model.fit(x, y, batch_size=3, epochs=15, verbose=0).history
        self.assertEqual(type(model.optimizer).__name__, optimizer_name)
        self.assertLess(history["loss"][-1], history["loss"][0] - 0.1)
        for variable in model.trainable_variables:
            self.assertEqual(variable.dtype, "float32")
            self.assertTrue(np.isfinite(variable.numpy()).all(), variable.path)

    def test_file_keeps_how_it_was_compiled(self):
        _, model_class, arguments, x, y = MODELS[0]
        model = make(model_class, arguments)
        model.compile("adam", label_smoothing=0.2, adversarial=FreeLB(4, 0.3, 0.5))
        path = os.path.join(tempfile.mkdtemp(), "model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertEqual(loaded.adversarial.get_config(), FreeLB(4, 0.3, 0.5).get_config())
        expected = model.evaluate(x, y, verbose=0)
        np.testing.assert_allclose(loaded.evaluate(x, y, verbose=0), expected, rtol=1e-6)

    def test_bad_arguments(self):
        _, model_class, arguments, _, _ = MODELS[0]
        model = make(model_class, arguments)
        with self.assertRaisesRegex(ValueError, "must be a kbl.training.FGM.*adversarial='fgm'"):
            model.compile("adam", adversarial="fgm")
        with (
            mock.patch.object(keras.backend, "backend", return_value="jax"),
            self.assertRaisesRegex(ValueError, "TensorFlow backend only.* Received: .*'jax'"),
        ):
            model.compile("adam", adversarial=FGM())
