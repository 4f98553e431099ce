import os
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from keras_bert_lib.models import BertEncoder, BertPretrainer
from keras_bert_lib.models.bert_pretrainer import cross_entropy
from keras_bert_lib.training import create_optimizer, create_strategy
from tests.models.small_models import (
    packed_batch,
    pretraining_batch,
    small_config,
    small_encoder,
)

METRICS = {"loss", "mlm_loss", "nsp_loss", "mlm_accuracy", "nsp_accuracy"}


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def expected_metrics(pretrainer, batch):
    """The losses and accuracies of a batch, in NumPy."""
    outputs = pretrainer(batch)
    mlm, nsp = np.asarray(outputs["mlm_logits"]), np.asarray(outputs["nsp_logits"])
    weights, ids = batch["masked_weights"], batch["masked_ids"]
    labels = batch["next_sentence_labels"]
    mlm_losses = -np.take_along_axis(log_softmax(mlm), ids[..., np.newaxis], -1)[..., 0]
    nsp_losses = -np.take_along_axis(log_softmax(nsp), labels[:, np.newaxis], -1)[:, 0]
    metrics = {
        "mlm_loss": (mlm_losses * weights).sum() / weights.sum(),
        "nsp_loss": nsp_losses.mean(),
        "mlm_accuracy": ((mlm.argmax(-1) == ids) * weights).sum() / weights.sum(),
        "nsp_accuracy": (nsp.argmax(-1) == labels).mean(),
    }
    return metrics | {"loss": metrics["mlm_loss"] + metrics["nsp_loss"]}


def small_pretrainer(**changes):
    return BertPretrainer(small_encoder(**changes))


def no_dropout():
    return {"hidden_dropout": 0.0, "attention_dropout": 0.0}


