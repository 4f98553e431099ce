import json
import os

import pytest

import keras_bert_lib as kbl
from keras_bert_lib import training


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
    config = kbl.BertPretrainer.from_pretrained(tmp_path / "bert").config
    assert (config.num_layers, config.hidden_size) == (2, 128)
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

    code, out, _ = run_command(*arguments)
    assert code == 0
    assert "Going on with the training" in out
    assert held_out_losses(out) == held_out_losses(unbroken)
    assert not (tmp_path / "bert" / "training").exists()


def test_epochs_are_counted_on_the_corpus(run_command, arguments, tmp_path):
    position = arguments.index("--steps")
    code, out, _ = run_command(
        *arguments[:position],
        *("--epochs", "1", "--held-out", arguments[2], "--dropout", "0", "--mask-share", "0.3"),
    )
    assert code == 0
    assert "Counting the examples" in out
    # Without dropout here, with it when it is fine-tuned.
    assert kbl.BertEncoder.from_pretrained(tmp_path / "bert").config.hidden_dropout == 0.1


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
