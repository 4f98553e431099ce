"""What the models of all tasks have in common: files, training, and errors."""

import os
import tempfile
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized

import keras_bert_lib as kbl
from keras_bert_lib.models.bert_classifier import MULTI_LABEL
from tests.models.small_models import pretraining_batch, small_config, small_encoder

BATCH = pretraining_batch()
INPUTS = {name: BATCH[name] for name in ("token_ids", "segment_ids", "padding_mask")}
CHOICES = {name: x.reshape(2, 3, 12) for name, x in INPUTS.items()}
RNG = np.random.default_rng(0)
SPANS = {"start_logits": RNG.integers(0, 6, 6), "end_logits": RNG.integers(0, 6, 6)}
TAGS = np.where(INPUTS["padding_mask"] == 1, RNG.integers(0, 3, (6, 12)), -100)
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##b"]

# name, class, arguments, inputs, labels, head
MODELS = (
    ("classifier", kbl.BertClassifier, {"num_classes": 3}, INPUTS, RNG.integers(0, 3, 6)),
    (
        "several_labels",
        kbl.BertClassifier,
        {"labels": ["a", "b"], "problem_type": "multi_label_classification"},
        INPUTS,
        RNG.integers(0, 2, (6, 2)).astype("float32"),
    ),
    ("regression", kbl.BertClassifier, {"num_classes": 1}, INPUTS, RNG.normal(size=6)),
    ("tokens", kbl.BertTokenClassifier, {"num_classes": 3, "dropout": 0.2}, INPUTS, TAGS),
    ("questions", kbl.BertQuestionAnswerer, {}, INPUTS, SPANS),
    ("choices", kbl.BertMultipleChoice, {"dropout": 0.3}, CHOICES, RNG.integers(0, 3, 2)),
    ("masked", kbl.BertMaskedLM, {}, BATCH, None),
)


def make(model_class, arguments, **changes):
    config = small_config(**({"num_layers": 1} | changes))
    encoder = kbl.BertEncoder(config, use_pooler=model_class._use_pooler)
    return model_class(encoder, **arguments)


def flat(outputs):
    return keras.tree.flatten(keras.tree.map_structure(np.asarray, outputs))


