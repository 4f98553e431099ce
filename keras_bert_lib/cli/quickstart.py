"""Train, export and check a small BERT on the text that comes with Python.

Learns a vocabulary from the documentation in Python's standard library, pretrains a BERT on it,
fine-tunes that to say which part of the library a docstring belongs to, exports it, and runs the
exported files without Keras. Needs no network and no data. Interrupted, the same command goes on.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time

from keras_bert_lib import __version__
from keras_bert_lib.cli import native_logs, outside_keras, quickstart_corpus
from keras_bert_lib.cli.arguments import megabytes, next_step
from keras_bert_lib.cli.finetune import Recipe, finetune
from keras_bert_lib.cli.interrupted import write_json
from keras_bert_lib.cli.pretrain import held_out_examples, pretrain
from keras_bert_lib.cli.tasks import TextClassification, majority_accuracy

EXAMPLES = """\
example:
  keras-bert quickstart
"""
IF_INTERRUPTED = "Run the same command again to go on."


@dataclasses.dataclass(frozen=True)
class Plan:
    """What decides the quickstart's results. Chosen to take under 5 minutes on 2 cores."""

    vocab_size: int = 4000
    num_layers: int = 2
    hidden_size: int = 128
    num_heads: int = 2
    initializer_range: float = 0.08  # BERT's 0.02 is for 768 wide; a narrow model learns late
    max_length: int = 64  # tokens: most docstrings say the essential first
    steps: int = 3000
    batch_size: int = 16
    learning_rate: float = 2e-3
    mask_share: float = 0.3  # twice BERT's: more to learn from in each of few steps
    dropout: float = 0.0  # in pretraining, which does not see its text often enough to overfit
    epochs: int = 3
    classifier_batch_size: int = 32
    classifier_learning_rate: float = 1e-3
    rows: int | None = None  # of each side; None for all
    seed: int = 1


