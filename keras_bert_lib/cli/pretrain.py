"""Pretrain a BERT on text files: masked pieces and next sentence.

Text files hold a sentence or a paragraph a line and a blank line between documents; .jsonl and
.parquet files a document a row; a directory is a token cache (`keras-bert cache`). Progress is
saved as the training goes: the same command, given again, goes on from where it was.
"""

import dataclasses
import glob
import importlib.util
import itertools
import math
import os
import shutil
import time

from keras_bert_lib.cli import interrupted, native_logs
from keras_bert_lib.cli.arguments import (
    SIZES,
    STRATEGIES,
    add_reader_arguments,
    fraction,
    next_step,
    positive_float,
    positive_int,
)

EXAMPLES = """\
examples:
  keras-bert pretrain --corpus corpus.txt --vocab vocab.txt --output my-bert
  keras-bert pretrain --corpus 'books/*.txt' --vocab vocab.txt --size small --steps 20000 \\
      --held-out dev.txt --output my-bert
  keras-bert pretrain --corpus cache --vocab vocab.txt --size base --steps 100000 --packing \\
      --batch-size 256 --precision mixed_bfloat16 --learning-rate 1e-4 --held-out dev.txt \\
      --output my-bert

docs/pretraining.md goes from one CPU to many machines. Exit code 130 says that Ctrl-C stopped it,
143 that SIGTERM did: the same command, given again, goes on.
"""
IF_INTERRUPTED = "Run the same command again to go on from the last checkpoint."

