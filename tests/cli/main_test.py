import errno
import subprocess
import sys

import pytest
import tensorflow as tf
from absl import flags

from keras_bert_lib.cli import main, vocab


def one_line_error(result, *parts):
    code, _, error = result
    assert code == 2
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    for part in parts:
        assert part in error
    return True


def test_help_names_every_command_and_first_steps(run_command):
    code, out, _ = run_command("--help")
    assert code == 0
    for name in main.COMMANDS:
        assert f"\n    {name}" in out
    assert "keras-bert quickstart" in out


@pytest.mark.parametrize("name", main.COMMANDS)
def test_help_of_each_command_shows_an_example(run_command, name):
    code, out, _ = run_command(name, "--help")
    assert code == 0
    assert f"\n  keras-bert {name}" in out[out.index("example") :]
    assert "(default: None)" not in out
    assert "(default: False)" not in out


def test_help_shows_defaults(run_command):
    _, out, _ = run_command("finetune", "--help")
    assert "(default: 0.1)" in out
    assert "(default: 32)" in out


def test_parsing_needs_no_tensorflow():
    # Whoever mistypes an option must not wait for TensorFlow to load.
    program = (
        "import sys\n"
        "sys.argv = ['/usr/bin/keras-bert']\n"
        "from keras_bert_lib.cli import main\n"
        "main.parse(['predict', 'model', 'text'])\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        ([], "COMMAND"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["vocab"], "FILE"),
        (["vocab", "a.txt", "--vocab-size", "0"], "give a whole number above 0, not '0'"),
        (["vocab", "a.txt", "--vocab", "9"], "unrecognized arguments: --vocab 9"),
        (["finetune", "--model", "m", "--output", "o"], "--train"),
        (["finetune", "--hold-out", "1.5"], "give a number from 0 to below 1, not '1.5'"),
        (["finetune", "--learning-rate", "nan"], "give a number above 0, not 'nan'"),
        (["pretrain", "--size", "huge"], "invalid choice: 'huge'"),
        (["export", "--quantization", "int3"], "invalid choice: 'int3'"),
    ],
)
def test_mistyped_arguments_give_one_line(run_command, argv, part):
    assert one_line_error(run_command(*argv), part, "--help`")


def test_absl_flags_are_parsed_too(run_command, tmp_path):
    verbosity = flags.FLAGS.verbosity
    try:
        code, _, error = run_command("vocab", tmp_path / "absent.txt", "--verbosity=1")
        assert flags.FLAGS.verbosity == 1
    finally:
        flags.FLAGS.verbosity = verbosity
    assert code == 2
    assert "absent.txt: No such file or directory." in error


@pytest.mark.parametrize(
    ("raised", "parts"),
    [
        (ValueError("`a` is\nwrong. Received: 3"), ["error: `a` is wrong. Received: 3\n"]),
        (FileNotFoundError("Nothing at x."), ["error: Nothing at x.\n"]),
        (FileExistsError("x is there."), ["error: x is there.\n"]),
        (PermissionError(errno.EACCES, "Permission denied", "f"), ["f: Permission denied."]),
        (OSError(errno.ENOSPC, "No space left on device", "f"), ["disk is full", "still there"]),
        # The library names its arguments, the command its flags.
        (
            ValueError("`vocab_size` or `lower`, not `corpus`? Received: `vocab_size=3`"),
            ["error: --vocab-size or `lower`, not `corpus`? Received: --vocab-size=3\n"],
        ),
        (
            RuntimeError(
                "UNKNOWN: ValueError: f line 3 is bad.\nTraceback\n\nValueError: f line 3."
            ),
            ["error: f line 3.\n"],
        ),
    ],
)
def test_errors_of_the_input_give_one_line(run_command, monkeypatch, raised, parts):
    def run(args):
        raise raised

    monkeypatch.setattr(vocab, "run", run)
    assert one_line_error(run_command("vocab", "f"), "keras-bert vocab: error: ", *parts)


def test_a_worker_that_is_gone_has_an_exit_code_of_its_own(run_command, monkeypatch):
    def run(args):
        raise tf.errors.UnavailableError(None, None, "Graph execution error:\nSocket closed")

    monkeypatch.setattr(vocab, "run", run)
    monkeypatch.setenv("TF_CONFIG", "{}")
    code, _, error = run_command("vocab", "f")
    assert code == 75
    assert error.startswith("keras-bert vocab: error: another worker is gone")
    assert error.count("\n") == 1


def test_defects_keep_their_traceback(monkeypatch):
    def run(args):
        raise TypeError("ours")

    monkeypatch.setattr(vocab, "run", run)
    with pytest.raises(TypeError, match="ours"):
        main.main(["vocab", "f"])


def test_interrupted_command_says_how_to_go_on(run_command, monkeypatch):
    def run(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(vocab, "run", run)
    code, _, error = run_command("vocab", "f")
    assert code == 130
    assert error == "\nkeras-bert vocab: interrupted. Nothing was written.\n"


def test_closed_pipe_is_quiet(tmp_path):
    program = (
        "import sys\n"
        "from keras_bert_lib.cli import main, vocab\n"
        "vocab.run = lambda args: print('line\\n' * 100_000)\n"
        "sys.exit(main.main(['vocab', 'f']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        error = process.stderr.read()
        process.wait()
    assert process.returncode == 0
    assert b"BrokenPipe" not in error
