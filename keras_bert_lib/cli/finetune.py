"""Fine-tune a BERT for a task: labels, numbers, entities, answers, choices or embeddings.

Reads examples, trains on them and writes a model directory that holds the tokenizer and the labels
too. What is not said is chosen: the task and the columns by the file, the learning rate by the
model's size. Some examples are held out; after each epoch the model is measured on them, and the
best is kept.
"""

import dataclasses
import itertools
import json
import math
import os
import shutil
import sys

from keras_bert_lib.cli import artifact, interrupted, native_logs, tasks
from keras_bert_lib.cli.arguments import (
    STRATEGIES,
    check_readable,
    fraction,
    next_step,
    positive_float,
    positive_int,
    shortened,
    whole_number,
)

EXAMPLES = """\
examples:
  keras-bert finetune --train train.csv --model my-bert --output my-classifier
  keras-bert finetune --train pairs.tsv --problem-type regression --seeds 3 \\
      --model my-bert --output my-scorer
  keras-bert finetune --train train.conll --model my-bert --output my-tagger
  keras-bert finetune --train squad.json --model my-bert --output my-answerer

docs/finetuning.md shows the files of each task, and says when which recipe helps. Exit code 130
says that it was interrupted: the same command, given again, goes on.
"""
IF_INTERRUPTED = "Run the same command again to go on."