class BertPretrainerTest(parameterized.TestCase):
    def assert_metrics(self, metrics, expected):
        self.assertEqual(set(metrics), METRICS)
        for name, value in expected.items():
            np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)

    def test_outputs(self):
        batch = pretraining_batch()
        pretrainer = small_pretrainer()
        outputs = pretrainer(batch)
        self.assertEqual(tuple(outputs["mlm_logits"].shape), (6, 3, 40))
        self.assertEqual(tuple(outputs["nsp_logits"].shape), (6, 2))
        del batch["masked_positions"]
        self.assertEqual(tuple(pretrainer(batch)["mlm_logits"].shape), (6, 12, 40))

    def test_losses_and_metrics(self):
        batch = pretraining_batch(batch=16)
        pretrainer = small_pretrainer(initializer_range=0.5)
        # So that some predictions are right.
        at_positions = np.asarray(pretrainer(batch)["mlm_logits"]).argmax(-1)
        batch["masked_ids"][::2] = at_positions[::2]
        pretrainer.compile("sgd")
        expected = expected_metrics(pretrainer, batch)
        self.assertGreater(expected["mlm_accuracy"], 0.2)
        metrics = pretrainer.evaluate(batch, batch_size=16, verbose=0, return_dict=True)
        self.assert_metrics(metrics, expected)

    def test_metrics_of_several_batches_are_those_of_all_predictions(self):
        batch = pretraining_batch(batch=12)
        pretrainer = small_pretrainer(initializer_range=0.5)
        pretrainer.compile("sgd")
        metrics = pretrainer.evaluate(batch, batch_size=4, verbose=0, return_dict=True)
        expected = expected_metrics(pretrainer, batch)
        del expected["loss"]  # Keras' own: the mean over batches
        self.assert_metrics(metrics, expected)

    @parameterized.product(
        norm_first=[False, True], position_embedding_type=["learned", "sinusoidal"]
    )
    def test_packed_examples_learn_as_alone(self, **changes):
        batch = pretraining_batch(batch=9)
        packed = packed_batch(batch)
        self.assertLess(len(packed["token_ids"]), 5)
        pretrainer = small_pretrainer(
            max_position_embeddings=32, initializer_range=0.3, **no_dropout(), **changes
        )
        pretrainer.compile("sgd")

        def evaluate(batch):
            with tf.GradientTape() as tape:
                loss = pretrainer.compute_loss(x=batch, y_pred=pretrainer(batch, training=True))
            gradients = tape.gradient(loss, pretrainer.trainable_weights)
            options = {"batch_size": len(batch["token_ids"]), "return_dict": True, "verbose": 0}
            return loss, gradients, pretrainer.evaluate(batch, **options)

        loss, gradients, metrics = evaluate(batch)
        packed_loss, packed_gradients, packed_metrics = evaluate(packed)
        np.testing.assert_allclose(packed_loss, loss, rtol=1e-5)
        for weight, one, other in zip(pretrainer.trainable_weights, packed_gradients, gradients):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=weight.path)
        self.assert_metrics(packed_metrics, metrics)

    @pytest.mark.slow
    def test_packed_rows_under_two_replicas(self):
        packed = packed_batch(pretraining_batch(batch=32))
        # Half of a batch must differ from the other in its number of examples.
        order = np.argsort(packed["next_sentence_weights"].sum(-1))[[0, 1, -1, -2]]
        packed = {name: x[order] for name, x in packed.items()}
        config = small_config(num_layers=1, max_position_embeddings=32, **no_dropout())
        weights = BertPretrainer(BertEncoder(config)).get_weights()
        losses = []
        for name in ("one_device", "mirrored"):
            with create_strategy(name).scope():
                pretrainer = BertPretrainer(BertEncoder(config))
                pretrainer.set_weights(weights)
                pretrainer.compile(keras.optimizers.Adam(1e-2))
            dataset = tf.data.Dataset.from_tensor_slices(packed).batch(4)
            losses.append(pretrainer.fit(dataset, epochs=3, verbose=0).history["loss"])
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)

    def test_without_next_sentences(self):
        batch = pretraining_batch()
        pretrainer = small_pretrainer(initializer_range=0.5)
        pretrainer.compile("sgd")
        expected = expected_metrics(pretrainer, batch)
        del batch["next_sentence_labels"]
        metrics = pretrainer.evaluate(batch, verbose=0, return_dict=True)
        self.assertEqual(set(metrics), {"loss", "mlm_loss", "mlm_accuracy"})
        np.testing.assert_allclose(metrics["loss"], expected["mlm_loss"], rtol=1e-5)
        history = pretrainer.fit(batch, validation_data=batch, verbose=0).history
        self.assertNotIn("val_nsp_loss", history)

    def test_a_batch_with_nothing_masked(self):
        batch = pretraining_batch()
        batch["masked_weights"][:] = 0
        pretrainer = small_pretrainer()
        pretrainer.compile("sgd")
        metrics = pretrainer.train_on_batch(batch, return_dict=True)
        np.testing.assert_allclose(metrics["loss"], metrics["nsp_loss"], rtol=1e-6)
        self.assertTrue(all(np.all(np.isfinite(w)) for w in pretrainer.get_weights()))

    @parameterized.product(norm_first=[False, True])
    def test_gradients_reach_every_weight(self, **changes):
        pretrainer = small_pretrainer(**changes)
        batch = pretraining_batch()
        with tf.GradientTape() as tape:
            loss = pretrainer.compute_loss(x=batch, y_pred=pretrainer(batch, training=True))
        gradients = tape.gradient(loss, pretrainer.trainable_weights)
        for weight, gradient in zip(pretrainer.trainable_weights, gradients):
            self.assertIsNotNone(gradient, weight.path)
            self.assertGreater(np.abs(tf.convert_to_tensor(gradient)).max(), 0, weight.path)

    def test_adapted_bias_gives_the_frequencies_of_pieces(self):
        pretrainer = small_pretrainer()
        batches = [pretraining_batch(seed=seed) for seed in (1, 2, 3)]
        counts = np.ones(pretrainer.config.vocab_size)
        for batch in batches:
            for piece, weight in zip(batch["masked_ids"].flat, batch["masked_weights"].flat):
                counts[piece] += weight
        pretrainer.adapt_output_bias(batches)
        bias = np.asarray(pretrainer.mlm_head.bias)
        np.testing.assert_allclose(np.exp(bias), counts / counts.sum(), rtol=1e-5)
        # The model begins with a loss near the pieces' entropy, below that of guessing.
        skewed = pretraining_batch(seed=4)
        skewed["masked_ids"] = np.minimum(skewed["masked_ids"], 7)
        pretrainer.compile("adam")
        before = pretrainer.evaluate(skewed, return_dict=True, verbose=0)["mlm_loss"]
        pretrainer.adapt_output_bias(tf.data.Dataset.from_tensors(skewed))
        after = pretrainer.evaluate(skewed, return_dict=True, verbose=0)["mlm_loss"]
        self.assertLess(after, before - 1)

    def test_bias_is_not_adapted_to_nothing_or_to_another_vocabulary(self):
        pretrainer = small_pretrainer()
        bias = np.asarray(pretrainer.mlm_head.bias)
        with self.assertRaisesRegex(ValueError, "must have masked pieces in them"):
            pretrainer.adapt_output_bias([])
        batch = pretraining_batch()
        batch["masked_ids"] = batch["masked_ids"] + pretrainer.config.vocab_size
        with self.assertRaisesRegex(ValueError, "must be pieces of the model's vocabulary"):
            pretrainer.adapt_output_bias([batch])
        np.testing.assert_array_equal(np.asarray(pretrainer.mlm_head.bias), bias)

    def test_the_embedding_is_tied(self):
        pretrainer = small_pretrainer()
        batch = pretraining_batch()
        pretrainer.encoder.embeddings.token_embedding.assign(np.zeros([40, 16]))
        pretrainer.mlm_head.bias.assign(np.arange(40.0))
        logits = pretrainer(batch)["mlm_logits"]
        np.testing.assert_array_equal(logits, np.broadcast_to(np.arange(40.0), (6, 3, 40)))

    def test_overfits_32_examples(self):
        config = small_config(
            num_layers=1, hidden_size=32, hidden_dropout=0.0, attention_dropout=0.0
        )
        pretrainer = BertPretrainer(BertEncoder(config))
        pretrainer.compile(keras.optimizers.Adam(5e-3))
        batch = pretraining_batch(batch=32)
        # Two predictions at one position would contradict each other.
        batch["masked_positions"][:] = np.arange(3)
        pretrainer.fit(tf.data.Dataset.from_tensors(batch).repeat(150), verbose=0)
        metrics = pretrainer.evaluate(batch, verbose=0, return_dict=True)
        self.assertLess(metrics["loss"], 0.05)
        self.assertEqual(metrics["mlm_accuracy"], 1)
        self.assertEqual(metrics["nsp_accuracy"], 1)

    def test_two_replicas_train_as_one_device(self):
        config = small_config(num_layers=1, hidden_dropout=0.0, attention_dropout=0.0)
        weights = BertPretrainer(BertEncoder(config)).get_weights()
        # Half of a batch must differ from the other in its number of predictions.
        batch = pretraining_batch(batch=24, seed=2)
        halves = batch["masked_weights"].reshape(3, 2, -1).sum(-1)
        self.assertTrue(np.all(halves[:, 0] != halves[:, 1]))

        def train(strategy):
            with strategy.scope():
                pretrainer = BertPretrainer(BertEncoder(config))
                pretrainer.set_weights(weights)
                pretrainer.compile(keras.optimizers.Adam(1e-2))
            dataset = tf.data.Dataset.from_tensor_slices(batch).batch(8)
            history = pretrainer.fit(dataset, epochs=3, verbose=0).history
            metrics = pretrainer.evaluate(dataset, verbose=0, return_dict=True)
            return history, metrics, pretrainer.get_weights()

        self.assertLen(tf.config.list_logical_devices("CPU"), 2)
        history, metrics, new_weights = train(tf.distribute.get_strategy())
        two_history, two_metrics, two_weights = train(create_strategy("mirrored"))
        for name in METRICS:
            np.testing.assert_allclose(history[name], two_history[name], rtol=1e-5, err_msg=name)
            np.testing.assert_allclose(metrics[name], two_metrics[name], rtol=1e-5, err_msg=name)
        for one, two, old in zip(new_weights, two_weights, weights):
            np.testing.assert_allclose(one, two, atol=1e-4)
            self.assertGreater(np.abs(one - old).max(), 1e-3)

    def test_dropout_under_two_replicas(self):
        with create_strategy("mirrored").scope():
            pretrainer = small_pretrainer(num_layers=1)
            pretrainer.compile("adam")
        # The last batch has one example, and so none for one of the two.
        dataset = tf.data.Dataset.from_tensor_slices(pretraining_batch(batch=5)).batch(4)
        history = pretrainer.fit(dataset, epochs=2, verbose=0).history
        self.assertTrue(np.all(np.isfinite(history["loss"])))

    @parameterized.parameters("mixed_bfloat16", "mixed_float16")
    def test_mixed_precision(self, policy):
        batch = pretraining_batch()
        encoder = small_encoder(num_layers=1)
        full = BertPretrainer(encoder)
        mixed = BertPretrainer(BertEncoder(encoder.config, dtype=policy))
        self.assertEqual(mixed.mlm_head.dense.compute_dtype, policy[6:])
        mixed.set_weights(full.get_weights())
        outputs = mixed(batch)
        for name, x in full(batch).items():
            self.assertEqual(outputs[name].dtype, tf.float32)
            np.testing.assert_allclose(outputs[name], x, atol=0.02)

    @parameterized.parameters("float32", "mixed_bfloat16", "mixed_float16")
    def test_training_goes_on_from_a_keras_file_to_the_bit(self, policy):
        batch = pretraining_batch()
        pretrainer = BertPretrainer(BertEncoder(small_config(num_layers=1), dtype=policy))
        pretrainer.compile(keras.optimizers.Adam(1e-2), steps_per_execution=2)
        pretrainer.fit(batch, batch_size=2, epochs=1, verbose=0, shuffle=False)
        path = os.path.join(tempfile.mkdtemp(), "pretrainer.keras")
        pretrainer.save(path)
        loaded = keras.models.load_model(path)
        self.assertEqual(loaded.get_config(), pretrainer.get_config())
        self.assertEqual(loaded.steps_per_execution, 2)
        # The dropout masks too go on where they were.
        options = {"batch_size": 2, "epochs": 3, "verbose": 0, "shuffle": False}
        history = pretrainer.fit(batch, **options).history
        self.assertEqual(loaded.fit(batch, **options).history, history)
        self.assertLess(history["loss"][-1], history["loss"][0])
        for ours, theirs in zip(pretrainer.get_weights(), loaded.get_weights()):
            np.testing.assert_array_equal(ours, theirs)

    def test_weights_file_keeps_the_random_states(self):
        batch = pretraining_batch()
        pretrainer, other = small_pretrainer(), small_pretrainer()
        path = os.path.join(tempfile.mkdtemp(), "pretrainer.weights.h5")
        pretrainer(batch, training=True)
        pretrainer.save_weights(path)
        other.load_weights(path)
        np.testing.assert_array_equal(
            pretrainer(batch, training=True)["mlm_logits"],
            other(batch, training=True)["mlm_logits"],
        )

    def test_directory(self):
        batch = pretraining_batch()
        pretrainer = small_pretrainer()
        directory = tempfile.mkdtemp()
        pretrainer.save_pretrained(directory)
        loaded = BertPretrainer.from_pretrained(directory, dtype="mixed_bfloat16")
        self.assertEqual(loaded.encoder.blocks[0].compute_dtype, "bfloat16")
        loaded = BertPretrainer.from_pretrained(directory)
        for name, x in pretrainer(batch).items():
            np.testing.assert_array_equal(loaded(batch)[name], x)

    def test_a_loss_given_to_compile_wins(self):
        batch = pretraining_batch()
        pretrainer = small_pretrainer()
        pretrainer.compile("sgd", loss={"nsp_logits": lambda y, x: keras.ops.mean(x**2) + 7.0})
        dataset = tf.data.Dataset.from_tensors(
            (batch, {"nsp_logits": batch["next_sentence_labels"]})
        )
        metrics = pretrainer.evaluate(dataset, verbose=0, return_dict=True)
        self.assertBetween(metrics["loss"], 7, 8)
        self.assertBetween(metrics["mlm_loss"], 3, 5)

    def test_cross_entropy_of_any_logits(self):
        rng = np.random.default_rng(3)
        logits = rng.normal(size=(4, 3, 50)).astype("float32") * 5
        logits[0, 0, 7], logits[0, 1, 9] = 300.0, -300.0  # sure and wrong, sure and right
        labels = rng.integers(0, 50, (4, 3)).astype("int32")
        labels[1, 0], labels[0, 1] = 7, logits[0, 1].argmax()
        weights = rng.normal(size=(4, 3)).astype("float32")

        def gradient(function):
            x = tf.constant(logits)
            with tf.GradientTape() as tape:
                tape.watch(x)
                losses = function(x)
                loss = tf.reduce_sum(losses * weights)
            return losses, tape.gradient(loss, x)

        losses, slopes = gradient(lambda x: cross_entropy(labels, x))
        expected, expected_slopes = gradient(
            lambda x: keras.ops.sparse_categorical_crossentropy(labels, x, from_logits=True)
        )
        np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(slopes, expected_slopes, atol=1e-6)

    @pytest.mark.slow
    def test_the_step_compiles_with_xla(self):
        batch = packed_batch(pretraining_batch(batch=9))
        config = small_config(num_layers=1, max_position_embeddings=32, **no_dropout())
        weights = BertPretrainer(BertEncoder(config)).get_weights()
        losses = []
        for jit_compile in (True, False):
            pretrainer = BertPretrainer(BertEncoder(config))
            pretrainer.set_weights(weights)
            pretrainer.compile(create_optimizer(1e-2, 10), jit_compile=jit_compile)
            dataset = tf.data.Dataset.from_tensors(batch).repeat(3)
            losses.append(pretrainer.fit(dataset, verbose=0).history["loss"])
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)

    def test_bad_arguments(self):
        with self.assertRaisesRegex(ValueError, "`encoder` must be a BertEncoder.*Received: .*3"):
            BertPretrainer(3)
