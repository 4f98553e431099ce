import tensorflow as tf
from absl.testing import absltest

from keras_bert_lib.training import create_strategy


class CreateStrategyTest(absltest.TestCase):
    def test_without_gpu_auto_is_one_device(self):
        for name in ("auto", "one_device"):
            strategy = create_strategy(name)
            self.assertEqual(strategy.num_replicas_in_sync, 1)
            with strategy.scope():
                self.assertEqual(float(tf.Variable(2.0) * 3.0), 6.0)

    def test_mirrored_takes_every_logical_cpu(self):
        strategy = create_strategy("mirrored")
        self.assertIsInstance(strategy, tf.distribute.MirroredStrategy)
        self.assertEqual(strategy.num_replicas_in_sync, 2)
        self.assertIs(create_strategy("mirrored"), strategy)

    def test_unknown_name(self):
        with self.assertRaisesRegex(ValueError, "Received: 'two'"):
            create_strategy("two")
