"""Many requests of mixed and hostile texts to one loaded SavedModel: memory, errors, answers.

    python benchmarks/soak.py                  # 100,000 requests
    python benchmarks/soak.py --requests=5000

Requests are drawn by a seed: 1 to 64 texts each, of words, all of Unicode, emoji that are joined,
broken UTF-8, NUL, special tokens, long words and long texts, and now and then one of 100 KB. The
model is tiny, so that the time goes into the tokenizer and into TensorFlow itself, which is where
memory would be lost.

After the first 20,000 requests, in which caches fill, memory is read along with them. The program
ends with code 1 if a request fails, if the answers to a fixed probe change at all between its
first and its last call, or if a line through the memory grows by more than 5% in the rest.
"""

import gc
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags, logging

MOST_GROWTH = 0.05  # of the memory after warm-up
READINGS = 200
LONG = 100_000  # bytes
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["the", "film", "was", "fine", "dull", "Café", "naïve", "I'm", "x-ray", "東京", "한국어"]
ODD = [
    "👩‍👩‍👧",
    "e\u0301",
    "\u200b",
    "\u202e",
    "[MASK]",
    "[SEP]",
    "\x00",
    "\ufffd",
    "\ud83d",
    "ﷺ",
    "𝔘",
]
PROBE = ["", "the film was fine.", "東京 " * 50, "\x00\x01 film", "👩‍👩‍👧" * 20, "q" * 1000]

FLAGS = flags.FLAGS
flags.DEFINE_integer("requests", 100_000, "How many requests.")
flags.DEFINE_integer("seed", 0, "Of the requests.")


def main(_):
    logging.set_verbosity(logging.WARNING)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as directory:
        path = export(Path(directory) / "model")
        growth, changed = soak(path, FLAGS.requests, FLAGS.seed)
    if growth > MOST_GROWTH or changed:
        sys.exit("failed")


def export(path):
    """Writes a tiny classifier, and returns where it is."""
    import keras

    import keras_bert_lib as kbl

    keras.utils.set_random_seed(0)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".,!?'-", *ALPHABET]
    pieces += [*(f"##{c}" for c in ALPHABET), "the", "film", "was", "fine", *"東京", "한"]
    tokenizer = kbl.BertTokenizer(pieces, max_length=64)
    config = kbl.BertConfig(
        vocab_size=len(pieces),
        hidden_size=16,
        num_layers=1,
        num_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,  # answers that differ from text to text
    )
    model = kbl.BertClassifier(
        kbl.BertEncoder(config), tokenizer=tokenizer, labels=["bad", "good", "odd"]
    )
    return kbl.export.saved_model(model, path)


def soak(path, requests, seed):
    """Asks a SavedModel many times.

    Args:
        path: the SavedModel, of the signature of `export`.
        requests: int, how many times.
        seed: int, of what is asked.

    Returns:
        `(growth, changed)`: the growth of memory after warm-up, as a share of it; and the largest
        change in the probabilities of the probe.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    answer = loaded.signatures["serving_default"]
    probe = encoded(PROBE)
    first = answer(text=probe)["probabilities"].numpy()
    rng = np.random.default_rng(seed)
    warm_up, step = min(20_000, requests // 2), max(requests // READINGS, 1)
    texts, readings, begin = 0, [], time.time()
    for i in range(requests):
        # Most requests of a server are small.
        batch = [make_text(rng) for _ in range(1 + int(64 * rng.random() ** 3))]
        outputs = {name: x.numpy() for name, x in answer(text=tf.constant(batch)).items()}
        texts += len(batch)
        check(outputs, len(batch), i)
        if i >= warm_up and i % step == 0:
            gc.collect()
            readings.append((i, resident()))
        if (i + 1) % max(requests // 10, 1) == 0:
            print(f"{i + 1:,} requests, {resident() / 1e6:.0f} MB", flush=True)
    changed = np.abs(answer(text=probe)["probabilities"].numpy() - first).max()

    places, sizes = np.array(readings, float).T
    slope, start = np.polyfit(places - places[0], sizes, 1)
    growth = slope * (places[-1] - places[0]) / start
    minutes = (time.time() - begin) / 60
    print(f"{requests:,} requests, {texts:,} texts, no error, in {minutes:.1f} minutes")
    print(
        f"memory after {warm_up:,} requests {start / 1e6:.0f} MB, most {sizes.max() / 1e6:.0f} MB; "
        f"the line through {len(sizes)} readings grows by {growth:+.2%}"
    )
    print(f"largest change in the answers to the probe: {changed:.0e}", flush=True)
    return growth, changed


def make_text(rng):
    """Returns a text of some kind, as bytes."""
    kind = rng.random()
    if kind < 0.0002:
        part = [b"q", "東".encode(), b"\xff", b"a ", "👩‍👧".encode()][rng.integers(5)]
        return part * (LONG // len(part))
    if kind < 0.02:
        return b""
    if kind < 0.10:
        return rng.bytes(rng.integers(1, 200))  # hardly any of it is UTF-8
    if kind < 0.20:  # anywhere in Unicode, surrogates too
        points = rng.integers(0, 0x110000, rng.integers(1, 60))
        return "".join(map(chr, points)).encode("utf-8", "surrogatepass")
    if kind < 0.25:
        return ("".join(rng.choice(list(ALPHABET), rng.integers(50, 400)))).encode()
    words = WORDS if kind < 0.7 else WORDS + ODD
    # NumPy's own arrays of strings lose NUL.
    words = [words[i] for i in rng.integers(len(words), size=rng.integers(1, 40))]
    text = " ".join(words).encode("utf-8", "surrogatepass")
    return text[: rng.integers(len(text) + 1)] if kind > 0.9 else text


def encoded(texts):
    import tensorflow as tf

    return tf.constant([text.encode() for text in texts])


def check(outputs, count, request):
    """Raises where the answers are none."""
    probabilities = outputs["probabilities"]
    sums = probabilities.sum(-1)
    if probabilities.shape != (count, 3) or not np.allclose(sums, 1, atol=1e-5):
        raise AssertionError(f"Request {request} was answered by {probabilities!r}.")
    if not set(outputs["label"]) <= {b"bad", b"good", b"odd"}:
        raise AssertionError(f"Request {request} was answered by {outputs['label']!r}.")


def resident():
    """Returns the bytes of memory that the process holds."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    app.run(main)
