"""Texts without labels: reading them, and batches of masked pieces."""

import gzip
from pathlib import Path

import numpy as np
import pandas
import pytest
import tensorflow as tf

import keras_bert_lib as kbl
from keras_bert_lib.data import masked_language_modeling, read_texts

WORDS = ["rain", "sun", "wet", "dry", "stay", "go"]
TOKENIZER = kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##y", *WORDS])
RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(WORDS, RNG.integers(1, 40))) for _ in range(50)]


def test_reading(tmp_path):
    lines = "".join(f"{text}\n\n" for text in TEXTS)
    (tmp_path / "a.txt").write_text(lines, "utf-8")
    with gzip.open(tmp_path / "b.txt.gz", "wt", encoding="utf-8") as file:
        file.write(lines)
    table = pandas.DataFrame({"label": range(50), "sentence": TEXTS})
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    for source, arguments in [
        (TEXTS, {}),
        (tuple(text.encode() for text in TEXTS), {}),
        (tf.data.Dataset.from_tensor_slices(TEXTS), {}),
        (tmp_path / "a.txt", {}),
        (str(tmp_path / "b.txt.gz"), {}),
        (str(tmp_path / "a.csv"), {"text_column": "sentence"}),
        (tmp_path / "a.parquet", {"text_column": "sentence"}),
        (table, {"text_column": "sentence"}),
    ]:
        assert read_texts(source, **arguments).texts == TEXTS
    assert read_texts([tmp_path / "a.txt", tmp_path / "b.txt.gz"]).texts == 2 * TEXTS
    assert read_texts(str(tmp_path / "?.txt*")).texts == 2 * TEXTS


def test_unusable_sources(tmp_path):
    (tmp_path / "a.csv").write_text("label\n1\n", "utf-8")
    (tmp_path / "blank.txt").write_text("\n \n", "utf-8")
    for source, message in [
        ([], "no texts to read"),
        (tmp_path / "blank.txt", "no texts to read"),
        (tmp_path / "absent.txt", "no file"),
        (tmp_path / "a.csv", 'no column "text"'),
        ([3], "Item 0 of the list has a text that is no str. Received: 3"),
        (7, "must be a path"),
    ]:
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            read_texts(source)
    for arguments, message in [
        ({"masking": "word"}, "`masking` is one of"),
        ({"masked_lm_prob": 0}, "`masked_lm_prob` is a share"),
        ({"max_length": 2}, "`max_length` must be 3 at least"),
        ({"batch_size": 0}, "`batch_size` must be 1 at least"),
    ]:
        with pytest.raises(ValueError, match=message):
            masked_language_modeling(TEXTS, TOKENIZER, **arguments)
    with pytest.raises(ValueError, match="Received: 2 empty texts"):
        masked_language_modeling(["", " "], TOKENIZER)


def filled(x):
    """The rows of a batch, what was hidden put back, without padding and special tokens."""
    ids = np.array(x["token_ids"])
    rows, places = np.nonzero(x["masked_weights"])
    ids[rows, x["masked_positions"].numpy()[rows, places]] = x["masked_ids"].numpy()[rows, places]
    return [TOKENIZER.decode(row, skip_special_tokens=True) for row in ids]


def test_batches_hold_the_texts_with_some_pieces_hidden():
    dataset = masked_language_modeling(TEXTS, TOKENIZER, batch_size=8, shuffle=False)
    assert len(dataset) == 7
    found, hidden, pieces = [], 0, 0
    for x in dataset:
        found += filled(x)
        assert x["token_ids"].shape[1] == x["padding_mask"].numpy().sum(axis=1).max()
        # A text of few pieces has one to predict.
        hidden += x["masked_weights"].numpy().sum()
        pieces += x["padding_mask"].numpy().sum() - 2 * len(x["token_ids"])
        assert x["masked_weights"].numpy().sum(axis=1).min() >= 1
        assert not x["segment_ids"].numpy().any()
    assert found == TEXTS
    assert hidden / pieces == pytest.approx(0.15, abs=0.02)
    again = [x["token_ids"].numpy().tolist() for x in dataset]
    assert again == [x["token_ids"].numpy().tolist() for x in dataset]  # to measure on


def test_epochs_differ_and_follow_from_the_seed():
    def epochs(seed):
        dataset = masked_language_modeling(TEXTS, TOKENIZER, batch_size=8, seed=seed)
        assert len(dataset) == 7
        batches = list(dataset.repeat().take(14))
        for epoch in (batches[:7], batches[7:]):
            assert sorted(text for x in epoch for text in filled(x)) == sorted(TEXTS)
        return [x["token_ids"].numpy().tolist() for x in batches]

    first = epochs(1)
    assert first == epochs(1) != epochs(2)
    assert first[:7] != first[7:]
    # Of about the same length: less padding than in the order of the source.
    assert sum(len(rows[0]) * len(rows) for rows in first[:7]) < sum(
        x["token_ids"].numpy().size
        for x in masked_language_modeling(TEXTS, TOKENIZER, batch_size=8, shuffle=False)
    )


def test_long_texts_are_parted_and_batches_padded():
    dataset = masked_language_modeling(
        TEXTS, TOKENIZER, batch_size=4, max_length=12, pad_to_max_length=True, shuffle=False
    )
    assert dataset.element_spec["token_ids"].shape == (None, 12)
    rows = [row for x in dataset for row in filled(x)]
    assert " ".join(rows) == " ".join(TEXTS)
    assert max(len(row.split()) for row in rows) == 10


def test_batches_train(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(["rain wet stay", "sun dry go"] * 40), "utf-8")
    encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=12), use_pooler=False)
    model = kbl.BertMaskedLM(encoder, tokenizer=TOKENIZER)
    model.compile(kbl.training.create_optimizer(1e-3, total_steps=60))
    dataset = masked_language_modeling(Path(tmp_path / "a.txt"), TOKENIZER, batch_size=16)
    model.fit(dataset, epochs=12, verbose=0)
    evaluation = kbl.evaluation.evaluate(model, read_texts(tmp_path / "a.txt"))
    assert evaluation.metrics["accuracy"] == 1
    assert evaluation.metrics["perplexity"] < 1.5
