"""Answer texts with a model directory, a SavedModel or a .tflite file.

Texts come from the command line, from --file, or from standard input, one a line; every line gets
an answer, empty ones too. Prints the answer and the text, parted by tabs: a label and its score, or
what else the model is for: a number, entities, an answer, a choice, what fills the masks, or an
embedding. A line has both texts of a pair, parted by a tab: a question and its context, a text and
its choices.

Of a --file that `keras-bert evaluate` takes (.csv, .tsv, .jsonl, .parquet, .conll, SQuAD's .json)
the columns of texts are read, and each row gets an answer; right answers need not be there. A .tsv
whose first line names no column of a usual name has a text, or a pair of them, in each line.
"""

import functools
import gzip
import itertools
import json
import sys
from collections.abc import Callable
from typing import NamedTuple

from keras_bert_lib.cli import artifact, native_logs, task_rows, tasks
from keras_bert_lib.cli.arguments import check_readable, positive_int

EXAMPLES = """\
examples:
  keras-bert predict my-classifier "a fine film"
  keras-bert predict my-classifier.tflite --file texts.txt --json > answers.jsonl
  keras-bert predict my-classifier --file test.csv --top-k 3
  keras-bert predict my-answerer.tflite --file questions-and-contexts.tsv
  sort texts.txt | keras-bert predict my-classifier-saved-model
"""
IF_INTERRUPTED = "The answers above are complete."