# Without --held-out, every this many documents one is held out.
_HOLD_OUT_EVERY = 20
# Held-out loss is measured on at most this many examples.
_MAX_HELD_OUT_EXAMPLES = 2000
# Batches from which the share of padding is told.
_LOOKED_AT = 8
# Masked pieces from which their frequencies are told.
_COUNTED_PIECES = 200_000
# Steps from point to point in the logs, without --log-every.
_LOG_EVERY = 100
# Arguments that may change between an interrupted training and the one that goes on with it.
_NOT_SETTINGS = {
    "command",
    "command_parser",
    "module",
    "output",
    "strategy",
    "wait",
    "save_every",
    "keep",
    "log_every",
    "on_corrupt",
}


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument(
        "--corpus",
        required=True,
        nargs="+",
        metavar="FILE",
        help="text files or patterns, or the directory of a token cache",
    )
    parser.add_argument("--vocab", required=True, metavar="FILE", help="the vocabulary, vocab.txt")
    parser.add_argument("--cased", action="store_true", help="the vocabulary is a cased one")
    parser.add_argument("--output", required=True, metavar="DIR", help="directory to write")
    parser.add_argument("--size", choices=SIZES, default="mini", help="shape of the model")
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="start from this pretrained model, not from random weights; --size is its own then",
    )
    parser.add_argument(
        "--epochs", type=positive_int, default=10, help="times over the corpus, without --steps"
    )
    parser.add_argument("--steps", type=positive_int, help="steps to train")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights, examples and dropout")

    examples = parser.add_argument_group("examples", "What is learned from the text.")
    examples.add_argument(
        "--batch-size", type=positive_int, default=32, help="examples in a step, or packed rows"
    )
    examples.add_argument(
        "--max-length", type=positive_int, default=128, help="tokens in an example or packed row"
    )
    examples.add_argument(
        "--masking",
        choices=("piece", "whole_word", "ngram"),
        default="piece",
        help="what is masked as one: a piece, a word, or one to three words",
    )
    examples.add_argument(
        "--mask-share",
        type=fraction,
        default=0.15,
        help="the share of pieces to predict; short trainings gain from more, such as 0.3",
    )
    examples.add_argument(
        "--short-seq-prob",
        type=fraction,
        default=0.1,
        metavar="SHARE",
        help="the share of examples that aim at a random shorter length, for what is short later",
    )
    examples.add_argument(
        "--objective",
        choices=("next_sentence", "sentence_order", "none"),
        default="next_sentence",
        help="what is learned beside masked pieces: is the second segment the next one, are the "
        "two in order, or nothing",
    )
    examples.add_argument(
        "--packing",
        action="store_true",
        help="several examples in a row, each by itself, so that hardly anything is padding",
    )
    add_reader_arguments(examples)
    examples.add_argument(
        "--held-out",
        metavar="FILE",
        help="text to measure on; without it, one document in 20 of the corpus is held out",
    )

    recipe = parser.add_argument_group("recipe", "How to train.")
    recipe.add_argument(
        "--learning-rate",
        type=positive_float,
        default=5e-4,
        help="peak learning rate; base and large take less, such as 1e-4",
    )
    recipe.add_argument(
        "--optimizer",
        choices=("adamw", "lamb"),
        default="adamw",
        help="lamb keeps large batches stable, from some thousands of examples on",
    )
    recipe.add_argument(
        "--ema",
        type=fraction,
        metavar="MOMENTUM",
        help="end with a moving average of the weights, such as 0.999",
    )
    recipe.add_argument(
        "--accumulation-steps",
        type=positive_int,
        default=1,
        metavar="BATCHES",
        help="batches whose gradients make one update: large batches in little memory",
    )
    recipe.add_argument(
        "--dropout",
        type=fraction,
        default=0.1,
        help="dropout of the pretraining; short ones gain from 0. Fine-tuning has BERT's 0.1",
    )
    recipe.add_argument(
        "--initializer-range",
        type=positive_float,
        default=0.02,
        metavar="DEVIATION",
        help="how wide random weights are drawn; narrow models learn sooner from 1 / sqrt(width), "
        "such as 0.06 for mini",
    )
    recipe.add_argument(
        "--keep-best",
        action="store_true",
        help="end with the weights that were best on held-out text, not with the last ones",
    )

    machine = parser.add_argument_group("machine", "Where and how fast.")
    machine.add_argument(
        "--strategy",
        choices=(*STRATEGIES, "tpu"),
        default="auto",
        help="one device, all of this machine's, those of all machines of TF_CONFIG, or a TPU; "
        "auto takes what there is",
    )
    machine.add_argument(
        "--wait",
        type=positive_float,
        default=300.0,
        metavar="SECONDS",
        help="how long to wait for the other machines",
    )
    machine.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        default="float32",
        help="what to compute in; mixed is faster on GPUs, TPUs and new CPUs",
    )
    machine.add_argument(
        "--steps-per-execution",
        type=positive_int,
        default=1,
        help="steps that the device makes without asking Python; TPUs want some",
    )
    machine.add_argument("--xla", action="store_true", help="compile the step by XLA")
    machine.add_argument(
        "--remat",
        action="store_true",
        help="compute activations again in the backward pass: less memory, a third more time",
    )

    saving = parser.add_argument_group("progress", "What is saved and shown, and when.")
    saving.add_argument(
        "--save-every", type=positive_int, default=500, help="steps from checkpoint to checkpoint"
    )
    saving.add_argument("--keep", type=positive_int, default=2, help="newest checkpoints to keep")
    saving.add_argument(
        "--evaluate-every",
        type=positive_int,
        default=1000,
        help="steps from one measuring on held-out text to the next",
    )
    saving.add_argument(
        "--log-every", type=positive_int, default=100, help="steps from line to line"
    )


