"""The cache that Beam builds is the one that this process builds, but for its order."""

import gzip
import os
import sys

import pytest

import keras_bert_lib as kbl
from keras_bert_lib.data.token_cache import read_shards

TOKENIZER = kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", "."])


def cached(directory, info):
    shards = [(os.path.join(directory, s["name"]), s["bytes"]) for s in info["shards"]]
    return sorted((d.ids.tolist(), d.splits.tolist()) for d in read_shards(shards, "raise"))


def test_without_beam(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-bert-lib\[beam\]'"):
        kbl.data.build_token_cache_with_beam("a.txt", TOKENIZER, tmp_path / "cache")


@pytest.mark.parity
def test_beam_builds_the_same(tmp_path):
    pytest.importorskip("apache_beam")
    for number in range(5):
        text = "\n\n".join(f"a b c {'d ' * number}.\ne f {'g ' * i}." for i in range(400))
        (tmp_path / f"{number}.txt").write_text(text)
    (tmp_path / "empty.txt").write_text("\n")
    source = tmp_path / "*.txt"
    built = kbl.data.build_token_cache_with_beam(source, TOKENIZER, tmp_path / "beam", num_shards=3)
    expected = kbl.data.build_token_cache(source, TOKENIZER, tmp_path / "here", num_shards=3)
    assert cached(tmp_path / "beam", built) == cached(tmp_path / "here", expected)
    for name in ("documents", "sentences", "pieces", "tokenizer"):
        assert built[name] == expected[name]
    assert sorted(os.listdir(tmp_path / "beam")) == sorted(os.listdir(tmp_path / "here"))
    assert next(iter(kbl.data.pretraining_dataset(tmp_path / "beam", TOKENIZER, 8)))

    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"a b c .\n" * 5000)[:60])
    source = [source, tmp_path / "cut.txt.gz"]
    directory = tmp_path / "other"
    with pytest.raises(Exception, match=r"cut\.txt\.gz is no whole gzip file"):
        kbl.data.build_token_cache_with_beam(source, TOKENIZER, directory)
    assert not directory.exists()
    info = kbl.data.build_token_cache_with_beam(source, TOKENIZER, directory, on_corrupt="skip")
    assert info["documents"] >= built["documents"]
