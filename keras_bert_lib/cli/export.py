"""Write a fine-tuned model as a file that takes text.

A SavedModel for servers, or a TFLite file for phones and the web. Both hold the tokenizer in the
graph and need nothing but a stock runtime. Models of every task can be exported: classifiers,
taggers, question answerers, embedders and the rest.
"""

import os
import sys

from keras_bert_lib.cli import artifact, native_logs, task_rows, tasks
from keras_bert_lib.cli.arguments import (
    check_output,
    check_readable,
    megabytes,
    next_step,
    positive_int,
    whole_number,
)

EXAMPLES = """\
examples:
  keras-bert export --model my-classifier --output my-classifier.tflite
  keras-bert export --model my-classifier --output serving/sentiment --warmup train.csv
  keras-bert export --model my-classifier --output int8.tflite --quantization int8 \\
      --calibration train.csv --verify dev.csv --report reports/int8

A SavedModel is written as the next version in --output, "1" at first, which is what TensorFlow
Serving watches; an --output that ends in a number is the version itself.

--verify, --calibration and --warmup take the files of `keras-bert finetune`, whose right answers
may be missing, and .txt with a text a line. Entities may also be a list of {"start", "end",
"label"} beside a text in .jsonl. In texts for filling masks one piece in seven is masked, unless
they have a [MASK]; what was there may stand in a column `label`.
Exit code 1 says that the file was written, and that it lost more than --max-metric-drop.
"""
IF_INTERRUPTED = "Files are written whole or not at all; run the same command again."

