"""Fine-tune a BERT to label texts.

Reads a table of texts and labels (CSV or TSV with a header, or JSONL), trains the whole model on it
and writes a model directory that holds the tokenizer and the labels too.
"""

import collections
import os
import random

from keras_bert_lib.cli import native_logs
from keras_bert_lib.cli.arguments import (
    STRATEGIES,
    check_output,
    check_readable,
    fraction,
    next_step,
    positive_float,
    positive_int,
)

EXAMPLES = """\
examples:
  keras-bert finetune --train train.csv --model my-bert --output my-classifier
  keras-bert finetune --train train.tsv --validation dev.tsv --text-column sentence \\
      --model my-bert --output my-classifier --epochs 3
"""
IF_INTERRUPTED = "Nothing was saved; run the same command to start again."


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument("--train", required=True, metavar="FILE", help=".csv, .tsv or .jsonl")
    parser.add_argument(
        "--validation",
        metavar="FILE",
        help="texts to measure on; without it, a share of the training file is held out",
    )
    parser.add_argument(
        "--hold-out",
        type=fraction,
        default=0.1,
        help="the share held out where there is no --validation; the same of each label",
    )
    parser.add_argument(
        "--model", required=True, metavar="DIR", help="a pretrained model's directory"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="directory to write")
    parser.add_argument("--text-column", default="text", help="column of the texts")
    parser.add_argument("--label-column", default="label", help="column of the labels")
    parser.add_argument("--text-pair-column", help="column of second texts, for pairs")
    parser.add_argument("--epochs", type=positive_int, default=3, help="times over the texts")
    parser.add_argument("--batch-size", type=positive_int, default=32, help="texts in a step")
    parser.add_argument(
        "--learning-rate",
        type=positive_float,
        default=5e-5,
        help="peak learning rate; small models take more, such as 3e-4",
    )
    parser.add_argument(
        "--max-length",
        type=positive_int,
        help="most tokens of a text (default: 128, or what the model takes if that is less)",
    )
    parser.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default="auto",
        help="one device, or all of them in step; auto takes all GPUs where there are several",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of weights, order and dropout")
    parser.add_argument("--overwrite", action="store_true", help="replace the output directory")


def run(args):
    """Fine-tunes and says how well it went."""
    check_output(args.output, args.overwrite)
    check_readable(args.train, "--train")
    if args.validation:
        check_readable(args.validation, "--validation")
    if not os.path.isdir(args.model):
        raise FileNotFoundError(
            f"There is no model directory {args.model}. Make one with `keras-bert pretrain`, or "
            "give the directory of a BERT in the Hugging Face layout."
        )
    native_logs.start_tensorflow()
    from keras_bert_lib.data import read_labelled_texts

    columns = {
        "text_column": args.text_column,
        "label_column": args.label_column,
        "text_pair_column": args.text_pair_column,
    }
    train = read_labelled_texts(args.train, **columns)
    labels = train.labels
    train = _rows(train)
    if args.validation:
        validation = _rows(read_labelled_texts(args.validation, **columns, labels=labels))
    else:
        train, validation = hold_out(train, args.hold_out, args.seed)
    print(f"{len(train):,} texts to train on, {len(validation):,} to measure on.")
    print(f"Labels: {', '.join(labels[:20])}{', ...' if len(labels) > 20 else ''}")
    classifier, accuracy = finetune(
        train,
        validation,
        labels,
        model=args.model,
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        max_length=args.max_length,
        strategy=args.strategy,
        seed=args.seed,
    )
    classifier.save_pretrained(args.output)
    if accuracy is not None:
        majority = majority_accuracy(train, validation)
        print(f"Accuracy on texts not trained on: {accuracy:.1%} (majority label: {majority:.1%})")
    print(f"Wrote {args.output}.")
    next_step(
        f'keras-bert predict {args.output} "your text"',
        f"keras-bert export --model {args.output} --output {args.output.rstrip('/')}.tflite",
    )


def finetune(
    train,
    validation,
    labels,
    model,
    epochs,
    batch_size,
    learning_rate,
    max_length,
    strategy="auto",
    seed=1,
    verbose="auto",
):
    """Trains a classifier on rows of `(text, label)` or `((text, text_pair), label)`.

    Args:
        train: Rows to train on.
        validation: Rows to measure on; may be empty.
        labels: The labels, in the order of the classes.
        model: A model directory, or a `(BertConfig, BertTokenizer)` to start from random weights.
        epochs: Times over the training rows.
        batch_size: Rows in a step.
        learning_rate: The peak.
        max_length: Most tokens of a text; None for 128, or what the model takes if that is less.
        strategy: A name of `STRATEGIES`.
        seed: int.
        verbose: As in `fit`.

    Returns:
        The `BertClassifier`, and its accuracy on `validation` (None where that is empty).
    """
    import keras

    from keras_bert_lib.data import text_classification
    from keras_bert_lib.models import BertClassifier, BertEncoder
    from keras_bert_lib.text import BertTokenizer
    from keras_bert_lib.training import create_optimizer, create_strategy

    scope = create_strategy(strategy).scope()
    keras.utils.set_random_seed(seed)
    with scope:
        if isinstance(model, str):
            tokenizer = BertTokenizer.from_pretrained(model)
            encoder = BertEncoder.from_pretrained(model)
        else:
            config, tokenizer = model
            encoder = BertEncoder(config)
        positions = encoder.config.max_position_embeddings
        if max_length is None:
            max_length = min(128, positions)
        if max_length > positions:
            raise ValueError(
                f"The model takes {positions} tokens at most. Lower --max-length. "
                f"Received: {max_length}"
            )
        tokenizer.max_length = max_length  # Saved with the model: it answers as it was trained.
        classifier = BertClassifier(encoder, tokenizer=tokenizer, labels=labels)
        total_steps = epochs * -(-len(train) // batch_size)
        classifier.compile(optimizer=create_optimizer(learning_rate, total_steps=total_steps))
    options = {"labels": labels, "batch_size": batch_size, "max_length": max_length}
    dataset = text_classification(train, tokenizer, shuffle=True, seed=seed, **options)
    held_out = None
    if validation:
        held_out = text_classification(validation, tokenizer, shuffle=False, **options)
    history = classifier.fit(dataset, validation_data=held_out, epochs=epochs, verbose=verbose)
    return classifier, history.history["val_accuracy"][-1] if validation else None


def hold_out(rows, share, seed):
    """Splits rows in two, taking the same share of each label, at least one of a label with two.

    Returns:
        The rows to train on and the rows held out, both in their old order.
    """
    places = collections.defaultdict(list)
    for place, (_, label) in enumerate(rows):
        places[label].append(place)
    held_out = set()
    for label in sorted(places):
        group = places[label]
        count = max(round(share * len(group)), 1) if share and len(group) > 1 else 0
        held_out.update(random.Random(f"{seed} {label}").sample(group, count))
    train = [row for place, row in enumerate(rows) if place not in held_out]
    return train, [row for place, row in enumerate(rows) if place in held_out]


def majority_accuracy(train, held_out):
    """The accuracy of always answering the label that is most frequent in the training rows."""
    [(most_frequent, _)] = collections.Counter(label for _, label in train).most_common(1)
    return sum(label == most_frequent for _, label in held_out) / len(held_out)


def _rows(data):
    texts = data.texts if data.text_pairs is None else list(zip(data.texts, data.text_pairs))
    return [(text, data.labels[i]) for text, i in zip(texts, data.label_ids)]
