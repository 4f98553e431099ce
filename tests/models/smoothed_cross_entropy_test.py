import keras
import numpy as np
import pytest
from absl.testing import parameterized

import keras_bert_lib as kbl
from keras_bert_lib.models.smoothed_cross_entropy import SmoothedCrossEntropy, smoothed
from tests.models.small_models import pretraining_batch, small_encoder

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, size=(4, 5, 3)).astype("float32")
LABELS = RNG.integers(0, 3, size=(4, 5))
LABELS[1, 2:] = LABELS[3] = -100


class SmoothedCrossEntropyTest(parameterized.TestCase):
    def test_by_hand(self):
        # Probabilities 0.7, 0.2, 0.1; of class 1 with 0.3 shared by three: 0.1, 0.8, 0.1.
        logits = np.log([[0.7, 0.2, 0.1]])
        expected = -(0.1 * np.log(0.7) + 0.8 * np.log(0.2) + 0.1 * np.log(0.1))
        for labels in ([1], [[1]]):
            loss = SmoothedCrossEntropy(0.3)(np.array(labels), logits)
            np.testing.assert_allclose(loss, expected, rtol=1e-6)

    @parameterized.parameters(None, -100)
    def test_without_smoothing_it_is_that_of_keras(self, ignore_class):
        labels = LABELS if ignore_class else np.abs(LABELS) % 3
        weights = RNG.uniform(size=LABELS.shape).astype("float32")
        theirs = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=ignore_class
        )
        ours = SmoothedCrossEntropy(0.0, ignore_class)
        for sample_weight in (None, weights):
            expected = theirs(labels, LOGITS, sample_weight)
            np.testing.assert_allclose(ours(labels, LOGITS, sample_weight), expected, rtol=1e-5)

    def test_nothing_to_learn_is_no_loss(self):
        loss = SmoothedCrossEntropy(0.1, -100)(np.full([2, 3], -100), LOGITS[:2, :3])
        self.assertEqual(float(loss), 0.0)

    @parameterized.parameters(0.0, 0.1, 0.5)
    @pytest.mark.parity
    def test_equals_torch(self, label_smoothing):
        import torch

        theirs = torch.nn.CrossEntropyLoss(label_smoothing=label_smoothing, ignore_index=-100)
        expected = theirs(torch.tensor(LOGITS.reshape(-1, 3)), torch.tensor(LABELS.reshape(-1)))
        loss = SmoothedCrossEntropy(label_smoothing, -100)(LABELS, LOGITS)
        np.testing.assert_allclose(loss, expected.numpy(), rtol=1e-5)

    def test_several_labels_by_hand(self):
        # Labels 1 and 0 become 0.9 and 0.1; the logits' probabilities are 0.7 and 0.4.
        loss = smoothed(keras.losses.BinaryCrossentropy(from_logits=True), 0.2)
        expected = -(0.9 * np.log(0.7) + 0.1 * np.log(0.3) + 0.1 * np.log(0.4) + 0.9 * np.log(0.6))
        logits = np.log([[0.7 / 0.3, 0.4 / 0.6]])
        np.testing.assert_allclose(loss(np.array([[1.0, 0.0]]), logits), expected / 2, rtol=1e-5)

    @pytest.mark.parity
    def test_several_labels_equal_torch(self):
        import torch

        logits, labels = LOGITS[0], (LOGITS[1] > 0).astype("float32")
        expected = torch.nn.BCEWithLogitsLoss()(
            torch.tensor(logits), torch.tensor(labels * 0.9 + 0.05)
        )
        loss = smoothed(keras.losses.BinaryCrossentropy(from_logits=True), 0.1)
        np.testing.assert_allclose(loss(labels, logits), expected.numpy(), rtol=1e-5)

    def test_models_take_it(self):
        batch = pretraining_batch()
        x = {name: batch[name] for name in ("token_ids", "padding_mask")}
        tags = np.where(x["padding_mask"] == 1, batch["token_ids"] % 3, -100)
        for model, y in (
            (kbl.BertClassifier(small_encoder(), num_classes=3), batch["token_ids"][:, 0] % 3),
            (kbl.BertTokenClassifier(small_encoder(), num_classes=3), tags),
        ):
            model.compile("adam", label_smoothing=0.3)
            log_probabilities = keras.ops.log_softmax(model.predict(x, verbose=0))
            shares = 0.7 * np.eye(3)[np.maximum(y, 0)] + 0.1
            losses = -np.sum(shares * np.asarray(log_probabilities), axis=-1)
            loss = model.evaluate(x, y, verbose=0)[0]
            np.testing.assert_allclose(loss, losses[y >= 0].mean(), rtol=1e-5)

    def test_bad_arguments(self):
        classifier = kbl.BertClassifier(small_encoder(), num_classes=1)
        with self.assertRaisesRegex(ValueError, "is for losses of labels.*label_smoothing=0.1"):
            classifier.compile("adam", label_smoothing=0.1)
        answerer = kbl.BertQuestionAnswerer(small_encoder())
        said = "Places in a text, .* loss SparseCategoricalCrossentropy$"
        with self.assertRaisesRegex(ValueError, said):
            answerer.compile("adam", label_smoothing=0.1)
        classifier = kbl.BertClassifier(small_encoder(), num_classes=2)
        with self.assertRaisesRegex(ValueError, "from 0 to below 1. Received: label_smoothing=1.0"):
            classifier.compile("adam", label_smoothing=1.0)
        with self.assertRaisesRegex(ValueError, "is for the model's own loss.*loss=mse"):
            classifier.compile("adam", loss="mse", label_smoothing=0.1)
