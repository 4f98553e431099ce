"""The input of pretraining: how fast it is beside the step, and how much memory it takes.

    python benchmarks/pretraining_input.py
    python benchmarks/pretraining_input.py --shape=2x128 --max_length=128 --rounds=3

Prints three tables, of real (not padding) tokens:

- examples from text, which is tokenized as it is read, and from a token cache, packed and not, each
  beside the training step of the smallest models: tokens a second, and how many times what the
  step consumes. All live in processes of their own and take turns; the step has both cores, the
  pipeline what Python has: one.
- building the token cache: bytes of text a second, by one process.
- peak memory of a process that reads the cache of a corpus, and of one ten times larger.
"""

import json
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

from absl import app, flags
from worker import Worker, serve, start

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PIPELINES = {
    "text": {},
    "cache": {},
    "cache, packed": {"packing": True},
    "cache, packed, whole words": {"packing": True, "masking": "whole_word"},
    "cache, packed, n-grams, no second task": {
        "packing": True,
        "masking": "ngram",
        "objective": "none",
    },
}

FLAGS = flags.FLAGS
flags.DEFINE_list("shape", ["2x128", "4x256"], "Layers x hidden size; heads are 64 wide.")
flags.DEFINE_list("max_length", ["128", "512"], "Tokens in a row.")
flags.DEFINE_string(
    "corpus", str(SHARED_DATA / "gutenberg"), "A text file, or a folder of .txt files."
)
flags.DEFINE_string(
    "vocab", str(SHARED_DATA / "vocab/bert-base-uncased/vocab.txt"), "One piece a line."
)
flags.DEFINE_integer("batch_tokens", 4096, "Positions in a batch.")
flags.DEFINE_float("seconds", 3, "How long a turn takes.")
flags.DEFINE_integer("rounds", 5, "How often each has its turn.")
flags.DEFINE_bool("memory", True, "Whether memory is measured.")
flags.DEFINE_string("worker", None, "Used by the program itself: what to run.")
flags.DEFINE_string("folder", None, "Used by the program itself: where the caches are.")


def main(_):
    if FLAGS.worker:
        serve(run_worker)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    corpus = Path(FLAGS.corpus)
    if not corpus_files() or not Path(FLAGS.vocab).is_file():
        raise app.UsageError(f"{corpus} or {FLAGS.vocab} is not there. Set --corpus and --vocab.")
    with tempfile.TemporaryDirectory() as folder:
        build_caches(folder)
        for max_length in FLAGS.max_length:
            compare(folder, max_length)
        if FLAGS.memory:
            compare_memory(folder)


def corpus_files():
    corpus = Path(FLAGS.corpus)
    return sorted(map(str, corpus.glob("*.txt"))) if corpus.is_dir() else [str(corpus)]


def ask_once(folder, what):
    """Runs a worker for one answer."""
    worker = make_worker(folder, what, FLAGS.max_length[0])
    try:
        worker.ask("start")
        return worker.ask("run")
    finally:
        worker.close()


def make_worker(folder, what, max_length):
    arguments = [
        f"--folder={folder}",
        f"--worker={what}",
        f"--max_length={max_length}",
        f"--corpus={FLAGS.corpus}",
        f"--vocab={FLAGS.vocab}",
        f"--batch_tokens={FLAGS.batch_tokens}",
        f"--seconds={FLAGS.seconds}",
    ]
    return Worker(what, [__file__, *arguments])


def build_caches(folder):
    info = ask_once(folder, "build")
    print(
        f"\nThe token cache: {info['characters'] / 1e6:.1f} MB of text, {info['pieces']:,} pieces, "
        f"{info['bytes'] / 1e6:.1f} MB; built at {info['characters'] / info['seconds'] / 1e6:.2f} "
        "MB of text a second by one process\n",
        flush=True,
    )


def compare(folder, max_length):
    """Prints the pipelines beside the steps."""
    steps = [f"step {shape}" for shape in FLAGS.shape]
    workers = start(make_worker(folder, what, max_length) for what in [*PIPELINES, *steps])
    speeds = {worker.name: [] for worker in workers}
    try:
        for _ in range(FLAGS.rounds):
            for worker in workers:
                speeds[worker.name].append(worker.ask("run"))
    finally:
        for worker in workers:
            worker.close()
    print(
        f"\nRows of {max_length}, {FLAGS.batch_tokens} positions a batch; medians of "
        f"{FLAGS.rounds} turns of {FLAGS.seconds:.0f} s\n"
    )
    print("| | tokens/s | real tokens |" + "".join(f" times the {step} |" for step in steps))
    print("|---|---:|---:|" + "---:|" * len(steps))
    for name, turns in speeds.items():
        rates, shares = zip(*turns)
        ratios = [
            # Within a round the machine is most alike.
            statistics.median(ours / theirs[0] for ours, theirs in zip(rates, speeds[step]))
            for step in steps
        ]
        print(
            f"| {name} | {statistics.median(rates):,.0f} | {statistics.median(shares):.1%} |"
            + "".join(f" {ratio:.1f} |" for ratio in ratios),
            flush=True,
        )


