"""The tokenizer's speed, beside others: one text at a time in TFLite, and batches in tf.data.

    python benchmarks/tokenizer.py
    python benchmarks/tokenizer.py --libraries=keras_bert_lib,tokenizers --limit=2000 --rounds=3

Prints three tables for the sentences of SST-2 and the lines of novels, with the vocabulary of
bert-base-uncased:

- one text at a time, one thread: a TFLite file that takes 512 bytes, beside `encode` of Hugging
  Face `tokenizers` on the same text;
- batches, on all cores: texts a second, and the share of texts that get the ids of `tokenizers`.
  Here are strings in many languages, too;
- how long it takes to build the tokenizer from its file, and the size of a TFLite file with nothing
  but the tokenizer, also for a multilingual vocabulary.

Every library runs in its own process, and they take turns: only the ratios mean something, and of
these the median over the rounds.
"""

import glob
import json
import math
import os
import statistics
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
from absl import app, flags
from worker import Worker, serve, start

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CAPACITY = 512  # bytes
LENGTHS = (64, 128, 256, 512)  # bytes
TEXTS_A_LENGTH = 100
BATCHES_A_TURN = 40  # so many that those made ahead of a turn, one a core, do not count
ROWS = {
    "keras_bert_lib": "keras_bert_lib, tf.data",
    "use_tf_text": "keras_bert_lib, tf.data, use_tf_text",
    "tokenizers": "tokenizers, encode_batch",
    "transformers": "transformers, fast tokenizer",
    "tensorflow_text": "tensorflow_text, FastBertTokenizer, tf.data",
    "keras_hub": "KerasHub, BertTokenizer, tf.data",
}

FLAGS = flags.FLAGS
flags.DEFINE_string("sst2", str(SHARED_DATA / "glue/SST-2/train.tsv"), "`text<TAB>label`, header.")
flags.DEFINE_string("novels", str(SHARED_DATA / "gutenberg/*.txt"), "Text files.")
flags.DEFINE_string(
    "strings",
    str(SHARED_DATA / "tokenization/golden_hf_tokenizers.json"),
    "Strings in many languages, as `text` of `cases` in a JSON file; left out if it is not there.",
)
flags.DEFINE_string(
    "vocab", str(SHARED_DATA / "vocab/bert-base-uncased/vocab.txt"), "Of lowercased text."
)
flags.DEFINE_string(
    "multilingual_vocab",
    str(SHARED_DATA / "vocab/bert-base-multilingual-cased/vocab.txt"),
    "Of cased text; left out if it is not there.",
)
flags.DEFINE_list("libraries", list(ROWS), "What to measure; the ratios are to the first.")
flags.DEFINE_integer("limit", 20_000, "The most texts of a kind.")
flags.DEFINE_integer("batch_size", 1000, "Texts in a batch.")
flags.DEFINE_integer("rounds", 7, "How often each has its turn.")
flags.DEFINE_string("worker", None, "Used by the program itself: what to run.")
flags.DEFINE_string("folder", None, "Used by the program itself: where the texts and files are.")
flags.DEFINE_bool("cased", False, "Used by the program itself: whether the vocabulary is cased.")


def main(_):
    if FLAGS.worker:
        serve(run_worker)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kinds = read_texts()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "kinds.json").write_text(json.dumps(kinds))
        # The third table first: it writes the files that the first one needs.
        builds = build(folder)
        compare_single_texts(folder, kinds)
        compare_batches(folder, kinds)
        print_builds(builds)


def read_texts():
    """Returns the lists of texts by their kind."""
    novels = sorted(glob.glob(FLAGS.novels))
    for path in [FLAGS.sst2, FLAGS.vocab, *(novels or [FLAGS.novels])]:
        if not Path(path).is_file():
            raise app.UsageError(f"{path} is no file. Set --sst2, --novels and --vocab.")
    lines = Path(FLAGS.sst2).read_text("utf-8").split("\n")[1:]
    kinds = {"SST-2": [line.rsplit("\t", 1)[0] for line in lines if line]}
    lines = [line for path in novels for line in Path(path).read_text("utf-8").split("\n")]
    kinds["novels"] = [line for line in lines if line.strip()]
    if Path(FLAGS.strings).is_file():
        cases = json.loads(Path(FLAGS.strings).read_text("utf-8"))["cases"]
        kinds["many languages"] = [case["text"] for case in cases]
    return {kind: texts[: FLAGS.limit] for kind, texts in kinds.items()}


