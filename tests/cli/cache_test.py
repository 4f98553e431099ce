import gzip
from pathlib import Path

import numpy as np

import keras_bert_lib as kbl


def test_cache_is_what_the_library_builds(run_command, corpus, vocab_file, tmp_path):
    output = tmp_path / "cache"
    flags = ["--vocab", vocab_file, "--output", output, "--shards", "2"]
    code, out, _ = run_command("cache", "--corpus", corpus, *flags)
    assert code == 0
    tokenizer = kbl.BertTokenizer(vocab_file)
    info = kbl.data.build_token_cache(corpus, tokenizer, tmp_path / "expected", num_shards=2)
    for name in ["cache.json", *(shard["name"] for shard in info["shards"])]:
        assert (output / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()
    assert f"Wrote {output}: {info['pieces']:,} pieces of {info['documents']:,} documents" in out
    assert f"keras-bert pretrain --corpus {output} --vocab {vocab_file}" in out
    batch = next(iter(kbl.data.pretraining_dataset(output, tokenizer, 4, max_length=32)))
    assert np.all(batch["token_ids"][:, 0] == tokenizer.cls_token_id)


def test_bad_input_gives_one_line(run_command, corpus, vocab_file, tmp_path):
    cut = tmp_path / "cut.txt.gz"
    cut.write_bytes(gzip.compress(Path(corpus).read_bytes())[:-20])
    output = tmp_path / "cache"
    for argv, part in [
        ([tmp_path / "absent.txt"], "absent.txt"),
        ([cut], "cut.txt.gz is no whole gzip file"),
        ([corpus, "--output", Path(vocab_file).parent], "is something in"),
        ([corpus, "--shards", "0"], "above 0"),
    ]:
        argv = ["--vocab", vocab_file, "--output", output, "--corpus", *argv]
        code, _, error = run_command("cache", *argv)
        assert code == 2
        assert part in error
        assert error.count("\n") == 1
        assert not output.exists()
    argv = ["--corpus", cut, corpus, "--vocab", vocab_file, "--output", output]
    assert run_command("cache", *argv, "--on-corrupt", "skip")[0] == 0


def test_one_document_is_no_documents(run_command, vocab_file, tmp_path):
    (tmp_path / "one.txt").write_text("the cat sat .")
    flags = ["--vocab", vocab_file, "--output", tmp_path / "cache", "--shards", "1"]
    _, out, _ = run_command("cache", "--corpus", tmp_path / "one.txt", *flags)
    assert "4 pieces of 1 document in 1 shard," in out
