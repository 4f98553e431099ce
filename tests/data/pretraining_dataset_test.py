"""The pretraining pipeline as a whole: its contract, its streams, its memory."""

import json
import sys
import tempfile
import tracemalloc
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import keras_bert_lib as kbl
from keras_bert_lib.data import (
    count_pretraining_examples,
    pretraining_dataset,
    read_documents,
)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SYLLABLES = ["ka", "lo", "mi", "nu", "re", "so", "ta", "vi"]
WORDS = [a + b for a in SYLLABLES for b in SYLLABLES]
TOKENIZER = kbl.BertTokenizer([*SPECIAL, *WORDS, *(f"##{s}" for s in SYLLABLES), "."])


def make_documents(count, seed=0, sentences=(3, 12)):
    rng = np.random.default_rng(seed)

    def sentence():
        return " ".join(rng.choice(WORDS, rng.integers(3, 12))) + rng.choice(SYLLABLES) + " ."

    return [[sentence() for _ in range(rng.integers(*sentences))] for _ in range(count)]


DOCUMENTS = make_documents(60)


def stream(dataset):
    return [{k: v.numpy() for k, v in x.items()} for x in dataset]


def make(source=DOCUMENTS, **overrides):
    arguments = {"batch_size": 8, "max_length": 32, "max_predictions": 5}
    return pretraining_dataset(source, TOKENIZER, **{**arguments, **overrides})


def are_equal(first, second):
    return len(first) == len(second) and all(
        np.array_equal(a[k], b[k]) for a, b in zip(first, second) for k in a
    )


