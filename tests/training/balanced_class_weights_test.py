import keras
import numpy as np
from absl.testing import parameterized

from keras_bert_lib.training import balanced_class_weights


class BalancedClassWeightsTest(parameterized.TestCase):
    def test_by_hand(self):
        # 6 examples of 2 classes: 6 / (2 * 4) and 6 / (2 * 2); class 2 has none.
        weights = balanced_class_weights([0, 0, 3, 0, 3, 0], num_classes=4)
        self.assertEqual(weights, {0: 0.75, 1: 1.0, 2: 1.0, 3: 1.5})
        self.assertTrue(all(isinstance(x, float) for x in weights.values()))

    def test_classes_count_alike_in_fit(self):
        x = np.ones([8, 1], "float32")
        y = np.array([0, 0, 0, 0, 0, 0, 0, 1])
        model = keras.Sequential([keras.layers.Dense(2, kernel_initializer="zeros")])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(1.0), loss)
        model.fit(x, y, batch_size=8, class_weight=balanced_class_weights(y, 2), verbose=0)
        # 7 against 1 would pull the logits apart.
        np.testing.assert_allclose(model.predict(x, verbose=0), 0.0, atol=1e-6)

    @parameterized.parameters(
        ([], 2, r"Received: float64 of shape \(0,\)"),
        ([[0, 1]], 2, r"Received: int64 of shape \(1, 2\)"),
        ([0, 2], 2, "Received: 0 to 2, num_classes=2"),
        ([-100, 1], 2, "Received: -100 to 1, num_classes=2"),
    )
    def test_bad_arguments(self, label_ids, num_classes, message):
        with self.assertRaisesRegex(ValueError, message):
            balanced_class_weights(label_ids, num_classes)
