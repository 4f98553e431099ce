"""Small models and random batches for the tests."""

import numpy as np

from keras_bert_lib.models import BertConfig, BertEncoder


def small_config(**changes):
    fields = {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_layers": 2,
        "num_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 16,
    }
    return BertConfig(**(fields | changes))


def small_encoder(**changes):
    return BertEncoder(small_config(**changes))


def pretraining_batch(batch=6, seq=12, predictions=3, vocab_size=40, seed=0):
    """Returns a padded batch whose rows have different numbers of predictions."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(seq // 2, seq + 1, batch)
    mask = np.arange(seq) < lengths[:, np.newaxis]
    masked = rng.integers(0, predictions + 1, batch)
    inputs = {
        "token_ids": rng.integers(1, vocab_size, (batch, seq)) * mask,
        "segment_ids": (np.arange(seq) >= lengths[:, np.newaxis] // 2) * mask,
        "padding_mask": mask,
        "masked_positions": rng.integers(0, seq // 2, (batch, predictions)),
        "masked_ids": rng.integers(1, vocab_size, (batch, predictions)),
        "next_sentence_labels": rng.integers(0, 2, batch),
    }
    inputs = {name: x.astype("int32") for name, x in inputs.items()}
    weights = np.arange(predictions) < masked[:, np.newaxis]
    return inputs | {"masked_weights": weights.astype("float32")}
