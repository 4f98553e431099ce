import gzip
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer

from keras_bert_lib.text.learn_vocabulary import learn_vocabulary

# The package shows the function under the name of its module.
module = sys.modules[learn_vocabulary.__module__]

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# Real text that every Python has: its own library's source, comments and docstrings included.
LIBRARY = Path(os.__file__).parent
SOURCES = [LIBRARY / name for name in ("argparse.py", "ast.py", "datetime.py", "typing.py")]


def learn(source, vocab_size=600, **options):
    return learn_vocabulary(source, vocab_size, show_progress=False, **options)


def wordpiece(vocabulary, lowercase=True):
    ids = {piece: i for i, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer


@pytest.fixture
def corpus(tmp_path):
    text = "\n".join(path.read_text("utf-8") for path in SOURCES)
    path = tmp_path / "corpus.txt"
    path.write_text(text, "utf-8")
    return path


def test_layout(corpus):
    vocabulary = learn(corpus)
    assert len(vocabulary) == 600
    assert len(set(vocabulary)) == 600
    assert vocabulary[:5] == SPECIAL
    rest = vocabulary[5:]
    starts = [piece for piece in rest if len(piece) == 1]
    continuations = [piece for piece in rest if len(piece) == 3 and piece.startswith("##")]
    assert rest[: len(starts)] == sorted(starts)
    assert rest[len(starts) :][: len(continuations)] == sorted(continuations)
    # A letter comes in both forms, punctuation in one: it never continues a word.
    assert {"a", "##a", "z", "##z", "("} <= set(rest)
    assert "##(" not in rest
    assert {"the", "self", "##ing"} <= set(rest)
    assert all(piece == piece.lower() for piece in rest)


def test_is_the_same_in_another_process(corpus):
    program = (
        "import sys; from keras_bert_lib.text.learn_vocabulary import learn_vocabulary as learn\n"
        "for p in learn(sys.argv[1], 600, show_progress=False):"
        " sys.stdout.buffer.write((p + '\\n').encode())"
    )
    expected = "".join(f"{piece}\n" for piece in learn(corpus)).encode()
    # Another hash seed: Python's own sets come in another order too.
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", program, corpus], env=environment, capture_output=True, check=True
    )
    assert run.stdout.replace(b"\r\n", b"\n") == expected


def test_every_source_gives_the_same(corpus, tmp_path, monkeypatch):
    expected = learn(corpus)
    text = corpus.read_text("utf-8")
    lines = text.split("\n")
    packed = tmp_path / "packed.txt.gz"
    packed.write_bytes(gzip.compress(text.encode("utf-8")))
    parts = tmp_path / "parts"
    (parts / "deeper").mkdir(parents=True)
    middle = len(lines) // 2
    (parts / "a.txt").write_text("\n".join(lines[:middle]), "utf-8", newline="\r\n")
    (parts / "deeper" / "b.txt").write_text("\n".join(lines[middle:]), "utf-8")

    assert learn(str(corpus)) == expected
    assert learn(packed) == expected
    assert learn(str(parts / "**" / "*.txt")) == expected
    assert learn([parts / "a.txt", str(parts / "deeper" / "b.txt")]) == expected
    assert learn(iter(lines)) == expected
    assert learn(line.encode("utf-8") for line in lines) == expected
    assert learn(np.array(lines, dtype=object)) == expected
    dataset = tf.data.Dataset.from_tensor_slices(lines)
    assert learn(dataset) == expected
    assert learn(dataset.batch(100)) == expected
    # Chunks are cut between words, wherever they end.
    monkeypatch.setattr(module, "CHUNK_CHARACTERS", 1000)
    assert learn(corpus) == expected
    assert learn(packed) == expected
    assert learn(iter(lines)) == expected


def test_is_as_good_as_the_plain_trainer(corpus):
    vocabulary = learn(corpus, 2000)
    reference = wordpiece(SPECIAL)
    trainer = WordPieceTrainer(
        vocab_size=2000, min_frequency=2, special_tokens=SPECIAL, show_progress=False
    )
    reference.train([str(corpus)], trainer)
    held_out = (LIBRARY / "inspect.py").read_text("utf-8").split("\n")

    def pieces(tokenizer):
        return sum(len(encoding.ids) for encoding in tokenizer.encode_batch(held_out))

    assert pieces(wordpiece(vocabulary)) == pytest.approx(pieces(reference), rel=0.01)


def test_normalizes_as_the_tokenizer_does():
    texts = ["Crème BRÛLÉE 東京 naïve-ish"] * 3
    vocabulary = learn(iter(texts), 300)
    assert {"creme", "brulee", "naive", "ish", "東", "京", "-"} <= set(vocabulary)
    assert not {"##東", "##京", "##-"} & set(vocabulary)
    cased = learn(iter(texts), 300, lowercase=False)
    assert {"Crème", "BRÛLÉE", "naïve"} <= set(cased)
    kept = learn(iter(texts), 300, lowercase=True, strip_accents=False, split_on_cjk=False)
    assert {"crème", "brûlée", "naïve", "東京", "##京"} <= set(kept)


