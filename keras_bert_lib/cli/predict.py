"""Answer texts with a model directory, a SavedModel or a .tflite file.

Texts come from the command line, from --file, or from standard input, one a line; every line gets
an answer, empty ones too. Prints the answer and the text, parted by tabs: a label and its score, or
what else the model is for: a number, entities, an answer, a choice, what fills the masks, or an
embedding. A line has both texts of a pair, parted by a tab: a question and its context, a text and
its choices.
"""

import itertools
import json
import sys

from keras_bert_lib.cli import artifact, native_logs
from keras_bert_lib.cli.arguments import check_readable, positive_int

EXAMPLES = """\
examples:
  keras-bert predict my-classifier "a fine film"
  keras-bert predict my-classifier.tflite --file texts.txt --json > answers.jsonl
  keras-bert predict my-answerer.tflite --file questions-and-contexts.tsv
  sort texts.txt | keras-bert predict my-classifier-saved-model
"""
IF_INTERRUPTED = "The answers above are complete."


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument("path", help="model directory, SavedModel directory or .tflite file")
    parser.add_argument("text", nargs="*", help="texts to answer")
    parser.add_argument("--file", help="read the texts from this file, one a line")
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
    kind, path = artifact.kind_of(args.path)
    native_logs.start_tensorflow()
    with native_logs.hidden(), artifact.reading(path):
        answer, takes_pairs, takes_choices = _load(kind, path)
    sys.stdout.reconfigure(encoding="utf-8")
    typed_by_hand = not args.text and not args.file and sys.stdin.isatty()
    batch_size = 1 if typed_by_hand else args.batch_size
    lines = _lines(args)
    while batch := list(itertools.islice(lines, batch_size)):
        columns = [batch]
        if args.pairs or takes_pairs:
            parts = [line.split("\t") if takes_choices else line.split("\t", 1) for line in batch]
            seconds = [part[1:] if takes_choices else "".join(part[1:]) for part in parts]
            columns = [[part[0] for part in parts], seconds]
        with native_logs.hidden():  # The first batch makes the runtime introduce itself.
            answers = answer(*columns)
        for line, found in zip(batch, answers):
            if args.json:
                print(json.dumps({**_as_dict(found), "text": line}))
            else:
                print("\t".join([*_as_cells(found), line]))
        sys.stdout.flush()


def _lines(args):
    """The texts, decoded: what is not UTF-8 becomes U+FFFD, which the tokenizer drops."""
    if args.text:
        for text in args.text:
            yield text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return
    stream = open(args.file, "rb") if args.file else sys.stdin.buffer  # noqa: SIM115
    with stream:
        for line in stream:
            yield line.decode("utf-8", "replace").rstrip("\r\n")


def _load(kind, path):
    """Returns what answers, and whether it takes pairs of texts, and choices.

    What answers is a function from texts, and second texts where there are some, to a list of what
    `predict_text` of the models returns, or of embeddings.
    """
    if kind in ("saved_model", "tflite"):
        from keras_bert_lib.export import stock_runtime

        file = stock_runtime.load(path)
        return file.answers, "text_pair" in file.inputs, file.num_choices > 0

    from keras_bert_lib.models import BertMultipleChoice, BertQuestionAnswerer, BertTextEmbedder

    model = artifact.load_model(path) if kind == "model" else artifact.load_keras(path)
    if isinstance(model, BertTextEmbedder):
        return model.encode, False, False
    if not hasattr(model, "predict_text"):
        raise ValueError(
            f"{path} holds a {type(model).__name__}, which does not answer texts. Fine-tune it "
            "with `keras-bert finetune`."
        )
    takes_choices = isinstance(model, BertMultipleChoice)
    takes_pairs = takes_choices or isinstance(model, BertQuestionAnswerer)
    return model.predict_text, takes_pairs, takes_choices


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
