"""Learns a WordPiece vocabulary from text."""

import glob
import gzip
import io
import json
import os
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from numbers import Integral
from operator import itemgetter

import numpy as np
from keras.utils import Progbar
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, WhitespaceSplit
from tokenizers.trainers import WordPieceTrainer

from keras_bert_lib.text.vocabulary import encode_vocabulary, validate_vocabulary

# Text is read and counted this many characters at a time.
CHUNK_CHARACTERS = 1 << 20
# What is left of a chunk behind its last white space goes to the next one, unless it is longer:
# some languages write no spaces.
MAX_REST_CHARACTERS = 1 << 16
# The most characters of all different words together before they are normalized, and after. Memory
# follows these and not the size of the corpus: the trainer takes some 120 bytes for each character.
# The different words of ten novels have 300,000.
MAX_RAW_CHARACTERS = 1 << 22
MAX_DISTINCT_CHARACTERS = 1 << 24
# The trainer counts pairs of pieces in 32 bits.
MAX_TOTAL_CHARACTERS = 1 << 31

_PRE_TOKENIZER = BertPreTokenizer()


def learn_vocabulary(
    source,
    vocab_size=30522,
    lowercase=True,
    strip_accents=None,
    split_on_cjk=True,
    clean_text=True,
    max_chars_per_word=100,
    min_frequency=2,
    reserved_tokens=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    alphabet_limit=1000,
    show_progress=True,
):
    """Learns a WordPiece vocabulary from text.

    The text is split into words by BERT's rules, the same that `BertTokenizer` follows. The
    vocabulary starts as the reserved tokens and the characters of the text, each as the start of
    a word and as its continuation (`a`, `##a`), in the order of their code points. Then the pair
    of pieces that stands together most often becomes a piece of its own, again and again, until
    the vocabulary is full or no pair is frequent enough; so pieces come in the order in which
    they were learned, which is roughly that of their frequency. The same text gives the same
    vocabulary on every run and every machine.

    Text is streamed: memory grows with the number of different words, not with the corpus, and
    no further than about 2.5 GB. Where the different words have more than 16.8 million characters
    in all (gigabytes of text, or serial numbers), the rarer ones are forgotten on the way, and what
    was rare all along is not learned.

    Args:
        source: what to learn from. A path of a text file or a glob pattern (`**` included), or a
            list or tuple of those; a file whose name ends in `.gz` is decompressed on the way,
            and of a `.jsonl` or `.ndjson` file each line's `text` is read. Any other iterable is
            taken for the texts themselves, str or bytes, or batches of them: a generator,
            `iter(list)`, a column of a data frame or of a Hugging Face dataset, a
            `tf.data.Dataset` of strings. Text is UTF-8; bytes that are not are passed over, as the
            tokenizer does.
        vocab_size: int, the number of pieces wanted. A small text may give fewer.
        lowercase: bool, whether the vocabulary is for lowercased text.
        strip_accents: bool, or None for the same as `lowercase`.
        split_on_cjk: bool, whether every CJK ideograph is a word of its own.
        clean_text: bool, whether control characters are dropped, as the tokenizer does.
        max_chars_per_word: int, the longest word to learn from; the tokenizer gives a longer one
            no pieces at all but `[UNK]`.
        min_frequency: int, how often a pair of pieces must be met to become a piece.
        reserved_tokens: list of str, the first pieces of the vocabulary, in this order. Room for
            words to come, as in the published vocabularies, is made with
            `["[PAD]", *(f"[unused{i}]" for i in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]`.
            Tokens of your own that stand in the text are also the tokenizer's `added_tokens`.
        alphabet_limit: int, the number of different characters kept, the most frequent ones;
            words with any other character would be `[UNK]`, and nothing is learned from them.
        show_progress: bool, whether to show progress bars.

    Returns:
        list of str: at most `vocab_size` pieces in the order of their ids.

    Raises:
        FileNotFoundError: if a path does not exist, or a pattern matches no file.
        ValueError: if there are no words in the text, if it is not text, if `vocab_size` does not
            hold the reserved tokens and the alphabet, or if an argument makes no sense.

    Example:
        ```python
        import keras_bert_lib as kbl

        texts = ["the cat sat on the mat", "the cats sat on the mats"]
        vocabulary = kbl.text.learn_vocabulary(iter(texts), vocab_size=40)
        "the" in vocabulary  # True
        kbl.text.save_vocabulary(vocabulary, "vocab.txt")
        ```

    References:
        - [Schuster & Nakajima, 2012](https://doi.org/10.1109/ICASSP.2012.6289079), WordPiece.
        - [Sennrich et al., 2016](https://arxiv.org/abs/1508.07909), joining the most frequent
          pair, which is how the trainer of Hugging Face `tokenizers`, used here, learns.
    """
    validate_vocabulary(reserved_tokens, name="`reserved_tokens`")
    encode_vocabulary(reserved_tokens, name="`reserved_tokens`")
    reserved_tokens = list(reserved_tokens)
    for name, value in [
        ("vocab_size", vocab_size),
        ("max_chars_per_word", max_chars_per_word),
        ("min_frequency", min_frequency),
        ("alphabet_limit", alphabet_limit),
    ]:
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"`{name}` must be an integer, at least 1. Received: {value!r}")
    normalizer = BertNormalizer(
        clean_text=clean_text,
        handle_chinese_chars=split_on_cjk,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )
    chunks = _cut_between_words(_read(source, show_progress))
    word_counts = _count_words(chunks, normalizer, max_chars_per_word)
    if not word_counts:
        raise ValueError(
            "`source` holds no words to learn from. Check that the files or texts are not empty. "
            f"Received: {_shown(source)}"
        )

    alphabet = _alphabet(word_counts, alphabet_limit)
    # Punctuation and, by default, CJK ideographs are words by themselves and never continue one.
    continuations = ["##" + c for c in alphabet if len(_split("a" + c, normalizer)) == 1]
    # The trainer numbers characters in the order of a hash table, another on each run, and ties
    # are broken by number. Given to it as special tokens, their numbers are fixed beforehand.
    first_pieces = list(dict.fromkeys(reserved_tokens + alphabet + continuations))
    if vocab_size < len(first_pieces):
        raise ValueError(
            f"`vocab_size` must be at least {len(first_pieces)}: {len(reserved_tokens)} reserved "
            f"tokens and the text's {len(alphabet)} different characters, as starts and as "
            "continuations of words. Raise it, or lower `alphabet_limit`. "
            f"Received: {vocab_size}"
        )
    known = set(alphabet)
    scale = -(-sum(n * len(word) for word, n in word_counts.items()) // MAX_TOTAL_CHARACTERS)
    word_counts = sorted(
        (word, n // scale) for word, n in word_counts.items() if known.issuperset(word)
    )
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=-(-min_frequency // scale),
        special_tokens=first_pieces,
        # Its bars are drawn on a terminal; anywhere else they would leave blank lines behind.
        show_progress=show_progress and sys.stdout.isatty(),
    )
    learner = Tokenizer(WordPiece(unk_token="[UNK]"))
    learner.pre_tokenizer = WhitespaceSplit()
    learner.train_from_iterator(_replay(word_counts), trainer)
    ids = learner.get_vocab()
    return sorted(ids, key=ids.get)


def _read(source, show_progress):
    """Yields the text of `source` in strings of any length, a line end behind each file or text."""
    if isinstance(source, (str, bytes, os.PathLike, list, tuple)):
        return _read_files(_paths(source), show_progress)
    if isinstance(source, Mapping) or hasattr(source, "columns"):
        raise ValueError(
            "`source` is a table. Give the column that holds the texts, as in `table['text']`. "
            f"Received: {_shown(source)}"
        )
    if not isinstance(source, Iterable):
        raise ValueError(
            "`source` must be a path, a list of paths or an iterable of texts. "
            f"Received: {_shown(source)}"
        )
    return _read_texts(source, show_progress)


def _paths(source):
    entries = source if isinstance(source, (list, tuple)) else [source]
    if not entries:
        raise ValueError("`source` is an empty list. Give the path of at least one text file.")
    paths = []
    for entry in entries:
        if not isinstance(entry, (str, bytes, os.PathLike)):
            raise ValueError(
                "A list given as `source` must hold paths; pass texts as `iter(texts)`. "
                f"Received: {_shown(entry)} (of type {type(entry).__name__})"
            )
        path = os.fsdecode(entry)
        if os.path.isdir(path):
            raise ValueError(
                f"{path} is a directory. Give the files in it, such as "
                f"{os.path.join(path, '*.txt')}."
            )
        found = [path] if os.path.exists(path) else []
        if not found and glob.has_magic(path):
            found = sorted(p for p in glob.glob(path, recursive=True) if os.path.isfile(p))
        if not found:
            raise FileNotFoundError(
                "No file there to learn a vocabulary from. Correct the path or pattern; to learn "
                f"from a list of texts rather than files, pass `iter(texts)`. "
                f"Received: {_shown(path)}"
            )
        paths += found
    return paths


def _read_files(paths, show_progress):
    sizes = [os.path.getsize(path) for path in paths]
    progress = Progbar(max(1, round(sum(sizes) / 1e6)), unit_name="MB") if show_progress else None
    for i, path in enumerate(paths):
        with open(path, "rb") as raw:
            data = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
            # Only "\n" ends a line here, which spares a pass over the text; "\r" is white space.
            file = io.TextIOWrapper(data, encoding="utf-8-sig", errors="replace", newline="\n")
            if path.removesuffix(".gz").lower().endswith((".jsonl", ".ndjson")):
                parts = _read_json_lines(file, path)
            else:
                parts = iter(lambda: file.read(CHUNK_CHARACTERS), "")  # noqa: B023
            try:
                for part in parts:
                    yield part
                    if progress:
                        done = (sum(sizes[:i]) + raw.tell()) / 1e6
                        progress.update(min(round(done), progress.target - 1))
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise ValueError(
                    f"{path} is not a whole gzip file. Compress it again; if it is plain text, "
                    f"take `.gz` off its name. Received: {error}"
                ) from None
        yield "\n"
    if progress:
        progress.update(progress.target, finalize=True)


def _read_json_lines(lines, path):
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, TypeError, LookupError, RecursionError):
            text = None
        if not isinstance(text, str):
            raise ValueError(
                f"{path}, line {number}, is not a JSON object with a string under `text`. Mend the "
                f"line; text of another layout is given as an iterable. Received: {_shown(line)}"
            )
        yield text + "\n"


def _read_texts(items, show_progress):
    progress = Progbar(None, unit_name="text") if show_progress else None
    read = 0
    for item in items:
        # An element of a `tf.data.Dataset` is a tensor: one text, or a batch of them.
        if hasattr(item, "numpy"):
            item = getattr(item, "flat_values", item).numpy()
        if isinstance(item, np.ndarray):
            item = item.ravel().tolist()
        for text in item if isinstance(item, list) else [item]:
            if isinstance(text, bytes):
                text = text.decode("utf-8", errors="replace")
            if not isinstance(text, str):
                raise ValueError(
                    "`source` must yield texts (str or bytes); of a table that is one column, "
                    "without the missing values. "
                    f"Received: {_shown(text)} (of type {type(text).__name__}) as number {read}"
                )
            yield text + "\n"
            read += 1
            if progress and read % 1000 == 0:
                progress.update(read)
    if progress:
        progress.update(read, finalize=True)


def _cut_between_words(parts):
    """Yields the same text in strings of about `CHUNK_CHARACTERS`."""
    chunk, characters = [], 0
    for part in parts:
        for start in range(0, len(part), CHUNK_CHARACTERS):
            chunk.append(part[start : start + CHUNK_CHARACTERS])
            characters += len(chunk[-1])
            if characters < CHUNK_CHARACTERS:
                continue
            text = "".join(chunk)
            end = max(text.rfind(" "), text.rfind("\n")) + 1
            if len(text) - end > MAX_REST_CHARACTERS:
                end = len(text)
            yield text[:end]
            chunk, characters = [text[end:]], len(text) - end
    yield "".join(chunk)


def _split(text, normalizer):
    return [word for word, _ in _PRE_TOKENIZER.pre_tokenize_str(normalizer.normalize_str(text))]


def _count_words(chunks, normalizer, max_chars_per_word):
    counts = Counter()
    for raw_counts in _count_raw_words(chunks):
        for raw_word, n in raw_counts.items():
            for word in _split(raw_word, normalizer):
                if len(word) <= max_chars_per_word:
                    counts[word] += n
        if sum(map(len, counts)) > MAX_DISTINCT_CHARACTERS:
            counts = _more_frequent_half(counts)
    return counts


def _count_raw_words(chunks):
    """Yields counts of what stands between spaces.

    Most of a text is the same words again, so they are counted before they are normalized.
    """
    counts = Counter()
    for chunk in chunks:
        # A str may hold lone surrogates, UTF-8 may not: to the tokenizer they are invalid bytes.
        chunk = chunk.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        # Cut at these four characters only: the others that `str.split` cuts at are controls,
        # which BERT drops, joining what stood on both sides.
        for white_space in "\n\t\r":
            chunk = chunk.replace(white_space, " ")
        counts.update(chunk.split(" "))
        if sum(map(len, counts)) > MAX_RAW_CHARACTERS:
            yield counts
            counts = Counter()
    yield counts


def _more_frequent_half(counts):
    """Returns the most frequent words that have half of the characters; of equals, the first."""
    kept, characters = Counter(), 0
    for word, n in sorted(counts.items(), key=itemgetter(1), reverse=True):
        characters += len(word)
        if characters > MAX_DISTINCT_CHARACTERS // 2:
            break
        kept[word] = n
    return kept


def _alphabet(word_counts, limit):
    counts = Counter()
    for word, n in word_counts.items():
        for character in word:
            counts[character] += n
    most_frequent = sorted(counts, key=lambda c: (-counts[c], c))[:limit]
    return sorted(most_frequent)


def _replay(word_counts):
    """Yields each word as often as it was counted, some thousand words a text."""
    for word, n in word_counts:
        for start in range(0, n, 4096):
            yield (word + " ") * min(4096, n - start)


def _shown(value):
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= 80 else shown[:80] + "..."
