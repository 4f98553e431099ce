import keras
import numpy as np
from absl.testing import parameterized

from keras_bert_lib.training import FGM, FreeLB
from keras_bert_lib.training.adversarial import along_gradient, random_in_box, within

MASK = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]], "int32")
GRADIENT = np.random.default_rng(0).normal(size=(3, 4, 6)).astype("float32")


def norms(x):
    return np.sqrt((np.asarray(x, "float64") ** 2).sum((1, 2)))


class AdversarialTest(parameterized.TestCase):
    @parameterized.parameters(1.0, 1e-30, 1e30)
    def test_each_example_moves_as_far_along_its_gradient(self, scale):
        # As small as squares are 0 of, and as large as they are infinite of.
        move = along_gradient(GRADIENT * scale, 0.3)
        np.testing.assert_allclose(norms(move), 0.3, rtol=1e-5)
        np.testing.assert_allclose(
            move, 0.3 * GRADIENT / norms(GRADIENT)[:, np.newaxis, np.newaxis], rtol=1e-5
        )

    def test_no_gradient_moves_nothing(self):
        gradient = GRADIENT * np.array([1, 0, 1], "float32")[:, np.newaxis, np.newaxis]
        np.testing.assert_allclose(norms(along_gradient(gradient, 0.3)), [0.3, 0, 0.3], rtol=1e-5)

    def test_moves_stay_within(self):
        for scale, expected in ((0.01, 0.01), (10.0, 0.5)):
            move = within(scale * GRADIENT / norms(GRADIENT)[:, np.newaxis, np.newaxis], 0.5)
            np.testing.assert_allclose(norms(move), expected, rtol=1e-5)

    def test_random_start(self):
        move = np.asarray(random_in_box(MASK, 6, 0.9, [3, 4]))
        self.assertEqual(np.abs(move[MASK == 0]).max(), 0)
        # uniform from -epsilon / sqrt(n) to it, n numbers an example
        self.assertBetween(np.abs(move[0]).max(), 0.7 * 0.9 / 24**0.5, 0.9 / 24**0.5)
        self.assertBetween(np.abs(move[1]).max(), 0.7 * 0.9 / 6**0.5, 0.9 / 6**0.5)
        np.testing.assert_array_equal(move, random_in_box(MASK, 6, 0.9, [3, 4]))
        self.assertGreater(np.abs(move - random_in_box(MASK, 6, 0.9, [3, 5])).max(), 0.01)

    def test_serialization(self):
        for adversarial in (FGM(0.5), FreeLB(2, 0.3, 0.4)):
            config = keras.saving.serialize_keras_object(adversarial)
            copy = keras.saving.deserialize_keras_object(config)
            self.assertIs(type(copy), type(adversarial))
            self.assertEqual(copy.get_config(), adversarial.get_config())

    @parameterized.parameters(
        (FGM, {"epsilon": 0.0}, "`epsilon` must be above 0. Received: 0.0"),
        (FreeLB, {"steps": 1}, "`steps` must be an integer from 2 on. Received: 1"),
        (FreeLB, {"step_size": -1.0}, "`step_size` must be above 0. Received: -1.0"),
        (FreeLB, {"epsilon": 0.0}, "`epsilon` must be above 0. Received: 0.0"),
    )
    def test_bad_arguments(self, method, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            method(**arguments)
