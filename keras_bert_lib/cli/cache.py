"""Tokenize a corpus once, for `keras-bert pretrain --corpus DIR` to read in every epoch.

Text files hold a sentence or a paragraph a line and a blank line between documents; .jsonl and
.parquet files a document a row. A build that was stopped goes on where it was when the same command
is given again; DIR is there when it is whole.
"""

import shlex

from keras_bert_lib.cli import native_logs
from keras_bert_lib.cli.arguments import (
    add_reader_arguments,
    megabytes,
    next_step,
    positive_int,
)

EXAMPLES = """\
examples:
  keras-bert cache --corpus 'books/*.txt.gz' --vocab vocab.txt --output cache --workers 8
  keras-bert cache --corpus 'wiki/*.parquet' --vocab vocab.txt --output cache --shards 256 \\
      --beam-options="--runner=FlinkRunner --parallelism=64"
"""
IF_INTERRUPTED = "Run the same command again to go on from there."


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument(
        "--corpus", required=True, nargs="+", metavar="FILE", help="text files or patterns"
    )
    parser.add_argument("--vocab", required=True, metavar="FILE", help="the vocabulary, vocab.txt")
    parser.add_argument("--cased", action="store_true", help="the vocabulary is a cased one")
    parser.add_argument("--output", required=True, metavar="DIR", help="directory to write")
    parser.add_argument(
        "--workers",
        type=positive_int,
        default=1,
        help="processes that tokenize, such as one a core",
    )
    parser.add_argument(
        "--shards",
        type=positive_int,
        default=16,
        help="files to write; as many as machines that will train, at least",
    )
    add_reader_arguments(parser)
    parser.add_argument(
        "--beam-options",
        metavar="OPTIONS",
        help="build by Apache Beam with these options, instead of by --workers",
    )


def run(args):
    """Builds the cache and says what is in it."""
    native_logs.start_tensorflow()
    from keras_bert_lib.data import build_token_cache, build_token_cache_with_beam
    from keras_bert_lib.text import BertTokenizer

    tokenizer = BertTokenizer(args.vocab, lowercase=not args.cased)
    options = {
        "num_shards": args.shards,
        "text_column": args.text_column,
        "on_corrupt": args.on_corrupt,
    }
    if args.beam_options is None:
        build, options["num_workers"] = build_token_cache, args.workers
    else:
        build, options["pipeline_options"] = (
            build_token_cache_with_beam,
            shlex.split(args.beam_options),
        )
    info = build(args.corpus, tokenizer, args.output, **options)
    print(
        f"Wrote {args.output}: {_counted(info['pieces'], 'piece')} of "
        f"{_counted(info['documents'], 'document')} in {_counted(args.shards, 'shard')}, "
        f"{megabytes(args.output)}."
    )
    cased = " --cased" if args.cased else ""
    next_step(
        f"keras-bert pretrain --corpus {shlex.quote(args.output)} --vocab {args.vocab}{cased}"
        " --held-out held-out.txt --output my-bert"
    )


def _counted(number, noun):
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