# What must stand beside each text, and which output of a file tells what it is for.
_NEEDS_SECOND = {"question-answering": "context", "multiple-choice": "choices"}
_OUTPUTS = {
    "embedding": "sentence-embedding",
    "answer_start": "question-answering",
    "entity_starts": "token-classification",
    "mask_starts": "fill-mask",
}


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument(
        "path",
        help="model directory, name on the Hugging Face hub, SavedModel directory or .tflite file",
    )
    parser.add_argument("text", nargs="*", help="texts to answer")
    parser.add_argument(
        "--file", help="read the texts from this file, one a line, or from the columns of a table"
    )
    parser.add_argument(
        "--text-column",
        metavar="NAME",
        help="column of the texts in a table (default: text, sentence or the like)",
    )
    parser.add_argument(
        "--text-pair-column",
        metavar="NAME",
        help="column of second texts (default: text_pair, sentence2, context, choices or the like)",
    )
    parser.set_defaults(label_column=None)  # right answers are not read
    parser.add_argument(
        "--task",
        choices=tuple(tasks.TASKS),
        help="what the model is for; it knows that itself",
    )
    parser.add_argument(
        "--top-k",
        type=positive_int,
        metavar="K",
        help="answer with the K best labels and their probabilities, best first, where there is "
        "one label a text; for masks with K pieces",
    )
    parser.add_argument(
        "--pairs",
        action="store_true",
        help="a text and its pair, parted by a tab, in each line; needed for classifiers of pairs "
        "alone",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--batch-size", type=positive_int, default=32, help="texts in one step")


def run(args):
    """Answers each text, in order, as soon as its batch is full."""
    if args.text and args.file:
        raise ValueError("Give texts on the command line or with --file, not both.")
    if args.file:
        check_readable(args.file, "--file")
    elif args.text_column or args.text_pair_column:
        raise ValueError("--text-column and --text-pair-column are of a table: give --file, too.")
    kind, path = artifact.kind_of_model(args.path)
    native_logs.start_tensorflow()
    with native_logs.hidden(), artifact.reading(path):
        model = _load(kind, path)
    tasks.check_asked(args, path, model.task)
    answer = model.answer if args.top_k is None else _best(model, path, args.top_k)
    sys.stdout.reconfigure(encoding="utf-8")
    typed_by_hand = not args.text and not args.file and sys.stdin.isatty()
    batch_size = 1 if typed_by_hand else args.batch_size
    rows = _rows(args, model)
    while batch := list(itertools.islice(rows, batch_size)):
        lines, *columns = zip(*batch)
        columns = [list(column) for column in columns if column[0] is not None]
        with native_logs.hidden():  # The first batch makes the runtime introduce itself.
            answers = answer(*columns)
        for line, found in zip(lines, answers):
            if args.json:
                print(json.dumps({**_as_dict(found), "text": line}))
            else:
                print("\t".join([*_as_cells(found), line.replace("\r\n", " ").replace("\n", " ")]))
        sys.stdout.flush()


class _Model(NamedTuple):
    """What answers texts: a model, or a file."""

    loaded: object
    answer: Callable  # from texts, and maybe second ones, to what `predict_text` gives for them
    task: str  # one of `tasks.TASKS`
    takes_pairs: bool  # where it is known
    takes_choices: bool


def _rows(args, model):
    """Yields `(line, text, second text or list of choices or None)`."""
    task = _task_of_file(args, model)
    if task is None:
        for line in _lines(args):
            yield line, *_parted(line, model, args.pairs)
        return
    takes_pairs = model.takes_pairs or args.pairs
    for where, text, second, _ in task_rows.text_rows(args.file, task, may_be_empty=True):
        if model.task == "sentence-embedding":  # it answers single texts
            second = None
        if second is None and takes_pairs:
            raise ValueError(
                f"{args.file} has no second texts. Name their column with --text-pair-column."
            )
        if not second and model.task in _NEEDS_SECOND:
            raise ValueError(f"{where} has no {_NEEDS_SECOND[model.task]}. Fill the cell in.")
        seconds = second if isinstance(second, list) else [second]
        yield "\t".join([text, *(x for x in seconds if x is not None)]), text, second


def _task_of_file(args, model):
    """Returns the task with the columns of the file, or None where each line is a text."""
    from keras_bert_lib.data import tables

    if not args.file or not task_rows.has_columns(args.file):
        return None
    named = args.text_column or args.text_pair_column
    try:
        return tasks.TASKS[model.task].of_file(args.file, args, needs_labels=False)
    except ValueError as error:
        if named or not args.file.removesuffix(".gz").lower().endswith(".tsv"):
            raise
        # What is no header is a text, or a text and what belongs to it.
        if args.pairs or model.takes_pairs or len(tables.column_names(args.file)) < 2:
            return None
        if model.task == "text-classification":
            message, received, names = str(error).partition("Received")
            remedy = "Or add --pairs, if each line is a text and its pair. "
            raise ValueError(f"{message}{remedy}{received}{names}") from None
        raise


def _parted(line, model, pairs):
    """Returns the text of a line and its second one, or its choices, or None."""
    if model.takes_choices:
        text, *choices = line.split("\t")
        second = choices
    elif pairs or model.takes_pairs:
        text, tab, second = line.partition("\t")
        second = second if tab or pairs else None
    else:
        return line, None
    if not second and model.takes_pairs:
        what = _NEEDS_SECOND.get(model.task, "second text")
        raise ValueError(
            f"A line has no {what}. Give it behind the text, parted by a tab, as in "
            f"\"$(printf 'text\\t{what}')\". Received: {line!r:.80}"
        )
    return text, second


def _lines(args):
    """The texts, decoded: what is not UTF-8 becomes U+FFFD, which the tokenizer drops."""
    if args.text:
        for text in args.text:
            yield text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return
    if not args.file:
        stream = sys.stdin.buffer
    else:
        stream = (gzip.open if args.file.endswith(".gz") else open)(args.file, "rb")
    with stream:
        for line in stream:
            yield line.decode("utf-8", "replace").rstrip("\r\n")


def _load(kind, path):
    """Loads what answers."""
    if kind in ("saved_model", "tflite"):
        from keras_bert_lib.export import stock_runtime

        file = stock_runtime.load(path)
        outputs = (task for output, task in _OUTPUTS.items() if output in file.outputs)
        task = "multiple-choice" if file.num_choices else next(outputs, "text-classification")
        return _Model(file, file.answers, task, "text_pair" in file.inputs, file.num_choices > 0)

    model = artifact.load_model(path) if kind == "model" else artifact.load_keras(path)
    if not hasattr(model, "predict_text"):
        raise ValueError(
            f"{path} holds a {type(model).__name__}, which does not answer texts. Fine-tune it "
            "with `keras-bert finetune`."
        )
    task = tasks.name_of(model)
    takes_pairs = task in _NEEDS_SECOND or artifact.was_trained_on_pairs(model)
    return _Model(model, model.predict_text, task, takes_pairs, task == "multiple-choice")


def _best(model, path, top_k):
    """Returns what answers with the best labels, or the best pieces for each mask."""
    import numpy as np

    from keras_bert_lib.models import BertClassifier, BertMaskedLM

    loaded = model.loaded
    if isinstance(loaded, (BertClassifier, BertMaskedLM)):
        return functools.partial(loaded.predict_text, top_k=top_k)
    outputs = getattr(loaded, "outputs", ())
    if "mask_starts" in outputs:
        return lambda *texts: [[x[:top_k] for x in masks] for masks in loaded.answers(*texts)]
    if "label_count" in outputs:  # the best ones alone are in the file
        return lambda *texts: [row[:top_k] for row in loaded.answers(*texts)]
    if not getattr(loaded, "has_one_label", False):
        raise ValueError(
            f"--top-k is for models of one label a text, and for masks, and {path} is none. Leave "
            f"it out. Received: --top-k {top_k}"
        )

    def ranked(*texts):
        rows = loaded(*texts)["probabilities"]  # [n, labels]
        names = loaded.labels or [str(i) for i in range(rows.shape[1])]
        order = np.argsort(-rows, axis=-1, kind="stable")[:, :top_k]
        return [
            [{"label": names[i], "score": float(row[i])} for i in best]
            for row, best in zip(rows, order)
        ]

    return ranked


def _as_dict(answer):
    """An answer as a JSON object, under names that say what it is."""
    if isinstance(answer, dict):
        return answer
    if isinstance(answer, float):
        return {"value": answer}
    if hasattr(answer, "tolist"):
        return {"embedding": answer.tolist()}
    if answer and isinstance(answer[0], float):
        return {"values": answer}
    if answer and isinstance(answer[0], list):
        return {"masks": answer}
    return {"answers": answer}  # labels or entities, or none of them


def _as_cells(answer):
    """An answer as cells of a table."""
    if isinstance(answer, dict):
        names = [
            str(answer[key]) for key in ("label", "index", "choice", "answer") if key in answer
        ]
        return [*names, f"{answer['score']:.4f}"]
    if isinstance(answer, float):
        return [f"{answer:.4f}"]
    if hasattr(answer, "tolist"):
        return [" ".join(f"{x:.6f}" for x in answer.tolist())]
    if answer and isinstance(answer[0], float):
        return [f"{x:.4f}" for x in answer]
    if answer and isinstance(answer[0], list):  # what fills each mask
        return [", ".join(f"{x['token']} {x['score']:.4f}" for x in fills) for fills in answer]
    shown = (
        f"{x['text']} ({x['label']} {x['score']:.4f})"
        if "text" in x
        else f"{x['label']} {x['score']:.4f}"
        for x in answer
    )
    return [", ".join(shown)]
