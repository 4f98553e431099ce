"""Batches of labelled texts: contents, order, padding, and fitting a model on them."""

import itertools
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import keras_bert_lib as kbl
from keras_bert_lib.data import length_batches, read_labelled_texts, text_classification

WORDS = ["red", "blue", "cat", "dog", "runs", "sleeps"]
TOKENIZER = kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])


def make_rows(count, longest=40, seed=0):
    """Random texts; the label tells whether the first word is "red" or "blue"."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        color = rng.choice(WORDS[:2])
        rows.append((" ".join([color, *rng.choice(WORDS, rng.integers(0, longest))]), color))
    return rows


def decoded(dataset):
    """(text, label id) of every row of every batch."""
    return [
        (TOKENIZER.decode(ids, skip_special_tokens=True), int(label))
        for x, y in dataset
        for ids, label in zip(x["token_ids"].numpy(), y.numpy())
    ]


class TextClassificationTest(parameterized.TestCase):
    def test_batches_are_the_tokenizers(self):
        rows = make_rows(70)
        dataset = text_classification(rows, TOKENIZER, batch_size=32, max_length=20, shuffle=False)
        assert len(dataset) == 3
        ids = {"blue": 0, "red": 1}
        for i, (x, y) in enumerate(dataset):
            part = rows[32 * i : 32 * (i + 1)]
            expected = TOKENIZER([text for text, _ in part], max_length=20)
            assert x.keys() == expected.keys()
            for name in x:
                assert x[name].dtype == tf.int32
                np.testing.assert_array_equal(x[name], expected[name])
            assert y.dtype == tf.int32
            assert y.numpy().tolist() == [ids[label] for _, label in part]

    @parameterized.parameters(5, 6, 16, 128)
    def test_pairs(self, max_length):
        firsts, seconds = ([text for text, _ in make_rows(30, seed=seed)] for seed in (1, 2))
        rows = [(pair, i % 3) for i, pair in enumerate(zip(firsts, seconds))]
        x, y = next(
            iter(text_classification(rows, TOKENIZER, max_length=max_length, shuffle=False))
        )
        expected = TOKENIZER(firsts, seconds, max_length=max_length)
        for name in expected:
            np.testing.assert_array_equal(x[name], expected[name])
        assert x["segment_ids"].numpy().max() == 1
        assert y.numpy().tolist() == [i % 3 for i in range(30)]

    @parameterized.parameters(1, 31, 32, 33, 500)
    def test_shuffling_keeps_every_row(self, count):
        rows = [*make_rows(count), ("red", "red"), ("blue", "blue")]
        dataset = text_classification(rows, TOKENIZER, batch_size=8, shuffle=True)
        epochs = [decoded(dataset) for _ in range(2)]
        expected = sorted((text, int(label == "red")) for text, label in rows)
        assert sorted(epochs[0]) == sorted(epochs[1]) == expected
        assert len(list(dataset)) == len(dataset) == -(-len(rows) // 8)

    def test_shuffling_is_seeded_and_fresh_each_epoch(self):
        rows = make_rows(300)

        def epochs(seed):
            dataset = text_classification(rows, TOKENIZER, shuffle=True, seed=seed)
            return [decoded(dataset), decoded(dataset)]

        first, again, other = epochs(1), epochs(1), epochs(2)
        assert first == again
        assert first[0] != first[1]
        assert first[0] != other[0]
        assert decoded(text_classification(rows, TOKENIZER, shuffle=False)) != first[0]

    def test_texts_of_a_length_share_a_batch(self):
        rows = make_rows(2000, longest=100)

        def cells(**arguments):
            dataset = text_classification(rows, TOKENIZER, batch_size=16, **arguments)
            return sum(int(tf.size(x["token_ids"])) for x, _ in dataset)

        real = sum(len(text.split()) + 2 for text, _ in rows)
        assert cells(shuffle=True) < 1.1 * real
        assert cells(shuffle=False) > 1.6 * real

    def test_long_and_short_batches_alternate(self):
        dataset = text_classification(make_rows(2000), TOKENIZER, batch_size=16, shuffle=True)
        widths = np.array([x["token_ids"].shape[1] for x, _ in dataset])
        assert abs(np.corrcoef(widths[:-1], widths[1:])[0, 1]) < 0.4
        # Nor are the labels sorted with the lengths.
        assert np.std([y.numpy().mean() for _, y in dataset]) < 0.2

    def test_pad_to_max_length(self):
        dataset = text_classification(
            make_rows(20),
            TOKENIZER,
            batch_size=6,
            max_length=50,
            pad_to_max_length=True,
            shuffle=False,
        )
        assert {x["token_ids"].shape[1] for x, _ in dataset} == {50}

    def test_labels_are_read_once(self):
        training = read_labelled_texts(make_rows(50))
        test = text_classification(
            [("red cat", "red")], TOKENIZER, labels=training.labels, shuffle=False
        )
        assert decoded(test) == [("red cat", 1)]
        assert len(text_classification(training, TOKENIZER, batch_size=10, shuffle=False)) == 5

    def test_hostile_texts(self):
        texts = ["", " \t\n", "\0", "🙂" * 20, "x" * 10_000, "red " * 250_000, "\ud800 red", "�"]
        rows = [(text, i % 2) for i, text in enumerate(texts)]
        for shuffle in (False, True):
            dataset = text_classification(rows, TOKENIZER, max_length=16, shuffle=shuffle)
            ((x, y),) = list(dataset)
            assert x["token_ids"].shape == (8, 16)
            assert sorted(y.numpy().tolist()) == [0] * 4 + [1] * 4

    def test_head_and_tail(self):
        rows = make_rows(40, longest=60)
        texts = [text for text, _ in rows]
        for pair in (False, True):
            source = [((t, t), label) for t, label in rows] if pair else rows
            dataset = text_classification(
                source, TOKENIZER, 40, max_length=20, long_texts="head_and_tail", shuffle=False
            )
            ((x, _),) = list(dataset)
            columns = (texts, texts) if pair else (texts,)
            expected = TOKENIZER(*columns, max_length=20, truncation="head_and_tail")
            for name in expected:
                np.testing.assert_array_equal(x[name], expected[name])
        with pytest.raises(ValueError, match="`long_texts` must be one of head, head_and_tail"):
            text_classification(rows, TOKENIZER, long_texts="tail")

    def test_several_labels_and_numbers(self):
        rows = [("red cat", ["a", "b"]), ("dog", []), ("blue", ["b"])]
        ((x, y),) = list(
            text_classification(
                rows, TOKENIZER, problem_type="multi_label_classification", shuffle=False
            )
        )
        assert y.dtype == tf.float32
        assert y.numpy().tolist() == [[1, 1], [0, 0], [0, 1]]
        rows = [("red cat", 0.5), ("dog", 3), ("blue", -1)]
        for streaming in (False, True):
            ((x, y),) = list(
                text_classification(
                    rows, TOKENIZER, problem_type="regression", shuffle=False, streaming=streaming
                )
            )
            assert (x["token_ids"].shape, y.dtype) == ((3, 4), tf.float32)
            assert y.numpy().tolist() == [0.5, 3, -1]

    @parameterized.parameters(False, True)
    def test_streaming(self, shuffle):
        rows = make_rows(70)
        options = {"batch_size": 8, "labels": ["blue", "red"], "shuffle": shuffle}
        # Parts and buffer are made small, so that there are several.
        with (
            mock.patch.object(length_batches, "WINDOW_BATCHES", 1),
            mock.patch.object(length_batches, "_BUFFER_ROWS", 20),
        ):
            dataset = text_classification(rows, TOKENIZER, streaming=True, **options)
            first, second = decoded(dataset), decoded(dataset)
            if shuffle:
                again = text_classification(rows, TOKENIZER, streaming=True, **options)
                assert first == decoded(again) != second
        expected = [(text, int(label == "red")) for text, label in rows]
        assert sorted(first) == sorted(second) == sorted(expected)
        assert (first == expected) is not shuffle
        assert dataset.element_spec == text_classification(rows, TOKENIZER, **options).element_spec

    def test_streaming_reads_no_more_than_it_needs(self):
        read = []

        class Endless:
            def __iter__(self):
                for i in itertools.count():
                    read.append(i)
                    yield "red cat", i % 2

        dataset = text_classification(
            Endless(), TOKENIZER, 4, labels=[0, 1], streaming=True, shuffle=False
        )
        assert len(list(dataset.take(3))) == 3
        assert 0 < len(read) < 10_000

    def test_streaming_says_what_is_wrong(self):
        options = {"labels": ["red", "blue"], "streaming": True}
        for rows, arguments, message in [
            (make_rows(5), {"labels": None}, "With `streaming`, `labels` must name the labels"),
            ([], {}, "no rows to read"),
            (iter(make_rows(5)), {}, "every epoch reads the source anew.*list_iterator"),
            ([("x", "green")], {}, "Item 0 of the list has a label that is not one of red, blue"),
        ]:
            with pytest.raises(ValueError, match=message):
                text_classification(rows, TOKENIZER, **{**options, **arguments})
        rows = [*make_rows(50), ("x", "green")]
        dataset = text_classification(rows, TOKENIZER, batch_size=8, **options)
        with pytest.raises(tf.errors.InvalidArgumentError, match="Item 50 of the list has a label"):
            list(dataset)

    def test_errors(self):
        with pytest.raises(ValueError, match="`batch_size` must be 1 at least"):
            text_classification(make_rows(5), TOKENIZER, batch_size=0, shuffle=False)
        with pytest.raises(ValueError, match="`max_length` must be 5 at least"):
            text_classification(make_rows(5), TOKENIZER, max_length=4, shuffle=False)
        with pytest.raises(ValueError, match="All 1 texts have the label 'a'"):
            text_classification([("x", "a")], TOKENIZER, shuffle=False)

    @parameterized.parameters(False, True)
    def test_fit_learns(self, streaming):
        ids = keras.Input([None], dtype="int32", name="token_ids")
        first = keras.layers.Embedding(TOKENIZER.vocabulary_size, 8)(ids)[:, 1]
        model = keras.Model({"token_ids": ids}, keras.layers.Dense(2)(first))
        model.compile(
            keras.optimizers.Adam(0.1),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        dataset = text_classification(
            make_rows(200), TOKENIZER, labels=WORDS[:2], shuffle=True, streaming=streaming
        )
        dataset = dataset.map(lambda x, y: ({"token_ids": x["token_ids"]}, y))
        history = model.fit(dataset, epochs=5, verbose=0)
        assert history.history["accuracy"][-1] == 1.0

    def test_two_devices_share_a_batch(self):
        strategy = kbl.training.create_strategy("mirrored")
        rows = make_rows(40)
        plain = text_classification(rows, TOKENIZER, batch_size=10, shuffle=False)
        shared = strategy.experimental_distribute_dataset(plain)
        for (x, y), (both_x, both_y) in zip(plain, shared):
            for whole, parts in [(x["token_ids"], both_x["token_ids"]), (y, both_y)]:
                parts = strategy.experimental_local_results(parts)
                assert [part.shape[0] for part in parts] == [5, 5]
                np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.shared_data
def test_sst2(shared_data):
    tokenizer = kbl.BertTokenizer(shared_data / "vocab" / "bert-base-uncased" / "vocab.txt")
    path = shared_data / "glue" / "SST-2" / "dev.tsv"
    dataset = text_classification(path, tokenizer, text_column="sentence", shuffle=True)
    assert len(dataset) == 28
    padding = np.concatenate([x["padding_mask"].numpy().ravel() for x, _ in dataset])
    assert padding.mean() > 0.95
    assert np.concatenate([y for _, y in dataset]).sum() == 444
