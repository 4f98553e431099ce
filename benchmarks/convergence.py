"""Pretraining on equal terms: this library, Hugging Face `transformers` and KerasHub.

    python benchmarks/convergence.py
    python benchmarks/convergence.py --minutes=5 --shape=2x128
    python benchmarks/convergence.py --libraries=keras_bert_lib   # one now, the others later

Models of the same shape learn masked pieces from the same batches of novels, in the same order and
as many: what the first library trains on in `--minutes`. The schedule is the same (linear warmup
over a tenth, linear decay), as are AdamW, weight decay, clipping, dropout and the spread that
weights are drawn with; each library computes as it does by default (see `pretrain.py`), and this
one begins with the pieces' frequencies, as `keras-bert pretrain` does. At ten points the masked
pieces of novels' parts that were held out are predicted. Then this library's model is fine-tuned
for CLINC150 with several seeds, with BERT's dropout, and so is the same model from random weights.

A narrow model that sees its text a few times learns sooner without dropout and from wider weights
than BERT's 0.02 (`--initializer_range`), which is for 768; all libraries get the same.

A library is a piece, in a process of its own, and so is each fine-tuning. What a piece
measured is stored in the folder of `--results`, with its settings; pieces that are there are not
run again, so that a program that was interrupted goes on with the next piece. The plots are of all.
"""

import dataclasses
import importlib.metadata
import itertools
import json
import os
import time
from pathlib import Path

import numpy as np
from absl import app, flags
from finetune_tasks import labels_of, read
from worker import Worker, serve

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
OURS = "keras_bert_lib"
DISTRIBUTIONS = {"keras_hub": "keras-hub"}
BEGINNINGS = ["pretrained", "from-scratch"]  # of a fine-tuning
# A document is so many characters of a novel; one in so many is held out.
DOCUMENT, HOLD_OUT_EVERY = 50_000, 20
HELD_OUT_BATCHES, POINTS = 16, 10
CALIBRATION_STEPS = 20
ADAPTED_BATCHES = 500

FLAGS = flags.FLAGS
flags.DEFINE_list("libraries", [OURS, "transformers", "keras_hub"], "What to train with.")
flags.DEFINE_float("minutes", 20, "How long the first library trains; the others, as many steps.")
flags.DEFINE_string("shape", "4x256", "Layers x hidden size; heads are 64 wide.")
flags.DEFINE_string(
    "corpus", str(SHARED_DATA / "gutenberg"), "A text file, or a folder of .txt files."
)
flags.DEFINE_string("vocab", None, "One piece a line; without it, 8,000 learned from the corpus.")
flags.DEFINE_string("data", str(SHARED_DATA), "The folder that CLINC150 is in.")
flags.DEFINE_integer("batch_size", 16, "Examples in a batch.")
flags.DEFINE_integer("max_length", 128, "Tokens in an example.")
flags.DEFINE_float("learning_rate", 1e-3, "The peak, of fine-tuning too.")
flags.DEFINE_float("mask_share", 0.15, "Of the pieces to learn from; held-out ones are BERT's 15%.")
flags.DEFINE_float("dropout", 0.0, "While pretraining.")
flags.DEFINE_float("initializer_range", 0.06, "Standard deviation of the initial weights.")
flags.DEFINE_integer("steps", None, "Steps, instead of minutes.")
flags.DEFINE_integer("limit", None, "The most examples to fine-tune and test on; for a quick try.")
flags.DEFINE_integer("epochs", 3, "Times over the examples of CLINC150.")
flags.DEFINE_integer("seeds", 3, "Fine-tunings from each beginning.")
flags.DEFINE_string("results", str(ROOT / "benchmarks" / "results"), "Where results are stored.")
flags.DEFINE_string("worker", None, "Used by the program itself: the piece to run.")


def main(_):
    if FLAGS.worker:
        serve(run_worker)
        return
    if FLAGS.vocab is None:
        FLAGS.vocab = str(learned_vocabulary())
    if FLAGS.steps is None:
        FLAGS.steps = planned_steps()
    for name in FLAGS.libraries:
        run_piece(name)
    if stored(OURS):
        for name in fine_tunings():
            run_piece(name)
    report()


def fine_tunings(beginnings=BEGINNINGS):
    """Returns the names of the pieces: "clinc150-", the beginning, "-", the seed."""
    return [f"clinc150-{b}-{seed}" for seed in range(1, FLAGS.seeds + 1) for b in beginnings]


