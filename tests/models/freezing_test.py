"""Frozen layers and LoRA: what is trained, files, and answers after merging."""

import math
import tempfile

import keras
import numpy as np
import pytest
from absl.testing import parameterized

import keras_bert_lib as kbl
from tests.export.task_models import make_model
from tests.models.small_models import pretraining_batch, small_encoder

X = {name: pretraining_batch()[name] for name in ("token_ids", "padding_mask")}
Y = X["token_ids"][:, 0] % 3


def classifier(**changes):
    keras.utils.set_random_seed(4)
    return kbl.BertClassifier(small_encoder(initializer_range=0.3, **changes), num_classes=3)


def train(model, epochs=3):
    model.fit(X, Y, batch_size=3, epochs=epochs, shuffle=False, verbose=0)


def names_of(variables):
    return [v.path.split("/", 1)[1] for v in variables]


def changed(model, before):
    """Returns the names of the weights that training changed."""
    pairs = zip(names_of(model.weights), model.get_weights(), before)
    return {name for name, now, old in pairs if np.any(now != old)}


class FreezingTest(parameterized.TestCase):
    @pytest.mark.slow
    def test_frozen_layers_stay(self):
        model = classifier()
        # 16 * 48 + 48 + 16 * 16 + 16 + 2 * (16 * 24) + 24 + 16 + 4 * 16 of a block, and the pooler
        self.assertEqual(model.encoder.freeze(num_layers=1), 1960 + 16 * 16 + 16)
        before = model.get_weights()
        model.compile(kbl.training.create_optimizer(0.05, 6))
        train(model)
        names = names_of(model.weights)
        expected = {n for n in names if n.startswith(("block_1", "pooler", "classifier"))}
        self.assertEqual(changed(model, before) | {"block_1/attention/qkv/bias"}, expected)

    def test_what_is_frozen(self):
        encoder = small_encoder()
        everything = sum(math.prod(v.shape) for v in encoder.weights)
        embeddings = (40 + 2 + 16 + 2) * 16
        self.assertEqual(encoder.freeze(), 16 * 16 + 16)
        self.assertEqual(encoder.freeze(embeddings=False), 16 * 16 + 16 + embeddings)
        self.assertEqual(encoder.freeze(0), everything - embeddings)
        self.assertEqual(encoder.freeze(0, embeddings=False), everything)

    @pytest.mark.slow
    def test_frozen_model_goes_on_from_its_file(self):
        self.check_goes_on(lambda encoder: encoder.freeze(1))

    @pytest.mark.slow
    def test_lora_model_goes_on_from_its_file(self):
        self.check_goes_on(lambda encoder: encoder.enable_lora(3, alpha=6, targets="all"))

    def check_goes_on(self, prepare):
        model = classifier()
        prepare(model.encoder)
        model.compile(kbl.training.create_optimizer(0.02, 30, layer_decay=0.9))
        train(model)
        path = f"{tempfile.mkdtemp()}/model.keras"
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertEqual(names_of(loaded.trainable_variables), names_of(model.trainable_variables))
        for either in (model, loaded):
            train(either)
        for weight, expected in zip(loaded.get_weights(), model.get_weights()):
            np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)

    @parameterized.parameters(
        # rank * (in + out) of each kernel of 2 blocks, and the pooler
        ("attention", 2 * 4 * (16 + 48) + 16 * 16 + 16),
        ("all", 2 * 4 * (16 + 48 + 16 + 16 + 2 * (16 + 24)) + 16 * 16 + 16),
    )
    @pytest.mark.slow
    def test_lora_trains_little(self, targets, parameters):
        model = classifier()
        logits = model.predict(X, verbose=0)
        self.assertEqual(model.encoder.enable_lora(4, targets=targets), parameters)
        np.testing.assert_array_equal(model.predict(X, verbose=0), logits)  # nothing learned yet
        names = names_of(model.weights)
        before = model.get_weights()
        model.compile(kbl.training.create_optimizer(0.05, 12))
        train(model, epochs=6)
        heads = {"pooler/dense/kernel", "pooler/dense/bias", "classifier/kernel", "classifier/bias"}
        self.assertEqual(changed(model, before), heads | {n for n in names if "lora_" in n})

    @pytest.mark.slow
    def test_merged_model_gives_the_same_answers(self):
        model = classifier()
        model.encoder.enable_lora(4, alpha=8, targets="all")
        model.compile(kbl.training.create_optimizer(0.05, 12))
        train(model, epochs=6)
        directory = tempfile.mkdtemp()
        with self.assertRaisesRegex(ValueError, "Call `encoder.merge_lora.*lora_kernel_a"):
            model.save_pretrained(directory)

        logits, base = model.predict(X, verbose=0), classifier().predict(X, verbose=0)
        self.assertGreater(np.abs(logits - base).max(), 0.1)
        model.encoder.merge_lora()
        self.assertLen(model.trainable_variables, len(classifier().trainable_variables))
        model.compile("adam")
        np.testing.assert_allclose(model.predict(X, verbose=0), logits, atol=1e-5)
        model.save_pretrained(directory)
        model.save(f"{directory}/model.keras")
        for loaded in (
            kbl.BertClassifier.from_pretrained(directory),
            keras.models.load_model(f"{directory}/model.keras"),
        ):
            np.testing.assert_allclose(loaded.predict(X, verbose=0), logits, atol=1e-5)
        train(model)  # all of it
        model.encoder.enable_lora(2)  # and once more

    def test_merging_changes_no_answer_and_trains_all(self):
        model = classifier()
        everything = names_of(model.trainable_variables)
        model.encoder.enable_lora(4, alpha=8)
        for dense in model.encoder._lora_layers():
            dense.lora_kernel_b.assign(np.full(dense.lora_kernel_b.shape, 0.1))
        logits = np.asarray(model(X))
        self.assertGreater(np.abs(logits - np.asarray(classifier()(X))).max(), 0.05)
        model.encoder.merge_lora()
        np.testing.assert_allclose(model(X), logits, atol=1e-5)
        self.assertEqual(names_of(model.trainable_variables), everything)

    def test_plain_weights_load_into_a_model_with_lora(self):
        model, plain = classifier(), classifier()
        path = f"{tempfile.mkdtemp()}/base.weights.h5"
        plain.save_weights(path)
        model.encoder.enable_lora(4)
        for dense in model.encoder._lora_layers():
            dense.lora_kernel_b.assign(np.ones(dense.lora_kernel_b.shape))
        model.load_weights(path)
        np.testing.assert_array_equal(model.predict(X, verbose=0), plain.predict(X, verbose=0))

    @parameterized.parameters(False, True)
    @pytest.mark.slow
    def test_exports_of_a_lora_model(self, merged):
        model = make_model("label")
        model.encoder.enable_lora(3)
        for dense in model.encoder._lora_layers():
            value = np.random.RandomState(0).normal(size=dense.lora_kernel_b.shape)
            dense.lora_kernel_b.assign(value)
        texts = ["the film was fine", "dull", "a b c"]
        plain = make_model("label").predict_text(texts)
        expected = model.predict_text(texts)
        self.assertGreater(max(abs(a["score"] - b["score"]) for a, b in zip(plain, expected)), 0.01)
        if merged:
            model.encoder.merge_lora()
        path = tempfile.mkdtemp()
        kbl.export.tflite(model, f"{path}/model.tflite", quantization="none")
        report = kbl.export.verify(f"{path}/model.tflite", model, texts)
        self.assertEqual(report.agreement, 1.0)
        self.assertLess(report.max_error, 1e-4)

    def test_bad_arguments(self):
        encoder = small_encoder()
        with self.assertRaisesRegex(ValueError, "encoder's 2 blocks, or None. Received: num_lay"):
            encoder.freeze(3)
        with self.assertRaisesRegex(ValueError, "`rank` must be a positive integer. Received"):
            encoder.enable_lora(0)
        with self.assertRaisesRegex(ValueError, "Received: 'query'"):
            encoder.enable_lora(2, targets="query")
        with self.assertRaisesRegex(ValueError, "Received: alpha=0"):
            encoder.enable_lora(2, alpha=0)
        with self.assertRaisesRegex(ValueError, "Call `enable_lora` before"):
            encoder.merge_lora()
        encoder.enable_lora(2)
        with self.assertRaisesRegex(ValueError, "LoRA is on already.*rank=3"):
            encoder.enable_lora(3)
        with self.assertRaisesRegex(ValueError, "Call `merge_lora` first.*rank=2"):
            encoder.freeze()