def run(args):
    """Pretrains and says how well it went."""
    native_logs.start_tensorflow()
    from keras_bert_lib.checkpoints import open_checkpoint
    from keras_bert_lib.data import count_pretraining_examples
    from keras_bert_lib.models import BertConfig
    from keras_bert_lib.models.pretrained_model import read_tokenizer
    from keras_bert_lib.text import BertTokenizer
    from keras_bert_lib.training import create_strategy
    from keras_bert_lib.training.workers import Workers

    # Before TensorFlow computes anything.
    strategy = create_strategy(args.strategy, wait=args.wait)
    if args.model is None:
        max_length = max(args.max_length, 512)
        tokenizer = BertTokenizer(args.vocab, lowercase=not args.cased, max_length=max_length)
        config = BertConfig.from_size(
            args.size,
            vocab_size=tokenizer.vocabulary_size,
            max_position_embeddings=tokenizer.max_length,
            initializer_range=args.initializer_range,
        )
    else:
        checkpoint = open_checkpoint(args.model)
        config = BertConfig.from_huggingface(checkpoint.config)
        positions = config.max_position_embeddings
        tokenizer = BertTokenizer(args.vocab, lowercase=not args.cased, max_length=positions)
        if tokenizer.vocabulary_size != config.vocab_size or args.max_length > positions:
            raise ValueError(
                f"{args.model} has {config.vocab_size} pieces and {positions} positions. Give its "
                "own --vocab, and no longer --max-length. Received: "
                f"{tokenizer.vocabulary_size} pieces, {args.max_length} positions"
            )
        _check_same_tokenizer(read_tokenizer(checkpoint), tokenizer, args)
    held_out = args.held_out
    corpus = args.corpus
    is_cache = len(corpus) == 1 and os.path.isdir(corpus[0])
    if is_cache:
        corpus = corpus[0]
        if held_out is None:
            raise ValueError(
                "Of a token cache nothing can be held out. Give --held-out with other text. "
                f"Received: --corpus {corpus}"
            )
    elif held_out is None:
        how = {"text_column": args.text_column, "on_corrupt": args.on_corrupt}
        corpus = Documents(args.corpus, lambda number: number % _HOLD_OUT_EVERY != 1, **how)
        held_out = Documents(args.corpus, lambda number: number % _HOLD_OUT_EVERY == 1, **how)
        if len(list(itertools.islice(held_out, 2))) < 2:
            raise ValueError(
                "The corpus has too few documents to hold some out. Part documents by blank "
                f"lines, or give --held-out. Received: at most {_HOLD_OUT_EVERY + 1} documents"
            )
    options = {
        "short_seq_prob": args.short_seq_prob,
        "objective": args.objective,
        "text_column": args.text_column,
        "on_corrupt": args.on_corrupt,
    }
    steps = args.steps
    if steps is None:
        print("Counting the examples of the corpus.")
        examples = count_pretraining_examples(
            corpus,
            tokenizer,
            max_length=args.max_length,
            max_predictions=math.ceil(args.mask_share * args.max_length),
            masked_lm_prob=args.mask_share,
            seed=args.seed,
            packing=args.packing,
            **options,
        )
        steps = max(args.epochs * examples // args.batch_size, 1)
    results = pretrain(
        corpus,
        held_out,
        tokenizer,
        config,
        args.output,
        steps=steps,
        batch_size=args.batch_size,
        max_length=args.max_length,
        learning_rate=args.learning_rate,
        strategy=args.strategy,
        seed=args.seed,
        mask_share=args.mask_share,
        dropout=args.dropout,
        packing=args.packing,
        data_options=options | {"masking": args.masking},
        optimizer_options={
            "optimizer": args.optimizer,
            "accumulation_steps": args.accumulation_steps,
            **({} if args.ema is None else {"use_ema": True, "ema_momentum": args.ema}),
        },
        encoder_options={"dtype": args.precision, **({"remat": True} if args.remat else {})},
        compile_options={
            "steps_per_execution": args.steps_per_execution,
            "jit_compile": True if args.xla else "auto",
        },
        model=args.model,
        keep_best=args.keep_best,
        save_every=args.save_every,
        keep=args.keep,
        evaluate_every=args.evaluate_every,
        log_every=args.log_every,
        # What else changes the training; a checkpoint is gone on with only if all is the same.
        settings={name: value for name, value in vars(args).items() if name not in _NOT_SETTINGS}
        | _contents(args, tokenizer),
    )
    if not Workers(strategy).is_first:
        return
    pairs = ""
    if args.objective != "none":
        what = args.objective.replace("_", " ")
        pairs = f"; {what} right in {results['nsp_accuracy']:.1%}"
    print(
        f"On held-out text: masked-piece loss {results['mlm_loss']:.3f}, the right piece in "
        f"{results['mlm_accuracy']:.1%}{pairs}."
    )
    print(f"Wrote {args.output}.")
    next_step(
        f"keras-bert finetune --train train.csv --model {args.output} --output my-classifier",
        f"keras-bert inspect {args.output}",
        *([f"tensorboard --logdir {args.output}/logs"] if _has_tensorboard() else []),
    )


def _check_same_tokenizer(own, given, args):
    """Raises where the tokenizer of --model, or None, gives other ids than that of --vocab."""
    if own is None:
        return
    for number, (was, now) in enumerate(zip(own.vocabulary, given.vocabulary)):
        if was != now:
            raise ValueError(
                f"{args.vocab} is not the vocabulary of {args.model}. Give that. Received: "
                f"{now!r} in line {number + 1}, where the model has {was!r}"
            )
    if own.lowercase != given.lowercase:
        raise ValueError(
            f"{args.model} is {'uncased: leave out' if own.lowercase else 'cased: add'} --cased. "
            f"Received: lowercase={given.lowercase}"
        )


def _contents(args, tokenizer):
    """What tells the text and the vocabulary of a training from others under the same names."""
    from keras_bert_lib.data.token_cache import INFO_FILE, describe_tokenizer, is_token_cache

    files = []
    for path in [*args.corpus, *([args.held_out] if args.held_out else [])]:
        # The sizes of a cache's shards stand in what says what it holds.
        is_cache = is_token_cache(path)
        files += [os.path.join(path, INFO_FILE)] if is_cache else sorted(glob.glob(path))
    return {
        "vocabulary_sha256": describe_tokenizer(tokenizer)["vocabulary_sha256"],
        "bytes": {path: os.path.getsize(path) for path in files},
    }


class Documents:
    """The documents of text files whose number `keep` chooses; the files are read anew each time.

    Args:
        paths: As in `keras_bert_lib.data.read_documents`.
        keep: A function from a document's number to whether it is kept.
        **options: Of `read_documents`.
    """

    def __init__(self, paths, keep, **options):
        self._paths = paths
        self._keep = keep
        self._options = options

    def __iter__(self):
        from keras_bert_lib.data import read_documents

        documents = enumerate(read_documents(self._paths, **self._options))
        return (document for number, document in documents if self._keep(number))


def pretrain(
    corpus,
    held_out,
    tokenizer,
    config,
    output,
    steps,
    batch_size,
    max_length,
    learning_rate,
    settings,
    strategy="auto",
    seed=1,
    mask_share=0.15,
    dropout=0.1,
    packing=False,
    data_options=None,
    optimizer_options=None,
    encoder_options=None,
    compile_options=None,
    model=None,
    keep_best=False,
    save_every=500,
    keep=2,
    evaluate_every=1000,
    log_every=None,
    verbose="auto",
):
    """Pretrains from random weights, or goes on from what an interrupted call left in `output`.

    Args:
        corpus: A source of `pretraining_dataset`, to train on.
        held_out: The same, to measure on.
        tokenizer: `BertTokenizer`.
        config: `BertConfig`.
        output: The model directory to write. `logs/` (TensorBoard) and, while the training lasts,
            `training/` (its state) stand beside the model in it.
        steps: Steps to train.
        batch_size: Examples in a step.
        max_length: Tokens in an example.
        learning_rate: The peak.
        settings: Dict of what must be the same for a training to be gone on with.
        strategy: A name of `create_strategy`.
        seed: int.
        mask_share: The share of pieces to predict. On held-out text it is BERT's 15%.
        dropout: The rate while pretraining; that of `config` is for what comes after.
        packing: As in `pretraining_dataset`. Held-out examples are not packed.
        data_options: Dict of further arguments of `pretraining_dataset`, for both texts.
        optimizer_options: Dict of further arguments of `create_optimizer`.
        encoder_options: Dict of further arguments of `BertEncoder`.
        compile_options: Dict of further arguments of `compile`.
        model: A pretrained model's directory to start from, or None.
        keep_best: Whether to end with the weights that were best on held-out text.
        save_every: Steps from checkpoint to checkpoint.
        keep: The newest checkpoints to keep.
        evaluate_every: Steps from one measuring on held-out text to the next.
        log_every: Steps from line to line; None shows Keras' progress bar instead.
        verbose: As in `fit`, for that bar.

    Returns:
        Dict of the held-out `loss`, `mlm_loss`, `nsp_loss`, `mlm_accuracy`, `nsp_accuracy`.

    Raises:
        FileExistsError: If `output` holds something else than an interrupted training.
        ValueError: If that training had other settings, or the loss is not finite.
    """
    folder = interrupted.check_output(output, settings)
    import keras

    from keras_bert_lib import training
    from keras_bert_lib.data import pretraining_dataset
    from keras_bert_lib.models import BertEncoder, BertPretrainer
    from keras_bert_lib.training.workers import Workers

    strategy = training.create_strategy(strategy)
    workers = Workers(strategy)
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise ValueError(
            f"{replicas} replicas cannot share a batch evenly. Make --batch-size a multiple of "
            f"{replicas}. Received: {batch_size}"
        )
    data_options = data_options or {}
    encoder_options = encoder_options or {}
    max_predictions = math.ceil(mask_share * max_length)

    def batches(start, batch_size=batch_size, **options):
        return pretraining_dataset(
            corpus,
            tokenizer,
            batch_size,
            max_length=max_length,
            max_predictions=max_predictions,
            masked_lm_prob=mask_share,
            packing=packing,
            seed=seed,
            repeat=True,
            start_batch=start,
            **(data_options | options),
        )

    replicas_here = replicas // workers.count

    def share_of_worker(start, index):  # a batch for each replica of a worker, step by step
        return batches(
            start * replicas_here,
            batch_size // replicas,
            num_workers=workers.count,
            worker_index=index,
        )

    def fed(step):
        """What this process was fed in a step, counted from 0."""
        if workers.count == 1:
            return next(iter(batches(step)))
        return list(share_of_worker(step, workers.index).take(replicas_here))

    resume = training.Resume(os.path.join(folder, "state.npz"), save_every=save_every, keep=keep)
    start = resume.start_batch()
    if workers.count == 1:
        dataset = batches(start)
    else:  # each reads its own share
        for index in range(workers.count):
            share_of_worker(0, index)  # an empty one is to end all workers, and not its own alone
        dataset = strategy.distribute_datasets_from_function(
            lambda context: share_of_worker(start, context.input_pipeline_id)
        )
    held_out_batches = _batches(
        held_out_examples(held_out, tokenizer, max_length, **data_options), batch_size, replicas
    )

    # An epoch, for Keras, is what comes between two measurings.
    compile_options = {"steps_per_execution": 1} | (compile_options or {})
    steps_at_once = compile_options["steps_per_execution"]
    epochs = math.ceil(steps / evaluate_every)
    steps_per_epoch = math.ceil(steps / epochs / steps_at_once) * steps_at_once
    optimizer_options = {"accumulation_steps": 1} | (optimizer_options or {})
    updates = epochs * steps_per_epoch // optimizer_options["accumulation_steps"]
    keras.utils.set_random_seed(seed)
    with strategy.scope():
        pretrainer = BertPretrainer(
            BertEncoder(
                dataclasses.replace(config, hidden_dropout=dropout, attention_dropout=dropout),
                **encoder_options,
            )
        )
        if model is not None:
            pretrainer.set_weights(BertPretrainer.from_pretrained(model).get_weights())
        elif start == 0:  # not of a training that goes on
            counted = math.ceil(_COUNTED_PIECES / (batch_size * mask_share * max_length))
            with native_logs.hidden():
                pretrainer.adapt_output_bias(batches(0).take(counted).as_numpy_iterator())
        pretrainer.compile(
            optimizer=training.create_optimizer(
                learning_rate, total_steps=max(updates, 1), **optimizer_options
            ),
            **compile_options,
        )

    # What the device could do is measured before it is busy.
    is_shown = log_every is not None and workers.is_first
    shares = [x["padding_mask"].mean() for x in batches(0).take(_LOOKED_AT).as_numpy_iterator()]
    dtype = encoder_options.get("dtype", "float32")
    progress = training.PretrainingProgress(
        tokens_per_step=batch_size * max_length * sum(shares) / len(shares),
        flops_per_step=training.pretraining_flops(config, batch_size, max_length, max_predictions),
        flops_per_second=replicas * training.matmul_rate(dtype) if is_shown else None,
        every=log_every or _LOG_EVERY,
        log_dir=os.path.join(output, "logs") if _has_tensorboard() and workers.is_first else None,
        write=None if is_shown else (lambda line: None),
    )
    name = "nan.npz" if workers.count == 1 else f"nan-{workers.index}.npz"
    stop = training.StopAtNaN(os.path.join(folder, name), fed, every=steps_at_once)
    callbacks = [stop, progress]
    if keep_best:
        path = os.path.join(folder, "best.weights.h5")
        callbacks.append(training.BestCheckpoint(path, "val_mlm_loss"))
    callbacks.append(resume)
    if workers.is_first:
        interrupted.write_json(settings, os.path.join(folder, "settings.json"))
    begin = time.monotonic()
    try:
        pretrainer.fit(
            dataset,
            steps_per_epoch=steps_per_epoch,
            epochs=epochs,
            validation_data=held_out_batches,
            callbacks=callbacks,
            verbose=verbose if log_every is None else 0,
        )
    except FloatingPointError as error:
        raise ValueError(str(error)) from error
    results = pretrainer.evaluate(held_out_batches, return_dict=True, verbose=0)
    if is_shown:
        steps = epochs * steps_per_epoch
        of_the_rate = ""
        if progress.utilization == progress.utilization:  # no NaN, of a training of few steps
            of_the_rate = (
                f", {progress.tokens_per_second:,.0f} tokens/s, {progress.utilization:.0%} of the "
                "rate of matrix products here"
            )
        took = f"{(time.monotonic() - begin) / 60:.1f} minutes"
        took = f"; {took} since it went on" if start > 0 else f" in {took}"
        print(
            f"Trained {steps:,} steps on {steps * progress.tokens_per_step:,.0f} tokens{took}"
            f"{of_the_rate}."
        )
    if workers.is_first:
        finished = BertPretrainer(BertEncoder(config))
        finished.set_weights(pretrainer.get_weights())
        tokenizer.save_pretrained(output)
        finished.save_pretrained(output, overwrite=True)
        shutil.rmtree(folder)
    return results


def held_out_examples(source, tokenizer, max_length, **options):
    """The first examples of a source, the same each time: dict of NumPy arrays `[n, ...]`."""
    import numpy as np

    from keras_bert_lib.data import pretraining_dataset

    batch_size = 50
    batches = pretraining_dataset(
        source,
        tokenizer,
        batch_size,
        max_length=max_length,
        max_predictions=math.ceil(0.15 * max_length),
        drop_remainder=False,
        **options,
    )
    with native_logs.hidden():
        batches = list(batches.take(_MAX_HELD_OUT_EXAMPLES // batch_size).as_numpy_iterator())
    return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}


def _has_tensorboard():
    """Whether logs can be written; `pip install tensorboard` brings it."""
    return importlib.util.find_spec("tensorboard") is not None


def _batches(examples, batch_size, replicas):
    import tensorflow as tf

    from keras_bert_lib.data.prefetched import prefetched

    # Full batches only: replicas share them evenly.
    count = len(examples["token_ids"])
    batch_size = min(batch_size, count) // replicas * replicas
    if batch_size == 0:
        raise ValueError(
            f"Each of {replicas} replicas needs an example of the held-out text. Give --held-out "
            f"with more of it. Received: {count} example{'' if count == 1 else 's'}"
        )
    dataset = tf.data.Dataset.from_tensor_slices(examples)
    return prefetched(dataset.batch(batch_size, drop_remainder=True))
