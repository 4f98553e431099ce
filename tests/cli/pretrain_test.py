import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import keras_bert_lib as kbl
from keras_bert_lib import training
from keras_bert_lib.cli import pretrain
from tests.cli.two_workers import run_two_workers


@pytest.fixture
def arguments(corpus, vocab_file, tmp_path):
    """Arguments of a pretraining of a few steps."""
    return [
        *("pretrain", "--corpus", corpus, "--vocab", vocab_file, "--size", "tiny"),
        *("--output", tmp_path / "bert", "--batch-size", "4", "--max-length", "24"),
        *("--steps", "6"),
    ]


class InterruptedTraining(training.Resume):
    """Meets a Ctrl-C after the fourth step."""

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if batch == 3:
            import signal

            signal.raise_signal(signal.SIGINT)


def held_out_losses(out):
    return out[out.index("On held-out text") :].splitlines()[0]


def test_pretrain_writes_a_model_that_loads(run_command, arguments, tmp_path):
    code, out, _ = run_command(*arguments)
    assert code == 0
    assert "masked-piece loss" in held_out_losses(out)
    assert f"keras-bert finetune --train train.csv --model {tmp_path / 'bert'}" in out
    files = set(os.listdir(tmp_path / "bert"))
    assert files - {"logs"} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    }
    pretrainer = kbl.BertPretrainer.from_pretrained(tmp_path / "bert")
    config = pretrainer.config
    assert (config.num_layers, config.hidden_size) == (2, 128)
    # It began with the pieces' frequencies: 6 steps move the bias by less than 0.003.
    bias = np.exp(np.asarray(pretrainer.mlm_head.bias))
    assert bias.sum() == pytest.approx(1.0, rel=0.01)
    assert bias.min() < 1e-4  # [PAD] is never masked
    assert bias.max() > 2 / config.vocab_size
    # Nothing is trained on top of a model that is there.
    code, _, error = run_command(*arguments)
    assert code == 2
    assert "exists already" in error


def test_interrupted_pretraining_goes_on_to_the_same_result(
    run_command, arguments, tmp_path, monkeypatch
):
    _, unbroken, _ = run_command(*arguments[:-4], "--steps", "6", "--max-length", "24")
    os.rename(tmp_path / "bert", tmp_path / "unbroken")

    with monkeypatch.context() as patch:
        patch.setattr(training, "Resume", InterruptedTraining)
        code, _, error = run_command(*arguments)
    assert code == 130
    assert "Run the same command again to go on" in error

    # Other settings would make another training of it.
    code, _, error = run_command(*arguments, "--learning-rate", "1e-4")
    assert code == 2
    assert "learning_rate=0.0001 (was 0.0005)" in error

    # So would another vocabulary or another text under the same name.
    for flag, shown in [("--vocab", "vocabulary_sha256="), ("--corpus", "bytes=")]:
        path = arguments[arguments.index(flag) + 1]
        before = Path(path).read_text("utf-8")
        Path(path).write_text("\n".join([*before.split("\n")[:-2], "another", ""]), "utf-8")
        code, _, error = run_command(*arguments)
        assert code == 2
        assert shown in error
        Path(path).write_text(before, "utf-8")

    code, out, _ = run_command(*arguments)
    assert code == 0
    assert "Going on with the training" in out
    assert re.search(r"Trained 6 steps on \d+ tokens; 0.\d minutes since it went on", out)
    assert held_out_losses(out) == held_out_losses(unbroken)
    assert not (tmp_path / "bert" / "training").exists()


def test_epochs_are_counted_on_the_corpus(run_command, arguments, tmp_path):
    position = arguments.index("--steps")
    code, out, _ = run_command(
        *arguments[:position],
        *("--epochs", "1", "--held-out", arguments[2], "--dropout", "0", "--mask-share", "0.3"),
        *("--initializer-range", "0.09"),
    )
    assert code == 0
    assert "Counting the examples" in out
    # Without dropout here, with it when it is fine-tuned.
    encoder = kbl.BertEncoder.from_pretrained(tmp_path / "bert")
    assert encoder.config.hidden_dropout == 0.1
    assert encoder.config.initializer_range == 0.09
    assert np.std(encoder.embeddings.token_embedding) == pytest.approx(0.09, rel=0.15)