def settings(name):
    """Returns what the result of a piece depends on, beside the piece."""
    names = ["shape", "batch_size", "max_length", "learning_rate", "dropout", "initializer_range"]
    names += ["mask_share", "steps"]
    if name.startswith("clinc150-"):
        names += ["limit", "epochs"]
    return {name: getattr(FLAGS, name) for name in names} | {"corpus": Path(FLAGS.corpus).name}


def result_path(name):
    return Path(FLAGS.results, f"convergence-{name}.json")


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(value, indent=1), "utf-8")
    os.replace(temporary, path)


def corpus_files():
    corpus = Path(FLAGS.corpus)
    return sorted(corpus.glob("*.txt")) if corpus.is_dir() else [corpus]


def learned_vocabulary():
    """Returns the path of the corpus' own vocabulary; learned once, and stored."""
    import keras_bert_lib as kbl

    path = Path(FLAGS.results, f"vocab-{Path(FLAGS.corpus).stem}-8000.txt")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        pieces = kbl.text.learn_vocabulary([str(f) for f in corpus_files()], vocab_size=8000)
        kbl.text.save_vocabulary(pieces, str(path))
    return path


def planned_steps():
    """Returns the steps that the first library makes in the time; measured once, and stored."""
    path = result_path(f"steps-{FLAGS.shape}-{FLAGS.minutes:g}")
    if not path.exists():
        seconds = ask(FLAGS.libraries[0], {"do": "time", "steps": CALIBRATION_STEPS})
        write_json(path, max(round(60 * FLAGS.minutes * CALIBRATION_STEPS / seconds), 1))
    return json.loads(path.read_text("utf-8"))


def ask(name, request):
    """Returns what a process of its own answers for a piece."""
    passed = ["shape", "batch_size", "max_length", "learning_rate", "epochs"]
    passed += ["dropout", "initializer_range", "mask_share"]
    passed += ["corpus", "vocab", "data", "results"]
    arguments = [__file__, f"--worker={name}", *(f"--{p}={getattr(FLAGS, p)}" for p in passed)]
    worker = Worker(name, arguments)
    try:
        worker.ask("start")
        return worker.ask(request)
    finally:
        worker.close()


def stored(name):
    """Returns the result of a piece, or None where there is none with the settings of today."""
    path = result_path(name)
    if not path.exists():
        return None
    result = json.loads(path.read_text("utf-8"))
    return result if result["settings"] == settings(name) else None


def run_piece(name):
    """Runs a piece and stores its result, unless it is there."""
    if stored(name):
        return
    begin = time.time()
    try:
        measured = ask(name, {"do": "run", "steps": FLAGS.steps, "limit": FLAGS.limit})
    except RuntimeError as error:
        print(f"{name} left out: {error}", flush=True)
        return
    write_json(result_path(name), {"settings": settings(name), **measured})
    print(f"{name}: {time.time() - begin:.0f} s", flush=True)


def report():
    """Prints and plots what the pieces that are stored have reached."""
    results = {name: result for name in FLAGS.libraries if (result := stored(name))}
    if not results:
        return
    tokens = FLAGS.steps * FLAGS.batch_size * FLAGS.max_length
    print(
        f"\nL{FLAGS.shape.replace('x', '/H')}, {FLAGS.steps:,} steps of {FLAGS.batch_size} x "
        f"{FLAGS.max_length}, {tokens / 1e6:.1f} M positions; peak learning rate "
        f"{FLAGS.learning_rate:g}\n"
    )
    print("| library | held-out masked-piece loss |")
    print("|---|---:|")
    for name, result in results.items():
        print(f"| {name} {result['version']} | {result['curve'][-1][-1]:.4f} |")
    tuned = {b: [r for name in fine_tunings([b]) if (r := stored(name))] for b in BEGINNINGS}
    if all(tuned.values()):
        print(f"\n| CLINC150, 150 intents, {FLAGS.epochs} epochs | accuracy | of each seed |")
        print("|---|---:|---|")
        for beginning, several in tuned.items():
            values = [result["accuracy"] for result in several]
            each = ", ".join(f"{value:.4f}" for value in values)
            print(f"| {beginning.replace('-', ' ')} | {np.mean(values):.4f} | {each} |")
    plot(results)


def plot(results):
    """Draws the held-out losses over tokens; those of the first steps are far above the rest."""
    from matplotlib.figure import Figure  # no window system, no global state

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    positions = FLAGS.batch_size * FLAGS.max_length / 1e6
    for name, result in results.items():
        steps, losses = zip(*result["curve"])
        axes.plot(np.array(steps) * positions, losses, marker=".", label=name)
    axes.set(xlabel="positions, millions", ylabel="held-out masked-piece loss", ylim=(None, 7))
    axes.legend()
    path = Path(FLAGS.results, "convergence.png")
    figure.savefig(path, dpi=150)
    print(f"\nWrote {path}.")