def test_min_frequency():
    texts = ["banana"] * 3 + ["ocelot"] * 2
    assert {"banana", "ocelot"} <= set(learn(iter(texts), 200))
    vocabulary = learn(iter(texts), 200, min_frequency=3)
    assert "banana" in vocabulary
    assert "ocelot" not in vocabulary


def test_alphabet_limit():
    texts = ["abba baab"] * 5 + ["zebra", "aß"]
    vocabulary = learn(iter(texts), 100, alphabet_limit=2)
    assert {"a", "b", "##a", "##b", "abba"} <= set(vocabulary)
    assert not set("zeßr") & set("".join(vocabulary[5:]))
    # Characters that are equally frequent are kept in the order of their code points.
    assert {"c", "d"} <= set(learn(iter(["fedc"]), 100, alphabet_limit=2))


def test_reserved_tokens(corpus):
    reserved = ["[PAD]", *(f"[unused{i}]" for i in range(9)), "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = learn(corpus, reserved_tokens=reserved)
    assert vocabulary[:13] == reserved
    assert len(vocabulary) == 600


def test_odd_text(tmp_path):
    # Invalid UTF-8, NUL bytes, a form feed inside a word and a word that no tokenizer keeps whole.
    path = tmp_path / "odd.txt"
    path.write_bytes(
        b"caf\xe9 \x00fo\x0cld fo\x0cld \xf0\x9f\x98\x80 \xf0\x9f\x98\x80 " + b"x" * 10**6
    )
    vocabulary = learn(path, 200)
    assert {"fold", "😀", "c", "##f"} <= set(vocabulary)
    assert not any("x" in piece for piece in vocabulary)
    assert not any("\x00" in piece or "\x0c" in piece for piece in vocabulary)


def test_memory_does_not_grow_with_the_text(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_CHARACTERS", 1 << 14)
    line = SOURCES[0].read_text("utf-8")[:4000]

    def peak(repeats):
        tracemalloc.start()
        learn((line for _ in range(repeats)), 400)
        _, size = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size

    peak(10)
    assert peak(400) < 1.5 * peak(40)


def test_progress_is_shown_when_asked(corpus, capsys):
    learn_vocabulary(corpus, 300)
    assert "1/1" in capsys.readouterr().out
    learn_vocabulary(corpus, 300, show_progress=False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (iter([]), {}, "holds no words"),
        (iter(["", " \t", "\x00"]), {}, "holds no words"),
        ([], {}, "empty list"),
        (7, {}, r"must be a path, a list of paths or an iterable of texts\. Received: 7"),
        ([7], {}, "must hold paths"),
        (iter(["text", 7]), {}, r"Received: 7 \(of type int\) as number 1"),
        (iter(["abc"]), {"vocab_size": 10}, r"`vocab_size` must be at least 11: .* Received: 10"),
        (iter(["abc"]), {"vocab_size": 0}, "`vocab_size` must be at least 1"),
        (iter(["abc"]), {"min_frequency": 0}, "`min_frequency` must be at least 1"),
        (iter(["abc"]), {"alphabet_limit": 0}, "`alphabet_limit` must be at least 1"),
        (iter(["abc"]), {"reserved_tokens": ["[PAD]"]}, r"`reserved_tokens` has no \[UNK\]"),
        (iter(["abc"]), {"reserved_tokens": [*SPECIAL, "[PAD]"]}, r"`reserved_tokens`.*twice"),
    ],
)
def test_errors(source, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        learn(source, **options)
    assert "\n" not in str(caught.value)


def test_errors_of_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.txt"):
        learn(tmp_path / "absent.txt")
    with pytest.raises(FileNotFoundError, match=r"\*\.txt"):
        learn(str(tmp_path / "*.txt"))
    with pytest.raises(ValueError, match=r"is a directory.*\*\.txt"):
        learn(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"iter\(texts\)"):
        learn(["The cat sat on the mat. " * 1000, "A second text\nof two lines\x00."])
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ValueError, match=r"no words.*empty\.txt"):
        learn(tmp_path / "empty.txt")
    (tmp_path / "plain.gz").write_text("not compressed")
    with pytest.raises(ValueError, match=r"plain\.gz is not a whole gzip file"):
        learn(tmp_path / "plain.gz")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(os.urandom(5000))[:3000])
    with pytest.raises(ValueError, match=r"cut\.gz is not a whole gzip file"):
        learn(tmp_path / "cut.gz")


@pytest.mark.shared_data
@pytest.mark.slow
def test_novels(shared_data):
    novels = sorted((shared_data / "gutenberg").glob("*.txt"))
    vocabulary = learn(novels[:9], 8000)
    assert vocabulary == learn(novels[:9], 8000)
    held_out = [line for path in novels[9:] for line in path.read_text("utf-8").split("\n")]
    encodings = wordpiece(vocabulary).encode_batch(held_out)
    pieces = sum(len(encoding.ids) for encoding in encodings)
    words = sum(encoding.word_ids[-1] + 1 for encoding in encodings if encoding.ids)
    assert pieces / words < 1.15
