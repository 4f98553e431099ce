import gzip
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer

from keras_bert_lib.text.bert_tokenizer import BertTokenizer
from keras_bert_lib.text.learn_vocabulary import learn_vocabulary
from keras_bert_lib.text.vocabulary import load_vocabulary, save_vocabulary

# The package shows the function under the name of its module.
module = sys.modules[learn_vocabulary.__module__]

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# Real text that every Python has: its own library's source, comments and docstrings included.
LIBRARY = Path(os.__file__).parent
SOURCES = [LIBRARY / name for name in ("argparse.py", "ast.py", "datetime.py", "typing.py")]


def learn(source, vocab_size=600, **options):
    return learn_vocabulary(source, vocab_size, show_progress=False, **options)


def wordpiece(vocabulary, lowercase=True, clean_text=True):
    ids = {piece: i for i, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(clean_text=clean_text, lowercase=lowercase)
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


def learn_in_another_process(source, vocab_size, hash_seed, threads):
    """Returns the bytes of the vocabulary; Python's own sets come in another order there too."""
    program = (
        "import sys; from keras_bert_lib.text.learn_vocabulary import learn_vocabulary as learn\n"
        "for p in learn(sys.argv[1], int(sys.argv[2]), show_progress=False):"
        " sys.stdout.buffer.write((p + '\\n').encode())"
    )
    environment = {
        **os.environ,
        "PYTHONHASHSEED": str(hash_seed),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "RAYON_NUM_THREADS": str(threads),
    }
    command = [sys.executable, "-c", program, str(source), str(vocab_size)]
    run = subprocess.run(command, env=environment, capture_output=True, check=True)
    return run.stdout.replace(b"\r\n", b"\n")


def test_is_the_same_in_another_process(corpus):
    expected = "".join(f"{piece}\n" for piece in learn(corpus)).encode()
    assert learn_in_another_process(corpus, 600, hash_seed=1, threads=1) == expected


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
    assert learn(pd.DataFrame({"text": lines})["text"]) == expected
    assert learn(lines[i : i + 7] for i in range(0, len(lines), 7)) == expected
    dataset = tf.data.Dataset.from_tensor_slices(lines)
    assert learn(dataset) == expected
    assert learn(dataset.batch(100)) == expected
    assert learn(tf.data.Dataset.from_tensors(tf.ragged.constant([lines[:9], lines[9:]]))) == (
        expected
    )
    rows = [{"id": i, "text": line} for i, line in enumerate(lines)]
    json_lines = tmp_path / "corpus.jsonl.gz"
    json_lines.write_bytes(gzip.compress("\n\n".join(map(json.dumps, rows)).encode()))
    assert learn(json_lines) == expected
    # A byte-order mark is no character of the text, not even where text is not cleaned.
    marked = tmp_path / "marked.txt"
    marked.write_text(text, "utf-8-sig")
    assert learn(marked, clean_text=False) == learn(corpus, clean_text=False)
    # Chunks are cut between words, wherever they end.
    monkeypatch.setattr(module, "CHUNK_CHARACTERS", 1000)
    monkeypatch.setattr(module, "MAX_RAW_CHARACTERS", 10_000)
    assert learn(corpus) == expected
    assert learn(packed) == expected
    assert learn(iter(lines)) == expected
    assert learn(iter([text])) == expected
    one_line = tmp_path / "one_line.txt"
    one_line.write_text(text.replace("\n", " "), "utf-8")
    assert learn(one_line) == expected


def test_text_without_spaces_is_cut_somewhere(tmp_path, monkeypatch):
    text = "東京都は日本の首都である。" * 500
    (tmp_path / "corpus.txt").write_text(text, "utf-8")
    expected = learn(iter([text]), 200)
    monkeypatch.setattr(module, "CHUNK_CHARACTERS", 1000)
    monkeypatch.setattr(module, "MAX_REST_CHARACTERS", 100)
    assert set(learn(tmp_path / "corpus.txt", 200)) >= set(expected[:20])
    assert set(learn(iter([text]), 200)) >= set(expected[:20])


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
    marked = ["left\u200eright be\x07ll"] * 3
    assert {"leftright", "bell"} <= set(learn(iter(marked), 300))
    assert {"left\u200eright", "be\x07ll"} <= set(learn(iter(marked), 300, clean_text=False))


def test_max_chars_per_word():
    texts = ["ocelot cat x" + "y" * 100] * 3
    assert "ocelot" in learn(iter(texts), 200)
    assert not any("y" in piece for piece in learn(iter(texts), 200))
    assert "ocelot" not in learn(iter(texts), 200, max_chars_per_word=5)
    assert any("y" in piece for piece in learn(iter(texts), 200, max_chars_per_word=101))


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


def odd_texts():
    odd = st.sampled_from(
        ["\x00", "\ud800", "\udfff", "\ufeff", "\ufffd", "\u200f", "\u202e", "\u2028", "\u0301"]
        + ["\x0b", "\x85", "\r\n", "İ", "ß", "ς", "한", "ﬁ", "字", "[MASK]", "##", "e\u0301" * 60]
    )
    return st.lists(st.one_of(odd, st.text(max_size=8), st.sampled_from("ab ")), max_size=20)


@settings(max_examples=60, deadline=None)
@given(parts=odd_texts(), lowercase=st.booleans(), clean_text=st.booleans())
def test_learns_from_any_text_what_the_tokenizer_splits_it_to(parts, lowercase, clean_text):
    text = "word " + "".join(parts)
    options = {"lowercase": lowercase, "clean_text": clean_text, "min_frequency": 1}
    vocabulary = learn(iter([text]), 2000, **options)
    assert vocabulary == learn(iter(["", text.encode("utf-8", "surrogatepass")]), 2000, **options)
    assert vocabulary[:5] == SPECIAL
    assert len(set(vocabulary)) == len(vocabulary)
    # Nothing that it was learned from is unknown to it, but for words of over 100 characters.
    known = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").replace("[MASK]", "")
    tokenizer = wordpiece(vocabulary, lowercase, clean_text)
    words = tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(known))
    if all(len(word) <= 100 for word, _ in words):
        assert "[UNK]" not in tokenizer.encode(known).tokens


