"""Speed and memory of pretraining: this library beside KerasHub, Model Garden and Hugging Face.

    python benchmarks/pretrain.py
    python benchmarks/pretrain.py --shape=4x256 --max_length=128 --dtype=mixed_bfloat16
    python benchmarks/pretrain.py --modelgarden_python=other-environment/bin/python

All libraries train on the same text, each through the training loop that it gives its users:
forward, loss at the masked positions, backward, clipping to a global norm of 1, AdamW, dropout on.
They do not compute quite the same; `COMPUTES` says what each does. Ours runs twice, on the batches
that the others have, and on the same text packed into rows. What counts are tokens of text a
second, not padding.

Every library runs in its own process, and they take turns: a round is one run over all batches by
each, and one measurement of how fast the machine multiplies matrices, the most that any could
reach. The machine does other things as well, so that only the ratios mean something, and of these
the median. Memory is the most that a process had, its libraries included.
"""

import importlib.metadata
import math
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags
from worker import Worker, serve, start

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

PACKED = "keras_bert_lib+packing"
MATMUL = "matmul"  # not a library: multiplies matrices
COMPUTES = {
    "keras_bert_lib": "MLM at the masked positions and NSP; exact GELU; fit",
    PACKED: "the same",
    "keras_hub": "MLM at the masked positions, no NSP; tanh GELU; fit",
    "modelgarden": "MLM at the masked positions and NSP; tanh GELU; its Trainer, Adam uncorrected",
    "transformers": "MLM logits at all positions and NSP; exact GELU; a PyTorch loop",
}
DISTRIBUTIONS = {"keras_hub": "keras-hub", "modelgarden": "tf-models-official"}

FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
    "shape", ["2x128", "4x256", "6x384"], "Layers x hidden size; heads are 64 wide."
)
flags.DEFINE_multi_enum(
    "dtype",
    ["float32", "mixed_bfloat16"],
    ["float32", "mixed_bfloat16"],
    "What the layers compute in.",
)
flags.DEFINE_list("libraries", list(COMPUTES), "What to measure; the ratios are to the first.")
flags.DEFINE_string(
    "corpus", str(SHARED_DATA / "gutenberg"), "A text file, or a folder of .txt files."
)
flags.DEFINE_string(
    "vocab", str(SHARED_DATA / "vocab/bert-base-uncased/vocab.txt"), "One piece a line."
)
flags.DEFINE_string("modelgarden_python", sys.executable, "Python that has tf-models-official.")
flags.DEFINE_multi_integer("max_length", [128, 512], "Tokens in a row.")
flags.DEFINE_integer("batch_tokens", 2048, "Tokens in a batch, padding included.")
flags.DEFINE_integer("steps", 10, "Steps in a round.")
flags.DEFINE_integer("rounds", 3, "How often each library has its turn.")
flags.DEFINE_string("worker", None, "Used by the program itself: the library to run.")
flags.DEFINE_string("batches", None, "Used by the program itself: the batches.")


def main(_):
    if FLAGS.worker:
        serve(run_worker)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as folder:
        for max_length in FLAGS.max_length:
            tokens = {}  # of text in a round, by library
            for library in FLAGS.libraries:
                batches = make_batches(max_length, packing=library == PACKED)
                np.savez(batches_path(folder, library), **batches)
                tokens[library] = int(batches["padding_mask"].sum())
            for shape in FLAGS.shape:
                for dtype in FLAGS.dtype:
                    compare(shape, dtype, max_length, tokens, folder)


def batches_path(folder, library):
    """Returns where the batches of a library are."""
    return str(Path(folder, f"{library}.npz"))


def make_batches(max_length, packing):
    """Returns the batches, numpy arrays `[steps, b, ...]`, from this library's own pipeline."""
    import keras_bert_lib as kbl

    corpus = Path(FLAGS.corpus)
    files = sorted(corpus.glob("*.txt")) if corpus.is_dir() else [corpus]
    for path in [*files, Path(FLAGS.vocab)]:
        if not path.is_file():
            raise app.UsageError(f"{path} is no file. Set --corpus and --vocab.")
    # Paragraphs are too short for examples of this length: 50,000 characters make a document.
    texts = [path.read_text("utf-8")[:200_000] for path in files]
    documents = [
        kbl.data.split_sentences(text[i : i + 50_000])
        for text in texts
        for i in range(0, len(text), 50_000)
    ]
    dataset = kbl.data.pretraining_dataset(
        documents,
        kbl.BertTokenizer(FLAGS.vocab),
        batch_size=FLAGS.batch_tokens // max_length,
        max_length=max_length,
        max_predictions=predictions(max_length),
        packing=packing,
        repeat=True,
    )
    batches = list(dataset.take(FLAGS.steps).as_numpy_iterator())
    return {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}


def predictions(max_length):
    """Returns how many positions of a row are masked at most."""
    return math.ceil(0.15 * max_length)


