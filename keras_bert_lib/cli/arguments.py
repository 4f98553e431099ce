"""Types of arguments that several commands take, and what they check and print alike."""

import argparse
import glob
import os

SIZES = ("tiny", "mini", "small", "medium", "base", "large")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")


def add_reader_arguments(parser):
    """Adds the arguments that say how the files of a corpus are read."""
    parser.add_argument(
        "--text-column", default="text", help="key or column of the text in .jsonl and .parquet"
    )
    parser.add_argument(
        "--on-corrupt",
        choices=("raise", "skip"),
        default="raise",
        help="what to do when a file or shard is broken: stop, or say so and go on with the next",
    )


def positive_int(text):
    """An argument that counts something: 1 or more."""
    return _number(int, text, lambda value: value > 0, "a whole number above 0")


def whole_number(text):
    """An argument that counts something: 0 or more."""
    return _number(int, text, lambda value: value >= 0, "a whole number from 0 on")


def positive_float(text):
    """An argument such as a learning rate."""
    return _number(float, text, lambda value: 0 < value < float("inf"), "a number above 0")


def fraction(text):
    """An argument that is a share: at least 0, below 1."""
    return _number(float, text, lambda value: 0 <= value < 1, "a number from 0 to below 1")


def _number(kind, text, accepts, wanted):
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not accepts(value):
        raise argparse.ArgumentTypeError(f"give {wanted}, not {text!r}")
    return value


def check_readable(path, flag):
    """Raises the error that names `flag` unless `path` is a file that can be read."""
    if os.path.isdir(path):
        raise ValueError(f"{flag} must be a file, and {path} is a directory.")
    with open(path, "rb"):
        pass


def check_output(path, overwrite=False, flag="--output"):
    """Raises FileExistsError rather than let a command write over what is there."""
    taken = os.path.exists(path) and not (os.path.isdir(path) and not os.listdir(path))
    if taken and not overwrite:
        raise FileExistsError(
            f"{path} exists already. Give another {flag}, or add --overwrite to replace it."
        )


def next_step(*lines):
    """Prints what to try after a command."""
    print("\nNext:")
    for line in lines:
        print(f"  {line}")


def megabytes(path):
    """The size of a file, of a directory's files or of a checkpoint's, for people."""
    if os.path.isfile(f"{path}.index"):
        files = glob.glob(f"{glob.escape(path)}.*")
    elif os.path.isdir(path):
        files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    else:
        files = [path]
    return f"{sum(map(os.path.getsize, files)) / 1e6:.2f} MB"


def shortened(names):
    """The first twenty of a list of names, for people."""
    shown = ", ".join(map(str, names[:20]))
    return shown + (f", ... ({len(names)} in all)" if len(names) > 20 else "")
