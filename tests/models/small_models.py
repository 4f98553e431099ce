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


def packed_batch(batch, seq=32, predictions=8, examples=4):
    """Returns the examples of a batch packed into rows, the first row that has room for each."""
    rows = []  # of each row, the numbers of its examples
    lengths = batch["padding_mask"].sum(-1)
    counts = batch["masked_weights"].sum(-1)
    for example in range(len(lengths)):
        for row in rows:
            fits = lengths[[*row, example]].sum() <= seq
            if fits and counts[[*row, example]].sum() <= predictions and len(row) < examples:
                row.append(example)
                break
        else:
            rows.append([example])
    of_tokens = ("token_ids", "segment_ids", "padding_mask")
    of_predictions = ("masked_positions", "masked_ids", "masked_weights")
    names = (*of_tokens, "example_ids", "position_ids")
    packed = {name: np.zeros([len(rows), seq], "int32") for name in names}
    packed |= {name: np.zeros([len(rows), predictions], "int32") for name in of_predictions}
    names = ("cls_positions", "next_sentence_labels", "next_sentence_weights")
    packed |= {name: np.zeros([len(rows), examples], "int32") for name in names}
    for r, row in enumerate(rows):
        start = first = 0
        for e, example in enumerate(row):
            length, count = lengths[example], int(counts[example])
            tokens, masked = slice(start, start + length), slice(first, first + count)
            for name in of_tokens:
                packed[name][r, tokens] = batch[name][example, :length]
            for name in of_predictions:
                packed[name][r, masked] = batch[name][example, :count]
            packed["masked_positions"][r, masked] += start
            packed["example_ids"][r, tokens] = e + 1
            packed["position_ids"][r, tokens] = np.arange(length)
            packed["cls_positions"][r, e] = start
            packed["next_sentence_labels"][r, e] = batch["next_sentence_labels"][example]
            packed["next_sentence_weights"][r, e] = 1
            start, first = start + length, first + count
    for name in ("masked_weights", "next_sentence_weights"):
        packed[name] = packed[name].astype("float32")
    return packed