def run_worker():
    """Returns what runs a piece."""
    name = FLAGS.worker

    def answer(request):
        if name.startswith("clinc150-"):
            return fine_tune(
                name.startswith("clinc150-pre"), int(name.rpartition("-")[2]), request["limit"]
            )
        make = {
            OURS: make_keras_bert_lib,
            "transformers": make_transformers,
            "keras_hub": make_keras_hub,
        }[name]
        steps = request["steps"]
        train_batches, held_out = batches()
        num_layers, hidden_size = map(int, FLAGS.shape.split("x"))
        train, loss_on, save = make(num_layers, hidden_size, vocabulary_size(), steps)
        if request["do"] == "time":
            several = list(itertools.islice(train_batches, steps + 2))
            for batch in several[:2]:  # graphs are built, and memory is taken
                train(batch)
            begin = time.perf_counter()
            for batch in several[2:]:
                train(batch)
            return time.perf_counter() - begin

        def measured():
            pieces = [float(batch["masked_weights"].sum()) for batch in held_out]
            return float(np.average([loss_on(batch) for batch in held_out], weights=pieces))

        curve = [(0, measured())]
        points = {round(steps * i / POINTS) for i in range(1, POINTS + 1)}
        for step in range(1, steps + 1):
            train(next(train_batches))
            if step in points:
                curve.append((step, measured()))
        save()
        return {"version": version(name), "curve": curve}

    return None, answer


def version(library):
    """Returns the version of an installed library."""
    if library == OURS:
        import keras_bert_lib as kbl

        return kbl.__version__
    return importlib.metadata.version(DISTRIBUTIONS.get(library, library))


def vocabulary_size():
    with open(FLAGS.vocab, encoding="utf-8") as file:
        return sum(1 for _ in file)


def batches():
    """Returns an iterator over training batches, the same each time, and held-out ones."""
    import keras_bert_lib as kbl

    texts = [path.read_text("utf-8") for path in corpus_files()]
    documents = [
        kbl.data.split_sentences(text[i : i + DOCUMENT])
        for text in texts
        for i in range(0, len(text), DOCUMENT)
    ]
    options = {
        "tokenizer": kbl.BertTokenizer(FLAGS.vocab),
        "batch_size": FLAGS.batch_size,
        "max_length": FLAGS.max_length,
        "objective": "none",
        "repeat": True,
    }

    def dataset(documents, seed, mask_share):
        return kbl.data.pretraining_dataset(
            documents,
            seed=seed,
            masked_lm_prob=mask_share,
            max_predictions=round((mask_share + 0.01) * FLAGS.max_length),
            **options,
        )

    held_out = [d for i, d in enumerate(documents) if i % HOLD_OUT_EVERY == 1]
    train = [d for i, d in enumerate(documents) if i % HOLD_OUT_EVERY != 1]
    held_out = dataset(held_out, 1, 0.15).take(HELD_OUT_BATCHES)
    train = dataset(train, 2, FLAGS.mask_share)
    return train.as_numpy_iterator(), list(held_out.as_numpy_iterator())


# Each returns three functions: one trains on a batch, one returns the mean loss of a batch's masked
# pieces, one saves the model if it is needed again.


def make_keras_bert_lib(num_layers, hidden_size, vocab_size, steps):
    import keras

    import keras_bert_lib as kbl

    keras.utils.set_random_seed(1)
    config = kbl.BertConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=max(1, hidden_size // 64),
        intermediate_size=4 * hidden_size,
        hidden_dropout=FLAGS.dropout,
        attention_dropout=FLAGS.dropout,
        initializer_range=FLAGS.initializer_range,
    )
    model = kbl.BertPretrainer(kbl.BertEncoder(config))
    model.adapt_output_bias(itertools.islice(batches()[0], ADAPTED_BATCHES))
    model.compile(kbl.training.create_optimizer(FLAGS.learning_rate, steps))

    def save():
        kbl.BertTokenizer(FLAGS.vocab).save_pretrained(model_path())
        model.save_pretrained(model_path(), overwrite=True)

    def loss_on(batch):
        model.reset_metrics()  # Keras' means go on from batch to batch
        return model.test_on_batch(batch, return_dict=True)["mlm_loss"]

    return model.train_on_batch, loss_on, save


