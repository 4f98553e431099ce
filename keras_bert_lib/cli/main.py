"""The `keras-bert` command: text in, a trained BERT, a file that takes text out."""

import argparse
import errno
import importlib
import os
import re
import sys

from absl import logging
from absl.flags import argparse_flags

# TensorFlow and Keras take seconds to import: the commands import them in `run`, so that `--help`
# and a mistyped option answer at once.
COMMANDS = {
    "quickstart": "train, export and check a small BERT on the text that comes with Python",
    "vocab": "learn a WordPiece vocabulary from text files",
    "cache": "tokenize a large corpus once, for `pretrain` to read",
    "pretrain": "pretrain a BERT on text files (masked pieces and next sentence)",
    "finetune": "fine-tune a BERT: labels, numbers, entities, answers, choices, embeddings",
    "evaluate": "measure a fine-tuned model on examples with right answers",
    "predict": "answer texts with a model directory, a SavedModel or a .tflite file",
    "export": "write a fine-tuned model as a file that takes text: SavedModel or TFLite",
    "convert": "take a model from one library to another (Hugging Face, Google, KerasHub, ...)",
    "inspect": "say what is in a model of any of these libraries, or in an exported file",
}

# What TensorFlow raises in the workers that are left.
_OF_ANOTHER_WORKER = ("UnavailableError", "AbortedError", "CancelledError")
_TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h
# Arguments of the library whose flags have other names.
_FLAGS = {"num_shards": "shards", "num_workers": "workers"}

_EPILOG = """\
first steps:
  keras-bert quickstart                     everything below, on text you already have
  keras-bert vocab corpus.txt --output vocab.txt
  keras-bert pretrain --corpus corpus.txt --vocab vocab.txt --output my-bert
  keras-bert finetune --train train.csv --model my-bert --output my-classifier
  keras-bert export --model my-classifier --output my-classifier.tflite
  keras-bert predict my-classifier.tflite "some text"

`keras-bert COMMAND --help` says more about each.
"""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of the examples, and shows the defaults that say something."""

    def _get_help_string(self, action):
        if action.default in (None, False, [], argparse.SUPPRESS) or not action.option_strings:
            return action.help
        return f"{action.help} (default: %(default)s)"


class _Parser(argparse_flags.ArgumentParser):
    """Answers a mistake with one line instead of the whole usage."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see `{self.prog} --help`)\n")


def build_parser():
    """Returns the parser of `keras-bert` with one subparser for each command."""
    parser = _Parser(
        prog="keras-bert",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = importlib.import_module(f"keras_bert_lib.cli.{name}")
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=command.__doc__,
            epilog=command.EXAMPLES,
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(subparser)
        subparser.set_defaults(command_parser=subparser, module=command)
    return parser


def parse(argv=None):
    """Parses the arguments of one command; exits with code 2 where they are wrong."""
    args, rest = build_parser().parse_known_args(argv)
    # argparse takes `text ...` as ended by the first option: `predict model --json text`.
    if hasattr(args, "text") and not any(argument.startswith("-") for argument in rest):
        args.text += rest
    elif rest:
        args.command_parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return args


def main(argv=None):
    """Runs one command.

    Args:
        argv: The arguments after the program's name; those of the process by default.

    Returns:
        The exit code: 0, 1 where what was made is not as good as it was to be, 2 for bad input
        or 75 where another worker is gone (each after one line on standard error), 130 when
        interrupted, 143 at SIGTERM.
    """
    args = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.use_absl_handler()
    name = f"keras-bert {args.command}"
    try:
        code = args.module.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted. {args.module.IF_INTERRUPTED}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # `keras-bert predict ... | head`: the reader has what it wanted. Python flushes standard
        # output once more when it exits, and that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if type(error).__name__ in _OF_ANOTHER_WORKER and "TF_CONFIG" in os.environ:
            print(
                f"{name}: error: another worker is gone, and none can go on without it. Start all "
                "of them again with the same command, to go on from the last checkpoint. Received: "
                f"{type(error).__name__}",
                file=sys.stderr,
            )
            return _TRY_AGAIN
        message = _one_line(error)
        if message is None:
            raise
        print(f"{name}: error: {_with_flags(message, args)}", file=sys.stderr)
        return 2
    return code or 0


def _one_line(error):
    """What to say of an error that the user's input can cause; None for a defect of ours."""
    if _disk_is_full(error):
        return (
            "The disk is full. What was written before is still there: free some space, or give "
            f"an --output on another disk, and run the command again. Received: {error}"
        )
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    # A package that a command needs and that is not installed; a defect would have a name.
    missing = isinstance(error, ImportError) and error.name is None
    if missing or isinstance(error, (ValueError, OSError)):
        return " ".join(str(error).split())
    if type(error).__name__ == "ResourceExhaustedError":
        return "Not enough memory. Lower --batch-size or --max-length."
    # What a reader raised inside of tf.data comes wrapped in TensorFlow's own error.
    raised = re.findall(r"^(?:ValueError|\w*FileNotFoundError|OSError): (.+)$", str(error), re.M)
    return raised[-1] if raised else None


def _with_flags(message, args):
    """Names the command's flags where the library names its arguments."""
    usage = args.command_parser.format_usage()

    def flag(match):
        name = f"--{_FLAGS.get(match[1], match[1]).replace('_', '-')}"
        is_flag = re.search(rf"{name}(?![\w-])", usage)  # and no positional argument
        return f"{name}{match[2]}" if is_flag else match[0]

    return re.sub(r"`(\w+)((?:=[^`]*)?)`", flag, message)


def _disk_is_full(error):
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or (
        "No space left on device" in str(error)
    )


if __name__ == "__main__":
    sys.exit(main())
