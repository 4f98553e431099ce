"""Learn a WordPiece vocabulary from text files: one piece a line, in the order they are learned.

Files are plain text, or .jsonl with an object with a `text` a line; either may be gzipped (.gz).
"""

import glob
import os
import shlex

from keras_bert_lib.cli import native_logs
from keras_bert_lib.cli.arguments import check_output, check_readable, next_step, positive_int

EXAMPLES = """\
examples:
  keras-bert vocab corpus/*.txt --output vocab.txt --vocab-size 8000
  keras-bert vocab 'corpus/**/*.txt.gz' --output vocab.txt --vocab-size 30522 --unused 99
"""
IF_INTERRUPTED = "Nothing was written."


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument("corpus", nargs="+", metavar="FILE", help="text files or patterns, UTF-8")
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
        "--alphabet-limit",
        type=positive_int,
        default=1000,
        help="most characters to keep; Chinese, Japanese and Korean want more",
    )
    parser.add_argument(
        "--unused",
        type=positive_int,
        default=0,
        metavar="N",
        help="pieces [unused0], [unused1]... to rename later, as in published vocabularies",
    )
    parser.add_argument(
        "--cased", action="store_true", help="keep upper case and accents (lowercased otherwise)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output file")


def run(args):
    """Learns and writes the vocabulary."""
    check_output(args.output, args.overwrite)
    for path in args.corpus:
        if not glob.has_magic(path):
            check_readable(path, "FILE")

    native_logs.start_tensorflow()
    from keras_bert_lib import text

    unused = [f"[unused{i}]" for i in range(args.unused)]
    vocabulary = text.learn_vocabulary(
        args.corpus,
        vocab_size=args.vocab_size,
        min_frequency=args.min_frequency,
        alphabet_limit=args.alphabet_limit,
        reserved_tokens=["[PAD]", *unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        lowercase=not args.cased,
    )
    text.save_vocabulary(vocabulary, args.output)
    print(f"Wrote {args.output}: {len(vocabulary):,} pieces.")
    if len(vocabulary) < args.vocab_size:
        print("There are fewer than asked for, because no other pair is frequent enough.")
    corpus = " ".join(shlex.quote(path) for path in args.corpus[:3])
    if len(args.corpus) > 3:
        corpus += " ..."
    cased = " --cased" if args.cased else ""
    next_step(
        f"keras-bert pretrain --corpus {corpus} --vocab {args.output}{cased}"
        f" --output {os.path.join(os.path.dirname(args.output), 'bert')}"
    )