class PretrainingDatasetTest(parameterized.TestCase):
    def test_contract(self):
        dataset = make()
        spec = {k: (v.shape.as_list(), v.dtype.name) for k, v in dataset.element_spec.items()}
        assert spec == {
            "token_ids": ([8, 32], "int32"),
            "segment_ids": ([8, 32], "int32"),
            "padding_mask": ([8, 32], "int32"),
            "masked_positions": ([8, 5], "int32"),
            "masked_ids": ([8, 5], "int32"),
            "masked_weights": ([8, 5], "float32"),
            "next_sentence_labels": ([8], "int32"),
        }
        batches = stream(dataset)
        assert len(batches) > 10
        for x in batches:
            ids, mask = x["token_ids"], x["padding_mask"]
            assert (ids[:, 0] == TOKENIZER.cls_token_id).all()
            assert ((ids == TOKENIZER.sep_token_id).sum(axis=1) == 2).all()
            np.testing.assert_array_equal(mask == 0, ids == TOKENIZER.pad_token_id)
            assert (mask.sum(axis=1) >= 5).all()
            assert set(np.unique(x["next_sentence_labels"])) <= {0, 1}
        labels = np.concatenate([x["next_sentence_labels"] for x in batches])
        assert 0.35 < labels.mean() < 0.65

    @parameterized.parameters(
        {"masking": "whole_word"},
        {"masking": "ngram", "objective": "none"},
        {"packing": True},
        {"packing": True, "objective": "sentence_order", "num_workers": 3, "worker_index": 1},
    )
    def test_same_seed_same_epochs(self, **options):
        first, again = make(seed=3, **options), make(seed=3, **options)
        epochs = [stream(first), stream(first)]
        assert are_equal(epochs[0], stream(again))
        assert are_equal(epochs[1], stream(again))
        assert not are_equal(epochs[0], epochs[1])
        assert not are_equal(epochs[0], stream(make(seed=4, **options)))

    def test_repeat_runs_through_the_epochs(self):
        once, forever = make(), make(repeat=True)
        epochs = stream(once) + stream(once) + stream(once)
        assert are_equal(epochs, stream(forever.take(len(epochs))))
        assert forever.cardinality() == tf.data.INFINITE_CARDINALITY

    @parameterized.parameters("next_sentence", "sentence_order", "none")
    def test_packed_rows(self, objective):
        dataset = make(packing=True, objective=objective, max_length=48, max_predictions=9)
        spec = {k: (v.shape.as_list(), v.dtype.name) for k, v in dataset.element_spec.items()}
        assert spec["example_ids"] == spec["position_ids"] == ([8, 48], "int32")
        assert spec["cls_positions"] == ([8, 6], "int32")
        if objective == "none":
            assert not {"next_sentence_labels", "next_sentence_weights"} & set(spec)
        else:
            assert spec["next_sentence_labels"] == ([8, 6], "int32")
            assert spec["next_sentence_weights"] == ([8, 6], "float32")
        filled = []
        for x in stream(dataset):
            filled.append(x["padding_mask"].mean())
            counts = x["example_ids"].max(axis=1)
            np.testing.assert_array_equal(x["padding_mask"], x["example_ids"] > 0)
            # An example starts where its number rises, with [CLS] and at position 0.
            starts = np.diff(x["example_ids"], prepend=0, axis=1) > 0
            np.testing.assert_array_equal(starts.sum(axis=1), counts)
            for row, count in enumerate(counts):
                places = x["cls_positions"][row, :count]
                np.testing.assert_array_equal(np.flatnonzero(starts[row]), places)
                assert (x["token_ids"][row, places] == TOKENIZER.cls_token_id).all()
                assert (x["position_ids"][row, places] == 0).all()
                assert not x["cls_positions"][row, count:].any()
                if objective != "none":
                    expected = [1.0] * count + [0.0] * (6 - count)
                    assert x["next_sentence_weights"][row].tolist() == expected
                    assert not x["next_sentence_labels"][row, count:].any()
            inside = (x["padding_mask"] == 1) & ~starts
            assert (np.diff(x["position_ids"], prepend=0, axis=1)[inside] == 1).all()
            # Masks are real pieces' of the row.
            rows, slots = np.nonzero(x["masked_weights"])
            assert (x["padding_mask"][rows, x["masked_positions"][rows, slots]] == 1).all()
        assert np.mean(filled) > 0.9

    @parameterized.parameters("next_sentence", "none")
    def test_packing_loses_and_adds_no_example(self, objective):
        """The same examples, packed and not; without masks, for those are drawn in order."""

        def examples(**options):
            found = []
            for x in stream(make(drop_remainder=False, objective=objective, **options)):
                rows, slots = np.nonzero(x["masked_weights"])
                x["token_ids"][rows, x["masked_positions"][rows, slots]] = x["masked_ids"][
                    rows, slots
                ]
                ids = x.get("example_ids", x["padding_mask"])
                for row, here in zip(x["token_ids"], ids):
                    found += [tuple(row[here == n].tolist()) for n in range(1, here.max() + 1)]
            return sorted(found)

        assert examples(packing=True) == examples()

    def test_workers_share_the_documents(self):
        options = {"objective": "none", "batch_size": 1, "short_seq_prob": 0}
        shares = [stream(make(num_workers=3, worker_index=i, **options)) for i in range(3)]
        counts = [len(share) for share in shares]
        assert sum(counts) == len(stream(make(**options)))
        assert min(counts) > 0.7 * max(counts)
        # Nothing shards the shares again.
        dataset = make(num_workers=3, worker_index=0)
        policy = dataset.options().experimental_distribute.auto_shard_policy
        assert policy == tf.data.experimental.AutoShardPolicy.OFF

    def test_workers_share_the_files(self):
        folder = Path(tempfile.mkdtemp())
        for number in range(5):
            documents = DOCUMENTS[12 * number : 12 * number + 12]
            (folder / f"{number}.txt").write_text("\n\n".join("\n".join(d) for d in documents))
        options = {"objective": "none", "batch_size": 1, "short_seq_prob": 0}
        files = sorted(folder.iterdir())
        for worker, own in [(0, [files[0], files[3]]), (2, [files[2]])]:
            share = make(files, num_workers=3, worker_index=worker, **options)
            assert len(stream(share)) == len(stream(make(own, **options)))

    def test_cache_keeps_the_examples(self):
        dataset = make().cache()
        assert are_equal(stream(dataset), stream(dataset))

    def test_remainder(self):
        count = count_pretraining_examples(DOCUMENTS, TOKENIZER, max_length=32)
        sizes = [len(x["token_ids"]) for x in stream(make(drop_remainder=False))]
        assert sum(sizes) == count
        assert sizes[:-1] == [8] * (count // 8)
        assert make(drop_remainder=False).element_spec["token_ids"].shape.as_list() == [None, 32]
        assert [len(x["token_ids"]) for x in stream(make())] == [8] * (count // 8)

    def test_files_and_documents_give_the_same(self):
        folder = Path(tempfile.mkdtemp())
        text = "\n\n".join("\n".join(document) for document in DOCUMENTS)
        plain, jsonl = folder / "a.txt", folder / "a.jsonl"
        plain.write_text(text)
        lines = "".join(json.dumps({"text": "\n".join(d)}) + "\n" for d in DOCUMENTS)
        jsonl.write_text(lines)
        expected = stream(make(list(read_documents(plain))))
        assert are_equal(expected, stream(make(DOCUMENTS)))
        assert are_equal(expected, stream(make(plain)))
        assert are_equal(expected, stream(make([jsonl])))

    def test_examples_of_documents_are_mixed(self):
        # Consecutive examples come from far apart in the corpus.
        documents = [[f"{word} {word} {word} ."] * 8 for word in WORDS]
        batches = stream(make(documents, masked_lm_prob=0.0, max_predictions=1, short_seq_prob=0))
        kinds = [len({ids[1] for ids in x["token_ids"].tolist()}) for x in batches]
        assert np.mean(kinds) > 6

    def test_trains_with_fit(self):
        """Keras reads the batches inside its own graph, epoch after epoch."""

        class Model(keras.Model):
            def __init__(self):
                super().__init__()
                self.embedding = keras.layers.Embedding(TOKENIZER.vocabulary_size, 4)
                self.dense = keras.layers.Dense(1)

            def call(self, x):
                return self.dense(keras.ops.mean(self.embedding(x["token_ids"]), axis=1))

            def compute_loss(self, x=None, y=None, y_pred=None, *args, **kwargs):
                labels = keras.ops.expand_dims(x["next_sentence_labels"], 1)
                return keras.ops.mean(
                    keras.losses.binary_crossentropy(labels, y_pred, from_logits=True)
                )

        model = Model()
        model.compile("adam")
        history = model.fit(make(repeat=True), epochs=3, steps_per_epoch=5, verbose=0)
        assert np.isfinite(history.history["loss"]).all()

    def test_two_devices_share_a_batch(self):
        strategy = kbl.training.create_strategy("mirrored")
        expected = stream(make())
        shared = strategy.experimental_distribute_dataset(make())
        for x, both in zip(expected, shared):
            parts = strategy.experimental_local_results(both["token_ids"])
            assert [part.shape[0] for part in parts] == [4, 4]
            np.testing.assert_array_equal(np.concatenate(parts), x["token_ids"])

    def test_unusable_sources(self):
        for source, message in [
            ([], "two documents at least.*Received: 0 documents"),
            (DOCUMENTS[:1], "two documents at least.*Received: 1 document$"),
            (DOCUMENTS[:1], 'the objective "sentence_order" or "none"'),
            (iter(DOCUMENTS), "iterated once only.*Received: list_iterator"),
            ([["fine"], "not a list"], "A document is a list of str.*Received: 'not a list'"),
            ([["fine"], [b"bytes"]], "A document is a list of str"),
        ]:
            with pytest.raises(ValueError, match=message):
                make(source)
        with pytest.raises(FileNotFoundError, match=r"no file absent\.txt"):
            make("absent.txt")
        one = Path(tempfile.mkdtemp()) / "one.txt"
        one.write_text("One document.\nTwo sentences.\n")
        with pytest.raises(ValueError, match="Separate documents by a blank line"):
            make(one)

    def test_errors_inside_the_stream(self):
        path = Path(tempfile.mkdtemp()) / "a.jsonl"
        path.write_text('{"text": "ka lo."}\n' * 2 + "{\n")
        with pytest.raises(tf.errors.InvalidArgumentError, match="line 3 is not JSON"):
            stream(make(path))
        with pytest.raises(ValueError, match="line 3 is not JSON"):
            count_pretraining_examples(path, TOKENIZER)
        for repeat in (False, True):
            with pytest.raises(
                tf.errors.InvalidArgumentError, match="fewer examples than one batch"
            ):
                stream(make(DOCUMENTS[:3], batch_size=500, repeat=repeat))

    @parameterized.parameters(
        ({"batch_size": 0}, "`batch_size` must be 1 at least. Received: 0"),
        ({"max_predictions": 0}, "`max_predictions` must be 1 at least. Received: 0"),
        ({"max_length": 4}, "`max_length` must be 5 at least. Received: 4"),
        ({"shuffle_buffer_documents": 1}, "`shuffle_buffer_documents` must be 2 at least"),
        ({"masked_lm_prob": 15}, "`masked_lm_prob` is a share, from 0 to 1. Received: 15"),
        ({"short_seq_prob": -0.1}, "`short_seq_prob` is a share"),
        (
            {"masking": "word"},
            "`masking` is one of 'piece', 'whole_word', 'ngram'. Received: 'word'",
        ),
        ({"objective": None}, "`objective` is one of 'next_sentence', 'sentence_order', 'none'"),
        ({"num_workers": 0}, "`num_workers` must be 1 at least"),
        ({"num_workers": 2, "worker_index": 2}, "Received: 2 of 2 workers"),
        (
            {"num_workers": 999, "worker_index": 998},
            "no document for worker 998 of 999. Give more text, take fewer workers",
        ),
    )
    def test_arguments_out_of_range(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            make(**arguments)

    def test_smallest_sizes(self):
        batches = stream(make(max_length=5, max_predictions=1, batch_size=1))
        assert all(x["padding_mask"].tolist() == [[1] * 5] for x in batches)
        assert np.concatenate([x["masked_weights"] for x in batches]).all()


# The functions of the same name hide the modules.
MODULES = ["pretraining_dataset", "tokenized_documents"]


def peak_memory(path):
    count = 0
    tracemalloc.start()
    try:
        for x in make(path, max_length=256, shuffle_buffer_documents=30):
            count += len(x["token_ids"])
        return tracemalloc.get_traced_memory()[1], count
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_corpus(tmp_path, monkeypatch):
    # Buffers that the smaller corpus fills already.
    modules = [sys.modules[f"keras_bert_lib.data.{name}"] for name in MODULES]
    monkeypatch.setattr(modules[0], "_SHUFFLE_EXAMPLES", 100)
    monkeypatch.setattr(modules[1], "_TOKENIZER_CHARACTERS", 4096)
    peaks = {}
    for name, count in [("warm", 40), ("one", 60), ("ten", 600)]:
        path = tmp_path / f"{name}.txt"
        documents = make_documents(count, sentences=(100, 110))
        path.write_text("\n\n".join("\n".join(d) for d in documents))
        peaks[name] = peak_memory(str(path))
    assert peaks["ten"][1] > 9 * peaks["one"][1]
    assert peaks["ten"][0] < 1.5 * peaks["one"][0]  # what is held would be ten times as much


@pytest.mark.shared_data
def test_novels(shared_data):
    tokenizer = kbl.BertTokenizer(shared_data / "vocab" / "bert-base-uncased" / "vocab.txt")
    path = shared_data / "gutenberg" / "Emma_158.txt"
    batches = stream(pretraining_dataset(path, tokenizer, batch_size=64))
    x = {k: np.concatenate([batch[k] for batch in batches]) for k in batches[0]}
    count = len(x["token_ids"])
    assert abs(count - count_pretraining_examples(path, tokenizer)) < 64
    # Most examples are full, the next-sentence labels balanced, 15% of the pieces predicted.
    assert x["padding_mask"].mean() > 0.9
    assert abs(x["next_sentence_labels"].mean() - 0.5) < 5 * 0.5 / np.sqrt(count)
    pieces = (x["padding_mask"].sum(axis=1) - 3).sum()
    assert 0.145 < x["masked_weights"].sum() / pieces < 0.155
    unknown = (x["token_ids"] == tokenizer.unk_token_id).sum()
    assert unknown < 0.001 * pieces
