import gzip
from pathlib import Path

import pytest

import keras_bert_lib as kbl


def test_vocab_learns_what_the_library_learns(run_command, corpus, tmp_path):
    output = tmp_path / "learned" / "vocab.txt"
    code, out, _ = run_command("vocab", corpus, "--output", output, "--vocab-size", "120")
    assert code == 0
    learned = kbl.text.load_vocabulary(output)
    assert learned == kbl.text.learn_vocabulary(corpus, vocab_size=120, show_progress=False)
    assert f"Wrote {output}: {len(learned)} pieces" in out
    assert f"keras-bert pretrain --corpus {corpus} --vocab {output}" in out


def test_patterns_and_reserved_pieces(run_command, corpus, tmp_path):
    text = gzip.compress(Path(corpus).read_bytes())
    (tmp_path / "part.txt.gz").write_bytes(text)
    output = tmp_path / "vocab.txt"
    flags = ["--vocab-size", "130", "--unused", "3", "--alphabet-limit", "12"]
    code, out, _ = run_command("vocab", tmp_path / "p*.gz", "--output", output, *flags)
    assert code == 0
    reserved = ["[PAD]", "[unused0]", "[unused1]", "[unused2]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = kbl.text.load_vocabulary(output)
    assert vocabulary[:8] == reserved
    assert sum(len(piece) == 1 for piece in vocabulary) == 12
    assert f"--corpus '{tmp_path}/p*.gz'" in out
    assert ("fewer than asked for" in out) == (len(vocabulary) < 130)


def test_cased_vocabulary_keeps_upper_case(run_command, corpus, tmp_path):
    for flags, kept in [((), False), (("--cased",), True)]:
        output = tmp_path / f"{kept}.txt"
        _, out, _ = run_command("vocab", corpus, "--output", output, *flags)
        pieces = kbl.text.load_vocabulary(output)[5:]  # past [PAD] and its like
        assert any(piece != piece.lower() for piece in pieces) == kept
        assert ("--cased" in out) == kept


def test_bad_input_gives_one_line_and_writes_nothing(run_command, corpus, tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    not_gzip = tmp_path / "text.txt.gz"
    not_gzip.write_text("plain")
    cut = tmp_path / "cut.txt.gz"
    cut.write_bytes(gzip.compress(b"words " * 5000)[:40])
    output = tmp_path / "vocab.txt"
    for argv, part in [
        ([tmp_path / "absent.txt"], "absent.txt"),
        ([tmp_path / "*.md"], "*.md"),
        ([tmp_path], "directory"),
        ([empty], "no words"),
        ([not_gzip], "text.txt.gz"),
        ([cut], "cut.txt.gz"),
        ([corpus, "--vocab-size", "10"], "must be at least"),
        ([corpus, "--output", tmp_path], "exists already"),
    ]:
        code, _, error = run_command("vocab", "--output", output, *argv)
        assert code == 2
        assert part in error
        assert error.count("\n") == 1
        assert not output.exists()


def test_vocabulary_is_written_over_only_when_asked(run_command, corpus, tmp_path):
    output = tmp_path / "vocab.txt"
    output.write_text("mine")
    code, _, error = run_command("vocab", corpus, "--output", output)
    assert code == 2
    assert "add --overwrite" in error
    assert output.read_text() == "mine"
    code, _, _ = run_command("vocab", corpus, "--output", output, "--overwrite")
    assert code == 0
    assert len(kbl.text.load_vocabulary(output)) > 20


@pytest.mark.parametrize("name", ["/dev/full"])
def test_full_disk_says_so(run_command, corpus, name, monkeypatch):
    def write_bytes(path, data):
        with open(name, "wb") as file:
            file.write(data)

    monkeypatch.setattr("pathlib.Path.write_bytes", write_bytes)
    code, _, error = run_command("vocab", corpus, "--output", "full-vocab.txt")
    assert code == 2
    assert "The disk is full" in error
    assert error.count("\n") == 1
