"""Pretraining data that start where an interrupted training stopped."""

import numpy as np
import pytest

import keras_bert_lib as kbl

WORDS = ["the", "cat", "sat", "it", "slept", "rain", "fell", "ran", "on", "a", "mat"]


@pytest.mark.parametrize("packing", [False, True])
def test_what_follows_is_the_same(packing):
    rng = np.random.default_rng(2)
    documents = [
        [" ".join(rng.choice(WORDS, size=rng.integers(3, 9))) for _ in range(6)] for _ in range(12)
    ]
    tokenizer = kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])

    def batches(start, count):
        dataset = kbl.data.pretraining_dataset(
            documents,
            tokenizer,
            4,
            max_length=24,
            packing=packing,
            seed=3,
            repeat=True,
            start_batch=start,
        )
        return list(dataset.take(count).as_numpy_iterator())

    whole = batches(0, 25)  # several epochs
    for ours, theirs in zip(batches(19, 6), whole[19:]):
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])
    with pytest.raises(ValueError, match=r"`start_batch` must be 0 at least\. Received: -1"):
        batches(-1, 1)