# A state is saved every so many steps, and when interrupted.
_SAVE_EVERY = 500
# The least width of a model that a learning rate serves: published recipes, benchmarks of ours.
_LEARNING_RATES = ((1024, 2e-5), (768, 3e-5), (384, 1e-4), (256, 2e-4), (0, 5e-4))
# Where there are fewer examples than these in 3 epochs, there are more epochs, up to 20: few steps
# leave the head half trained (Mosbach et al., 2020).
_EXAMPLES_IN_ALL, _MOST_EPOCHS = 9000, 20
# LoRA learns best at ten times the rate of full fine-tuning, whatever the rank (Schulman et al.,
# 2025, "LoRA Without Regret").
_LORA_FACTOR = 10
_LEARNED_NOTHING = "Try a lower --learning-rate, more --epochs, or more examples."
# The loss is looked at after so many steps at most: a GPU is waited for then.
_LOOK_EVERY = 10
_SHORTEST = 5  # tokens of two texts: [CLS], a piece, [SEP], a piece, [SEP]
# Arguments that may change between an interrupted training and the one that goes on with it.
_NOT_SETTINGS = {"command", "command_parser", "module", "output", "overwrite", "strategy"}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is trained. The flags of the command have the same names and say more."""

    epochs: int | None = None
    batch_size: int = 32
    learning_rate: float | None = None
    max_length: int | None = None
    long_texts: str = "head"
    patience: int | None = None
    schedule: str = "linear"
    layer_decay: float | None = None
    accumulation: int = 1
    freeze_layers: int | None = None
    lora_rank: int | None = None
    adversarial: str | None = None
    label_smoothing: float = 0.0
    class_weights: str | None = None
    precision: str = "float32"
    strategy: str = "auto"
    pooling: str | None = None
    normalize: bool = True  # of no flag: as the pretrained model has it


class DivergedError(ValueError):
    """A training whose numbers are no numbers any more: nothing of it is of use."""


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument(
        "--task",
        choices=tuple(tasks.TASKS),
        help="what to learn; by default what the training file is for: .json is SQuAD's questions, "
        "a file of another ending CoNLL's columns, a table tells by its columns",
    )
    parser.add_argument(
        "--problem-type",
        choices=tuple(tasks.PROBLEM_TYPES),
        help='what labels of texts are: one of several, any number of them ("a|b" in a cell, or a '
        "list in .jsonl), or numbers; by default what they look like",
    )
    parser.add_argument(
        "--train",
        required=True,
        metavar="FILE",
        help="the examples: .csv, .tsv, .jsonl, .parquet, SQuAD's .json, or CoNLL's columns",
    )
    parser.add_argument(
        "--validation",
        metavar="FILE",
        help="examples to measure on; without it, a share of the training file is held out",
    )
    parser.add_argument(
        "--hold-out",
        type=fraction,
        default=0.1,
        help="the share held out where there is no --validation; the same of each label",
    )
    parser.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="a pretrained model's directory, or its name on the Hugging Face hub",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="directory to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the output directory")
    tasks.add_column_arguments(parser)

    recipe = parser.add_argument_group("recipe", "How to train; what is left out is chosen.")
    recipe.add_argument(
        "--epochs",
        type=positive_int,
        help="times over the examples (default: 3, and up to 20 where there are few)",
    )
    recipe.add_argument("--batch-size", type=positive_int, default=32, help="examples in a step")
    recipe.add_argument(
        "--learning-rate",
        type=positive_float,
        help="peak learning rate (default: by the model's size, 2e-5 for large to 5e-4 for tiny; "
        "with LoRA ten times that)",
    )
    recipe.add_argument(
        "--max-length",
        type=positive_int,
        help="most tokens of a text (default: 128, or 256 where many are longer; of a question and "
        "its context 384; less where the model takes less)",
    )
    recipe.add_argument(
        "--long-texts",
        choices=tasks.LONG_TEXTS,
        default="head",
        help="what a classifier reads of a longer text: its head, head and tail, or all of it in "
        "windows, whose scores are joined",
    )
    recipe.add_argument(
        "--patience",
        type=whole_number,
        metavar="EPOCHS",
        help="stop early after so many epochs that were no better on what is held out; the best "
        "epoch's weights are kept (default: a third of the epochs, 2 at least). 0 trains all "
        "epochs and keeps the last",
    )
    recipe.add_argument(
        "--seeds",
        type=positive_int,
        default=1,
        help="train so often, from different seeds; say how far they are apart, keep the best",
    )
    recipe.add_argument("--seed", type=int, default=1, help="the first seed of weights and order")
    recipe.add_argument(
        "--schedule",
        choices=("linear", "cosine", "constant"),
        default="linear",
        help="how the learning rate falls after the warmup",
    )
    recipe.add_argument(
        "--layer-decay",
        type=fraction,
        metavar="FACTOR",
        help="each layer learns slower than the one above it by this factor, such as 0.9",
    )
    recipe.add_argument(
        "--accumulation",
        type=positive_int,
        default=1,
        metavar="BATCHES",
        help="batches whose gradients make one update: large batches in little memory",
    )
    recipe.add_argument(
        "--freeze-layers",
        type=positive_int,
        metavar="LAYERS",
        help="leave the embeddings and so many of the lowest layers as they are: faster",
    )
    recipe.add_argument(
        "--lora-rank",
        type=positive_int,
        metavar="RANK",
        help="train low-rank additions to the weights alone (LoRA), such as 8: less memory",
    )
    recipe.add_argument(
        "--adversarial",
        choices=("fgm", "freelb"),
        help="train on embeddings moved against the model, too: often better, slower by half "
        "(fgm) or more (freelb)",
    )
    recipe.add_argument(
        "--label-smoothing",
        type=fraction,
        default=0.0,
        metavar="SHARE",
        help="take right labels for right but for this share, such as 0.1: scores less sure",
    )
    recipe.add_argument(
        "--class-weights",
        choices=("balanced",),
        help="let rare labels count as much as frequent ones",
    )
    recipe.add_argument(
        "--pooling",
        choices=("mean", "cls", "max"),
        help="how vectors of tokens become one, for embeddings (default: as the model has it, or "
        "mean)",
    )
    recipe.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        default="float32",
        help="what to compute in; mixed is faster on GPUs",
    )
    recipe.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default="auto",
        help="one device, all of this machine's, or those of all machines of TF_CONFIG; auto takes "
        "what there is",
    )


def run(args):
    """Fine-tunes and says how well it went."""
    check_readable(args.train, "--train")
    if args.validation:
        check_readable(args.validation, "--validation")
    if not os.path.isdir(args.model) and not artifact.is_hub_name(args.model):
        raise FileNotFoundError(
            f"There is no model directory {args.model}. Make one with `keras-bert pretrain`, or "
            "give the directory of a BERT in the Hugging Face layout, or its name on the hub, "
            "OWNER/MODEL."
        )
    settings = {name: value for name, value in vars(args).items() if name not in _NOT_SETTINGS}
    folder = interrupted.check_output(args.output, settings, args.overwrite)
    native_logs.start_tensorflow()
    from keras_bert_lib import data, training
    from keras_bert_lib.checkpoints import hub
    from keras_bert_lib.evaluation import evaluate
    from keras_bert_lib.training.workers import Workers

    if not os.path.isdir(args.model):
        args.model = str(hub.download(args.model))

    # Before TensorFlow computes anything. Of several workers one writes.
    is_first = Workers(training.create_strategy(args.strategy)).is_first

    # What to learn, and from what.
    name = args.task or tasks.guess_task(args.train)
    task = tasks.TASKS[name].of_file(args.train, args)
    print(f"Task: {name}: {task}.")
    check_recipes(task, args)
    train, held_out = tasks.read(task, args.train), None
    if args.validation:
        held_out = tasks.read(task, args.validation, labels=getattr(train, "labels", None))
    elif args.hold_out:
        try:
            train, held_out = data.split(train, args.hold_out, seed=args.seed)
        except ValueError as error:
            raise ValueError(
                f"Nothing of {args.train} can be held out. Give --validation, or measure on "
                f"nothing with --hold-out 0. {error}"
            ) from None
    count = len(held_out[0]) if held_out else 0
    print(f"{len(train[0]):,} {task.noun} to train on, {count:,} to measure on.")
    if getattr(train, "labels", None):
        print(f"Labels: {shortened(train.labels)}{or_numbers(task, args, train.labels)}")

    # How to learn it.
    names = [field.name for field in dataclasses.fields(Recipe)]
    recipe = Recipe(**{name: getattr(args, name) for name in names if hasattr(args, name)})
    recipe = completed(recipe, task, train, args.model)
    is_higher = recipe.lora_rank and args.learning_rate is None
    print(
        f"Up to {recipe.epochs} epochs in batches of {recipe.batch_size}, learning rate "
        f"{recipe.learning_rate:g}{' (ten times the usual, for LoRA)' if is_higher else ''}, "
        f"{recipe.max_length} tokens at most."
    )
    print_cut(task, train, recipe, args.model)
    if "pooling" in task.recipes:
        scaled = ", scaled to length 1" if recipe.normalize else ""
        print(f"A text's vector is the {recipe.pooling} of its tokens' vectors{scaled}.")
    if is_first:
        interrupted.write_json(settings, os.path.join(folder, "settings.json"))

    def train_once(seed):
        """Trains with one seed, if that is not done yet, and returns the metric."""
        path = os.path.join(folder, f"seed-{seed}")
        if os.path.exists(f"{path}.json"):
            with open(f"{path}.json", encoding="utf-8") as file:
                return json.load(file)
        if args.seeds > 1:
            print(f"Seed {seed}:")
        verbose = (1 if sys.stdout.isatty() else 2) if is_first else 0
        model = finetune(task, train, held_out, args.model, recipe, seed, path, verbose)
        found = evaluate(model, held_out).metrics[task.metric] if held_out else math.nan
        if is_first:
            model.save_pretrained(path, overwrite=True)
            interrupted.write_json({task.metric: found}, f"{path}.json")
        return {task.metric: found}

    guessed = {task.metric: of_guessing(task, train, held_out)} if held_out else {}
    try:
        repeats = training.repeat(
            train_once, range(args.seed, args.seed + args.seeds), majority=guessed
        )
    except ValueError as error:
        # What diverged would again, and what has not begun has nothing to go on with.
        is_of_use = interrupted.has_state(folder) and not isinstance(error, DivergedError)
        if is_first and not is_of_use:
            interrupted.discard(args.output)
        raise
    if not is_first:
        return
    best = best_of([result[task.metric] for result in repeats.results])
    record = {
        "data": os.path.basename(args.train),
        "rows": len(train[0]),
        "most epochs": recipe.epochs,
        "batch size": recipe.batch_size,
        "learning rate": recipe.learning_rate,
        "seed": repeats.seeds[best],
    }
    if getattr(task, "problem_type", None) and task.text_pair_column:
        record["pairs"] = True  # `predict` and `export` go by it
    is_same = args.validation and os.path.samefile(args.train, args.validation)
    value = repeats.results[best][task.metric]
    if held_out:
        measured = "training" if is_same else "held-out"
        record[f"{measured} rows"] = count
        if not math.isnan(value):  # JSON has no NaN
            record[f"{measured} {task.metric}"] = value
    best = os.path.join(folder, f"seed-{repeats.seeds[best]}")
    model = artifact.load_model(best)
    model.training_record = record
    model.save_pretrained(args.output, overwrite=True)
    os.replace(f"{best}.csv", os.path.join(args.output, "training.csv"))

    # How well it went.
    if held_out:
        which = "not trained on"
        if is_same:
            which = "that it was trained on, which tell nothing of others"
        print(f"\nOn {count:,} {task.noun} {which}:\n{evaluate(model, held_out)}")
        if task.metric == "accuracy" and getattr(train, "labels", None):
            often = guessed["accuracy"]
            print(f"Always answering the most frequent label has accuracy {often:.4f}.")
        if args.seeds > 1:
            hint = f"\n{_LEARNED_NOTHING}" if repeats.disagreements else ""
            kept = "The best seed is kept."
            if math.isnan(value):
                kept = f"No seed is best: {task.metric} is NaN for all. The first is kept."
            print(f"\n{repeats}{hint}\n{kept}")
        elif repeats.disagreements:
            print(*repeats.disagreements, _LEARNED_NOTHING)
    shutil.rmtree(folder)
    print(f"\nWrote {args.output}.")
    choices = f" --choices {len(train.choices[0])}" if hasattr(train, "choices") else ""
    ending = os.path.splitext(args.train.removesuffix(".gz"))[1]
    next_step(
        f"keras-bert predict {args.output} {task.asked}",
        f"keras-bert evaluate {args.output} test{ending} --plots plots",
        f"keras-bert export --model {args.output} --output {args.output.rstrip('/')}.tflite"
        + choices,
    )


def check_recipes(task, args):
    """Raises where the arguments ask for a recipe that is not for the task."""
    for name, what in tasks.RECIPES.items():
        value = getattr(args, name)
        if name not in task.recipes and value != args.command_parser.get_default(name):
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} is for {what}. Leave it out. Received: {flag} {value}")
    if args.lora_rank and args.freeze_layers:
        raise ValueError(
            "--lora-rank leaves all layers as they are, and adds to them; leave out "
            f"--freeze-layers. Received: --freeze-layers {args.freeze_layers}"
        )
    if task.loss == "in_batch_negatives" and not task.negative_column and args.batch_size == 1:
        raise ValueError(
            "Pairs are learned from beside the others of their batch, and one alone teaches "
            "nothing. Give a larger --batch-size. Received: --batch-size 1"
        )


def or_numbers(task, args, labels):
    """Returns how to learn labels as numbers, where classes were made of what may be both."""
    is_guessed = "problem_type" in task.recipes and args.problem_type is None
    are_numbers = all(x.removeprefix("-").removesuffix(".0").isdecimal() for x in labels)
    # Of two, such as 0 and 1, no one wants the numbers.
    if is_guessed and task.problem_type == "single-label" and are_numbers and len(labels) > 2:
        return " (classes; --problem-type regression takes them for numbers)"
    return ""


def of_guessing(task, train, held_out):
    """Returns the metric of a model that learned nothing, or None where it cannot tell."""
    if task.metric == "spearman":
        numbers = held_out.scores if hasattr(held_out, "scores") else held_out.label_ids
        return 0.0 if (numbers != numbers[:1]).any() else None  # NaN whatever the answers
    if task.metric == "mean_reciprocal_rank":
        count = len(held_out.texts)
        return sum(1 / rank for rank in range(1, count + 1)) / count
    if hasattr(held_out, "choices"):
        return sum(1 / len(choices) for choices in held_out.choices) / len(held_out.choices)
    if hasattr(held_out, "answers") and not all(train.answers):  # always that there is none
        return sum(not answers for answers in held_out.answers) / len(held_out.answers)
    if task.metric == "accuracy" and getattr(train, "labels", None):
        return tasks.majority_accuracy(train, held_out)
    return 0.0


def best_of(values):
    """Returns the place of the greatest of some numbers; NaN is less than all."""
    return max(range(len(values)), key=lambda i: (not math.isnan(values[i]), values[i]))


def print_cut(task, rows, recipe, model):
    """Prints how many texts are longer than what is read of them."""
    from keras_bert_lib.text import BertTokenizer

    cut = tasks.count_cut(task, rows, BertTokenizer.from_pretrained(model), recipe.max_length)
    total = sum(len(texts) for texts, _ in task.cut_texts(rows))
    if cut:
        flags = "--max-length"
        if "long_texts" in task.recipes:
            flags += f" and --long-texts {recipe.long_texts}"
        print(f"{cut:,} of {total:,} texts are longer, and are cut: see {flags}.")


def completed(recipe, task, train, model):
    """Returns a recipe with what it leaves open filled in.

    Args:
        recipe: `Recipe`.
        task: One of `tasks.TASKS`.
        train: The examples to train on.
        model: A model directory.

    Raises:
        ValueError: If the model takes fewer tokens than the recipe says, or has fewer layers, or
            makes vectors of texts in a way that this library does not.
    """
    from keras_bert_lib.checkpoints import open_checkpoint
    from keras_bert_lib.models import BertConfig
    from keras_bert_lib.text import BertTokenizer

    checkpoint = open_checkpoint(model)
    config = BertConfig.from_huggingface(checkpoint.config)
    positions = config.max_position_embeddings
    if recipe.max_length is not None and recipe.max_length > positions:
        raise ValueError(
            f"The model takes {positions} tokens at most. Lower --max-length. "
            f"Received: {recipe.max_length}"
        )
    if recipe.max_length is not None and recipe.max_length < _SHORTEST:
        raise ValueError(
            f"--max-length must be {_SHORTEST} at least: special tokens and one piece a text. "
            f"Received: {recipe.max_length}"
        )
    if recipe.freeze_layers and recipe.freeze_layers > config.num_layers:
        raise ValueError(
            f"The model has {config.num_layers} layers. Lower --freeze-layers. "
            f"Received: {recipe.freeze_layers}"
        )
    epochs = recipe.epochs
    if epochs is None:
        epochs = min(max(math.ceil(_EXAMPLES_IN_ALL / len(train[0])), 3), _MOST_EPOCHS)
    # Few examples may take some epochs until anything is learned.
    patience = max(epochs // 3, 2) if recipe.patience is None else recipe.patience
    learning_rate = recipe.learning_rate
    if learning_rate is None:
        usual = next(rate for width, rate in _LEARNING_RATES if config.hidden_size >= width)
        learning_rate = usual * (_LORA_FACTOR if recipe.lora_rank else 1)
    max_length = recipe.max_length
    if max_length is None:
        max_length = min(task.max_length(train, BertTokenizer.from_pretrained(model)), positions)
    # An embedder goes on as it was trained before.
    vectors = checkpoint.config.get("sentence_embedding", {})
    if "pooling" in task.recipes and recipe.pooling is None and "unsupported" in vectors:
        raise ValueError(f"Choose with --pooling what vectors are. {vectors['unsupported']}")
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        learning_rate=learning_rate,
        max_length=max_length,
        patience=patience,
        pooling=recipe.pooling or vectors.get("pooling", "mean"),
        normalize=vectors.get("normalize", True),
    )


def finetune(task, train, held_out, model, recipe, seed=1, folder=None, verbose="auto"):
    """Trains a model for a task.

    Args:
        task: One of `tasks.TASKS`.
        train: The examples to train on, as a reader of `keras_bert_lib.data` returns them.
        held_out: The same, to measure on; or None.
        model: A model directory, or a `(BertConfig, BertTokenizer)` to start from random weights.
        recipe: `Recipe`, with nothing left open.
        seed: int.
        folder: Where the training's state and its best weights stand while it lasts; if they do,
            it is gone on with. None keeps no state.
        verbose: As in `fit`.

    Returns:
        The model.

    Raises:
        DivergedError: If the loss or the weights are not finite any more.
        ValueError: If `recipe.accumulation` is above the batches that there are.
    """
    import keras
    import numpy as np

    from keras_bert_lib import training
    from keras_bert_lib.evaluation import evaluate
    from keras_bert_lib.models import BertEncoder
    from keras_bert_lib.text import BertTokenizer
    from keras_bert_lib.training.workers import Workers

    strategy = training.create_strategy(recipe.strategy)
    keras.utils.set_random_seed(seed)
    with strategy.scope():
        options = {"dtype": recipe.precision, "use_pooler": task.use_pooler}
        pretrained = model if isinstance(model, str) else None
        if pretrained:
            tokenizer = BertTokenizer.from_pretrained(model)
            encoder = BertEncoder.from_pretrained(model, **options)
        else:
            config, tokenizer = model
            encoder = BertEncoder(config, **options)
        tokenizer.max_length = recipe.max_length  # Saved with the model: it answers as trained.
        if recipe.freeze_layers:
            encoder.freeze(recipe.freeze_layers)
        if recipe.lora_rank:
            encoder.enable_lora(recipe.lora_rank)
        model = task.make_model(encoder, tokenizer, train, recipe)
        if pretrained and hasattr(task, "load_head"):
            task.load_head(model, pretrained)
    sizes = {"batch_size": recipe.batch_size, "max_length": recipe.max_length}
    batches = task.batches(train, model, recipe, shuffle=True, seed=seed, **sizes)
    if recipe.accumulation > recipe.epochs * len(batches):
        raise ValueError(
            f"The training has {recipe.epochs * len(batches)} batches in all, which would make no "
            f"update of the weights. Lower --accumulation. Received: {recipe.accumulation}"
        )
    with strategy.scope():
        optimizer = training.create_optimizer(
            recipe.learning_rate,
            total_steps=max(recipe.epochs * len(batches) // recipe.accumulation, 1),
            schedule=recipe.schedule,
            layer_decay=recipe.layer_decay,
            accumulation_steps=recipe.accumulation,
        )
        options = {}
        if recipe.label_smoothing:
            options["label_smoothing"] = recipe.label_smoothing
        if recipe.adversarial:
            adversaries = {"fgm": training.FGM, "freelb": training.FreeLB}
            options["adversarial"] = adversaries[recipe.adversarial]()
        model.compile(optimizer, loss=task.loss, **options)
    validation = held_out and task.batches(held_out, model, recipe, shuffle=False, **sizes)
    class_weight = None
    if recipe.class_weights:
        class_weight = training.balanced_class_weights(train.label_ids, len(train.labels))

    def check_losses(epoch, logs):
        """Raises before what the last update of an epoch made NaN is measured."""
        for name in ("loss", "val_loss"):
            if not math.isfinite(logs.get(name, 0)):
                raise FloatingPointError(f"The {name} is {logs[name]} after epoch {epoch + 1}.")

    # So that the last step of an epoch is among those that are looked at.
    every = max(n for n in range(1, _LOOK_EVERY + 1) if len(batches) % n == 0)
    callbacks = [
        training.StopAtNaN(f"{folder}-nan.npz", every=every),  # which writes no file here
        keras.callbacks.LambdaCallback(on_epoch_end=check_losses),
    ]
    if folder and held_out and recipe.patience:
        # What is measured at the end chooses the epoch, too.
        best = training.BestCheckpoint(
            f"{folder}.weights.h5",
            metric=f"val_{task.metric}",
            patience=recipe.patience,
            evaluate=lambda model: {task.metric: evaluate(model, held_out).metrics[task.metric]},
        )
        callbacks.append(best)
    if folder and Workers(strategy).is_first:
        callbacks.append(keras.callbacks.CSVLogger(f"{folder}.csv", append=True))
        callbacks.append(
            keras.callbacks.LambdaCallback(
                on_epoch_begin=lambda epoch, logs: drop_epochs(f"{folder}.csv", epoch)
            )
        )
    if folder:
        callbacks.append(training.Resume(f"{folder}.npz", save_every=_SAVE_EVERY))
    try:
        model.fit(
            batches.repeat(),
            steps_per_epoch=len(batches),
            epochs=recipe.epochs,
            validation_data=validation,
            class_weight=class_weight,
            callbacks=callbacks,
            verbose=verbose,
        )
        # The last update may have spoilt them, and without held-out examples no loss tells.
        if not all(np.isfinite(weight).all() for weight in model.get_weights()):
            raise FloatingPointError("Some weights are NaN or infinite after the last step.")
    except FloatingPointError as error:
        [what, *_] = str(error).split(".")
        raise DivergedError(
            f"{what}: the training diverged, and nothing of it is kept. Give a lower "
            f"--learning-rate, or look at the data. Received: --learning-rate "
            f"{recipe.learning_rate:g}"
        ) from error
    if recipe.lora_rank:
        encoder.merge_lora()
    return model


def drop_epochs(path, epoch):
    """Shortens the curve of a training to the epochs before one: that and later ones are done anew.

    In place, for Keras has the file open to append to.
    """
    with open(path, "rb+") as file:
        header, *rows = file.readlines() or [b""]
        kept = itertools.takewhile(lambda row: int(row.split(b",")[0]) < epoch, rows)
        file.truncate(len(header) + sum(map(len, kept)))
