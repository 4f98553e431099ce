"""Learning a WordPiece vocabulary, beside the plain trainer of Hugging Face `tokenizers`.

    python benchmarks/learn_vocabulary.py --corpus "../shared/data/gutenberg/*.txt" --repeats 3

Prints, for each: seconds, pieces a word on held-out text (the last tenth of the files), and whether
three runs, each in a process of its own, gave the same vocabulary.
"""

import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 3


def learn_ours(path, size):
    from keras_bert_lib.text import learn_vocabulary

    return lambda: learn_vocabulary(path, size, show_progress=False)


def learn_plain(path, size):
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
            vocab_size=size,
            min_frequency=2,
            limit_alphabet=1000,
            special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
            show_progress=False,
        )
        learner.train([path], trainer)
        ids = learner.get_vocab()
        return sorted(ids, key=ids.get)

    return learn


LEARNERS = {"keras_bert_lib": learn_ours, "tokenizers": learn_plain}


def measure(name, path, size):
    """Learns once, in this process; prints the outcome as JSON."""
    learn = LEARNERS[name](path, size)
    start = time.perf_counter()
    vocabulary = learn()
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "vocabulary": vocabulary}))


def pieces_a_word(vocabulary, texts):
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    ids = {piece: i for i, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    encodings = [encoding for encoding in tokenizer.encode_batch(texts) if encoding.ids]
    return sum(len(e.ids) for e in encodings) / sum(e.word_ids[-1] + 1 for e in encodings)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", required=True, help="glob pattern of text files")
    parser.add_argument("--repeats", type=int, default=1, help="times the corpus is repeated")
    parser.add_argument("--vocab-size", type=int, default=30522)
    parser.add_argument("--measure", choices=LEARNERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure, args.corpus, args.vocab_size)
        return

    files = sorted(glob.glob(args.corpus))
    if len(files) < 2:
        parser.error(f"--corpus must match two files or more. Received: {args.corpus}")
    held_out = max(1, len(files) // 10)
    texts = [
        text for file in files[-held_out:] for text in Path(file).read_text("utf-8").split("\n")
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "corpus.txt")
        text = "\n".join(Path(file).read_text("utf-8") for file in files[:-held_out])
        Path(path).write_text("\n".join([text] * args.repeats), "utf-8")
        print(
            f"{os.path.getsize(path) / 1e6:.0f} MB of text, {args.vocab_size:,} pieces, "
            f"{os.cpu_count()} cores, the median of {RUNS} runs"
        )
        print("| | seconds | pieces a word | same each run |\n|---|---|---|---|")
        for name in LEARNERS:
            command = [sys.executable, __file__, "--measure", name, "--corpus", path]
            command += ["--vocab-size", str(args.vocab_size)]
            runs = [
                json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
                for _ in range(RUNS)
            ]
            seconds = sorted(run["seconds"] for run in runs)[RUNS // 2]
            fixed = all(run["vocabulary"] == runs[0]["vocabulary"] for run in runs)
            fixed = "yes" if fixed else "no"
            rate = pieces_a_word(runs[0]["vocabulary"], texts)
            print(f"| {name} | {seconds:.1f} | {rate:.4f} | {fixed} |")


if __name__ == "__main__":
    main()