@settings(max_examples=30, deadline=None)
@given(data=st.binary(max_size=200), parts=odd_texts())
def test_learns_from_any_bytes_a_vocabulary_that_is_a_file(tmp_path_factory, data, parts):
    folder = tmp_path_factory.mktemp("any")
    text = "".join(parts).encode("utf-8", "surrogatepass")
    (folder / "corpus.txt").write_bytes(b"word word " + data + text)
    vocabulary = learn(folder / "corpus.txt", 2000)
    save_vocabulary(vocabulary, folder / "vocab.txt")
    assert load_vocabulary(folder / "vocab.txt") == vocabulary
    assert "word" in vocabulary


def test_the_tokenizer_takes_what_was_learned(corpus):
    tokenizer = BertTokenizer(learn(corpus, 2000))
    lines = corpus.read_text("utf-8").split("\n")[:300]
    ids = [encoding.ids for encoding in wordpiece(tokenizer.vocabulary).encode_batch(lines)]
    assert tokenizer.tokenize_ragged(lines).to_list() == ids
    assert not any(tokenizer.unk_token_id in row for row in ids)


def test_memory_does_not_grow_with_the_text(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_CHARACTERS", 1 << 14)
    monkeypatch.setattr(module, "MAX_RAW_CHARACTERS", 1 << 14)
    line = SOURCES[0].read_text("utf-8")[:4000]
    assert peak(line for _ in range(400)) < 1.5 * peak(line for _ in range(40))


def peak(texts):
    """Returns the most bytes that Python held while it learned."""
    tracemalloc.start()
    learn(texts, 400)
    _, size = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size


def test_memory_does_not_grow_with_the_words(corpus, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_CHARACTERS", 1 << 14)
    monkeypatch.setattr(module, "MAX_RAW_CHARACTERS", 1 << 14)
    monkeypatch.setattr(module, "MAX_DISTINCT_CHARACTERS", 1 << 16)
    numbers = np.random.default_rng(1).integers(1 << 60, size=40_000).tolist()

    def numbered(count):
        return (f"{number:x} the cats sat on mats" for number in numbers[:count])

    assert peak(numbered(40_000)) < 1.5 * peak(numbered(10_000))
    assert {"the", "cats", "sat", "mats"} <= set(learn(numbered(40_000), 400))
    # Without such words, forgetting the rare ones costs nothing that can be seen.
    held_out = (LIBRARY / "inspect.py").read_text("utf-8").split("\n")
    lengths = []
    for limit in (1 << 24, 1 << 15):
        monkeypatch.setattr(module, "MAX_DISTINCT_CHARACTERS", limit)
        encodings = wordpiece(learn(corpus, 800)).encode_batch(held_out)
        lengths.append(sum(len(encoding.ids) for encoding in encodings))
    assert lengths[1] == pytest.approx(lengths[0], rel=0.01)


def test_counts_beyond_the_trainers_range_are_scaled(monkeypatch):
    texts = ["the cats sat on the mats"] * 100 + ["once"]
    expected = learn(iter(texts), 60, min_frequency=80)
    assert "cats" in expected
    # As if the trainer could count to 500 only.
    monkeypatch.setattr(module, "MAX_TOTAL_CHARACTERS", 500)
    vocabulary = learn(iter(texts), 60, min_frequency=80)
    assert set(vocabulary) == set(expected)
    assert "cats" not in learn(iter(texts), 60, min_frequency=120)


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
        (iter(["text", ("a", "b")]), {}, r"Received: \('a', 'b'\) \(of type tuple\)"),
        (pd.Series(["text", None]), {}, r"without the missing values. .* as number 1"),
        (pd.DataFrame({"text": ["text"]}), {}, r"is a table\. Give the column"),
        ({"text": ["text"]}, {}, r"is a table\. Give the column .* Received: {'text': \['text'\]}"),
        (iter([{"text": "text"}]), {}, "of a table that is one column"),
        (iter(["abc"]), {"vocab_size": 0}, "`vocab_size` must be an integer, at least 1"),
        (iter(["abc"]), {"vocab_size": "80"}, "`vocab_size` must be an .* Received: '80'"),
        (iter(["abc"]), {"max_chars_per_word": 0}, "`max_chars_per_word` must be an integer"),
        (iter(["abc"]), {"min_frequency": 0.5}, "`min_frequency` must be .* Received: 0.5"),
        (iter(["abc"]), {"alphabet_limit": 0}, "`alphabet_limit` must be an integer, at least 1"),
        (iter(["abc"]), {"reserved_tokens": "[PAD]"}, "`reserved_tokens` must be a list"),
        (
            iter(["abc"]),
            {"reserved_tokens": [*SPECIAL, "a\nb"]},
            "`reserved_tokens` cannot be writ",
        ),
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
    (tmp_path / "a.jsonl").write_text('{"text": "words"}\n{"body": "words"}\n')
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2, is not .* Received: '\{\"body\""):
        learn(tmp_path / "a.jsonl")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(os.urandom(5000))[:3000])
    with pytest.raises(ValueError, match=r"cut\.gz is not a whole gzip file"):
        learn(tmp_path / "cut.gz")


@pytest.fixture(scope="module")
def novels(shared_data, tmp_path_factory):
    """37 MB of text, nine novels over and over, and the lines of two others."""
    paths = sorted((shared_data / "gutenberg").glob("*.txt"))
    text = b"\n".join(path.read_bytes() for path in paths[:9])
    corpus = tmp_path_factory.mktemp("novels") / "corpus.txt"
    corpus.write_bytes((text * 4)[:37_000_000])
    held_out = [line for path in paths[9:] for line in path.read_text("utf-8").split("\n")]
    return corpus, held_out


@pytest.mark.shared_data
@pytest.mark.slow
@pytest.mark.parametrize("vocab_size", [8000, 30522])
def test_novels(novels, vocab_size):
    corpus, held_out = novels
    learned = learn_in_another_process(corpus, vocab_size, hash_seed=1, threads=1)
    assert learned == learn_in_another_process(corpus, vocab_size, hash_seed=2, threads=2)
    vocabulary = learned.decode("utf-8").split("\n")[:-1]
    assert len(vocabulary) == vocab_size

    reference = wordpiece(SPECIAL)
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        limit_alphabet=1000,
        special_tokens=SPECIAL,
        show_progress=False,
    )
    reference.train([str(corpus)], trainer)
    pieces = [
        sum(len(encoding.ids) for encoding in tokenizer.encode_batch(held_out))
        for tokenizer in (wordpiece(vocabulary), reference)
    ]
    assert pieces[0] == pytest.approx(pieces[1], rel=0.01)
