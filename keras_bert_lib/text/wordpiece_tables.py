"""Compiles a vocabulary and BERT's text rules to a few integer arrays that a graph can look up."""

from typing import NamedTuple

import numpy as np

from keras_bert_lib.text import unicode_tables

# Symbols are what the normalized text is written in: one small number a character, numbered so that
# its class is told by comparing it with the first symbol that belongs to a word.
NOTHING = 0
SPACE = 1
UNKNOWN_ISOLATED = 2  # punctuation or an ideograph that stands in no piece

# States of the trie: slots of the double array.
DEAD = 0

PAGE = 256
_WINDOW = 8192  # slots that the double array's builder looks at together


class WordPieceTables(NamedTuple):
    """The arrays. Integers are 16 bits wide wherever they fit."""

    pages: np.ndarray  # [0x1100] page of each block of 256 code points
    symbols: np.ndarray  # [pages * 256] a symbol, or -(row + 1) of `expansions`
    expansions: np.ndarray  # [rows, <=3] symbols of code points that become several, 0 padded
    first_word_symbol: int  # symbols from here on belong to words; those below stand alone
    base: np.ndarray  # [slots] child of state s by symbol c stands at slot base[s] + c ...
    label: np.ndarray  # [slots] ... if that slot's label is c
    piece: np.ndarray  # [slots] id of the piece that ends at this state, or -1
    word_root: int  # state at a word's first character
    suffix_root: int  # state at the first character of a "##" piece
    longest_piece: int  # characters, without "##"
    special_symbols: dict  # special token -> the symbol that stands for it


def build_wordpiece_tables(vocabulary, lowercase, strip_accents, split_on_cjk, special_tokens):
    """Compiles the tables.

    Args:
        vocabulary: list of str: piece of each id.
        lowercase: bool.
        strip_accents: bool.
        split_on_cjk: bool.
        special_tokens: list of str: pieces that are matched whole in the raw text.

    Returns:
        `WordPieceTables`.
    """
    kinds = unicode_tables.code_point_kinds()
    isolated_kinds = [unicode_tables.PUNCTUATION] + [unicode_tables.CJK] * split_on_cjk

    # Symbols: specials, isolated characters and word characters that some piece holds.
    special = set(special_tokens)
    pieces = [
        (piece.removeprefix("##") if len(piece) > 2 else piece, piece[:2] == "##" != piece, i)
        for i, piece in enumerate(vocabulary)
        if piece not in special
    ]
    characters = sorted(set("".join(text for text, _, _ in pieces)))
    isolated = [c for c in characters if kinds[ord(c)] in isolated_kinds]
    in_words = [
        c
        for c in characters
        if kinds[ord(c)] in (unicode_tables.WORD, unicode_tables.CJK) and c not in set(isolated)
    ]
    special_symbols = {token: UNKNOWN_ISOLATED + 1 + i for i, token in enumerate(special_tokens)}
    first_isolated = UNKNOWN_ISOLATED + 1 + len(special_symbols)
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
    words += [([special_symbols[token]], vocabulary.index(token)) for token in special_tokens]
    trie = _build_double_array(words, suffixes, unknown_in_word + 1 + len(in_words))

    return WordPieceTables(
        **_build_symbol_pages(
            unicode_tables.normalized_code_points(lowercase, strip_accents),
            np.isin(kinds, isolated_kinds),
            symbol_of,
            unknown_in_word,
        ),
        first_word_symbol=unknown_in_word,
        longest_piece=max((len(symbols) for symbols, _ in words + suffixes), default=1),
        special_symbols=special_symbols,
        **trie,
    )


def _narrow(array):
    """int16 where the values fit, else int32."""
    fits = array.size == 0 or (array.min() >= -(2**15) and array.max() < 2**15)
    return array.astype(np.int16 if fits else np.int32)


def _build_symbol_pages(normalized, is_isolated, symbol_of, unknown_in_word):
    """Two-stage table from code points to symbols."""
    kinds = unicode_tables.code_point_kinds()
    symbol = np.where(is_isolated, UNKNOWN_ISOLATED, unknown_in_word).astype(np.int32)
    for character, value in symbol_of.items():
        symbol[ord(character)] = value
    symbol[kinds == unicode_tables.SPACE] = SPACE
    symbols = np.where(normalized >= 0, symbol[normalized], NOTHING)  # [0x110000, 3]

    single = symbols[:, 0].copy()
    several = np.flatnonzero(symbols[:, 1] != NOTHING)
    width = 1 + int(np.count_nonzero(symbols.any(axis=0)[1:]))
    expansions, row = np.unique(symbols[several, :width], axis=0, return_inverse=True)
    single[several] = -(row.reshape(-1) + 1)
    blocks, pages = np.unique(single.reshape(-1, PAGE), axis=0, return_inverse=True)
    return {
        "pages": _narrow(pages.reshape(-1)),
        "symbols": _narrow(blocks.reshape(-1)),
        "expansions": _narrow(expansions),
    }


def _build_trie(words, suffixes):
    """Returns (children of each node, piece of each node); nodes 0 and 1 are the roots."""
    children, piece = [{}, {}], [-1, -1]
    for root, entries in enumerate((words, suffixes)):
        for symbols, i in entries:
            node = root
            for symbol in symbols:
                following = children[node].get(symbol)
                if following is None:
                    following = children[node][symbol] = len(children)
                    children.append({})
                    piece.append(-1)
                node = following
            piece[node] = i
    return children, piece


def _build_double_array(words, suffixes, num_symbols):
    """Packs the trie of pieces to a double array.

    The child of state `s` by symbol `c` is slot `base[s] + c`, and is real if `label` there is `c`.
    No two states share a base, so the label alone tells whose child a slot is. Slots below
    `num_symbols` stay empty: a state without children has base 0, and finds nothing there.
    """
    children, piece_of_node = _build_trie(words, suffixes)
    size = 2 * (num_symbols + len(children)) + 2 * _WINDOW
    is_free = np.ones(size, bool)
    is_free[: num_symbols + 2] = False
    is_unused_base = np.ones(size, bool)
    is_unused_base[0] = False
    slot = np.zeros(len(children), np.int64)
    slot[0], slot[1] = num_symbols, num_symbols + 1
    base_of_node = np.zeros(len(children), np.int64)
    label = np.zeros(size, np.int64)

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

    piece = np.full(size, -1, np.int64)
    piece[slot] = piece_of_node
    base = np.zeros(size, np.int64)
    base[slot] = base_of_node
    end = max(int(slot.max()), int(base.max())) + num_symbols + 1
    return {
        "base": _narrow(base[:end]),
        "label": _narrow(label[:end]),
        "piece": _narrow(piece[:end]),
        "word_root": num_symbols,
        "suffix_root": num_symbols + 1,
    }


def _bits(flags, start, extra):
    """The flags from `start` on, as many as a window has and `extra`, as bits of an integer."""
    flags = np.packbits(flags[start : start + _WINDOW + extra], bitorder="little")
    return int.from_bytes(flags.tobytes(), "little")
