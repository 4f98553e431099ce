"""Learn a WordPiece vocabulary from text files: one piece a line, most frequent first."""

import os

from keras_bert_lib.cli import native_logs
from keras_bert_lib.cli.arguments import check_output, check_readable, next_step, positive_int

EXAMPLES = """\
example:
  keras-bert vocab corpus/*.txt --output vocab.txt --vocab-size 8000
"""
IF_INTERRUPTED = "Nothing was written."


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument("corpus", nargs="+", metavar="FILE", help="text files, UTF-8")
    parser.add_argument("--output", default="vocab.txt", help="the file to write")
    parser.add_argument(
        "--vocab-size", type=positive_int, default=8000, help="most pieces to learn"
    )
    parser.add_argument(
        "--min-frequency",
        type=positive_int,
        default=2,
        help="a piece that is seen less often is not learned",
    )
    parser.add_argument(
        "--cased", action="store_true", help="keep upper case and accents (lowercased otherwise)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output file")


def run(args):
    """Learns and writes the vocabulary."""
    check_output(args.output, args.overwrite)
    for path in args.corpus:
        check_readable(path, "FILE")

    native_logs.start_tensorflow()
    from keras_bert_lib import text

    vocabulary = text.learn_vocabulary(
        args.corpus,
        vocab_size=args.vocab_size,
        min_frequency=args.min_frequency,
        lowercase=not args.cased,
    )
    text.save_vocabulary(vocabulary, args.output)
    print(f"Wrote {args.output}: {len(vocabulary):,} pieces from {len(args.corpus)} file(s).")
    cased = " --cased" if args.cased else ""
    next_step(
        f"keras-bert pretrain --corpus {args.corpus[0]} --vocab {args.output}{cased}"
        f" --output {os.path.join(os.path.dirname(args.output), 'bert')}"
    )
