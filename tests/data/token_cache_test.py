"""The token cache: what comes out is what went in, and what happens when something breaks."""

import itertools
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import keras_bert_lib as kbl
from keras_bert_lib.data import build_token_cache, pretraining_dataset
from keras_bert_lib.data.token_cache import decode_block, encode_block, read_info, read_shards
from keras_bert_lib.data.tokenized_documents import TokenizedDocument, tokenize_documents

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SYLLABLES = ["ka", "lo", "mi", "nu", "re", "so", "ta", "vi"]
WORDS = [a + b for a in SYLLABLES for b in SYLLABLES]
VOCABULARY = [*SPECIAL, *WORDS, *(f"##{s}" for s in SYLLABLES), "."]
TOKENIZER = kbl.BertTokenizer(VOCABULARY)

# The function of the same name hides the module.
BUILD = "keras_bert_lib.data.build_token_cache"


needs_full_disk = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


def make_text(documents, seed=0):
    rng = np.random.default_rng(seed)

    def sentence():
        return " ".join(rng.choice(WORDS, rng.integers(3, 12))) + " ."

    return "\n\n".join(
        "\n".join(sentence() for _ in range(rng.integers(1, 12))) for _ in range(documents)
    )


@pytest.fixture
def corpus(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(make_text(20, seed=number))
    return [str(tmp_path / f"{number}.txt") for number in range(3)]


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few documents, and segments of few blocks, so that there are many of both."""
    monkeypatch.setattr(sys.modules[BUILD], "_BLOCK_CHARACTERS", 500)
    monkeypatch.setattr(sys.modules[BUILD], "_SEGMENT_BLOCKS", 5)


def cached(directory, on_corrupt="raise"):
    """All documents of a cache as lists of ids, in order of their content."""
    shards = [
        (os.path.join(directory, s["name"]), s["bytes"]) for s in read_info(directory)["shards"]
    ]
    return sorted((d.ids.tolist(), d.splits.tolist()) for d in read_shards(shards, on_corrupt))


def contents(directory):
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


def stream(source, **options):
    dataset = pretraining_dataset(source, TOKENIZER, 8, 32, 5, **options)
    return [{k: v.numpy() for k, v in x.items()} for x in dataset]


def are_equal(first, second):
    return len(first) == len(second) and all(
        np.array_equal(a[k], b[k]) for a, b in zip(first, second) for k in a
    )


@pytest.mark.parametrize("vocabulary_size", [100, 70_000])
def test_blocks(vocabulary_size):
    rng = np.random.default_rng(0)
    documents = []
    for _ in range(6):
        splits = np.concatenate([[0], np.cumsum(rng.integers(1, 300, rng.integers(1, 9)))])
        ids = rng.integers(vocabulary_size, size=splits[-1]).astype(np.int32)
        documents.append(TokenizedDocument(ids, splits))
    record = encode_block(documents, vocabulary_size)
    for (ids, splits), document in zip(decode_block(record), documents, strict=True):
        np.testing.assert_array_equal(ids, document.ids)
        np.testing.assert_array_equal(splits, document.splits)
        assert ids.dtype == np.int32
    assert not list(decode_block(encode_block([], vocabulary_size)))


def test_the_cache_is_the_corpus(corpus, tmp_path, small_blocks):
    directory = tmp_path / "cache"
    info = build_token_cache(corpus, TOKENIZER, directory, num_shards=4)
    documents = list(tokenize_documents(kbl.data.read_documents(corpus), TOKENIZER))
    assert cached(directory) == sorted((d.ids.tolist(), d.splits.tolist()) for d in documents)
    assert info["documents"] == len(documents) == 60
    assert info["sentences"] == sum(len(d.splits) - 1 for d in documents)
    assert info["pieces"] == sum(len(d.ids) for d in documents)
    assert info == json.loads((directory / "cache.json").read_text())
    assert sorted(os.listdir(directory)) == ["cache.json"] + [
        f"tokens-0000{i}-of-00004.tfrecord" for i in range(4)
    ]
    sizes = [shard["bytes"] for shard in info["shards"]]
    assert min(sizes) > 0.5 * max(sizes)
    assert not os.path.exists(f"{directory}.partial")
    # Documents in memory make the same cache as their files.
    build_token_cache(list(kbl.data.read_documents(corpus)), TOKENIZER, tmp_path / "other")
    assert cached(tmp_path / "other") == cached(directory)


@pytest.mark.slow
def test_processes_change_nothing(corpus, tmp_path):
    build_token_cache(corpus, TOKENIZER, tmp_path / "one", num_shards=2)
    build_token_cache(corpus, TOKENIZER, tmp_path / "two", num_shards=2, num_workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_same_seed_same_epochs(corpus, tmp_path, small_blocks):
    directory = tmp_path / "cache"
    build_token_cache(corpus, TOKENIZER, directory, num_shards=2)

    def make(**more):
        return pretraining_dataset(directory, TOKENIZER, 4, 64, packing=True, **more)

    def epochs(dataset, count=1):
        return [[{k: v.numpy() for k, v in x.items()} for x in dataset] for _ in range(count)]

    first, again = epochs(make(seed=3), 2), epochs(make(seed=3), 2)
    assert are_equal(first[0], again[0])
    assert are_equal(first[1], again[1])
    assert not are_equal(first[0], first[1])
    assert not are_equal(first[0], epochs(make(seed=4))[0])
    shares = [epochs(make(num_workers=2, worker_index=i))[0] for i in (0, 1, 0)]
    assert are_equal(shares[0], shares[2])
    assert not are_equal(shares[0], shares[1])


def test_each_worker_reads_its_own_shards(corpus, tmp_path, small_blocks):
    directory = tmp_path / "cache"
    build_token_cache(corpus, TOKENIZER, directory, num_shards=5)
    options = {"objective": "none", "masked_lm_prob": 0.0, "short_seq_prob": 0}

    def pieces(**more):
        found = []
        for x in stream(directory, drop_remainder=False, **options, **more):
            rows, slots = np.nonzero(x["masked_weights"])
            x["token_ids"][rows, x["masked_positions"][rows, slots]] = x["masked_ids"][rows, slots]
            found += map(tuple, x["token_ids"].tolist())
        return sorted(found)

    shares = [pieces(num_workers=3, worker_index=i) for i in range(3)]
    assert min(map(len, shares)) > 0
    assert sorted(itertools.chain(*shares)) == pieces()
    with pytest.raises(ValueError, match=r"fewer shards .* `num_shards` 6 .*Received: 5 shards"):
        pieces(num_workers=6, worker_index=0)


@pytest.mark.parametrize("documents", [4, 12, 100])
def test_small_corpora_fill_all_shards(tmp_path, documents, monkeypatch):
    """A corpus of one block, whose documents are dealt out all the same."""
    source = [["kalo mi .", f"{word} ."] * 9 for word in (WORDS * 2)[:documents]]
    directory = tmp_path / "cache"
    info = build_token_cache(source, TOKENIZER, directory, num_shards=4)
    assert len(cached(directory)) == info["documents"] == documents
    sizes = [shard["bytes"] for shard in info["shards"]]
    assert 0 < max(sizes) <= 1.5 * min(sizes)
    assert all(
        stream(directory, num_workers=4, worker_index=i, objective="none", drop_remainder=False)
        for i in range(4)
    )

    # A build that was stopped before its shards were whole comes to the same.
    def stop(*arguments):
        raise KeyboardInterrupt

    again = tmp_path / "again"
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[BUILD], "write_info", stop)
        with pytest.raises(KeyboardInterrupt):
            build_token_cache(source, TOKENIZER, again, num_shards=4)
    build_token_cache(source, TOKENIZER, again, num_shards=4)
    assert contents(again) == contents(directory)


def test_an_empty_shard(tmp_path):
    """Where there are fewer documents than shards, some are empty, and that is no error."""
    directory = tmp_path / "cache"
    build_token_cache([["kalo mi ."] * 9] * 5, TOKENIZER, directory, num_shards=6)
    assert min(s["bytes"] for s in read_info(directory)["shards"]) == 0
    assert len(cached(directory)) == 5
    assert stream(directory)
    # A worker with nothing to read is told so.
    with pytest.raises(ValueError, match=r"Received: 0 documents"):
        stream(directory, num_workers=6, worker_index=5)


def test_one_document(tmp_path):
    directory = tmp_path / "cache"
    build_token_cache([["kalo lomi ."] * 60], TOKENIZER, directory)
    with pytest.raises(ValueError, match=r"two documents at least.*Received: 1 document$"):
        stream(directory)
    assert stream(directory, objective="sentence_order", drop_remainder=False)
    assert stream(directory, objective="none", packing=True, drop_remainder=False)


def test_another_tokenizer(corpus, tmp_path):
    directory = tmp_path / "cache"
    build_token_cache(corpus, TOKENIZER, directory)
    others = {
        r"another vocabulary\. Give .*Received: a vocabulary with the SHA-256": [*VOCABULARY, "x"],
        "other options of the tokenizer.*Received: lowercase=False and not True": VOCABULARY,
    }
    for message, vocabulary in others.items():
        tokenizer = kbl.BertTokenizer(vocabulary, lowercase="x" in vocabulary)
        with pytest.raises(ValueError, match=message):
            pretraining_dataset(directory, tokenizer, 8)
    # What is not text to ids may differ.
    again = kbl.BertTokenizer(VOCABULARY, max_length=64, name="again")
    pretraining_dataset(directory, again, 8)
    # Nor does a cache have options that the library did not have yet.
    info = read_info(directory)
    del info["tokenizer"]["additional_special_tokens"], info["tokenizer"]["clean_text"]
    (directory / "cache.json").write_text(json.dumps(info))
    pretraining_dataset(directory, TOKENIZER, 8)
    with pytest.raises(ValueError, match="clean_text=False and not True"):
        pretraining_dataset(directory, kbl.BertTokenizer(VOCABULARY, clean_text=False), 8)


def test_corrupt_shards(corpus, tmp_path, small_blocks, caplog):
    caplog.set_level("WARNING")
    directory = tmp_path / "cache"
    build_token_cache(corpus, TOKENIZER, directory, num_shards=4)
    whole = cached(directory)
    names = [directory / s["name"] for s in read_info(directory)["shards"]]
    damaged = bytearray(names[0].read_bytes())
    damaged[-20] ^= 1
    names[0].write_bytes(damaged)
    names[1].write_bytes(names[1].read_bytes()[:-30])
    names[2].unlink()
    for name, what in [
        (names[0], r"corrupted record at \d+"),
        (names[1], "it has .* bytes, and had .*"),
        (names[2], r".*\.tfrecord; No such file or directory"),
    ]:
        shard = next(s for s in read_info(directory)["shards"] if s["name"] == name.name)
        message = f"shard {re.escape(str(name))} .*is corrupt.*after it.*Received: {what}$"
        with pytest.raises(ValueError, match=message):
            list(read_shards([(str(name), shard["bytes"])], "raise"))
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"is corrupt"):
        stream(directory)
    caplog.clear()
    rest = cached(directory, on_corrupt="skip")
    assert 0 < len(rest) < len(whole)
    assert all(document in whole for document in rest)
    assert stream(directory, on_corrupt="skip")
    # Each shard is named once, whatever the epochs.
    logged = [record.getMessage() for record in caplog.records]
    assert [sum(str(name) in message for message in logged) for name in names] == [1, 1, 1, 0]
    # And how much is left out.
    lost = (
        r"All of its documents after the first [1-9]\d* are left out\. Received: corrupted record"
    )
    assert any(re.search(lost, message) for message in logged)
    assert sum("All of its documents are left out." in message for message in logged) == 2
    (directory / "cache.json").write_text("{")
    with pytest.raises(ValueError, match=r"cache\.json is not what a token cache has"):
        stream(directory)


@needs_full_disk
def test_full_disk(corpus, tmp_path, small_blocks, monkeypatch):
    """The third segment cannot be written: no cache stands there, and the next call goes on."""
    directory, module = tmp_path / "cache", sys.modules[BUILD]
    build_token_cache(corpus, TOKENIZER, tmp_path / "expected", num_shards=2)
    partial = tmp_path / "cache.partial"
    partial.mkdir()
    start_build = module.start_build

    def start(*arguments):
        path = start_build(*arguments)
        (partial / "segment-00002.tmp").symlink_to("/dev/full")
        return path

    monkeypatch.setattr(module, "start_build", start)
    with pytest.raises(OSError, match=r"No space left.*Build it again.*cache\.partial") as error:
        build_token_cache(corpus, TOKENIZER, directory, num_shards=2)
    assert error.value.errno == 28
    assert not directory.exists()
    # What was half-written does not keep the disk full.
    assert sorted(os.listdir(partial)) == ["segment-00000", "segment-00001", "settings.json"]
    with pytest.raises(ValueError, match=r"cache is not finished. Run what builds it again"):
        stream(directory)
    monkeypatch.setattr(module, "start_build", start_build)
    tokenized = []
    monkeypatch.setattr(
        module,
        "tokenize_block",
        lambda *arguments, tokenize=module.tokenize_block: (
            tokenized.append(1) or tokenize(*arguments)
        ),
    )
    with pytest.raises(ValueError, match=r"other settings.*Received: another num_shards"):
        build_token_cache(corpus, TOKENIZER, directory, num_shards=3)
    build_token_cache(corpus, TOKENIZER, directory, num_shards=2)
    assert contents(directory) == contents(tmp_path / "expected")
    blocks = len(list(module.raw_blocks(kbl.data.read_documents(corpus))))
    assert 0 < len(tokenized) <= blocks - 10  # but for the two segments that were written


@needs_full_disk
@pytest.mark.parametrize("name", ["tokens-00001-of-00002.tfrecord", "cache.json"])
def test_full_disk_at_the_end(corpus, tmp_path, name, monkeypatch):
    partial, module = tmp_path / "cache.partial", sys.modules[BUILD]
    write_shards = module._write_shards

    def write(*arguments):
        (partial / f"{name}.tmp").symlink_to("/dev/full")
        write_shards(*arguments)

    monkeypatch.setattr(module, "_write_shards", write)
    with pytest.raises(OSError, match=r"No space left"):
        build_token_cache(corpus, TOKENIZER, tmp_path / "cache", num_shards=2)
    assert (partial / "segment-00000").exists()
    assert not list(partial.glob("*.tmp"))


PROGRAM = """
import sys
import keras_bert_lib as kbl
module = sys.modules["keras_bert_lib.data.build_token_cache"]
module._BLOCK_CHARACTERS, module._SEGMENT_BLOCKS = 500, 5
tokenizer = kbl.BertTokenizer({vocabulary!r})
print("started", flush=True)
kbl.data.build_token_cache({source!r}, tokenizer, {directory!r}, num_shards=3)
"""


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path, small_blocks):
    source = tmp_path / "corpus.txt"
    source.write_text(make_text(1500))
    build_token_cache(source, TOKENIZER, tmp_path / "expected", num_shards=3)
    directory = tmp_path / "cache"
    program = PROGRAM.format(vocabulary=VOCABULARY, source=str(source), directory=str(directory))
    rng = np.random.default_rng(0)
    kills = 0
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        process.stdout.readline()
        time.sleep(rng.uniform(0.05, 0.8))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
        process.stdout.close()
        if directory.exists():
            break
        assert not (tmp_path / "cache" / "cache.json").exists()
    if not directory.exists():
        build_token_cache(source, TOKENIZER, directory, num_shards=3)
    assert kills
    assert contents(directory) == contents(tmp_path / "expected")


# The documents come to an end for a while, when both workers wait for more.
WAITING = """
import multiprocessing, time
import keras_bert_lib as kbl

def documents():
    for number in range(20):
        yield ["kalo " * 20_000]
    print(*[process.pid for process in multiprocessing.active_children()], flush=True)
    time.sleep(600)

tokenizer = kbl.BertTokenizer({vocabulary!r})
kbl.data.build_token_cache(documents(), tokenizer, {directory!r}, num_workers=2)
"""


@pytest.mark.slow
def test_killed_with_workers(tmp_path):
    program = WAITING.format(vocabulary=VOCABULARY, directory=str(tmp_path / "cache"))
    # The workers have standard output, too: it ends when they have.
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        workers = [int(pid) for pid in process.stdout.readline().split()]
        assert len(workers) == 2
        process.kill()
        is_over, _, _ = select.select([process.stdout], [], [], 60)
        if not is_over:
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
        assert is_over


def test_unusable_arguments(corpus, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"something in .*taken already"):
        build_token_cache(corpus, TOKENIZER, taken)
    with pytest.raises(FileNotFoundError, match=r"no file"):
        build_token_cache(tmp_path / "absent.txt", TOKENIZER, tmp_path / "cache")
    with pytest.raises(ValueError, match=r"`num_shards` must be 1 at least. Received: 0"):
        build_token_cache(corpus, TOKENIZER, tmp_path / "cache", num_shards=0)
    for source in ([], [["", " "]]):
        with pytest.raises(ValueError, match=r"no text to tokenize. Received: 0 pieces"):
            build_token_cache(source, TOKENIZER, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
