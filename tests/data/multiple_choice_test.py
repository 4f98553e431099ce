"""Texts with choices: reading them, and batches of them."""

import json

import numpy as np
import pytest
import tensorflow as tf

import keras_bert_lib as kbl
from keras_bert_lib.data import multiple_choice, read_labelled_choices

WORDS = ["rain", "sun", "wet", "dry", "stay", "go"]
TOKENIZER = kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])
ROWS = [(("rain", ["stay", "go", "dry"]), 0), (("sun | sun", ["wet", "stay", "go"]), 2)]


def make_rows(count, seed=0):
    rng = np.random.default_rng(seed)

    def text(longest):
        return " ".join(rng.choice(WORDS, rng.integers(1, longest)))

    return [((text(30), [text(6) for _ in range(3)]), int(rng.integers(3))) for _ in range(count)]


def check(read):
    assert read.texts == [text for (text, _), _ in ROWS]
    assert read.choices == [choices for (_, choices), _ in ROWS]
    assert read.label_ids.dtype == np.int32
    assert read.label_ids.tolist() == [0, 2]


def test_reading(tmp_path):
    pandas = pytest.importorskip("pandas")
    rows = [{"text": t, "choices": c, "label": label} for (t, c), label in ROWS]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (tmp_path / "a.csv").write_text(
        "text,choices,label\n"
        + "".join(f"{t},{'|'.join(c)},{c[label]}\n" for (t, c), label in ROWS),
        "utf-8",
    )
    for source in (ROWS, tmp_path / "a.jsonl", tmp_path / "a.csv", pandas.DataFrame(rows)):
        check(read_labelled_choices(source))
    columns = ([t for (t, _), _ in ROWS], [c for (_, c), _ in ROWS]), [x for _, x in ROWS]
    check(read_labelled_choices(tf.data.Dataset.from_tensor_slices(columns)))
    # As SWAG has them.
    (tmp_path / "b.csv").write_text(
        "sent,e0,e1,e2,label\n" + "".join(f"{t},{','.join(c)},{x}\n" for (t, c), x in ROWS), "utf-8"
    )
    check(read_labelled_choices(tmp_path / "b.csv", "sent", ["e0", "e1", "e2"]))
    with pytest.raises(ValueError, match=r'no column "e3".*`choices_column`.*"e2", "label"'):
        read_labelled_choices(tmp_path / "b.csv", "sent", ["e0", "e3"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no choices to read"),
        ([("x", 1)], r"Item 0 of the list is no \(\(text, choices\), label\)"),
        ([(("x", ["a"]), 0)], "Item 0 of the list has 1 choices. Give each row as many"),
        ([(("x", []), 0)], "Item 0 of the list has 0 choices"),
        ([*ROWS, (("x", ["a", "b"]), 0)], "Item 2 of the list has 2 choices"),
        ([(("x", ["a", "b"]), 2)], "a label that is none of its choices.*0 to 1. Received: 2"),
        ([(("x", ["a", "b"]), 0.5)], "none of its choices.*Received: 0.5"),
        ([(("x", ["a", "a"]), "a")], "none of its choices.*Received: 'a'"),
        ([(("x", ["a", 3]), 0)], "has a choice that is no str. Received: 3"),
        ([((3, ["a", "b"]), 0)], "has a text that is no str. Received: 3"),
    ],
)
def test_unusable_rows(rows, message):
    with pytest.raises(ValueError, match=message) as error:
        read_labelled_choices(rows)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("max_length", [6, 20, 128])
def test_batches_are_the_tokenizers(max_length):
    rows = make_rows(7)
    dataset = multiple_choice(rows, TOKENIZER, 4, max_length=max_length, shuffle=False)
    assert len(dataset) == 2
    for i, (x, y) in enumerate(dataset):
        part = rows[4 * i : 4 * (i + 1)]
        assert y.numpy().tolist() == [label for _, label in part]
        texts = [text for (text, _), _ in part for _ in range(3)]
        choices = [choice for (_, choices), _ in part for choice in choices]
        expected = TOKENIZER(texts, choices, max_length=max_length)
        assert x.keys() == expected.keys()
        for name, value in x.items():
            assert value.dtype == tf.int32
            assert value.shape[:2] == (len(part), 3)
            np.testing.assert_array_equal(tf.reshape(value, expected[name].shape), expected[name])


def test_shuffled_and_streamed():
    rows = make_rows(100)

    def contents(dataset):
        return [
            (TOKENIZER.decode(ids[0], skip_special_tokens=True), int(label))
            for x, y in dataset
            for ids, label in zip(x["token_ids"].numpy(), y.numpy())
        ]

    expected = sorted((f"{text} {choices[0]}", label) for (text, choices), label in rows)
    for streaming in (False, True):
        dataset = multiple_choice(rows, TOKENIZER, batch_size=8, streaming=streaming)
        first, second = contents(dataset), contents(dataset)
        assert first != second
        assert sorted(first) == sorted(second) == expected


def test_one_example():
    ((x, y),) = list(multiple_choice(ROWS[:1], TOKENIZER))
    assert x["token_ids"].shape == (1, 3, 5)
    assert y.numpy().tolist() == [0]