@pytest.mark.slow
def test_progress_and_the_rest_of_the_recipe(run_command, arguments, tmp_path):
    cache = tmp_path / "cache"
    tokenizer = kbl.BertTokenizer(arguments[4])
    kbl.data.build_token_cache(arguments[2], tokenizer, cache, num_shards=2)
    recipe = [
        *("--corpus", cache, "--held-out", arguments[2], "--packing", "--objective", "none"),
        *("--masking", "whole_word", "--optimizer", "lamb", "--ema", "0.5", "--steps", "8"),
        *("--accumulation-steps", "2", "--steps-per-execution", "2", "--evaluate-every", "4"),
        *("--log-every", "2", "--save-every", "2", "--keep", "3"),
    ]
    code, out, error = run_command(*arguments, *recipe)
    assert code == 0, error
    lines = out.splitlines()
    steps = [line for line in lines if line.startswith("step ")]
    # The first execution builds the graph and is not timed.
    assert [line.split(",")[0] for line in steps] == [f"step {n} of 8" for n in (4, 6, 8)]
    for line in steps:
        for part in ("mlm loss", "mlm accuracy", " tokens/s", "% of the matmul rate", " left"):
            assert part in line
    assert sum(line.startswith("  held out: ") and "mlm loss" in line for line in lines) == 2
    assert any(line.startswith("Trained 8 steps on ") for line in lines)
    assert "next sentence" not in held_out_losses(out)
    # Two phases: longer examples from these weights.
    second = [*arguments, "--model", tmp_path / "bert", "--max-length", "48"]
    second[second.index(tmp_path / "bert")] = tmp_path / "second"
    code, out, error = run_command(*second, "--objective", "sentence_order", "--steps", "2")
    assert code == 0, error
    assert "sentence order right in" in held_out_losses(out)


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_in_one_line(run_command, arguments, tmp_path):
    code, _, error = run_command(*arguments, "--learning-rate", "1e30", "--save-every", "1")
    assert code == 2
    assert error.count("\n") == 1
    assert f"what it was fed is in {tmp_path / 'bert' / 'training' / 'nan.npz'}" in error
    with np.load(tmp_path / "bert" / "training" / "nan.npz") as written:
        assert any(name.endswith("/token_ids") for name in written.files)
    with np.load(tmp_path / "bert" / "training" / "state.npz") as state:  # from before
        assert all(np.isfinite(state[name]).all() for name in state.files if name != "place.json")


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_the_same(arguments, tmp_path):
    """Processes of the command itself; corpus, graph, checkpoints and all."""
    arguments = [*arguments[:-1], "60", "--save-every", "5", "--log-every", "1"]
    command = [sys.executable, "-m", "keras_bert_lib.cli.main", *map(str, arguments)]

    def run(seconds=None):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            if seconds is not None and line.startswith("step "):
                break
        if seconds is None:
            return process.wait()
        time.sleep(seconds)
        process.send_signal(signal.SIGTERM if seconds == 0 else signal.SIGKILL)
        process.communicate()
        return process.returncode

    assert run() == 0
    os.rename(tmp_path / "bert", tmp_path / "unbroken")
    assert run(0) == 143  # it saved
    assert run(0.1) == -9
    assert run() == 0
    ours, theirs = (
        kbl.BertPretrainer.from_pretrained(tmp_path / name).get_weights()
        for name in ("bert", "unbroken")
    )
    for a, b in zip(ours, theirs):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_two_workers_stop_and_go_on_together(arguments, tmp_path):
    arguments = [*arguments[:-1], "40", "--save-every", "5", "--log-every", "1"]
    arguments += ["--strategy", "multi_worker"]
    first, _, codes = run_two_workers(arguments, stop_at="step ")  # one is told, both must save
    assert codes == [143, 143]
    assert "step 40 of 40" not in first
    first, second, codes = run_two_workers(arguments)
    assert codes == [0, 0]
    assert "Going on with the training" in first
    assert "step 40 of 40" in first
    assert "Wrote" in first
    assert "Wrote" not in second
    kbl.BertPretrainer.from_pretrained(tmp_path / "bert")


