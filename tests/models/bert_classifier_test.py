import os
import tempfile

import keras
import numpy as np
from absl.testing import parameterized

from keras_bert_lib.models import BertClassifier, BertEncoder
from keras_bert_lib.text import BertTokenizer
from tests.models.small_models import pretraining_batch, small_config, small_encoder

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + (
    ["a", "fine", "film", "bad", "plot", "the", "was", "not", "good", "story", "it", "!", "##s"]
)
TEXTS = ["a fine film", "bad", "the plot was not good, it was a bad, bad film!", "", "a story"]
KEYS = ("token_ids", "segment_ids", "padding_mask")
INPUTS = {name: x for name, x in pretraining_batch().items() if name in KEYS}
LABELS = np.array([0, 1, 2, 2, 1, 0])


def small_classifier(**changes):
    return BertClassifier(small_encoder(num_layers=1, **changes), labels=["no", "yes", "perhaps"])


def text_classifier(**arguments):
    tokenizer = BertTokenizer(VOCABULARY)
    encoder = small_encoder(num_layers=1, initializer_range=0.5)
    return BertClassifier(encoder, labels=["neg", "pos"], tokenizer=tokenizer, **arguments)


class BertClassifierTest(parameterized.TestCase):
    def test_logits(self):
        classifier = small_classifier()
        logits = classifier(INPUTS)
        self.assertEqual(tuple(logits.shape), (6, 3))
        pooled = classifier.encoder(INPUTS)["pooled_output"]
        np.testing.assert_allclose(logits, classifier.classifier(pooled), atol=1e-6)

    def test_dropout(self):
        encoder = small_encoder(hidden_dropout=0.0, attention_dropout=0.0)
        with_dropout = BertClassifier(encoder, num_classes=2, dropout=0.5)
        without = BertClassifier(encoder, num_classes=2)
        self.assertEqual(without.dropout, 0)
        # Alike but for rounding: XLA computes the one, TensorFlow's operations the other.
        np.testing.assert_allclose(without(INPUTS, training=True), without(INPUTS), atol=1e-7)
        changed = with_dropout(INPUTS, training=True) - with_dropout(INPUTS)
        self.assertGreater(np.abs(changed).max(), 0)

    def test_labels(self):
        encoder = small_encoder()
        self.assertEqual(BertClassifier(encoder, 2).labels, ["LABEL_0", "LABEL_1"])
        classifier = BertClassifier(encoder, 2, labels=("a", "b"))
        self.assertEqual((classifier.labels, classifier.num_classes), (["a", "b"], 2))

    def test_compile_with_an_optimizer_is_enough(self):
        classifier = small_classifier(hidden_dropout=0.0, attention_dropout=0.0)
        classifier.compile(keras.optimizers.Adam(1e-2))
        logits = np.asarray(classifier(INPUTS))
        probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        metrics = classifier.evaluate(INPUTS, LABELS, verbose=0, return_dict=True)
        self.assertEqual(set(metrics), {"loss", "accuracy"})
        expected = -np.log(probabilities[np.arange(6), LABELS]).mean()
        np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)
        self.assertAlmostEqual(metrics["accuracy"], (logits.argmax(-1) == LABELS).mean(), places=6)
        history = classifier.fit(INPUTS, LABELS, epochs=40, verbose=0).history
        self.assertLess(history["loss"][-1], 0.1)

    def test_what_the_caller_compiles_with_wins(self):
        classifier = small_classifier()
        classifier.compile(
            "sgd",
            loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
            metrics=[keras.metrics.TopKCategoricalAccuracy(2, name="top_2")],
        )
        one_hot = np.eye(3)[LABELS]
        metrics = classifier.evaluate(INPUTS, one_hot, verbose=0, return_dict=True)
        self.assertEqual(set(metrics), {"loss", "top_2"})
        classifier = small_classifier()
        classifier.compile("sgd", metrics=None)
        metrics = classifier.evaluate(INPUTS, LABELS, verbose=0, return_dict=True)
        self.assertEqual(set(metrics), {"loss"})

    def test_logits_are_float32_under_mixed_precision(self):
        encoder = BertEncoder(small_config(), dtype="mixed_bfloat16")
        classifier = BertClassifier(encoder, num_classes=3)
        self.assertEqual(classifier.compute_dtype, "bfloat16")
        self.assertEqual(keras.backend.standardize_dtype(classifier(INPUTS).dtype), "float32")

    def test_training_goes_on_from_a_keras_file_to_the_bit(self):
        classifier = small_classifier()
        classifier.compile(keras.optimizers.Adam(1e-2))
        options = {"batch_size": 3, "verbose": 0, "shuffle": False}
        classifier.fit(INPUTS, LABELS, **options)
        path = os.path.join(tempfile.mkdtemp(), "classifier.keras")
        classifier.save(path)
        loaded = keras.models.load_model(path)
        self.assertEqual(loaded.get_config(), classifier.get_config())
        history = classifier.fit(INPUTS, LABELS, epochs=3, **options).history
        self.assertEqual(loaded.fit(INPUTS, LABELS, epochs=3, **options).history, history)
        for ours, theirs in zip(classifier.get_weights(), loaded.get_weights()):
            np.testing.assert_array_equal(ours, theirs)

    def test_a_keras_file_keeps_the_loss_that_was_given(self):
        classifier = small_classifier()
        classifier.compile("sgd", loss=keras.losses.Hinge(), metrics=[])
        path = os.path.join(tempfile.mkdtemp(), "classifier.keras")
        classifier.save(path)
        loaded = keras.models.load_model(path)
        self.assertIsInstance(loaded.loss, keras.losses.Hinge)

    def test_an_uncompiled_model_loads_uncompiled(self):
        path = os.path.join(tempfile.mkdtemp(), "classifier.keras")
        small_classifier().save(path)
        self.assertFalse(keras.models.load_model(path).compiled)

    def test_predict_text(self):
        classifier = text_classifier()
        results = classifier.predict_text(TEXTS, batch_size=2)
        self.assertLen({result["label"] for result in results}, 2)
        for text, result in zip(TEXTS, results):
            logits = np.asarray(classifier(classifier.tokenizer([text]))[0])
            probabilities = np.exp(logits) / np.exp(logits).sum()
            self.assertEqual(result["label"], ["neg", "pos"][probabilities.argmax()])
            self.assertIsInstance(result["score"], float)
            self.assertAlmostEqual(result["score"], float(probabilities.max()), places=5)
        self.assertEqual(classifier.predict_text([]), [])
        self.assertEqual(classifier.predict_text(TEXTS[:1]), results[:1])

    def test_predict_text_gives_the_scores_of_several_labels(self):
        classifier = text_classifier()
        best = classifier.predict_text(TEXTS)
        scores = classifier.predict_scores(TEXTS)
        for answer, row, expected in zip(classifier.predict_text(TEXTS, top_k=9), scores, best):
            self.assertEqual(answer[0], expected)
            self.assertEqual(
                {x["label"]: x["score"] for x in answer}, dict(zip(["neg", "pos"], row))
            )
            self.assertGreaterEqual(answer[0]["score"], answer[1]["score"])
        self.assertEqual(classifier.predict_text(TEXTS, top_k=1), [[answer] for answer in best])
        for top_k in (0, -1, 1.0, True, "2"):
            with self.assertRaisesRegex(ValueError, "`top_k` must be a positive integer. Received"):
                classifier.predict_text(TEXTS, top_k=top_k)
        for problem_type in ("multi_label_classification", "regression"):
            other = text_classifier(problem_type=problem_type)
            with self.assertRaisesRegex(ValueError, f"{problem_type}.*Received: top_k=2$"):
                other.predict_text(TEXTS, top_k=2)

    def test_predict_text_of_pairs(self):
        classifier = text_classifier()
        pairs = TEXTS[::-1]
        results = classifier.predict_text(TEXTS, pairs, batch_size=2)
        logits = classifier(classifier.tokenizer(TEXTS[:1], pairs[:1]))
        np.testing.assert_allclose(
            results[0]["score"], np.asarray(keras.ops.softmax(logits)).max(), atol=1e-5
        )
        alone = [result["score"] for result in classifier.predict_text(TEXTS)]
        self.assertNotAlmostEqual(results[0]["score"], alone[0], places=3)

    def test_predict_text_cuts_to_the_positions_there_are(self):
        results = text_classifier().predict_text(["a bad film " * 1000])
        self.assertIn(results[0]["label"], ["neg", "pos"])

    def test_tokenizer_given_later(self):
        encoder = small_encoder(num_layers=1, initializer_range=0.5)
        classifier = BertClassifier(encoder, labels=["neg", "pos"])
        for lowercase in (True, False):
            classifier.tokenizer = BertTokenizer(VOCABULARY, lowercase=lowercase)
            fresh = BertClassifier(encoder, labels=["neg", "pos"], tokenizer=classifier.tokenizer)
            fresh.set_weights(classifier.get_weights())
            self.assertEqual(classifier.predict_text(TEXTS), fresh.predict_text(TEXTS))
        with self.assertRaisesRegex(ValueError, "more pieces than the encoder"):
            classifier.tokenizer = BertTokenizer([*VOCABULARY, *map(str, range(500))])
        self.assertFalse(classifier.tokenizer.lowercase)

    def test_files_with_tokenizer(self):
        classifier = text_classifier(dropout=0.3)
        results = classifier.predict_text(TEXTS)
        directory = tempfile.mkdtemp()
        classifier.save_pretrained(directory)
        self.assertContainsSubset(["vocab.txt", "tokenizer_config.json"], os.listdir(directory))
        path = os.path.join(tempfile.mkdtemp(), "classifier.keras")
        classifier.save(path)
        for loaded in (BertClassifier.from_pretrained(directory), keras.models.load_model(path)):
            self.assertEqual(loaded.labels, ["neg", "pos"])
            self.assertEqual(loaded.dropout, 0.3)
            self.assertEqual(loaded.config, classifier.config)
            self.assertEqual(loaded.tokenizer.vocabulary, VOCABULARY)
            self.assertEqual(loaded.predict_text(TEXTS), results)

    @parameterized.parameters("head_and_tail", "mean_of_windows", "max_of_windows")
    def test_long_texts(self, long_texts):
        classifier = text_classifier(long_texts=long_texts)
        tokenizer, positions = classifier.tokenizer, 16  # 14 pieces and [CLS], [SEP]
        words = TEXTS[2].replace(",", "").replace("!", "").split() + TEXTS[0].split()
        words += ["story", "it", "was", "the"]
        long = " ".join(words * 2)  # 36 pieces
        found = classifier.predict_scores(["a film", long, "bad", long + " bad"], batch_size=3)

        def logits(*rows):
            return np.concatenate([classifier(tokenizer([" ".join(row)])) for row in rows])

        def softmax(x):
            return np.exp(x) / np.exp(x).sum()

        words = words * 2
        if long_texts == "head_and_tail":
            expected = logits(words[:4] + words[-10:])[0]
        else:
            # Of 14 pieces, 6 of which the next one has, too.
            windows = logits(*(words[i : i + positions - 2] for i in (0, 8, 16, 24)))
            expected = windows.mean(0) if long_texts == "mean_of_windows" else windows.max(0)
        np.testing.assert_allclose(found[1], softmax(expected), atol=1e-5)
        np.testing.assert_allclose(found[0], softmax(logits(["a film"])[0]), atol=1e-5)
        self.assertGreater(np.abs(found[1] - found[3]).max(), 1e-3)
        head = text_classifier(long_texts="head")
        head.set_weights(classifier.get_weights())
        self.assertGreater(np.abs(head.predict_scores([long]) - found[1]).max(), 1e-3)

        directory = tempfile.mkdtemp()
        classifier.save_pretrained(directory)
        path = os.path.join(directory, "classifier.keras")
        classifier.save(path)
        for loaded in (
            BertClassifier.from_pretrained(directory),
            keras.models.load_model(path),
        ):
            self.assertEqual(loaded.long_texts, long_texts)
            np.testing.assert_allclose(loaded.predict_scores([long]), found[1:2], atol=1e-5)

    def test_windows_of_pairs_are_those_of_the_second_text(self):
        classifier = text_classifier(long_texts="mean_of_windows")
        second = ("the plot was not good it was a bad film " * 2).split()  # 20 pieces
        found = classifier.predict_scores(["a film"], [" ".join(second)])
        # 16 tokens, less [CLS] a film [SEP] and [SEP]: 11 pieces, 6 of which the next one has.
        parts = [" ".join(second[i : i + 11]) for i in (0, 5, 10)]
        logits = np.mean([classifier(classifier.tokenizer(["a film"], [x]))[0] for x in parts], 0)
        np.testing.assert_allclose(found[0], np.exp(logits) / np.exp(logits).sum(), atol=1e-5)

    def test_bad_arguments(self):
        encoder = small_encoder(num_layers=1)
        for arguments, message in (
            ({}, "Give `labels` or `num_classes`"),
            ({"labels": ["a", "b", "a"]}, "unique, and 'a' is not"),
            ({"labels": "ab"}, "`labels` must be a list of strings. Received: labels='ab'"),
            ({"labels": [0, 1]}, "`labels` must be a list of strings"),
            ({"labels": []}, "at least one class"),
            ({"labels": ["a", "b"], "num_classes": 3}, "Received: num_classes=3, 2 labels"),
            ({"num_classes": 0}, "positive integer. Received: num_classes=0"),
            ({"num_classes": 2, "long_texts": "tail"}, "must be one of head, .*'tail'"),
            (
                {
                    "num_classes": 2,
                    "tokenizer": BertTokenizer(VOCABULARY + [*"bcdefghijklmnopqrstuvwxyz"]),
                },
                "tokenizer.vocabulary_size=43, vocab_size=40",
            ),
        ):
            with self.assertRaisesRegex(ValueError, message):
                BertClassifier(encoder, **arguments)
        with self.assertRaisesRegex(ValueError, "`encoder` must be a BertEncoder"):
            BertClassifier("bert-base-uncased", 2)

    def test_bad_texts(self):
        with self.assertRaisesRegex(ValueError, "needs a tokenizer.*Received: tokenizer=None"):
            small_classifier().predict_text(["a"])
        with self.assertRaisesRegex(ValueError, "list of strings.*Received: texts='a'"):
            text_classifier().predict_text("a")
        with self.assertRaisesRegex(ValueError, "`text_pairs`.*Received at index 1: 3"):
            text_classifier().predict_text(["a", "b"], ["a", 3])
        with self.assertRaisesRegex(ValueError, "Received: 2 texts, 1 text_pairs"):
            text_classifier().predict_text(["a", "b"], ["c"])