class TaskModelsTest(parameterized.TestCase):
    @parameterized.named_parameters(*MODELS)
    def test_files(self, model_class, arguments, x, y):
        tokenizer = kbl.BertTokenizer(VOCABULARY)
        model = make(model_class, arguments | {"tokenizer": tokenizer})
        directory = tempfile.mkdtemp()
        model.save_pretrained(directory)
        path = os.path.join(tempfile.mkdtemp(), "model.keras")
        model.save(path)
        for loaded in (model_class.from_pretrained(directory), keras.models.load_model(path)):
            self.assertEqual(loaded.config, model.config)
            self.assertEqual(loaded.encoder.use_pooler, model.encoder.use_pooler)
            self.assertEqual(loaded.tokenizer.vocabulary, VOCABULARY)
            for name in ("labels", "dropout", "problem_type"):
                self.assertEqual(getattr(loaded, name, None), getattr(model, name, None))
            for ours, theirs in zip(flat(loaded(x)), flat(model(x)), strict=True):
                np.testing.assert_array_equal(ours, theirs)

    @parameterized.named_parameters(*MODELS)
    def test_compile_with_an_optimizer_is_enough(self, model_class, arguments, x, y):
        if "dropout" in arguments:
            arguments = arguments | {"dropout": 0.0}
        model = make(model_class, arguments, hidden_dropout=0.0, attention_dropout=0.0)
        model.compile(keras.optimizers.Adam(1e-2))
        with mock.patch("warnings.warn") as warn:
            history = model.fit(x, y, epochs=12, verbose=0, shuffle=False).history
        for call in warn.call_args_list:  # every weight is trained
            self.assertNotIn("Gradients do not exist", str(call.args[0]))
        self.assertLess(history["loss"][-1], 0.8 * history["loss"][0])
        reported = {
            "masked": {"loss", "mlm_loss", "mlm_accuracy"},
            "regression": {"loss", "mean_absolute_error"},
        }
        kind = "masked" if y is None else getattr(model, "problem_type", None)
        if model_class is kbl.BertQuestionAnswerer:
            self.assertContainsSubset({"loss", "start_logits_accuracy"}, history)
        else:
            self.assertEqual(set(history), reported.get(kind, {"loss", "accuracy"}))

    @parameterized.named_parameters(*MODELS)
    def test_training_goes_on_from_a_keras_file(self, model_class, arguments, x, y):
        model = make(model_class, arguments)
        model.compile(keras.optimizers.Adam(1e-2))
        model.fit(x, y, verbose=0, shuffle=False)
        path = os.path.join(tempfile.mkdtemp(), "model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        expected = model.fit(x, y, verbose=0, shuffle=False).history
        self.assertEqual(loaded.fit(x, y, verbose=0, shuffle=False).history, expected)

    def test_logits_are_float32_under_mixed_precision(self):
        encoder = kbl.BertEncoder(small_config(), dtype="mixed_bfloat16")
        for _, model_class, arguments, x, _ in MODELS:
            model = model_class(encoder, **arguments)
            for logits in keras.tree.flatten(model(x)):
                self.assertEqual(keras.backend.standardize_dtype(logits.dtype), "float32")

    def test_the_loss_of_a_caller_wins(self):
        model = make(kbl.BertTokenClassifier, {"num_classes": 3})
        model.compile("sgd", loss=keras.losses.CategoricalHinge(), metrics=["mse"])
        metrics = model.evaluate(INPUTS, np.eye(3)[TAGS.clip(0)], verbose=0, return_dict=True)
        self.assertNotIn("accuracy", metrics)
        model = make(kbl.BertMaskedLM, {})
        model.compile("sgd", loss="sparse_categorical_crossentropy")
        self.assertIn("mlm_loss", model.evaluate(BATCH, BATCH["masked_ids"], return_dict=True))

    def test_tokens_without_label_count_for_nothing(self):
        model = make(kbl.BertTokenClassifier, {"num_classes": 3})
        model.compile("sgd")
        logits = np.asarray(model(INPUTS))
        labelled = TAGS != -100
        logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        losses = -np.take_along_axis(logs, TAGS.clip(0)[..., np.newaxis], -1)[..., 0]
        metrics = model.evaluate(INPUTS, TAGS, verbose=0, return_dict=True)
        np.testing.assert_allclose(metrics["loss"], losses[labelled].mean(), rtol=1e-5)
        right = (logits.argmax(-1) == TAGS)[labelled].mean()
        self.assertAlmostEqual(metrics["accuracy"], right, places=6)

    def test_masked_positions(self):
        model = make(kbl.BertMaskedLM, {})
        at_masks = np.asarray(model(BATCH))
        everywhere = np.asarray(model(INPUTS))
        self.assertEqual(everywhere.shape, (6, 12, 40))
        positions = BATCH["masked_positions"][..., np.newaxis]
        np.testing.assert_allclose(
            at_masks, np.take_along_axis(everywhere, positions, axis=1), atol=1e-5
        )

    def test_several_labels_are_those_above_the_threshold(self):
        tokenizer = kbl.BertTokenizer(VOCABULARY)
        texts = ["a b", "ab a b a", "b"]
        model = make(
            kbl.BertClassifier,
            {"tokenizer": tokenizer, "labels": ["x", "y"], "problem_type": MULTI_LABEL},
            initializer_range=1.0,
        )
        for threshold in (0.0, 0.5):
            answers = model.predict_text(texts, batch_size=2, threshold=threshold)
            for text, answer in zip(texts, answers, strict=True):
                scores = 1 / (1 + np.exp(-np.asarray(model(tokenizer([text]))[0])))
                kept = sorted(((s, n) for s, n in zip(scores, "xy") if s > threshold), reverse=True)
                self.assertEqual([found["label"] for found in answer], [name for _, name in kept])
                np.testing.assert_allclose(
                    [found["score"] for found in answer], [score for score, _ in kept], atol=1e-5
                )

    @parameterized.parameters(1, 2)
    def test_numbers(self, count):
        tokenizer = kbl.BertTokenizer(VOCABULARY)
        texts = ["a b", "ab a b a", "b"]
        arguments = {"tokenizer": tokenizer, "num_classes": count, "problem_type": "regression"}
        model = make(kbl.BertClassifier, arguments, initializer_range=1.0)
        for text, answer in zip(texts, model.predict_text(texts, batch_size=2), strict=True):
            self.assertIsInstance(answer, float if count == 1 else list)
            np.testing.assert_allclose(
                np.atleast_1d(answer), np.asarray(model(tokenizer([text]))[0]), atol=1e-5
            )

    def test_choices(self):
        tokenizer = kbl.BertTokenizer(VOCABULARY)
        model = make(kbl.BertMultipleChoice, {"tokenizer": tokenizer}, initializer_range=1.0)
        texts = ["a", "b ab", "ab a a a"]
        choices = [["b", "a b", "ab ab ab"], ["a"], ["", "b b b b b b b b b b b b b b b b b b"]]
        answers = model.predict_text(texts, choices, batch_size=2)
        for text, row, answer in zip(texts, choices, answers, strict=True):
            tokens = tokenizer([text] * len(row), row, max_length=16)
            logits = np.asarray(model({k: np.asarray(x)[None] for k, x in tokens.items()}))[0]
            scores = np.exp(logits) / np.exp(logits).sum()
            self.assertEqual(answer["index"], scores.argmax())
            self.assertEqual(answer["choice"], row[scores.argmax()])
            self.assertAlmostEqual(answer["score"], scores.max(), places=5)
        self.assertEqual(model.predict_text([], []), [])
        for bad in ([["a"]], [["a"], [], ["b"]]):
            with self.assertRaisesRegex(ValueError, "at least one choice for each text"):
                model.predict_text(texts, bad)
        with self.assertRaisesRegex(ValueError, r"`choices\[0\]` must be a list of strings"):
            model.predict_text(["a"], ["a"])

    @parameterized.parameters(True, False)
    def test_masks_are_filled_in(self, special_tokens_in_text):
        tokenizer = kbl.BertTokenizer(VOCABULARY, special_tokens_in_text=special_tokens_in_text)
        finds_masks = kbl.BertTokenizer(VOCABULARY)
        arguments = {"tokenizer": tokenizer}
        model = make(kbl.BertMaskedLM, arguments, initializer_range=1.0)
        texts = ["é A [MASK] ab", "b b", "[MASK]🙂[MASK] a", "a " * 40 + "[MASK]"]
        answers = model.predict_text(texts, top_k=3, batch_size=3)
        self.assertEqual([len(answer) for answer in answers], [1, 0, 2, 0])
        for text, answer in zip(texts, answers, strict=True):
            tokens = finds_masks([text], max_length=16)
            logits = np.asarray(model(tokens))[0]  # [s, v]
            scores = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
            scores = scores[np.asarray(tokens["token_ids"])[0] == 4]
            for row, ranked in zip(scores, answer, strict=True):
                best = np.argsort(-row[: len(VOCABULARY)])[:3]
                self.assertEqual([x["token"] for x in ranked], [VOCABULARY[i] for i in best])
                np.testing.assert_allclose([x["score"] for x in ranked], row[best], atol=1e-5)
        for k in range(3):
            token = answers[0][0][k]["token"]
            filled = f"é A {token} ab" if token != "##b" else "é Ab ab"
            self.assertEqual(answers[0][0][k]["sequence"], filled)
            self.assertTrue(answers[2][1][k]["sequence"].startswith("[MASK]🙂"))
        model.tokenizer = kbl.BertTokenizer([x for x in VOCABULARY if x != "[MASK]"])
        with self.assertRaisesRegex(ValueError, r"has no \[MASK\]"):
            model.predict_text(["a"])

    def test_bad_arguments(self):
        encoder = small_encoder(num_layers=1)
        bare = kbl.BertEncoder(small_config(num_layers=1), use_pooler=False)
        self.assertNotIn("pooled_output", bare(INPUTS))
        for model_class, arguments in ((kbl.BertClassifier, [2]), (kbl.BertMultipleChoice, [])):
            with self.assertRaisesRegex(ValueError, "has no pooler, which this model needs"):
                model_class(bare, *arguments)
        with self.assertRaisesRegex(ValueError, "has no pooler"):
            kbl.BertPretrainer(bare)
        with self.assertRaisesRegex(ValueError, "`encoder` must be a BertEncoder"):
            kbl.BertQuestionAnswerer("bert-base-uncased")
        with self.assertRaisesRegex(ValueError, "`problem_type` must be one of .*Received: .*'x'"):
            kbl.BertClassifier(encoder, 2, problem_type="x")
        tokenizer = kbl.BertTokenizer(VOCABULARY + [f"w{i}" for i in range(40)])
        with self.assertRaisesRegex(ValueError, "tokenizer.vocabulary_size=48, vocab_size=40"):
            kbl.BertMaskedLM(encoder, tokenizer=tokenizer)
        with self.assertRaisesRegex(ValueError, r"choices, seq.*Received: .*\(6, 12\)"):
            kbl.BertMultipleChoice(encoder)(INPUTS)