CALIBRATED = ("int8", "int16x8", "int4")
_SAVED_MODEL_ONLY = ("version", "top_k", "threshold", "lengths", "weights", "warmup")
_METADATA = ("name", "description", "author", "license")


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="a fine-tuned model's directory, or its name on the Hugging Face hub",
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
        choices=("none", "float16", "dynamic_int8", *CALIBRATED),
        default="dynamic_int8",
        help="how a TFLite file stores its weights, and computes",
    )
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        help="texts as the model will see them, 100 or more (.txt, .csv, .conll, ...); needed by "
        f"{', '.join(CALIBRATED)}",
    )
    parser.add_argument(
        "--error-report", metavar="FILE", help="write the quantization error by layer, as JSON"
    )
    parser.add_argument(
        "--interface",
        choices=("text", "tokens", "mediapipe"),
        default="text",
        help="what a TFLite file takes: UTF-8 bytes, token ids made elsewhere, or the token ids of "
        "MediaPipe Tasks",
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
        nargs="+",
        metavar="TOKENS",
        help="most tokens of a text; by default as in the model's tokenizer. With --interface "
        "tokens several make one file with a signature for each",
    )
    parser.add_argument(
        "--pairs", action="store_true", help="a classifier was fine-tuned on pairs of texts"
    )
    parser.add_argument(
        "--choices", type=positive_int, help="how many choices a multiple choice has in TFLite"
    )
    saved_model = parser.add_argument_group("SavedModel")
    saved_model.add_argument(
        "--version", type=whole_number, metavar="N", help="the version to write; by default next"
    )
    saved_model.add_argument(
        "--top-k", type=positive_int, metavar="K", help="give only the best K labels of a text"
    )
    saved_model.add_argument(
        "--threshold",
        nargs="+",
        metavar="P",
        help="give only labels of a probability above this; or one for each, as LABEL=P",
    )
    saved_model.add_argument(
        "--lengths",
        type=positive_int,
        nargs="+",
        metavar="TOKENS",
        help="pad texts to the next of these lengths, for compilers and GPUs, which want few "
        "shapes; by default to the longest of their batch",
    )
    saved_model.add_argument(
        "--weights",
        choices=("float32", "bfloat16", "float16"),
        help="how weights are stored; two of them halve the file (default: float32)",
    )
    saved_model.add_argument(
        "--warmup",
        metavar="FILE",
        help="texts to make the server's warmup requests of; by default random words",
    )
    for name in _METADATA:
        parser.add_argument(f"--{name}", metavar="TEXT", help=f"the {name} in a TFLite file")
    parser.add_argument(
        "--verify",
        metavar="FILE",
        help="compare the file with the model on these texts: .txt, or what `evaluate` takes",
    )
    parser.add_argument(
        "--max-metric-drop",
        type=float,
        default=0.01,
        metavar="DROP",
        help="how far the task's metric may fall below the model's",
    )
    parser.add_argument(
        "--min-agreement", type=float, metavar="SHARE", help="least share of the same answers"
    )
    parser.add_argument(
        "--report", metavar="PREFIX", help="write the comparison to PREFIX.json and PREFIX.html"
    )
    tasks.add_column_arguments(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace the output")


def run(args):
    """Exports, compares where asked, and says what was made.

    Returns:
        The exit code: 1 where the file is there and fails a bound.
    """
    file_format = args.format or ("tflite" if args.output.endswith(".tflite") else "saved_model")
    _check(args, file_format)
    native_logs.start_tensorflow()
    with native_logs.hidden():
        from keras_bert_lib import export, models
        from keras_bert_lib.export import mediapipe, report_page

        if args.report:
            report_page.check_matplotlib()
        model = artifact.load_model(args.model)
    args.pairs = args.pairs or artifact.was_trained_on_pairs(model)
    calibration = _rows(args.calibration, "--calibration", model, args, with_labels=False)
    warmup = _rows(args.warmup, "--warmup", model, args, with_labels=False)
    verified = _rows(args.verify, "--verify", model, args)
    if verified and isinstance(model, models.BertMaskedLM):
        verified = task_rows.masked(verified, model)
    with native_logs.hidden():
        if file_format == "tflite":
            written = args.output
            export.tflite(model, written, **_tflite_options(args, calibration))
        else:
            options = _saved_model_options(args, warmup)
            written = str(export.saved_model(model, args.output, **options))
    print(f"Wrote {written}: {megabytes(written)}.")
    is_for_mediapipe = file_format == "tflite" and args.interface == "mediapipe"
    if is_for_mediapipe and not model.tokenizer.lowercase:
        print(f"Warning: {mediapipe.CASED}")  # Its log is hidden with those of TensorFlow.
    failure = _verify(args, written, model, verified) if verified else None
    if failure:
        sys.stdout.flush()
        print(f"keras-bert export: error: {failure}", file=sys.stderr)
        return 1
    if file_format == "saved_model" or args.interface == "text":
        next_step(f'keras-bert predict {written} "your text"', f"keras-bert inspect {written}")
    else:
        next_step(f"keras-bert inspect {written}")
    return 0


def _check(args, file_format):
    """Raises where the arguments do not fit each other, before anything takes time."""
    version = os.path.basename(os.path.normpath(args.output))
    if file_format == "tflite" or (version.isascii() and version.isdigit()):
        check_output(args.output, args.overwrite)
    elif args.version is not None:
        check_output(os.path.join(args.output, str(args.version)), args.overwrite)
    if not os.path.isdir(args.model) and not artifact.is_hub_name(args.model):
        raise FileNotFoundError(
            f"There is no model directory {args.model}. Make one with `keras-bert finetune`."
        )
    if file_format == "tflite" and args.quantization in CALIBRATED and not args.calibration:
        raise ValueError(
            f"--quantization {args.quantization} needs --calibration FILE, with 100 or more texts "
            "as the model will see them."
        )
    given = [name for name in _SAVED_MODEL_ONLY if getattr(args, name) is not None]
    if file_format == "tflite" and given:
        flag = f"--{given[0].replace('_', '-')}"
        raise ValueError(f"{flag} is for a SavedModel: leave it out, or add --format saved_model.")
    for flag in ("calibration", "warmup", "verify"):
        if getattr(args, flag):
            check_readable(getattr(args, flag), f"--{flag}")
    _threshold(args)
    if args.verify and (args.top_k or args.threshold):
        raise ValueError(
            "--verify compares the probabilities of all labels: leave out --top-k and --threshold."
        )
    if file_format == "saved_model" and args.max_length and len(args.max_length) > 1:
        raise ValueError(
            "--max-length: a SavedModel takes texts of any length; give one, or --lengths."
        )
    if args.report and not args.verify:
        raise ValueError("--report is of a comparison: give --verify FILE, too.")


def _rows(path, flag, model, args, with_labels=True):
    """The rows of a file in the form that the model wants, or None where no file is given."""
    if path is None:
        return None
    if path.removesuffix(".gz").lower().endswith(".txt"):
        task = tasks.TASKS[tasks.name_of(model)]()
    else:
        task = tasks.of_model(model, path, args, needs_labels=False)
    rows = task_rows.read_rows(path, task, flag, with_labels)
    return task_rows.fitted(rows, model, args.pairs)


def _sample_texts(rows):
    """Texts of a file as `calibration_texts` and `warmup_texts` take them, or None."""
    if rows is None or rows.text_pairs is None:
        return rows and rows.texts
    return list(zip(rows.texts, rows.text_pairs))


def _threshold(args):
    """What `--threshold` says: a float, a dict of label to float, or None."""
    if args.threshold is None:
        return None
    parts = [text.rpartition("=") for text in args.threshold]
    try:
        numbers = {label: float(number) for label, _, number in parts}
    except ValueError:
        numbers = {}
    if len(numbers) != len(parts) or ("" in numbers and len(parts) > 1):
        raise ValueError(
            "--threshold: give one number, or one for each label, as LABEL=P. "
            f"Received: {' '.join(args.threshold)}"
        )
    return numbers.get("", numbers)


def _saved_model_options(args, warmup):
    """The arguments of `export.saved_model`."""
    return {
        "version": args.version,
        "max_length": args.max_length and args.max_length[0],
        "pairs": args.pairs,
        "top_k": args.top_k,
        "threshold": _threshold(args),
        "lengths": args.lengths,
        "weights": args.weights or "float32",
        "warmup_texts": _sample_texts(warmup),
        "overwrite": args.overwrite,
    }


def _tflite_options(args, calibration):
    """The arguments of `export.tflite`."""
    max_length = args.max_length
    if max_length is not None and len(max_length) == 1:
        max_length = max_length[0]
    given = {name: getattr(args, name) for name in _METADATA}
    return {
        "quantization": args.quantization,
        "interface": args.interface,
        "max_bytes": args.max_bytes,
        "max_length": max_length,
        "pairs": args.pairs,
        "choices": args.choices,
        "calibration_texts": _sample_texts(calibration),
        "metadata": {name: value for name, value in given.items() if value is not None},
        "error_report": args.error_report,
        "overwrite": args.overwrite,
    }


def _verify(args, written, model, rows):
    """Compares, prints and writes the report; returns what is wrong with the file, or None."""
    with native_logs.hidden():
        from keras_bert_lib import export

        report = export.verify(
            written,
            model,
            rows.texts,
            rows.text_pairs,
            rows.labels,
            show_progress=sys.stdout.isatty(),
        )
    print(report)
    if args.report:
        report.save_json(f"{args.report}.json")
        report.save_html(f"{args.report}.html")
        print(f"Wrote {args.report}.json and {args.report}.html.")
    try:
        report.check(args.max_metric_drop, args.min_agreement)
    except export.VerificationError as error:
        return str(error)
    return None
