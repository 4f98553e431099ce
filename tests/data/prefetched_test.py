"""The last stage of the data sets, and that each of them has it."""

import tensorflow as tf
from absl.testing import parameterized

import keras_bert_lib as kbl
from keras_bert_lib.data import pretraining_dataset, text_classification
from keras_bert_lib.data.prefetched import prefetched

DOCUMENTS = [["the cat sat .", "it slept ."], ["rain fell .", "the cat ran ."]]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIAL, "the", "cat", "sat", "it", "slept", "rain", "fell", "ran", "."]
ROWS = [("the cat sat .", "a"), ("rain fell .", "b"), ("it slept .", "a")]


class PrefetchedTest(parameterized.TestCase):
    def test_keeps_elements_and_other_options(self):
        options = tf.data.Options()
        options.deterministic = False
        dataset = prefetched(tf.data.Dataset.range(5).with_options(options))
        assert list(dataset.as_numpy_iterator()) == [0, 1, 2, 3, 4]
        assert dataset.options().deterministic is False

    @parameterized.parameters("pretraining", "workers", "memory", "streaming")
    def test_autotuning_is_off(self, kind):
        # With it, the end of an iteration waits for a thread that sleeps.
        tokenizer = kbl.BertTokenizer(PIECES)
        dataset = {
            "pretraining": lambda: pretraining_dataset(DOCUMENTS, tokenizer, 2, max_length=16),
            "workers": lambda: pretraining_dataset(
                DOCUMENTS * 2, tokenizer, 2, max_length=16, num_workers=2, worker_index=1
            ),
            "memory": lambda: text_classification(ROWS, tokenizer, batch_size=2),
            "streaming": lambda: text_classification(
                ROWS, tokenizer, batch_size=2, labels=["a", "b"], streaming=True
            ),
        }[kind]()
        assert dataset.options().autotune.enabled is False
