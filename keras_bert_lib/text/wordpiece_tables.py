"""Compiles a vocabulary and BERT's text rules to a few integer arrays that a graph can look up."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from keras_bert_lib.text import unicode_tables

# Symbols are what the normalized text is written in: one small number a character, numbered so that
# its class is told by comparing it with the first symbol that belongs to a word.
NOTHING = 0
SPACE = 1
UNKNOWN_ISOLATED = 2  # punctuation or an ideograph that stands in no piece

# Base of a state without children. It has no child slot either.
DEAD = 0

PAGE = 256
_WINDOW = 8192  # slots that the double array's builder looks at together


class WordPieceTables(NamedTuple):
    """The arrays, in the narrowest integers that hold them, and what goes with them."""

    pages: np.ndarray  # [0x1100] page of each block of 256 code points
    symbols: np.ndarray  # [pages * 256] a symbol, or -row of `expansions`
    expansions: tuple  # of [rows]: the symbols of code points that become several, 0 padded
    first_word_symbol: int  # symbols from here on belong to words; those below stand alone
    base: np.ndarray  # [slots] child of state s by symbol c stands at slot base[s] + c ...
    label: np.ndarray  # [slots] ... if that slot's label is c
    piece: np.ndarray  # [slots] id of the longest piece that ends at this state or before it
    length: np.ndarray  # [slots] its characters without "##", 0 if there is none
    word_base: int  # base of the state that a word's first character is read in
    suffix_base: int  # base of the state for the first character of a "##" piece
    added_base: int  # base of the state for the first character of an added token
    longest_piece: int  # characters, without "##"
    longest_added_token: int  # characters
    special_symbols: dict  # special token -> the symbol that stands for it
    added_tokens: tuple  # tokens that are matched whole in the normalized text
    first_added_symbol: int  # the symbol of the first of them
    keeps_replacements: bool  # whether U+FFFD is a character like any other
    max_chars_per_word: int  # a longer word is [UNK]


@lru_cache(maxsize=8)
def build_wordpiece_tables(
    vocabulary,
    lowercase=True,
    strip_accents=True,
    split_on_cjk=True,
    clean_text=True,
    max_chars_per_word=100,
    special_tokens=(),
    added_tokens=(),
):
    """Compiles the tables.

    Args:
        vocabulary: tuple of str: piece of each id.
        lowercase: bool.
        strip_accents: bool.
        split_on_cjk: bool.
        clean_text: bool.
        max_chars_per_word: int.
        special_tokens: tuple of (str, id): tokens that are matched whole in the raw text.
        added_tokens: tuple of (str, id): tokens that are matched whole in the normalized text.

    Returns:
        `WordPieceTables`.

    Raises:
        ValueError: if an added token is empty by the text rules, begins or ends with white space,
            holds some without `clean_text`, or is the same as another.
    """
    kinds = unicode_tables.code_point_kinds(clean_text)
    normalized = unicode_tables.normalized_code_points(lowercase, strip_accents, clean_text)
    isolated_kinds = [unicode_tables.PUNCTUATION] + [unicode_tables.CJK] * split_on_cjk

    # Symbols: specials, added tokens, isolated characters, and the characters of words, so far as
    # some piece or added token holds them.
    pieces = [
        (piece.removeprefix("##") if len(piece) > 2 else piece, piece[:2] == "##" != piece, i)
        for i, piece in enumerate(vocabulary)
    ]
    added = _normalize_added_tokens(
        [token for token, _ in added_tokens], kinds, normalized, clean_text
    )
    characters = sorted(set("".join([text for text, _, _ in pieces] + added)))
    kind_of = dict(zip(characters, kinds[[ord(c) for c in characters]].tolist()))
    isolated = [c for c in characters if kind_of[c] in isolated_kinds]
    in_words = [
        c
        for c in characters
        if kind_of[c] in (unicode_tables.WORD, unicode_tables.CJK)
        and kind_of[c] not in isolated_kinds
    ]
    special_symbols = {
        token: UNKNOWN_ISOLATED + 1 + k for k, (token, _) in enumerate(special_tokens)
    }
    first_added = UNKNOWN_ISOLATED + 1 + len(special_symbols)
    first_isolated = first_added + len(added)
    symbol_of = {c: first_isolated + i for i, c in enumerate(isolated)}
    unknown_in_word = first_isolated + len(isolated)
    symbol_of.update({c: unknown_in_word + 1 + i for i, c in enumerate(in_words)})

    # Pieces as strings of symbols. One that holds an isolated character beside others never occurs.
    is_isolated = set(isolated)
    words, suffixes = [], []
    for text, is_suffix, i in pieces:
        if (
            text
            and all(c in symbol_of for c in text)
            and (len(text) == 1 or not is_isolated & set(text))
        ):
            (suffixes if is_suffix else words).append(([symbol_of[c] for c in text], i))
    words += [([special_symbols[token]], i) for token, i in special_tokens]
    words += [([first_added + k], i) for k, (_, i) in enumerate(added_tokens)]
    in_text = []
    for k, text in enumerate(added):
        in_text.append(([symbol_of.get(c, SPACE) for c in text], k))
    num_symbols = unknown_in_word + 1 + len(in_words)

    return WordPieceTables(
        **_build_symbol_pages(
            normalized, kinds, np.isin(kinds, isolated_kinds), symbol_of, unknown_in_word
        ),
        **_build_double_array([words, suffixes, in_text], num_symbols),
        first_word_symbol=unknown_in_word,
        longest_piece=max((len(symbols) for symbols, _ in words + suffixes), default=1),
        longest_added_token=max((len(symbols) for symbols, _ in in_text), default=0),
        special_symbols=special_symbols,
        added_tokens=tuple(token for token, _ in added_tokens),
        first_added_symbol=first_added,
        keeps_replacements=not clean_text,
        max_chars_per_word=max_chars_per_word,
    )


def _normalize_added_tokens(tokens, kinds, normalized, clean_text):
    """Returns them as they stand in the normalized text."""
    texts = {}
    for token in tokens:
        code_points = normalized[[ord(c) for c in token]].reshape(-1)
        code_points = code_points[code_points >= 0]
        text = "".join(map(chr, code_points))
        if not text:
            raise ValueError(
                "An added token must hold a character that the text rules keep. "
                f"Received: {token!r}"
            )
        if unicode_tables.SPACE in kinds[code_points[[0, -1]]]:
            raise ValueError(
                "An added token cannot begin or end with white space, which ends words anyway. "
                f"Received: {token!r}"
            )
        if not clean_text and unicode_tables.SPACE in kinds[code_points]:
            raise ValueError(
                "An added token cannot hold white space without `clean_text`, which makes all "
                f"white space alike. Received: {token!r}"
            )
        if text in texts:
            raise ValueError(
                f"Two added tokens are the same text, {text!r}, by the text rules. Leave one out. "
                f"Received: {texts[text]!r} and {token!r}"
            )
        texts[text] = token
    return list(texts)


def _narrow(array):
    """The narrowest signed integers that hold the values."""
    for dtype in (np.int8, np.int16):
        limits = np.iinfo(dtype)
        if array.size == 0 or (array.min() >= limits.min and array.max() <= limits.max):
            return array.astype(dtype)
    return array.astype(np.int32)


def _build_symbol_pages(normalized, kinds, is_isolated, symbol_of, unknown_in_word):
    """Two-stage table from code points to symbols."""
    symbol = np.where(is_isolated, UNKNOWN_ISOLATED, unknown_in_word).astype(np.int32)
    for character, value in symbol_of.items():
        symbol[ord(character)] = value
    symbol[kinds == unicode_tables.SPACE] = SPACE
    symbols = np.where(normalized >= 0, symbol[normalized], NOTHING)  # [0x110000, 3]

    single = symbols[:, 0].copy()
    several = np.flatnonzero(symbols[:, 1] != NOTHING)
    expansions = ()
    if several.size:
        width = int(np.count_nonzero(symbols[several].any(axis=0)))
        rows, row = np.unique(symbols[several, :width], axis=0, return_inverse=True)
        single[several] = -(row.reshape(-1) + 1)
        rows = np.concatenate([np.zeros([1, width], rows.dtype), rows])  # row 0 is empty
        expansions = tuple(_narrow(column) for column in rows.T)
    blocks = [block.tobytes() for block in single.reshape(-1, PAGE)]
    page_of = {block: page for page, block in enumerate(dict.fromkeys(blocks))}
    return {
        "pages": _narrow(np.array([page_of[block] for block in blocks])),
        "symbols": _narrow(np.frombuffer(b"".join(page_of), single.dtype)),
        "expansions": expansions,
    }


def _build_trie(roots):
    """Returns (children, longest piece at or before it, that piece's length) of each node.

    Args:
        roots: list of lists of (symbols, id): the pieces below each root. The first nodes are the
            roots.
    """
    children = [{} for _ in roots]
    piece, length, depth = ([0 for _ in roots] for _ in range(3))
    ends = {}
    for root, entries in enumerate(roots):
        for symbols, i in entries:
            node = root
            for symbol in symbols:
                following = children[node].get(symbol)
                if following is None:
                    following = children[node][symbol] = len(children)
                    children.append({})
                    depth.append(depth[node] + 1)
                node = following
            ends[node] = i
    piece, length = [0] * len(children), [0] * len(children)
    for node, below in enumerate(children):  # a node comes before its children
        if node in ends:
            piece[node], length[node] = ends[node], depth[node]
        for child in below.values():
            piece[child], length[child] = piece[node], length[node]
    return children, piece, length


def _build_double_array(roots, num_symbols):
    """Packs the trie of pieces to a double array.

    The child of state `s` by symbol `c` is slot `base[s] + c`, and is real if `label` there is `c`.
    No two states share a base, so the label alone tells whose child a slot is. Slots below
    `num_symbols` stay empty: a state without children has base 0, and finds nothing there.
    """
    children, piece_of_node, length_of_node = _build_trie(roots)
    size = 2 * (num_symbols + len(children)) + 2 * _WINDOW
    is_free = np.ones(size, bool)
    is_free[:num_symbols] = False
    is_unused_base = np.ones(size, bool)
    is_unused_base[0] = False
    slot = np.zeros(len(children), np.int64)  # the roots have none: only their bases are asked for
    base_of_node = np.zeros(len(children), np.int64)
    label = np.full(size, -1, np.int64)

    # Nodes with many children first, each at the first base where all of them find free slots. Bits
    # of two Python integers serve as the sets of free slots and of unused bases in a window that
    # moves up: a shift and an `and` for each child find all bases that fit.
    order = sorted(
        (node for node in range(len(children)) if children[node]),
        key=lambda node: -len(children[node]),
    )
    for count, node in enumerate(order):
        if count % 512 == 0:
            start = max(int(is_free.argmax()) - num_symbols, 0)
            free, unused = _bits(is_free, start, num_symbols), _bits(is_unused_base, start, 0)
        symbols = list(children[node])
        while True:
            fitting = unused
            for symbol in symbols:
                fitting &= free >> symbol
            if fitting:
                break
            start += _WINDOW
            free, unused = _bits(is_free, start, num_symbols), _bits(is_unused_base, start, 0)
        first = (fitting & -fitting).bit_length() - 1
        unused ^= 1 << first
        free ^= sum(1 << symbol for symbol in symbols) << first
        taken = start + first + np.array(symbols)
        is_free[taken] = False
        is_unused_base[start + first] = False
        slot[list(children[node].values())] = taken
        label[taken] = symbols
        base_of_node[node] = start + first

    base, piece, length = (np.zeros(size, np.int64) for _ in range(3))
    inner = slice(len(roots), None)
    base[slot[inner]] = base_of_node[inner]
    piece[slot[inner]] = piece_of_node[inner]
    length[slot[inner]] = length_of_node[inner]
    end = max(int(slot.max()), int(base_of_node.max())) + num_symbols + 1
    word_base, suffix_base, added_base = base_of_node[: len(roots)].tolist()
    return {
        "base": _narrow(base[:end]),
        "label": _narrow(label[:end]),
        "piece": _narrow(piece[:end]),
        "length": _narrow(length[:end]),
        "word_base": word_base,
        "suffix_base": suffix_base,
        "added_base": added_base,
    }


def _bits(flags, start, extra):
    """The flags from `start` on, as many as a window has and `extra`, as bits of an integer."""
    flags = np.packbits(flags[start : start + _WINDOW + extra], bitorder="little")
    return int.from_bytes(flags.tobytes(), "little")