def make_keras_hub(num_layers, hidden_size, vocab_size, steps):
    import keras
    import keras_hub

    from keras_bert_lib.training import WarmupLinearDecay

    keras.utils.set_random_seed(1)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=vocab_size,
        num_layers=num_layers,
        num_heads=max(1, hidden_size // 64),
        hidden_dim=hidden_size,
        intermediate_dim=4 * hidden_size,
        dropout=FLAGS.dropout,
    )
    model = keras_hub.models.BertMaskedLM(backbone)
    for weight in model.weights:  # it draws all of them with 0.02
        if len(weight.shape) > 1:
            weight.assign(weight * (FLAGS.initializer_range / 0.02))
    schedule = WarmupLinearDecay(FLAGS.learning_rate, steps, warmup_steps=round(0.1 * steps))
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=0.01, epsilon=1e-6, global_clipnorm=1.0
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(optimizer)  # its own loss and metric

    def arguments(batch):
        x = {name: batch[name] for name in ("token_ids", "segment_ids", "padding_mask")}
        x["mask_positions"] = batch["masked_positions"]
        return x, batch["masked_ids"], batch["masked_weights"]

    def loss_on(batch):
        # Its own loss is divided by the number of predictions, padding included.
        x, labels, weights = arguments(batch)
        logits = model(x, training=False)  # [b, p, v]
        losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        return float(np.average(keras.ops.convert_to_numpy(losses), weights=weights))

    return lambda batch: model.train_on_batch(*arguments(batch)), loss_on, lambda: None


def make_transformers(num_layers, hidden_size, vocab_size, steps):
    import torch
    import transformers

    torch.manual_seed(1)
    model = transformers.BertForMaskedLM(
        transformers.BertConfig(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_hidden_layers=num_layers,
            num_attention_heads=max(1, hidden_size // 64),
            intermediate_size=4 * hidden_size,
            hidden_dropout_prob=FLAGS.dropout,
            attention_probs_dropout_prob=FLAGS.dropout,
            initializer_range=FLAGS.initializer_range,
        )
    )
    decayed = [p for p in model.parameters() if p.ndim > 1]  # not biases and LayerNorm
    others = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
        lr=FLAGS.learning_rate,
        weight_decay=0.01,
        eps=1e-6,
    )
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, round(0.1 * steps), steps)

    def loss_of(batch):
        labels = np.full(batch["token_ids"].shape, -100)  # ignored by the loss
        rows, slots = np.nonzero(batch["masked_weights"])
        labels[rows, batch["masked_positions"][rows, slots]] = batch["masked_ids"][rows, slots]
        columns = {
            "input_ids": batch["token_ids"],
            "token_type_ids": batch["segment_ids"],
            "attention_mask": batch["padding_mask"],
            "labels": labels,
        }
        columns = {name: torch.tensor(x, dtype=torch.long) for name, x in columns.items()}
        return model(**columns).loss

    def train(batch):
        model.train()
        loss_of(batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()

    def loss_on(batch):
        model.eval()
        with torch.no_grad():
            return loss_of(batch).item()

    return train, loss_on, lambda: None


def model_path():
    return str(Path(FLAGS.results, "convergence-model"))


def fine_tune(is_pretrained, seed, limit):
    """Returns how well a model learns CLINC150, from the pretrained weights or from random ones."""
    import keras

    import keras_bert_lib as kbl

    train, test = (read("clinc150", split, FLAGS.data, limit) for split in ("train", "test"))
    labels = labels_of(train)
    keras.utils.set_random_seed(seed)
    tokenizer = kbl.BertTokenizer.from_pretrained(model_path(), max_length=64)
    pretrained = kbl.BertEncoder.from_pretrained(model_path())
    config = dataclasses.replace(pretrained.config, hidden_dropout=0.1, attention_dropout=0.1)
    encoder = kbl.BertEncoder(config)
    if is_pretrained:
        encoder.set_weights(pretrained.get_weights())
    model = kbl.BertClassifier(encoder, tokenizer=tokenizer, labels=labels)
    rows = [(text, label) for text, _, label in train]
    data = kbl.data.text_classification(rows, tokenizer, batch_size=64, labels=labels, seed=seed)
    model.compile(
        kbl.training.create_optimizer(FLAGS.learning_rate, total_steps=FLAGS.epochs * len(data))
    )
    model.fit(data, epochs=FLAGS.epochs, verbose=0)
    answers = model.predict_text([text for text, _, _ in test])
    right = [answer["label"] == label for answer, (_, _, label) in zip(answers, test)]
    return {"accuracy": float(np.mean(right)), "version": version(OURS)}


if __name__ == "__main__":
    app.run(main)