def bert_config(shape, vocab_size):
    """Returns the shape as a `BertConfig`."""
    import keras_bert_lib as kbl

    num_layers, hidden_size = map(int, shape.split("x"))
    return kbl.BertConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=max(1, hidden_size // 64),
        intermediate_size=4 * hidden_size,
    )


def compare(shape, dtype, max_length, tokens, folder):
    """Measures all libraries at one shape and prints the table."""
    import keras_bert_lib as kbl

    arguments = [__file__, f"--shape={shape}", f"--dtype={dtype}", f"--vocab={FLAGS.vocab}"]
    workers = start(
        Worker(
            library,
            [*arguments, f"--batches={batches_path(folder, library)}", f"--worker={library}"],
            FLAGS.modelgarden_python if library == "modelgarden" else sys.executable,
        )
        for library in [*FLAGS.libraries, MATMUL]
    )
    answers = {worker: [] for worker in workers}
    try:
        for _ in range(FLAGS.rounds):
            for worker in workers:
                answers[worker].append(worker.ask("run"))
    finally:
        for worker in workers:
            worker.close()

    batch_size = FLAGS.batch_tokens // max_length
    limit = next(runs for worker, runs in answers.items() if worker.name == MATMUL)  # FLOP/s
    answers = {worker: runs for worker, runs in answers.items() if worker.name != MATMUL}
    flops = kbl.training.pretraining_flops(
        bert_config(shape, vocab_size()), batch_size, max_length, predictions(max_length)
    )
    # Tokens of text a second, round by round.
    speeds = {
        worker: [tokens[worker.name] / seconds for seconds, _ in runs]
        for worker, runs in answers.items()
    }
    first = next(iter(speeds.values()))
    places = FLAGS.steps * FLAGS.batch_tokens
    shares = ", ".join(f"{name} {count / places:.0%}" for name, count in tokens.items())
    print(
        f"\nL{shape.replace('x', '/H')}, {dtype}: batches of {batch_size} x {max_length}, "
        f"{predictions(max_length)} predictions a row; medians of {FLAGS.rounds} rounds of "
        f"{FLAGS.steps} steps; a step has {flops / 1e9:.1f} GFLOP in products, and a product alone "
        f"reaches {statistics.median(limit) / 1e9:.0f} GFLOP/s. Tokens of text: {shares}.\n"
    )
    print(
        "| library | tokens/s | ms a step | speed, ours = 1 | of the product's rate "
        "| peak memory, MB | computes |"
    )
    print("|---|---:|---:|---:|---:|---:|---|")
    for worker, runs in answers.items():
        seconds = [seconds / FLAGS.steps for seconds, _ in runs]  # of a step
        # Within a round the machine is most alike.
        ratio = statistics.median(a / b for a, b in zip(speeds[worker], first))
        reached = statistics.median(flops / a / b for a, b in zip(seconds, limit))
        print(
            f"| {worker.name} {workers[worker]} | {statistics.median(speeds[worker]):,.0f} | "
            f"{1000 * statistics.median(seconds):.0f} | {ratio:.2f} | {reached:.0%} | "
            f"{runs[-1][1]:,.0f} | {COMPUTES[worker.name]} |",
            flush=True,
        )


def vocab_size():
    """Returns how many pieces the vocabulary has."""
    with open(FLAGS.vocab, encoding="utf-8") as file:
        return sum(1 for _ in file)


