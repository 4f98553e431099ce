"""Learns a WordPiece vocabulary from text."""

import glob
import gzip
import io
import os
import sys
import zlib
from collections import Counter
from collections.abc import Iterable

import numpy as np
from keras.utils import Progbar
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, WhitespaceSplit
from tokenizers.trainers import WordPieceTrainer

from keras_bert_lib.text.vocabulary import validate_vocabulary

# Text is counted this many characters at a time, so memory follows the number of different
# words and not the size of the corpus.
CHUNK_CHARACTERS = 1 << 23
# BERT gives a longer word no pieces at all: it becomes [UNK].
MAX_WORD_CHARACTERS = 100

_PRE_TOKENIZER = BertPreTokenizer()


def learn_vocabulary(
    source,
    vocab_size=30522,
    lowercase=True,
    strip_accents=None,
    split_on_cjk=True,
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

    Text is streamed: memory grows with the number of different words, not with the corpus.

    Args:
        source: what to learn from. A path of a text file or a glob pattern (`**` included), or a
            list or tuple of those; a file whose name ends in `.gz` is decompressed on the way.
            Any other iterable is taken for the texts themselves: a generator, `iter(list)`, a
            column of a data frame, a `tf.data.Dataset` of strings (batched or not). Files are
            read as UTF-8; bytes that are not are passed over, as the tokenizer does.
        vocab_size: int, the number of pieces wanted. A small text may give fewer.
        lowercase: bool, whether the vocabulary is for lowercased text.
        strip_accents: bool, or None for the same as `lowercase`.
        split_on_cjk: bool, whether every CJK ideograph is a word of its own.
        min_frequency: int, how often a pair of pieces must be met to become a piece.
        reserved_tokens: list of str, the first pieces of the vocabulary, in this order.
        alphabet_limit: int, the number of different characters kept, the most frequent ones;
            words with any other character would be `[UNK]`, and nothing is learned from them.
        show_progress: bool, whether to show progress bars.

    Returns:
        list of str: at most `vocab_size` pieces in the order of their ids.

    Raises:
        FileNotFoundError: if a path does not exist, or a pattern matches no file.
        ValueError: if there are no words in the text, if `vocab_size` does not hold the reserved
            tokens and the alphabet, or if an argument makes no sense.

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
    reserved_tokens = list(reserved_tokens)
    validate_vocabulary(reserved_tokens, name="`reserved_tokens`")
    for name, value in [
        ("vocab_size", vocab_size),
        ("min_frequency", min_frequency),
        ("alphabet_limit", alphabet_limit),
    ]:
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {value}")
    normalizer = BertNormalizer(
        clean_text=True,
        handle_chinese_chars=split_on_cjk,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )
    word_counts = _count_words(_read_chunks(source, show_progress), normalizer)
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
    word_counts = sorted((word, n) for word, n in word_counts.items() if known.issuperset(word))
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=first_pieces,
        # Its bars are drawn on a terminal; anywhere else they would leave blank lines behind.
        show_progress=show_progress and sys.stdout.isatty(),
    )
    learner = Tokenizer(WordPiece(unk_token="[UNK]"))
    learner.pre_tokenizer = WhitespaceSplit()
    learner.train_from_iterator(_replay(word_counts), trainer)
    ids = learner.get_vocab()
    return sorted(ids, key=ids.get)


def _read_chunks(source, show_progress):
    """Yields the text of `source` in pieces of about `CHUNK_CHARACTERS`, cut between words."""
    if isinstance(source, (str, bytes, os.PathLike, list, tuple)):
        return _read_files(_paths(source), show_progress)
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
            file = io.TextIOWrapper(data, encoding="utf-8", errors="replace", newline="\n")
            try:
                # A chunk runs on to the end of its line, so that no word is cut in two, but not
                # much further: a whole file may be a single line.
                while chunk := file.read(CHUNK_CHARACTERS) + file.readline(1 << 16):
                    yield chunk
                    if progress:
                        done = (sum(sizes[:i]) + raw.tell()) / 1e6
                        progress.update(min(round(done), progress.target - 1))
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise ValueError(
                    f"{path} is not a whole gzip file. Compress it again; if it is plain text, "
                    f"take `.gz` off its name. Received: {error}"
                ) from None
    if progress:
        progress.update(progress.target, finalize=True)


def _read_texts(texts, show_progress):
    progress = Progbar(None, unit_name="text") if show_progress else None
    chunk, characters, read = [], 0, 0
    for item in texts:
        # An element of a `tf.data.Dataset` is a tensor: one text, or a batch of them.
        for text in np.ravel(item.numpy()).tolist() if hasattr(item, "numpy") else [item]:
            if isinstance(text, bytes):
                text = text.decode("utf-8", errors="replace")
            if not isinstance(text, str):
                raise ValueError(
                    "`source` must yield texts (str or bytes). "
                    f"Received: {_shown(text)} (of type {type(text).__name__}) as number {read}"
                )
            chunk.append(text)
            characters += len(text)
            read += 1
        if characters >= CHUNK_CHARACTERS:
            yield "\n".join(chunk)
            chunk, characters = [], 0
            if progress:
                progress.update(read)
    yield "\n".join(chunk)
    if progress:
        progress.update(read, finalize=True)


def _split(text, normalizer):
    return [word for word, _ in _PRE_TOKENIZER.pre_tokenize_str(normalizer.normalize_str(text))]


def _count_words(chunks, normalizer):
    counts = Counter()
    for chunk in chunks:
        # Most of a text is the same words again, so they are counted before they are normalized.
        # Cut at these four characters only: the others that `str.split` cuts at are controls,
        # which BERT drops, joining what stood on both sides.
        for white_space in "\n\t\r":
            chunk = chunk.replace(white_space, " ")
        for raw_word, n in Counter(chunk.split(" ")).items():
            for word in _split(raw_word, normalizer):
                if len(word) <= MAX_WORD_CHARACTERS:
                    counts[word] += n
    return counts


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
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:80] + "..."