def compare_memory(folder):
    """Prints the peak memory of reading a corpus and of one ten times larger."""
    print("\n| one epoch of a cache of | rows | peak memory, MB |\n|---|---:|---:|")
    for times in (1, 10):
        answer = ask_once(folder, f"memory {times}")
        print(
            f"| the corpus, {times} times | {answer['rows']:,} | {answer['peak'] / 1e6:,.0f} |",
            flush=True,
        )


def run_worker():
    """Returns nothing of note, and what answers each request."""
    import keras_bert_lib as kbl

    tokenizer = kbl.BertTokenizer(FLAGS.vocab)
    if FLAGS.worker == "build":
        return None, lambda _: build(tokenizer)
    if FLAGS.worker.startswith("memory"):
        return None, lambda _: peak_memory(tokenizer, int(FLAGS.worker.split()[1]))
    if FLAGS.worker.startswith("step"):
        return None, train(tokenizer, FLAGS.worker.split()[1])
    batches = iter(dataset(tokenizer, cache(1), **PIPELINES[FLAGS.worker]))
    if FLAGS.worker == "text":
        batches = iter(dataset(tokenizer, corpus_files()))
    for _ in range(3):
        next(batches)  # graphs are built, buffers are full

    def timed(_):
        tokens, positions, begin = 0, 0, time.perf_counter()
        while time.perf_counter() - begin < FLAGS.seconds:
            mask = next(batches)["padding_mask"].numpy()
            tokens += int(mask.sum())
            positions += mask.size
        return tokens / (time.perf_counter() - begin), tokens / positions

    return None, timed


def cache(times):
    return os.path.join(FLAGS.folder, f"cache{times}")


def dataset(tokenizer, source, repeat=True, **options):
    import keras_bert_lib as kbl

    length = int(FLAGS.max_length[0])
    return kbl.data.pretraining_dataset(
        source,
        tokenizer,
        FLAGS.batch_tokens // length,
        max_length=length,
        max_predictions=round(0.16 * length),
        repeat=repeat,
        **options,
    )


def build(tokenizer):
    import keras_bert_lib as kbl

    files = corpus_files()
    kbl.data.build_token_cache(files[:1], tokenizer, cache(0))  # graphs are built
    begin = time.perf_counter()
    info = kbl.data.build_token_cache(files, tokenizer, cache(1))
    seconds = time.perf_counter() - begin
    # Ten times the blocks, in ten times the shards: what ten times the corpus would be.
    os.mkdir(cache(10))
    shards = []
    for copy in range(10):
        for shard in info["shards"]:
            name = f"{copy}-{shard['name']}"
            os.link(os.path.join(cache(1), shard["name"]), os.path.join(cache(10), name))
            shards.append(shard | {"name": name})
    larger = info | {"shards": shards}
    Path(cache(10), "cache.json").write_text(json.dumps(larger))
    return {
        "characters": sum(os.path.getsize(file) for file in files),
        "pieces": info["pieces"],
        "bytes": sum(shard["bytes"] for shard in info["shards"]),
        "seconds": seconds,
    }


def peak_memory(tokenizer, times):
    rows = 0
    for batch in dataset(tokenizer, cache(times), repeat=False, packing=True):
        rows += len(batch["token_ids"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"rows": rows, "peak": peak}


def train(tokenizer, shape):
    """Returns what trains for a turn, on packed batches that are there already."""
    import tensorflow as tf

    import keras_bert_lib as kbl

    num_layers, hidden_size = map(int, shape.split("x"))
    config = kbl.BertConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=max(1, hidden_size // 64),
        intermediate_size=4 * hidden_size,
    )
    model = kbl.BertPretrainer(kbl.BertEncoder(config))
    model.compile(kbl.training.create_optimizer(1e-4, total_steps=100_000))
    batches = list(dataset(tokenizer, cache(1), packing=True).take(20))
    shares = [float(tf.reduce_mean(tf.cast(x["padding_mask"], tf.float32))) for x in batches]
    share = sum(shares) / len(shares)
    stacked = {name: tf.stack([x[name] for x in batches]) for name in batches[0]}
    data = tf.data.Dataset.from_tensor_slices(stacked).cache()
    model.fit(data, verbose=0)

    def timed(_):
        steps, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < FLAGS.seconds:
            model.fit(data, verbose=0)
            steps += len(batches)
        return steps * FLAGS.batch_tokens * share / (time.perf_counter() - begin), share

    return timed


if __name__ == "__main__":
    app.run(main)