# Seconds instead of minutes, and nothing learned: for the tests.
_SMOKE = Plan(
    vocab_size=2000,
    hidden_size=16,
    max_length=32,
    steps=12,
    batch_size=4,
    epochs=1,
    rows=64,
)


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument(
        "--output", default="keras-bert-quickstart", metavar="DIR", help="directory to work in"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of weights, examples and dropout")
    parser.add_argument("--smoke", action="store_true", help=argparse.SUPPRESS)


def run(args):
    """Runs the stages that are not done yet, then prints the table."""
    plan = dataclasses.replace(_SMOKE if args.smoke else Plan(), seed=args.seed)
    files = Files(args.output)
    progress = Progress(files, plan)
    for number, (stage, title) in enumerate(_STAGES.items(), start=1):
        name = stage.__name__
        print(f"[{number}/{len(_STAGES)}] {title}", end="", flush=True)
        if name in progress.results:
            print(": done before")
            continue
        print()
        with progress.timed(name):
            native_logs.start_tensorflow()
            results = stage(plan, files, progress.results)
        progress.finish(name, results)
    print_table(files, progress)
    # Each of these works as it stands.
    next_step(
        f'keras-bert predict {shlex.quote(files.int8)} "Wait until the thread ends."',
        f"keras-bert finetune --train {shlex.quote(files.train_rows)}"
        f" --validation {shlex.quote(files.held_out_rows)} --label-column area"
        f" --model {shlex.quote(files.bert)} --learning-rate {plan.classifier_learning_rate}"
        " --output my-classifier",
        f"keras-bert inspect {shlex.quote(files.int8)}",
    )


class Files:
    """Where things stand in the working directory."""

    def __init__(self, folder):
        self.folder = folder
        self.state = os.path.join(folder, "state.json")
        self.train_text = os.path.join(folder, "corpus", "train.txt")
        self.held_out_text = os.path.join(folder, "corpus", "held_out.txt")
        self.train_rows = os.path.join(folder, "corpus", "train.csv")
        self.held_out_rows = os.path.join(folder, "corpus", "held_out.csv")
        self.vocabulary = os.path.join(folder, "vocab.txt")
        self.bert = os.path.join(folder, "bert")
        self.classifier = os.path.join(folder, "classifier")
        self.saved_model = os.path.join(folder, "saved_model", "1")
        self.float32 = os.path.join(folder, "classifier.tflite")
        self.int8 = os.path.join(folder, "classifier-int8.tflite")
        self.exported = (self.saved_model, self.float32, self.int8)

    def name(self, path):
        """A path as seen from the working directory: the same wherever that is called from."""
        return os.path.relpath(path, self.folder)


class Progress:
    """What is done already, in a file of its own: each stage once, whatever interrupts the run."""

    def __init__(self, files, plan):
        self._files = files
        # A run is gone on with only if it would have come out the same from the start.
        self._settings = dataclasses.asdict(plan) | {
            "python": platform.python_version(),
            "keras_bert_lib": __version__,
        }
        self.results = {}
        self.seconds = {}
        before = self._read()
        if before is None:
            if os.path.isdir(files.folder) and os.listdir(files.folder):
                raise FileExistsError(
                    f"{files.folder} exists already and is not a quickstart's. Give another "
                    "--output."
                )
            os.makedirs(files.folder, exist_ok=True)
        elif before["settings"] == self._settings:
            self.results, self.seconds = before["results"], before["seconds"]
        else:
            old = before["settings"]
            names = sorted(old | self._settings)
            changed = [
                f"{name} {old.get(name)} to {self._settings.get(name)}"
                for name in names
                if old.get(name) != self._settings.get(name)
            ]
            print(f"Settings changed ({', '.join(changed)}): starting {files.folder} anew.")
            self._remove_outputs()
        self._write()

    @contextlib.contextmanager
    def timed(self, name):
        """Counts the time of a stage, also of one that is interrupted."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0) + time.monotonic() - start
            self._write()

    def finish(self, name, results):
        """Notes that a stage is done and what came out."""
        self.results[name] = results
        self._write()

    def _read(self):
        try:
            with open(self._files.state, encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(
                f"{self._files.state} is damaged. Delete {self._files.folder} and run the command "
                f"again. Received: {error}"
            ) from None

    def _write(self):
        state = {"settings": self._settings, "results": self.results, "seconds": self.seconds}
        write_json(state, self._files.state)

    def _remove_outputs(self):
        files = self._files
        for path in (
            os.path.dirname(files.train_text),
            files.vocabulary,
            files.bert,
            files.classifier,
            os.path.dirname(files.saved_model),
            files.float32,
            files.int8,
        ):
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.exists(path):
                os.remove(path)


# The stages, in order. Each writes files that the next ones read, and returns what the table says.


def corpus(plan, files, results):
    """Writes the text and the labelled rows."""
    made = quickstart_corpus.build_corpus()
    os.makedirs(os.path.dirname(files.train_text), exist_ok=True)
    quickstart_corpus.write_documents(made.train_documents, files.train_text)
    quickstart_corpus.write_documents(made.held_out_documents, files.held_out_text)
    train_rows, held_out_rows = made.train_rows[: plan.rows], made.held_out_rows[: plan.rows]
    if plan.rows:  # The first rows alone would all have the first label.
        train_rows = made.train_rows[:: len(made.train_rows) // plan.rows]
        held_out_rows = made.held_out_rows[:: len(made.held_out_rows) // plan.rows]
    quickstart_corpus.write_rows(train_rows, files.train_rows)
    quickstart_corpus.write_rows(held_out_rows, files.held_out_rows)
    characters = sum(map(len, made.train_documents)) + sum(map(len, made.held_out_documents))
    print(
        f"      {characters / 1e6:.1f} million characters; {len(train_rows):,} docstrings to train "
        f"on and {len(held_out_rows):,} of other modules to measure on"
    )
    return {"held_out_rows": len(held_out_rows)}


def vocabulary(plan, files, results):
    """Learns the vocabulary, from the text to train on alone."""
    from keras_bert_lib import text

    pieces = text.learn_vocabulary(
        files.train_text, vocab_size=plan.vocab_size, show_progress=False
    )
    text.save_vocabulary(pieces, files.vocabulary)
    print(f"      {len(pieces):,} pieces")
    return {"size": len(pieces)}


def pretraining(plan, files, results):
    """Pretrains, and computes what a unigram model would lose on the same masked pieces."""
    tokenizer, config = _tokenizer_and_config(plan, files)
    held_out = pretrain(
        files.train_text,
        files.held_out_text,
        tokenizer,
        config,
        files.bert,
        steps=plan.steps,
        batch_size=plan.batch_size,
        max_length=plan.max_length,
        learning_rate=plan.learning_rate,
        mask_share=plan.mask_share,
        dropout=plan.dropout,
        settings=dataclasses.asdict(plan),
        seed=plan.seed,
        verbose=_verbose(),
    )
    unigram = unigram_loss(files.train_text, files.held_out_text, tokenizer, plan.max_length)
    return {"held_out": held_out, "unigram_loss": unigram}


def fine_tuning(plan, files, results):
    """Fine-tunes the pretrained model."""
    classifier, accuracy, majority = _classify(plan, files, files.bert)
    classifier.save_pretrained(files.classifier)
    return {"accuracy": accuracy, "majority": majority}


def without_pretraining(plan, files, results):
    """Trains the same model on the same rows in the same way, from random weights."""
    tokenizer, config = _tokenizer_and_config(plan, files)
    _, accuracy, _ = _classify(plan, files, (config, tokenizer))
    return {"accuracy": accuracy}


def exporting(plan, files, results):
    """Writes the three files."""
    with native_logs.hidden():
        from keras_bert_lib import export
        from keras_bert_lib.models import BertClassifier

        classifier = BertClassifier.from_pretrained(files.classifier)
        export.saved_model(classifier, files.saved_model, overwrite=True)
        for path, quantization in ((files.float32, "none"), (files.int8, "dynamic_int8")):
            export.tflite(
                classifier,
                path,
                quantization=quantization,
                max_length=plan.max_length,
                overwrite=True,
            )
    return {files.name(path): megabytes(path) for path in files.exported}


def comparing(plan, files, results):
    """Runs each file in a process without Keras and compares its labels with those of Keras."""
    from keras_bert_lib.export import stock_runtime
    from keras_bert_lib.models import BertClassifier

    held_out = TextClassification(label_column="area").read(files.held_out_rows)
    texts, truth = held_out.texts, [held_out.labels[label] for label in held_out.label_ids]
    classifier = BertClassifier.from_pretrained(files.classifier)
    ranked = classifier.predict_text(texts, top_k=2)
    expected = [best["label"] for best, _ in ranked]
    texts_path = os.path.join(files.folder, "texts.json")
    report_path = os.path.join(files.folder, "report.json")
    write_json(texts, texts_path)
    with open(outside_keras.__file__, encoding="utf-8") as file:
        program = file.read()
    reports = {}
    for path in files.exported:
        # Given as text: run by its name, its folder would come first on the path of imports.
        command = [sys.executable, "-c", program, stock_runtime.__file__, path]
        command += [texts_path, report_path]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{path} failed outside Keras:\n{done.stderr}")
        with open(report_path, encoding="utf-8") as file:
            report = json.load(file)
        reports[files.name(path)] = {
            "accuracy": _share_of_same(report["labels"], truth),
            "agreement": _share_of_same(report["labels"], expected),
            # How much more probable Keras' label was than its next one, where another came out.
            "largest_margin": max(
                (
                    best["score"] - second["score"]
                    for label, (best, second) in zip(report["labels"], ranked)
                    if label != best["label"]
                ),
                default=0.0,
            ),
            "ms_a_text": report["ms_a_text"],
        }
    os.remove(texts_path)
    os.remove(report_path)
    return reports


def _share_of_same(labels, expected):
    return sum(label == wanted for label, wanted in zip(labels, expected)) / len(expected)


_STAGES = {
    corpus: "Reading the documentation of Python's standard library",
    vocabulary: "Learning a WordPiece vocabulary",
    pretraining: "Pretraining a BERT on it",
    fine_tuning: "Fine-tuning it to tell the areas of the library apart",
    without_pretraining: "Training the same model without pretraining, to compare",
    exporting: "Exporting a SavedModel and two TFLite files, the tokenizer inside",
    comparing: "Running the files without Keras",
}


def unigram_loss(train, held_out, tokenizer, max_length):
    """The loss of guessing each masked piece by its frequency in the training text alone.

    It is measured on the same examples as the model's loss. Pieces are counted from 1, so that
    those that never occur have some probability.
    """
    import numpy as np

    counts = np.ones(tokenizer.vocabulary_size)
    with open(train, encoding="utf-8") as file:
        pieces = tokenizer.tokenize_ragged(file.read().split("\n")).values.numpy()
    np.add.at(counts, pieces, 1)
    losses = -np.log(counts / counts.sum())
    examples = held_out_examples(held_out, tokenizer, max_length)
    weights = examples["masked_weights"]
    return float((losses[examples["masked_ids"]] * weights).sum() / weights.sum())


def print_table(files, progress):
    """Prints what came out, each number beside what it must be compared with."""
    results = progress.results
    tuned, held_out = results["fine_tuning"], results["pretraining"]["held_out"]
    rows = results["corpus"]["held_out_rows"]
    from_scratch = results["without_pretraining"]["accuracy"]
    print(f"\n{'Area of a docstring':40} accuracy on {rows:,} docstrings of modules held out")
    print(f"  {'most frequent area':38} {tuned['majority']:8.1%}")
    print(f"  {'this model without pretraining':38} {from_scratch:8.1%}")
    print(f"  {'this model':38} {tuned['accuracy']:8.1%}")
    print(f"{'Masked pieces':40} loss on the text of the same modules")
    print(f"  {'unigram model':38} {results['pretraining']['unigram_loss']:8.3f}")
    print(f"  {'this model':38} {held_out['mlm_loss']:8.3f}")
    print(f"{'Exported file':40} {'size':>8}  accuracy  same label as Keras  one text")
    for path in files.exported:
        name = files.name(path)
        check = results["comparing"][name]
        print(
            f"  {name:38} {results['exporting'][name]:>8}  {check['accuracy']:>8.1%}"
            f"  {check['agreement']:>19.2%}  {check['ms_a_text']:>5.2f} ms"
        )
    print(f"\nAll in {files.folder}, in {sum(progress.seconds.values()) / 60:.1f} minutes.")


def _tokenizer_and_config(plan, files):
    from keras_bert_lib.models import BertConfig
    from keras_bert_lib.text import BertTokenizer

    tokenizer = BertTokenizer(files.vocabulary, max_length=plan.max_length)
    config = BertConfig(
        vocab_size=tokenizer.vocabulary_size,
        num_layers=plan.num_layers,
        hidden_size=plan.hidden_size,
        num_heads=plan.num_heads,
        intermediate_size=4 * plan.hidden_size,
        max_position_embeddings=plan.max_length,
        initializer_range=plan.initializer_range,
    )
    return tokenizer, config


def _classify(plan, files, model):
    from keras_bert_lib.evaluation import evaluate

    task = TextClassification(label_column="area")
    train = task.read(files.train_rows)
    held_out = task.read(files.held_out_rows, labels=train.labels)
    recipe = Recipe(
        epochs=plan.epochs,
        batch_size=plan.classifier_batch_size,
        learning_rate=plan.classifier_learning_rate,
        max_length=plan.max_length,
    )
    classifier = finetune(task, train, held_out, model, recipe, seed=plan.seed, verbose=_verbose())
    accuracy = evaluate(classifier, held_out).metrics["accuracy"]
    return classifier, accuracy, majority_accuracy(train, held_out)


def _verbose():
    return 1 if sys.stdout.isatty() else 2
