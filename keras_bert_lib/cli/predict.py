"""Label texts with a model directory, a SavedModel or a .tflite file.

Texts come from the command line, from --file, or from standard input, one a line; every line gets
an answer, empty ones too. Prints label, score and text, parted by tabs.
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
  sort texts.txt | keras-bert predict my-classifier-saved-model
"""
IF_INTERRUPTED = "The answers above are complete."


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument("path", help="model directory, SavedModel directory or .tflite file")
    parser.add_argument("text", nargs="*", help="texts to label")
    parser.add_argument("--file", help="read the texts from this file, one a line")
    parser.add_argument(
        "--pairs", action="store_true", help="a text and its pair, parted by a tab, in each line"
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
        answer = _load(kind, path)
    sys.stdout.reconfigure(encoding="utf-8")
    typed_by_hand = not args.text and not args.file and sys.stdin.isatty()
    batch_size = 1 if typed_by_hand else args.batch_size
    lines = _lines(args)
    while batch := list(itertools.islice(lines, batch_size)):
        texts, pairs = batch, None
        if args.pairs:
            parts = [line.partition("\t") for line in batch]
            texts, pairs = [part[0] for part in parts], [part[2] for part in parts]
        with native_logs.hidden():  # The first batch makes the runtime introduce itself.
            answers = answer(texts, pairs)
        for line, (label, score) in zip(batch, answers):
            if args.json:
                print(json.dumps({"label": label, "score": score, "text": line}))
            else:
                print(f"{label}\t{score:.4f}\t{line}")
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
    """Returns a function from texts, and second texts or None, to a list of (label, score)."""
    if kind in ("saved_model", "tflite"):
        from keras_bert_lib.export import stock_runtime

        answers = stock_runtime.load(path).answers
        return lambda texts, text_pairs: [
            (answer["label"], answer["score"]) for answer in answers(texts, text_pairs)
        ]

    if kind == "model":
        model = artifact.load_classifier(path)
    else:
        model = artifact.load_keras(path)
        if not hasattr(model, "predict_text"):
            raise ValueError(
                f"{path} holds a {type(model).__name__}, which does not label texts. Fine-tune it "
                "with `keras-bert finetune`."
            )
        artifact.check_problem_type(model, path)
    return lambda texts, text_pairs: [
        (answer["label"], answer["score"])
        for answer in model.predict_text(texts, text_pairs, batch_size=len(texts))
    ]
