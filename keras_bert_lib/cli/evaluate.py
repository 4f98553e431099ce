"""Measure a fine-tuned model on examples with right answers.

Prints a table of the task's metrics: accuracy, F1, correlations, exact match, recall. The files are
those that `keras-bert finetune` takes; several are taken together. Exported files are measured by
`keras-bert export --verify`, beside the model they were made from.
"""

import os

from keras_bert_lib.cli import artifact, native_logs, tasks
from keras_bert_lib.cli.arguments import check_readable, positive_int

EXAMPLES = """\
examples:
  keras-bert evaluate my-classifier test.csv
  keras-bert evaluate my-tagger test.conll --json test.json --plots plots
"""
IF_INTERRUPTED = "Nothing was written; run the same command to start again."


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument(
        "model",
        help="a fine-tuned model's directory, its name on the Hugging Face hub, or a .keras file",
    )
    parser.add_argument("file", nargs="+", help="examples: .csv, .tsv, .jsonl, .json, ...")
    parser.add_argument(
        "--task", choices=tuple(tasks.TASKS), help="what the model is for; it knows that itself"
    )
    tasks.add_column_arguments(parser)
    parser.add_argument("--batch-size", type=positive_int, default=32, help="texts in one step")
    parser.add_argument("--json", metavar="FILE", help="write all numbers, and each answer, here")
    parser.add_argument(
        "--plots",
        metavar="DIR",
        help="draw the confusion matrix, the calibration and the curves of the training here",
    )


def run(args):
    """Prints the table, and writes what is asked for."""
    for path in args.file:
        check_readable(path, "FILE")
    kind, path = artifact.kind_of_model(args.model)
    if kind in ("saved_model", "tflite"):
        raise ValueError(
            f"{path} is {artifact.TITLES[kind]}. Give the model that it was made from; `keras-bert "
            "export --verify FILE` measures what is exported."
        )
    native_logs.start_tensorflow()
    from keras_bert_lib.evaluation import evaluate

    with native_logs.hidden(), artifact.reading(path):
        model = artifact.load_model(path) if kind == "model" else artifact.load_keras(path)
    tasks.check_asked(args, path, tasks.name_of(model))
    task = tasks.of_model(model, args.file[0], args)
    rows = tasks.read(task, args.file, labels=getattr(model, "labels", None))
    evaluation = evaluate(model, rows, batch_size=args.batch_size)
    print(evaluation)
    if args.json:
        evaluation.save_json(args.json)
        print(f"Wrote {args.json}.")
    if args.plots:
        history = os.path.join(path, "training.csv")  # of `keras-bert finetune`
        history = history if os.path.isfile(history) else None
        for plot in evaluation.save_plots(args.plots, history=history):
            print(f"Wrote {plot}.")
