"""Pretrain a BERT on text files: masked pieces and next sentence.

Text files hold a sentence or a paragraph a line and a blank line between documents; .jsonl files an
object with a `text` a line. Progress is saved as the training goes: the same command, given again,
goes on from where it was.
"""

import dataclasses
import importlib.util
import itertools
import math
import os
import shutil

from keras_bert_lib.cli import interrupted, native_logs
from keras_bert_lib.cli.arguments import (
    SIZES,
    STRATEGIES,
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
"""
IF_INTERRUPTED = "Run the same command again to go on from the last checkpoint."

# Without --held-out, every this many documents one is held out.
_HOLD_OUT_EVERY = 20
# Held-out loss is measured on at most this many examples.
_MAX_HELD_OUT_EXAMPLES = 2000
# A line of the progress bar, a point in the logs and a checkpoint for each.
_STEPS_PER_EPOCH = 1000
# Arguments that may change between an interrupted training and the one that goes on with it.
_NOT_SETTINGS = {"command", "command_parser", "module", "output", "strategy"}


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument(
        "--corpus", required=True, nargs="+", metavar="FILE", help="text files or patterns"
    )
    parser.add_argument("--vocab", required=True, metavar="FILE", help="the vocabulary, vocab.txt")
    parser.add_argument("--cased", action="store_true", help="the vocabulary is a cased one")
    parser.add_argument("--output", required=True, metavar="DIR", help="directory to write")
    parser.add_argument("--size", choices=SIZES, default="mini", help="shape of the model")
    parser.add_argument("--batch-size", type=positive_int, default=32, help="examples in a step")
    parser.add_argument("--max-length", type=positive_int, default=128, help="tokens in an example")
    parser.add_argument(
        "--epochs", type=positive_int, default=10, help="times over the corpus, without --steps"
    )
    parser.add_argument("--steps", type=positive_int, help="steps to train")
    parser.add_argument(
        "--learning-rate",
        type=positive_float,
        default=5e-4,
        help="peak learning rate; base and large take less, such as 1e-4",
    )
    parser.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default="auto",
        help="one device, or all of them in step; auto takes all GPUs where there are several",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of weights, examples and dropout")
    parser.add_argument(
        "--mask-share",
        type=fraction,
        default=0.15,
        help="the share of pieces to predict; short trainings gain from more, such as 0.3",
    )
    parser.add_argument(
        "--dropout",
        type=fraction,
        default=0.1,
        help="dropout of the pretraining; short ones gain from 0. Fine-tuning has BERT's 0.1",
    )
    parser.add_argument(
        "--masking",
        choices=("piece", "whole_word", "ngram"),
        default="piece",
        help="what is masked as one: a piece, a word, or one to three words",
    )
    parser.add_argument(
        "--held-out",
        metavar="FILE",
        help="text to measure on; without it, one document in 20 of the corpus is held out",
    )


def run(args):
    """Pretrains and says how well it went."""
    native_logs.start_tensorflow()
    from keras_bert_lib.data import count_pretraining_examples
    from keras_bert_lib.models import BertConfig
    from keras_bert_lib.text import BertTokenizer

    tokenizer = BertTokenizer(
        args.vocab, lowercase=not args.cased, max_length=max(args.max_length, 512)
    )
    config = BertConfig.from_size(
        args.size,
        vocab_size=tokenizer.vocabulary_size,
        max_position_embeddings=tokenizer.max_length,
    )
    held_out = args.held_out
    corpus = args.corpus
    if held_out is None:
        corpus = Documents(args.corpus, lambda number: number % _HOLD_OUT_EVERY != 1)
        held_out = Documents(args.corpus, lambda number: number % _HOLD_OUT_EVERY == 1)
        if len(list(itertools.islice(held_out, 2))) < 2:
            raise ValueError(
                "The corpus has too few documents to hold some out. Part documents by blank "
                f"lines, or give --held-out. Received: at most {_HOLD_OUT_EVERY + 1} documents"
            )
    steps = args.steps
    if steps is None:
        print("Counting the examples of the corpus.")
        examples = count_pretraining_examples(
            corpus, tokenizer, max_length=args.max_length, seed=args.seed
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
        masking=args.masking,
        # What else changes the training; a checkpoint is gone on with only if all is the same.
        settings={name: value for name, value in vars(args).items() if name not in _NOT_SETTINGS},
    )
    print(
        f"On held-out text: masked-piece loss {results['mlm_loss']:.3f}, the right piece in "
        f"{results['mlm_accuracy']:.1%}; next sentence right in {results['nsp_accuracy']:.1%}."
    )
    print(f"Wrote {args.output}.")
    next_step(
        f"keras-bert finetune --train train.csv --model {args.output} --output my-classifier",
        f"keras-bert inspect {args.output}",
        *([f"tensorboard --logdir {args.output}/logs"] if _has_tensorboard() else []),
    )


class Documents:
    """The documents of text files whose number `keep` chooses; the files are read anew each time.

    Args:
        paths: As in `keras_bert_lib.data.read_documents`.
        keep: A function from a document's number to whether it is kept.
    """

    def __init__(self, paths, keep):
        self._paths = paths
        self._keep = keep

    def __iter__(self):
        from keras_bert_lib.data import read_documents

        documents = enumerate(read_documents(self._paths))
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
    masking="piece",
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
        strategy: A name of `STRATEGIES`.
        seed: int.
        mask_share: The share of pieces to predict. On held-out text it is BERT's 15%.
        dropout: The rate while pretraining; that of `config` is for what comes after.
        masking: As in `pretraining_dataset`.
        verbose: As in `fit`.

    Returns:
        Dict of the held-out `loss`, `mlm_loss`, `nsp_loss`, `mlm_accuracy`, `nsp_accuracy`.

    Raises:
        FileExistsError: If `output` holds something else than an interrupted training.
        ValueError: If that training had other settings.
    """
    folder = interrupted.check_output(output, settings)
    import keras

    from keras_bert_lib.data import pretraining_dataset
    from keras_bert_lib.models import BertEncoder, BertPretrainer
    from keras_bert_lib.training import Resume, create_optimizer, create_strategy

    scope = create_strategy(strategy).scope()
    dataset = pretraining_dataset(
        corpus,
        tokenizer,
        batch_size,
        max_length=max_length,
        max_predictions=math.ceil(mask_share * max_length),
        masked_lm_prob=mask_share,
        masking=masking,
        seed=seed,
        repeat=True,
    )
    held_out_batches = _batches(
        held_out_examples(held_out, tokenizer, max_length, masking), batch_size
    )
    epochs = math.ceil(steps / _STEPS_PER_EPOCH)
    steps_per_epoch = math.ceil(steps / epochs)
    keras.utils.set_random_seed(seed)
    with scope:
        pretrainer = BertPretrainer(
            BertEncoder(
                dataclasses.replace(config, hidden_dropout=dropout, attention_dropout=dropout)
            )
        )
        pretrainer.compile(
            optimizer=create_optimizer(learning_rate, total_steps=epochs * steps_per_epoch)
        )
    callbacks = [Resume(os.path.join(folder, "state.npz"), save_every=_STEPS_PER_EPOCH)]
    if _has_tensorboard():
        callbacks.append(keras.callbacks.TensorBoard(os.path.join(output, "logs")))
    interrupted.write_json(settings, os.path.join(folder, "settings.json"))
    pretrainer.fit(
        dataset,
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
        validation_data=held_out_batches,
        callbacks=callbacks,
        verbose=verbose,
    )
    results = pretrainer.evaluate(held_out_batches, return_dict=True, verbose=0)
    finished = BertPretrainer(BertEncoder(config))
    finished.set_weights(pretrainer.get_weights())
    tokenizer.save_pretrained(output)
    finished.save_pretrained(output, overwrite=True)
    shutil.rmtree(folder)
    return results


def held_out_examples(source, tokenizer, max_length, masking="piece"):
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
        masking=masking,
        drop_remainder=False,
    )
    with native_logs.hidden():
        batches = list(batches.take(_MAX_HELD_OUT_EXAMPLES // batch_size).as_numpy_iterator())
    return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}


def _has_tensorboard():
    """Whether logs can be written; `pip install tensorboard` brings it."""
    return importlib.util.find_spec("tensorboard") is not None


def _batches(examples, batch_size):
    import tensorflow as tf

    batch_size = min(batch_size, len(examples["token_ids"]))
    # Full batches only: replicas share them evenly.
    return tf.data.Dataset.from_tensor_slices(examples).batch(batch_size, drop_remainder=True)