@pytest.mark.slow
def test_the_worker_that_is_left_says_what_to_do(arguments, tmp_path):
    arguments = [*arguments[:-1], "400", "--save-every", "5", "--log-every", "1"]
    arguments += ["--strategy", "multi_worker"]
    codes = run_two_workers(arguments, stop_at="step ", stop_by=signal.SIGKILL)[-1]
    assert codes == [75, -signal.SIGKILL]


@pytest.mark.slow
def test_each_worker_writes_what_it_was_fed(arguments, tmp_path):
    arguments += ["--strategy", "multi_worker", "--learning-rate", "1e30"]
    *_, codes = run_two_workers(arguments)
    assert codes == [2, 2]
    tokenizer = kbl.BertTokenizer(arguments[arguments.index("--vocab") + 1])
    for index in range(2):
        with np.load(tmp_path / "bert" / "training" / f"nan-{index}.npz") as written:
            name = next(name for name in written.files if name.endswith("/token_ids"))
            step = int(name.split("/")[0])
            share = kbl.data.pretraining_dataset(
                pretrain.Documents(
                    [arguments[arguments.index("--corpus") + 1]],
                    lambda number: number % pretrain._HOLD_OUT_EVERY != 1,
                ),
                tokenizer,
                batch_size=2,
                max_length=24,
                max_predictions=4,
                seed=1,
                repeat=True,
                num_workers=2,
                worker_index=index,
            )
            fed = next(iter(share.skip(step - 1)))
            np.testing.assert_array_equal(written[name], fed["token_ids"])


def test_replicas_share_the_held_out_examples():
    examples = {"token_ids": np.zeros([5, 8], "int32")}
    sizes = [len(batch["token_ids"]) for batch in pretrain._batches(examples, 8, 2)]
    assert sizes == [4]
    with pytest.raises(ValueError, match=r"with more of it\. Received: 1 example$"):
        pretrain._batches({"token_ids": np.zeros([1, 8], "int32")}, 8, 2)


def test_a_model_keeps_its_vocabulary(run_command, arguments, artifacts, vocab_file, tmp_path):
    # `artifacts["model"]` has as many pieces as this.
    tokenizer = kbl.BertTokenizer.from_pretrained(artifacts["model"])
    pieces = list(tokenizer.vocabulary)
    (tmp_path / "own.txt").write_text("\n".join(pieces), "utf-8")
    pieces[-1], pieces[-2] = pieces[-2:]
    (tmp_path / "other.txt").write_text("\n".join(pieces), "utf-8")
    arguments = [*arguments, "--model", artifacts["model"], "--max-length", "16"]
    for vocab, more, part in [
        ("other.txt", [], f"other.txt is not the vocabulary of {artifacts['model']}. Give that."),
        ("own.txt", ["--cased"], "is uncased: leave out --cased."),
    ]:
        arguments[arguments.index("--vocab") + 1] = tmp_path / vocab
        code, _, error = run_command(*arguments, *more)
        assert code == 2
        assert part in error


def test_bad_input_gives_one_line(run_command, arguments, tmp_path):
    def error_of(**changed):
        argv = list(arguments)
        for name, value in changed.items():
            argv[argv.index(f"--{name}") + 1] = value
        code, _, error = run_command(*argv)
        assert code == 2
        assert error.startswith("keras-bert pretrain: error: ")
        assert error.count("\n") == 1
        return error

    few = tmp_path / "few.txt"
    few.write_text("One document. Of two sentences.\n\nAnother one.\n")
    no_unk = tmp_path / "no_unk.txt"
    no_unk.write_text("[PAD]\n[CLS]\n[SEP]\n[MASK]\nthe\n")
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "config.json").write_text(json.dumps({}))
    assert "few documents" in error_of(corpus=few)
    assert "absent.txt" in error_of(corpus=tmp_path / "absent.txt")
    assert "[UNK]" in error_of(vocab=no_unk)
    assert "absent.txt" in error_of(vocab=tmp_path / "absent.txt")
    assert "exists already" in error_of(output=taken)
    assert "Give --held-out" in error_of(corpus=tmp_path)