def run_worker():
    """Builds the model of one library; returns its version and what runs and measures a round."""
    if FLAGS.worker == MATMUL:
        import keras_bert_lib as kbl

        return "", lambda _: kbl.training.matmul_rate(FLAGS.dtype[0])
    with np.load(FLAGS.batches) as arrays:
        batches = dict(arrays)
    num_layers, hidden_size = map(int, FLAGS.shape[0].split("x"))
    make = {
        "keras_bert_lib": train_keras_bert_lib,
        PACKED: train_keras_bert_lib,
        "keras_hub": train_keras_hub,
        "modelgarden": train_modelgarden,
        "transformers": train_transformers,
    }[FLAGS.worker]
    train = make(batches, num_layers, hidden_size, max(1, hidden_size // 64), vocab_size())
    train()  # graphs are built, and memory is taken

    def measured(_):
        begin = time.perf_counter()
        train()
        seconds = time.perf_counter() - begin
        return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # of KB

    return version(FLAGS.worker), measured


def version(library):
    """Returns the version of an installed library."""
    if library in ("keras_bert_lib", PACKED):
        import keras_bert_lib as kbl

        return kbl.__version__
    return importlib.metadata.version(DISTRIBUTIONS.get(library, library))


def untuned(dataset):
    """Returns the data set without tf.data's autotuning, whose thread would end some rounds late.

    This library's own data sets are without it; here the peers' are too.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def train_keras_bert_lib(batches, num_layers, hidden_size, num_heads, vocab_size):
    import keras
    import tensorflow as tf

    import keras_bert_lib as kbl

    keras.config.set_dtype_policy(FLAGS.dtype[0])
    model = kbl.BertPretrainer(kbl.BertEncoder(bert_config(FLAGS.shape[0], vocab_size)))
    model.compile(kbl.training.create_optimizer(1e-4, total_steps=1000))
    dataset = untuned(tf.data.Dataset.from_tensor_slices(batches))
    return lambda: model.fit(dataset, verbose=0)


def train_keras_hub(batches, num_layers, hidden_size, num_heads, vocab_size):
    import keras
    import keras_hub
    import tensorflow as tf

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=vocab_size,
        num_layers=num_layers,
        num_heads=num_heads,
        hidden_dim=hidden_size,
        intermediate_dim=4 * hidden_size,
        dtype=FLAGS.dtype[0],
    )
    model = keras_hub.models.BertMaskedLM(backbone)
    optimizer = keras.optimizers.AdamW(1e-4, weight_decay=0.01, global_clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(optimizer)  # its own loss and metric
    x = {name: batches[name] for name in ("token_ids", "segment_ids", "padding_mask")}
    x["mask_positions"] = batches["masked_positions"]
    dataset = tf.data.Dataset.from_tensor_slices(
        (x, batches["masked_ids"], batches["masked_weights"])
    )
    dataset = untuned(dataset)
    return lambda: model.fit(dataset, verbose=0)


def train_modelgarden(batches, num_layers, hidden_size, num_heads, vocab_size):
    import tensorflow as tf
    import tf_keras
    from official.core import base_trainer, config_definitions
    from official.modeling import optimization
    from official.nlp.configs import bert, encoders
    from official.nlp.tasks import masked_lm

    tf_keras.mixed_precision.set_global_policy(FLAGS.dtype[0])
    encoder = encoders.BertEncoderConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_attention_heads=num_heads,
        intermediate_size=4 * hidden_size,
    )
    next_sentence = bert.ClsHeadConfig(
        inner_dim=hidden_size, num_classes=2, dropout_rate=0.1, name="next_sentence"
    )
    task_config = masked_lm.MaskedLMConfig(
        model=bert.PretrainerConfig(
            encoder=encoders.EncoderConfig(type="bert", bert=encoder), cls_heads=[next_sentence]
        )
    )
    task_config.train_data.use_next_sentence_label = True
    optimization_config = optimization.OptimizationConfig(
        {
            "optimizer": {
                "type": "adamw",
                "adamw": {
                    "weight_decay_rate": 0.01,
                    "exclude_from_weight_decay": ["LayerNorm", "layer_norm", "bias"],
                },
            },
            "learning_rate": {"type": "constant", "constant": {"learning_rate": 1e-4}},
        }
    )
    task = masked_lm.MaskedLMTask(task_config)
    factory = optimization.OptimizerFactory(optimization_config)
    names = {
        "input_word_ids": "token_ids",
        "input_type_ids": "segment_ids",
        "input_mask": "padding_mask",
        "masked_lm_positions": "masked_positions",
        "masked_lm_ids": "masked_ids",
        "masked_lm_weights": "masked_weights",
    }
    x = {theirs: batches[ours] for theirs, ours in names.items()}
    x["next_sentence_labels"] = batches["next_sentence_labels"][..., np.newaxis]  # [steps, b, 1]
    trainer = base_trainer.Trainer(
        config_definitions.ExperimentConfig(task=task_config),
        task,
        task.build_model(),
        factory.build_optimizer(factory.build_learning_rate()),
        evaluate=False,
        train_dataset=untuned(tf.data.Dataset.from_tensor_slices(x).repeat()),
    )
    steps = tf.constant(len(batches["token_ids"]))
    return lambda: trainer.train(steps)


def train_transformers(batches, num_layers, hidden_size, num_heads, vocab_size):
    import torch
    import transformers

    model = transformers.BertForPreTraining(
        transformers.BertConfig(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_hidden_layers=num_layers,
            num_attention_heads=num_heads,
            intermediate_size=4 * hidden_size,
        )
    ).train()
    decayed = [p for p in model.parameters() if p.ndim > 1]  # not biases and LayerNorm
    others = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}], lr=1e-4, weight_decay=0.01
    )
    labels = np.full(batches["token_ids"].shape, -100)  # ignored by the loss
    step, row, slot = np.nonzero(batches["masked_weights"])
    masked = batches["masked_positions"][step, row, slot]
    labels[step, row, masked] = batches["masked_ids"][step, row, slot]
    columns = {
        "input_ids": batches["token_ids"],
        "token_type_ids": batches["segment_ids"],
        "attention_mask": batches["padding_mask"],
        "labels": labels,
        "next_sentence_label": batches["next_sentence_labels"],
    }
    columns = {name: torch.tensor(array, dtype=torch.long) for name, array in columns.items()}
    bfloat16 = FLAGS.dtype[0] == "mixed_bfloat16"

    def train():
        for i in range(len(labels)):
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = model(**{name: tensor[i] for name, tensor in columns.items()}).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    return train


if __name__ == "__main__":
    app.run(main)