def texts_of_length(texts, length):
    """Returns texts of `length` bytes, cut from the texts one after the other."""
    data = " ".join(texts).encode("ascii", "ignore")  # where any byte may be cut
    starts = range(0, min(len(data), TEXTS_A_LENGTH * length) - length + 1, length)
    return [data[i : i + length].decode() for i in starts]


def compare_single_texts(folder, kinds):
    """Prints the times of one text after the other, by length."""
    one_core = {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    workers = start_workers(["tflite", "tokenizers"], folder, one_core)
    try:
        if len(workers) < 2:
            return
        print(
            f"\nOne text at a time, one thread, load {os.getloadavg()[0]:.0f}; medians of "
            f"{FLAGS.rounds} rounds\n"
        )
        print("| texts | bytes | TFLite, us | tokenizers, us | ratio |")
        print("|---|---:|---:|---:|---:|")
        slopes = []
        for kind in ("SST-2", "novels"):
            times = {}  # of the two, [rounds] each
            by_length = {length: texts_of_length(kinds[kind], length) for length in LENGTHS}
            by_length["as they are"] = [
                text for text in kinds[kind] if len(text.encode()) <= CAPACITY
            ][: 4 * TEXTS_A_LENGTH]
            for _ in range(FLAGS.rounds):
                for length, texts in by_length.items():
                    for worker in workers:
                        seconds = worker.ask({"one_by_one": texts})
                        times.setdefault((length, worker.name), []).append(seconds)
            for length in by_length:
                ours, theirs = times[length, "tflite"], times[length, "tokenizers"]
                ratio = statistics.median(a / b for a, b in zip(ours, theirs))
                print(
                    f"| {kind} | {length} | {1e6 * statistics.median(ours):.0f} | "
                    f"{1e6 * statistics.median(theirs):.0f} | {ratio:.2f} |",
                    flush=True,
                )
            middle = [statistics.median(times[length, "tflite"]) for length in LENGTHS]
            slopes += [
                f"{1e9 * (middle[i] - middle[i - 1]) / (LENGTHS[i] - LENGTHS[i - 1]):.0f}"
                for i in range(1, len(LENGTHS))
            ]
        print(
            "\nFrom each length to the next, a further byte takes in TFLite "
            f"{', '.join(slopes)} ns: the cost is linear where these are alike."
        )
    finally:
        for worker in workers:
            worker.close()


def compare_batches(folder, kinds):
    """Prints texts a second."""
    workers = start_workers(FLAGS.libraries, folder, {})
    found, seconds = {}, {(worker, kind): [] for worker in workers for kind in kinds}
    try:
        for kind in kinds:
            for worker in workers:  # and it warms up
                found[worker, kind] = worker.ask({"ids_of": kind})
        for _ in range(FLAGS.rounds):
            for kind in kinds:
                for worker in workers:
                    seconds[worker, kind].append(worker.ask({"in_batches": kind}))
    finally:
        for worker in workers:
            worker.close()

    expected = next((worker for worker in workers if worker.name == "tokenizers"), None)
    print(
        f"\nBatches of {FLAGS.batch_size}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}: "
        "texts/s (and as a multiple of the first row's), and the texts that get the ids of "
        f"tokenizers; medians of {FLAGS.rounds} rounds\n"
    )
    print("| |" + "".join(f" {kind} | same ids |" for kind in kinds))
    print("|---|" + "---:|---:|" * len(kinds))
    first = next(iter(workers), None)
    for worker in workers:
        cells = [ROWS[worker.name]]
        for kind, texts in kinds.items():
            speeds = [len(texts) / s for s in seconds[worker, kind]]
            ratio = statistics.median(
                ours / theirs for ours, theirs in zip(seconds[first, kind], seconds[worker, kind])
            )
            cells.append(f"{statistics.median(speeds):,.0f} ({ratio:.2f})")
            same = "-"
            if expected is not None:
                pairs = zip(found[worker, kind], found[expected, kind])
                same = f"{np.mean([ours == theirs for ours, theirs in pairs]):.2%}"
            cells.append(same)
        print(f"| {' | '.join(cells)} |", flush=True)


def build(folder):
    """Builds tokenizers, each several times in a new process; writes TFLite files.

    Returns:
        List of (name, list of seconds, bytes of the file).
    """
    rows = []
    for name, vocab, flag in [
        ("uncased", FLAGS.vocab, "--nocased"),
        ("multilingual", FLAGS.multilingual_vocab, "--cased"),
    ]:
        if not Path(vocab).is_file():
            continue
        seconds, size = [], None
        for _ in range(min(3, FLAGS.rounds)):
            arguments = [f"--vocab={vocab}", flag]
            for worker in start_workers(["build"], folder, {}, arguments):
                seconds.append(worker.ask("build"))
                size = size or worker.ask(f"{name}.tflite")
                worker.close()
        pieces = Path(vocab).read_bytes().count(b"\n")
        rows.append((f"{name}, {pieces:,} pieces", seconds, size))
    return rows


def print_builds(rows):
    """Prints the third table."""
    print("\nBuilding\n")
    print("| vocabulary | seconds to build | MB of a TFLite file |")
    print("|---|---:|---:|")
    for name, seconds, size in rows:
        print(f"| {name} | {statistics.median(seconds):.2f} | {size / 1e6:.2f} |")


def start_workers(names, folder, environment, arguments=()):
    arguments = [__file__, f"--folder={folder}", *(arguments or [f"--vocab={FLAGS.vocab}"])]
    arguments.append(f"--batch_size={FLAGS.batch_size}")
    return start(
        Worker(name, [*arguments, f"--worker={name}"], environment=environment) for name in names
    )


def run_worker():
    """Loads one library; returns nothing, and what measures it as it is asked."""
    if FLAGS.worker == "build":
        return None, load_build()
    if FLAGS.worker == "tflite":
        return None, measure(load_tflite(), None)
    load = {
        "keras_bert_lib": load_keras_bert_lib,
        "use_tf_text": load_use_tf_text,
        "tokenizers": load_tokenizers,
        "transformers": load_transformers,
        "tensorflow_text": load_tensorflow_text,
        "keras_hub": load_keras_hub,
    }[FLAGS.worker]
    return None, measure(*load())


def measure(encode, make_batches):
    """Returns what answers requests.

    Args:
        encode: function of a text, or None.
        make_batches: function of a list of texts that returns one without arguments, which is
            timed: it returns a list of batches, each of which `to_lists` understands.
    """
    kinds = json.loads(Path(FLAGS.folder, "kinds.json").read_text())
    made = {}

    def answer(request):
        ((what, texts),) = request.items()
        if what == "one_by_one":
            for text in texts:  # what depends on the length is made
                encode(text)
            seconds = []
            for text in texts:
                begin = time.perf_counter()
                encode(text)
                seconds.append(time.perf_counter() - begin)
            return statistics.median(seconds)
        if texts not in made:
            made[texts] = make_batches(kinds[texts])
        run = made[texts]
        if what == "in_batches":
            passes = math.ceil(BATCHES_A_TURN * FLAGS.batch_size / len(kinds[texts]))
            begin = time.perf_counter()
            for _ in range(passes):
                run()
            return (time.perf_counter() - begin) / passes
        batches = run()
        rows = [row for batch in batches for row in to_lists(batch)]
        return [zlib.crc32(np.array(row, np.int32).tobytes()) for row in rows]

    return answer


def to_lists(batch):
    """Returns the ids of a batch's texts as lists, whatever the library gives."""
    if hasattr(batch, "merge_dims"):  # a ragged tensor, with tensorflow_text's of rank 3
        return (batch.merge_dims(1, 2) if len(batch.shape) == 3 else batch).to_list()
    return [getattr(row, "ids", row) for row in batch]


def in_tf_data(function):
    """Returns the `make_batches` of a function in the graph."""
    import tensorflow as tf

    def make_batches(texts):
        dataset = tf.data.Dataset.from_tensor_slices(texts).batch(FLAGS.batch_size)
        count = len(dataset)
        # One iterator for all turns: a corpus starts it once.
        dataset = dataset.repeat().map(function, num_parallel_calls=os.cpu_count())
        iterator = iter(dataset)
        return lambda: [next(iterator) for _ in range(count)]

    return make_batches


def in_python(function):
    """Returns the `make_batches` of a function of lists of texts."""

    def make_batches(texts):
        size = FLAGS.batch_size
        parts = [texts[i : i + size] for i in range(0, len(texts), size)]
        return lambda: [function(part) for part in parts]

    return make_batches


def load_keras_bert_lib():
    import keras_bert_lib as kbl

    return None, in_tf_data(kbl.BertTokenizer(FLAGS.vocab).tokenize_ragged)


def load_use_tf_text():
    import keras_bert_lib as kbl

    tokenizer = kbl.BertTokenizer(FLAGS.vocab)
    tokenizer.tokenize_ragged([""], use_tf_text=True)  # says now what is not installed
    return None, in_tf_data(lambda texts: tokenizer.tokenize_ragged(texts, use_tf_text=True))


def load_tokenizers():
    import tokenizers

    tokenizer = tokenizers.BertWordPieceTokenizer(FLAGS.vocab)
    return tokenizer.encode, in_python(
        lambda texts: tokenizer.encode_batch(texts, add_special_tokens=False)
    )


def load_transformers():
    import transformers

    tokenizer = transformers.BertTokenizerFast(FLAGS.vocab)
    return None, in_python(
        lambda texts: tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    )


def load_tensorflow_text():
    import tensorflow as tf
    import tensorflow_text

    vocabulary = Path(FLAGS.vocab).read_text("utf-8").split("\n")[:-1]
    tokenizer = tensorflow_text.FastBertTokenizer(
        vocabulary, token_out_type=tf.int32, lower_case_nfd_strip_accents=True
    )
    return None, in_tf_data(tokenizer.tokenize)


def load_keras_hub():
    import keras_hub

    return None, in_tf_data(keras_hub.tokenizers.BertTokenizer(FLAGS.vocab, lowercase=True))


def load_build():
    """Returns what builds a tokenizer, and what writes a TFLite file of it and returns its size."""
    import tensorflow as tf

    import keras_bert_lib as kbl

    tf.constant(0)  # TensorFlow has started
    tokenizer = None

    def answer(request):
        nonlocal tokenizer
        if request == "build":
            begin = time.perf_counter()
            tokenizer = kbl.BertTokenizer(FLAGS.vocab, lowercase=not FLAGS.cased)
            return time.perf_counter() - begin
        module = tf.Module()
        module.tokenizer = tokenizer
        module.encode = tf.function(
            lambda text: tokenizer(text, max_length=CAPACITY),
            input_signature=[tf.TensorSpec([1, CAPACITY], tf.int32, name="text")],
        )
        path = Path(FLAGS.folder, request)
        tf.saved_model.save(module, f"{path}.saved_model", signatures=module.encode)
        converter = tf.lite.TFLiteConverter.from_saved_model(f"{path}.saved_model")
        path.write_bytes(converter.convert())
        return path.stat().st_size

    return answer


def load_tflite():
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(Path(FLAGS.folder, "uncased.tflite")), num_threads=1)
    interpreter.allocate_tensors()
    text_input = interpreter.get_input_details()[0]["index"]
    row = np.zeros([1, CAPACITY], np.int32)

    def encode(text):
        data = np.frombuffer(text.encode(), np.uint8)
        row[:] = 0
        row[0, : len(data)] = data
        interpreter.set_tensor(text_input, row)
        interpreter.invoke()

    return encode


if __name__ == "__main__":
    app.run(main)
