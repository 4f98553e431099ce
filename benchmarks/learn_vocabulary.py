"""Learning a WordPiece vocabulary, beside the trainers of `tokenizers` and `tensorflow_text`.

    python benchmarks/learn_vocabulary.py
    python benchmarks/learn_vocabulary.py --corpus="my/*.txt" --copies=3 --vocab_size=30522

Each learns from the same file in a process of its own, several times, and they take turns; only the
ratios mean something. Memory is the most that the process takes beyond what it took after
importing. Quality is measured on held-out text, cut by the WordPiece of `tokenizers`: the share of
words that are [UNK], and pieces a word, of the words that all vocabularies know. Learned are
uncased vocabularies, with at most 1000 characters, of pieces met twice or more; so are those of
tensorflow_text, which by default asks for ten times.
"""

import glob
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags
from worker import Worker, serve, start

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RESERVED = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "corpus", str(SHARED_DATA / "gutenberg" / "*.txt"), "Text files; a tenth of them is held out."
)
flags.DEFINE_integer("copies", 1, "How many times the corpus is learned from.")
flags.DEFINE_multi_integer("vocab_size", [8000, 30522], "Pieces to learn.")
flags.DEFINE_string(
    "strings",
    str(SHARED_DATA / "tokenization" / "golden_hf_tokenizers.json"),
    "Strings in many languages, as `text` of `cases` in a JSON file; left out if it is not there.",
)
flags.DEFINE_integer("strings_vocab_size", 4000, "Pieces to learn from the strings.")
flags.DEFINE_list(
    "learners", ["keras_bert_lib", "tokenizers", "tensorflow_text"], "The ratios are to the first."
)
flags.DEFINE_integer("runs", 3, "How often each learns.")
flags.DEFINE_string("worker", None, "Used by the program itself: the learner to run.")
flags.DEFINE_string("path", None, "Used by the program itself: the text to learn from.")


def main(_):
    if FLAGS.worker:
        serve(run_worker)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    files = sorted(glob.glob(FLAGS.corpus))
    if len(files) < 2:
        raise app.UsageError(f"--corpus must match two files or more. Received: {FLAGS.corpus}")
    texts = [Path(file).read_text("utf-8") for file in files]
    count = len(texts) - max(1, len(texts) // 10)
    held_out = "\n".join(texts[count:]).split("\n")
    for vocab_size in FLAGS.vocab_size:
        compare("text files", texts[:count] * FLAGS.copies, held_out, vocab_size)
    if Path(FLAGS.strings).is_file():
        cases = json.loads(Path(FLAGS.strings).read_text("utf-8"))["cases"]
        texts = [case["text"].replace("\x00", "") for case in cases]
        held_out = texts[::10]
        texts = [text for i, text in enumerate(texts) if i % 10]
        compare("strings in many languages", texts, held_out, FLAGS.strings_vocab_size)


def compare(what, texts, held_out, vocab_size):
    """Lets all learn a vocabulary from the texts, and prints the table."""
    outcomes = {name: [] for name in FLAGS.learners}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "corpus.txt")
        Path(path).write_text("\n".join(texts), "utf-8")
        megabytes = os.path.getsize(path) / 1e6
        arguments = [__file__, f"--path={path}", f"--vocab_size={vocab_size}"]
        for _ in range(FLAGS.runs):
            for name in list(outcomes):
                workers = start([Worker(name, [*arguments, f"--worker={name}"])])
                if not workers:
                    del outcomes[name]
                for worker in workers:
                    outcomes[name].append(worker.ask("learn"))
                    worker.close()

    print(
        f"\n{megabytes:.1f} MB of {what}, {vocab_size:,} pieces asked for, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.0f}; medians of {FLAGS.runs} runs\n"
    )
    print("| learner | seconds (ours = 1) | MB | pieces | a word | [UNK] | same each run |")
    print("|---|---:|---:|---:|---:|---:|---|")
    first = next(iter(outcomes.values()), [])
    pieces = {
        name: pieces_of_words(runs[0]["vocabulary"], held_out) for name, runs in outcomes.items()
    }
    known = np.all([counts > 0 for counts in pieces.values()], axis=0)
    for name, runs in outcomes.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        ratio = statistics.median(
            theirs["seconds"] / ours["seconds"] for ours, theirs in zip(first, runs)
        )
        memory = statistics.median(run["megabytes"] for run in runs)
        vocabulary = runs[0]["vocabulary"]
        rate, unknown = pieces[name][known].mean(), (pieces[name] == 0).mean()
        same = all(run["vocabulary"] == vocabulary for run in runs)
        print(
            f"| {name} | {seconds:.1f} ({ratio:.2f}) | {memory:.0f} | {len(vocabulary):,} | "
            f"{rate:.4f} | {unknown:.2%} | {'yes' if same else 'no'} |",
            flush=True,
        )


def pieces_of_words(vocabulary, texts):
    """Returns an array `[words]`: how many pieces each word is cut to, 0 if it is unknown."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    ids = {piece: i for i, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    counts = []
    for encoding in tokenizer.encode_batch(texts):
        words = np.array(encoding.word_ids, int)
        is_known = np.array(encoding.ids) != ids["[UNK]"]
        counts.append(np.bincount(words, weights=is_known))
    return np.concatenate(counts)


def run_worker():
    """Imports one learner; returns what says nothing of it, and what learns and measures."""
    make = {
        "keras_bert_lib": learn_keras_bert_lib,
        "tokenizers": learn_tokenizers,
        "tensorflow_text": learn_tensorflow_text,
    }[FLAGS.worker]
    learn = make(FLAGS.path, FLAGS.vocab_size[0])
    before = kilobytes("VmRSS")

    def measured(_):
        begin = time.perf_counter()
        vocabulary = learn()
        seconds = time.perf_counter() - begin
        megabytes = (kilobytes("VmHWM") - before) / 1e3
        return {"seconds": seconds, "megabytes": megabytes, "vocabulary": vocabulary}

    return None, measured


def kilobytes(entry):
    """Returns what Linux says of this process' memory, 0 on other systems."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith(entry)), 0)


def learn_keras_bert_lib(path, vocab_size):
    import keras_bert_lib as kbl

    return lambda: kbl.text.learn_vocabulary(path, vocab_size, show_progress=False)


def learn_tokenizers(path, vocab_size):
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.trainers import WordPieceTrainer

    def learn():
        learner = Tokenizer(WordPiece(unk_token="[UNK]"))
        learner.normalizer = BertNormalizer()
        learner.pre_tokenizer = BertPreTokenizer()
        trainer = WordPieceTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            limit_alphabet=1000,
            special_tokens=RESERVED,
            show_progress=False,
        )
        learner.train([path], trainer)
        ids = learner.get_vocab()
        return sorted(ids, key=ids.get)

    return learn


def learn_tensorflow_text(path, vocab_size):
    import tensorflow as tf
    from tensorflow_text.tools.wordpiece_vocab.bert_vocab_from_dataset import (
        bert_vocab_from_dataset,
    )

    def learn():
        return bert_vocab_from_dataset(
            tf.data.TextLineDataset(path).batch(1000).prefetch(2),
            vocab_size,
            RESERVED,
            bert_tokenizer_params={"lower_case": True},
            learn_params={"lower_thresh": 2, "max_unique_chars": 1000},
        )

    return learn


if __name__ == "__main__":
    app.run(main)
