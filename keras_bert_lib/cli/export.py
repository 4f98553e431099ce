"""Write a fine-tuned model as a file that takes text.

A SavedModel for servers, or a TFLite file for phones and the web. Both hold the tokenizer in the
graph and need nothing but a stock runtime.
"""

import os

from keras_bert_lib.cli import artifact, native_logs
from keras_bert_lib.cli.arguments import (
    check_output,
    check_readable,
    megabytes,
    next_step,
    positive_int,
)

EXAMPLES = """\
examples:
  keras-bert export --model my-classifier --output my-classifier.tflite
  keras-bert export --model my-classifier --output serving/1 --format saved_model
  keras-bert export --model my-classifier --output exact.tflite --quantization none \\
      --verify dev.csv
"""
IF_INTERRUPTED = "Nothing was written; run the same command again."


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument(
        "--model", required=True, metavar="DIR", help="a fine-tuned model's directory"
    )
    parser.add_argument(
        "--output", required=True, metavar="PATH", help="the file or directory to write"
    )
    parser.add_argument(
        "--format",
        choices=("saved_model", "tflite"),
        help="what to write; by default tflite where --output ends in .tflite, else saved_model",
    )
    parser.add_argument(
        "--quantization",
        choices=("none", "float16", "dynamic_int8"),
        default="dynamic_int8",
        help="how a TFLite file stores its weights",
    )
    parser.add_argument(
        "--interface",
        choices=("text", "tokens"),
        default="text",
        help="what a TFLite file takes: UTF-8 bytes, or token ids made elsewhere",
    )
    parser.add_argument(
        "--max-bytes",
        type=positive_int,
        default=512,
        help="most bytes of a text that a TFLite file takes",
    )
    parser.add_argument(
        "--max-length",
        type=positive_int,
        help="most tokens of a text; by default as in the model's tokenizer",
    )
    parser.add_argument(
        "--pairs", action="store_true", help="the model was fine-tuned on pairs of texts"
    )
    parser.add_argument(
        "--verify",
        metavar="FILE",
        help="compare the file with the model on these texts (.csv, .tsv, .jsonl)",
    )
    parser.add_argument("--text-column", default="text", help="column of the texts to verify on")
    parser.add_argument("--label-column", default="label", help="column of their labels")
    parser.add_argument("--text-pair-column", help="column of their second texts")
    parser.add_argument("--overwrite", action="store_true", help="replace the output")


def run(args):
    """Exports, compares where asked, and says what was made."""
    file_format = args.format or ("tflite" if args.output.endswith(".tflite") else "saved_model")
    check_output(args.output, args.overwrite)
    if not os.path.isdir(args.model):
        raise FileNotFoundError(
            f"There is no model directory {args.model}. Make one with `keras-bert finetune`."
        )
    if args.verify:
        check_readable(args.verify, "--verify")
    native_logs.start_tensorflow()
    with native_logs.hidden():
        from keras_bert_lib import export
        from keras_bert_lib.data import read_labelled_texts

        texts = text_pairs = None
        if args.verify:
            rows = read_labelled_texts(
                args.verify, args.text_column, args.label_column, args.text_pair_column
            )
            texts, text_pairs = rows.texts, rows.text_pairs
        model = artifact.load_classifier(args.model)
        max_length = args.max_length or min(
            model.tokenizer.max_length, model.config.max_position_embeddings
        )
        if file_format == "tflite":
            export.tflite(
                model,
                args.output,
                quantization=args.quantization,
                interface=args.interface,
                max_bytes=args.max_bytes,
                max_length=max_length,
                pairs=args.pairs,
                overwrite=args.overwrite,
            )
        else:
            export.saved_model(
                model,
                args.output,
                max_length=max_length,
                pairs=args.pairs,
                overwrite=args.overwrite,
            )
        report = None
        if args.verify:
            labels = [rows.labels[i] for i in rows.label_ids]
            report = export.verify(args.output, model, texts, text_pairs, labels)
    print(f"Wrote {args.output}: {megabytes(args.output)}.")
    if report is not None:
        print(report)
    if file_format == "saved_model" or args.interface == "text":
        next_step(
            f'keras-bert predict {args.output} "your text"', f"keras-bert inspect {args.output}"
        )
    else:
        next_step(f"keras-bert inspect {args.output}")
