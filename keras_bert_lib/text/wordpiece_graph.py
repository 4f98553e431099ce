"""WordPiece in the graph: UTF-8 bytes in, piece ids out.

Integer arithmetic, GATHER, SCATTER_ND and CUMSUM only; no string, loop or hash table. So the same
function runs eagerly, in `tf.data`, in any SavedModel loader and, converted, on TFLite's built-in
operators. All positions of all texts are worked on at once; texts lie end to end in one vector.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_bert_lib.text import wordpiece_tables

_REPLACEMENT = 0xFFFD
_FIRST_MARK = 0x300
_ADDED_TOKEN_DOUBLINGS = 20  # tells apart runs of up to 2**20 added tokens that overlap


class WordPieces(NamedTuple):
    """The pieces of all texts end to end, then zeros: int32 `[n + 1]` each, but for `row_lengths`.

    The last five are None unless they were asked for. Offsets count from the start of a piece's own
    text and exclude its end.
    """

    ids: tf.Tensor
    row_lengths: tf.Tensor  # [rows] number of pieces of each text
    byte_starts: tf.Tensor | None = None
    byte_ends: tf.Tensor | None = None
    char_starts: tf.Tensor | None = None  # characters of Python's decode(errors="replace")
    char_ends: tf.Tensor | None = None
    word_ids: tf.Tensor | None = None  # number of the word within its text, from 0


def tokenize_bytes(data, row_starts, tables, unk_token_id, with_offsets=False, with_marks=False):
    """Cuts UTF-8 texts to WordPieces by BERT's rules.

    Bytes that are not valid UTF-8 count as the U+FFFD that decoders put in their place, which
    BERT's rules drop.

    Args:
        data: int32 `[n]`, `n >= 1`: bytes (0 to 255) of the texts, one after another, each followed
            by a line feed.
        row_starts: int32 `[rows]`: where each text starts in `data`, ascending.
        tables: `WordPieceTables`; its arrays may be tensors.
        unk_token_id: int: the piece of a word that cannot be put together.
        with_offsets: bool: whether to tell where each piece comes from.
        with_marks: bool: whether a piece ends after the marks that were dropped behind it.

    Returns:
        `WordPieces`.
    """
    characters = _decode_utf8(data, whole=with_offsets or tables.keeps_replacements)
    symbols, row_starts_in_symbols, sources, ends = _normalize(
        data, characters, row_starts, tables, with_offsets, with_marks
    )
    if tables.added_tokens:
        symbols, ends = _merge_added_tokens(symbols, ends, row_starts_in_symbols, tables)
    count = tf.shape(symbols)[0]
    position = tf.range(count)

    # Words: runs of word symbols, and each isolated symbol alone.
    is_char = symbols > wordpiece_tables.SPACE
    is_in_word = symbols >= tables.first_word_symbol
    goes_on = tf.logical_and(is_in_word, tf.concat([[False], is_in_word[:-1]], 0))
    is_word_start = tf.logical_and(is_char, tf.logical_not(goes_on))
    word = tf.cumsum(tf.cast(is_word_start, tf.int32))  # [n] number of the word, from 1

    # Longest match of a piece from every position.
    base = tf.where(goes_on, tables.suffix_base, tables.word_base)
    length, match = _walk(symbols, base, tables.longest_piece, tables)

    # A piece starts at each word's start, and where a piece that starts ends. After `k` rounds,
    # `starts` marks what is at most `2**k - 1` pieces into its word.
    starts = tf.cast(is_word_start, tf.int32)
    jump = position + length
    doublings = tables.max_chars_per_word.bit_length()
    for _ in range(doublings):
        reached = tf.scatter_nd(tf.expand_dims(jump, 1), starts, tf.expand_dims(count, 0))
        starts += reached
        jump = tf.gather(jump, jump)
    is_start = tf.logical_and(starts > 0, is_char)

    # A word with a gap or too many characters is one [UNK]; a gap weighs as much as too many.
    is_gap = tf.logical_and(is_start, length < 1)
    is_char = tf.cast(is_char, tf.int32)
    weight = tf.where(is_gap, tables.max_chars_per_word + 1, is_char)
    per_word = tf.expand_dims(count + 1, 0)
    word_index = tf.expand_dims(word, 1)
    weights = tf.scatter_nd(word_index, weight, per_word)
    is_unknown = tf.gather(weights, word) > tables.max_chars_per_word  # [n]
    is_piece = tf.logical_and(is_start, tf.logical_or(is_word_start, tf.logical_not(is_unknown)))
    piece = tf.where(is_unknown, unk_token_id, match)

    # Pieces end to end. All that is not one goes to the place after the last.
    is_piece = tf.cast(is_piece, tf.int32)
    before = tf.cumsum(is_piece, exclusive=True)
    target = tf.expand_dims(tf.where(is_piece > 0, before, count), 1)
    row_ends = tf.concat(
        [tf.gather(before, row_starts_in_symbols[1:]), [tf.reduce_sum(is_piece)]], 0
    )
    row_lengths = row_ends - tf.gather(before, row_starts_in_symbols)

    def lay(values):
        return tf.scatter_nd(target, values * is_piece, per_word)

    pieces = WordPieces(lay(piece), row_lengths)
    if not with_offsets:
        return pieces

    # A piece ends where its last character does, an [UNK] with its word.
    characters_in_word = tf.gather(tf.scatter_nd(word_index, is_char, per_word), word)
    length = tf.where(is_unknown, characters_in_word, length)
    last = tf.minimum(position + tf.maximum(length, 1), count) - 1
    byte_starts, byte_ends = sources, tf.gather(ends, last)
    chars_before = tf.cumsum(tf.cast(characters.starts, tf.int32))
    chars_before = tf.concat([[0], chars_before], 0)  # [bytes + 1]
    char_starts, char_ends = (tf.gather(chars_before, x) for x in (byte_starts, byte_ends))
    # Each is taken from the start of its row.
    row = tf.scatter_nd(
        tf.expand_dims(row_starts_in_symbols, 1), tf.ones_like(row_starts), tf.expand_dims(count, 0)
    )
    row = tf.maximum(tf.cumsum(row) - 1, 0)  # [n]
    words_before = word - tf.cast(is_word_start, tf.int32)

    def of_row(values):  # [rows], and there may be none
        return tf.gather(tf.concat([values, [0]], 0), row)

    row_byte = of_row(row_starts)
    row_char = of_row(tf.gather(chars_before, row_starts))
    row_word = of_row(tf.gather(words_before, row_starts_in_symbols))
    return pieces._replace(
        byte_starts=lay(byte_starts - row_byte),
        byte_ends=lay(byte_ends - row_byte),
        char_starts=lay(char_starts - row_char),
        char_ends=lay(char_ends - row_char),
        word_ids=lay(word - 1 - row_word),
    )


class _Characters(NamedTuple):
    """The characters that start at each byte."""

    code_points: tf.Tensor  # int32 [n]
    starts: tf.Tensor  # bool [n] whether one does
    lengths: tf.Tensor | None  # int32 [n] its bytes


def _following(x, k, fill=0):
    """`x[i + k]` at position i, and `fill` past the end."""
    return tf.concat([x, tf.fill([k], fill)], 0)[k:]


def _preceding(x, k, fill=0):
    """`x[i - k]` at position i, and `fill` before the start."""
    return tf.concat([tf.fill([k], fill), x], 0)[: tf.shape(x)[0]]


def _decode_utf8(data, whole):
    """Decodes UTF-8.

    Args:
        data: int32 `[n]`: bytes.
        whole: bool: whether to give U+FFFD for bytes that are not valid, one for each maximal part
            of a character, as Python and the Unicode Standard (3.9) have it, and to tell lengths.
            Without, such bytes start no character.

    Returns:
        `_Characters`.
    """
    one, two, three = (_following(data, k) for k in (1, 2, 3))

    def between(x, low, high):
        return tf.logical_and(x >= low, x <= high)

    is_continuation = between(data, 0x80, 0xBF)
    # The second byte's range rules out overlong forms, surrogates and code points past U+10FFFF.
    low = tf.where(tf.equal(data, 0xE0), 0xA0, tf.where(tf.equal(data, 0xF0), 0x90, 0x80))
    high = tf.where(tf.equal(data, 0xED), 0x9F, tf.where(tf.equal(data, 0xF4), 0x8F, 0xBF))
    second = tf.logical_and(one >= low, one <= high)
    third = tf.logical_and(second, _following(is_continuation, 2, False))
    fourth = tf.logical_and(third, _following(is_continuation, 3, False))
    is_ascii = data < 0x80
    leads_two = between(data, 0xC2, 0xDF)
    leads_three = between(data, 0xE0, 0xEF)
    leads_four = between(data, 0xF0, 0xF4)
    is_two = tf.logical_and(leads_two, second)
    is_three = tf.logical_and(leads_three, third)
    is_four = tf.logical_and(leads_four, fourth)

    # Each form drops the marker bits of its bytes: 0xC0 * 64 + 0x80, and so on.
    two_bytes = data * 64 + one
    three_bytes = two_bytes * 64 + two
    code_points = tf.where(is_two, two_bytes - 0x3080, data)
    code_points = tf.where(is_three, three_bytes - 0xE2080, code_points)
    code_points = tf.where(is_four, three_bytes * 64 + three - 0x3C82080, code_points)
    is_valid = tf.logical_or(tf.logical_or(is_ascii, is_two), tf.logical_or(is_three, is_four))
    if not whole:
        return _Characters(tf.where(is_valid, code_points, 0), is_valid, None)

    def number(condition):
        return tf.cast(condition, tf.int32)

    leads = tf.logical_or(leads_two, tf.logical_or(leads_three, leads_four))
    lengths = 1 + number(tf.logical_and(leads, second))
    lengths += number(tf.logical_and(tf.logical_or(leads_three, leads_four), third))
    lengths += number(is_four)
    inside = _preceding(lengths, 1) > 1
    for k in (2, 3):
        inside = tf.logical_or(inside, _preceding(lengths, k) > k)
    starts = tf.logical_not(inside)
    code_points = tf.where(is_valid, code_points, _REPLACEMENT)
    return _Characters(tf.where(starts, code_points, 0), starts, lengths)


def _find_special_tokens(data, special_symbols):
    """Returns (symbol of the special token that starts at each byte or 0, bytes inside one)."""
    three_bytes = (data * 256 + _following(data, 1)) * 256 + _following(data, 2)
    found = tf.zeros_like(data)
    shifted, of_length = {0: three_bytes}, {}
    for token, symbol in special_symbols.items():
        code = token.encode()
        matches = None
        for i in [*range(0, len(code) - 3, 3), len(code) - 3]:  # three bytes at a time
            if i not in shifted:
                shifted[i] = _following(three_bytes, i)
            here = tf.equal(shifted[i], int.from_bytes(code[i : i + 3], "big"))
            matches = here if matches is None else tf.logical_and(matches, here)
        found = tf.where(matches, symbol, found)
        same = of_length.get(len(code))
        of_length[len(code)] = matches if same is None else tf.logical_or(same, matches)
    inside = tf.zeros_like(data)
    for length, matches in of_length.items():
        total = tf.cumsum(tf.cast(matches, tf.int32))
        # Matches that started at one of the `length - 1` positions before.
        inside += _preceding(total, 1) - _preceding(total, length)
    return found, inside > 0


def _normalize(data, characters, row_starts, tables, with_offsets, with_marks):
    """Applies BERT's text rules.

    Returns:
        A tuple of int32 tensors: symbols of the normalized text `[n]`, with zeros after the last;
        where each row starts in them `[rows]`; and, with offsets, the first byte of the character
        that each comes from `[n]`, and the byte after it `[n]`.
    """
    count = tf.shape(data)[0]
    block = characters.code_points // wordpiece_tables.PAGE
    page = tf.cast(tf.gather(tables.pages, block), tf.int32)
    row = (page - block) * wordpiece_tables.PAGE + characters.code_points
    symbol = tf.cast(tf.gather(tables.symbols, row), tf.int32)
    symbol = tf.where(characters.starts, symbol, wordpiece_tables.NOTHING)
    is_dropped = tf.equal(symbol, wordpiece_tables.NOTHING)
    if tables.special_symbols:
        special, inside = _find_special_tokens(data, tables.special_symbols)
        symbol = tf.where(inside, wordpiece_tables.NOTHING, symbol)
        symbol = tf.where(special > 0, special, symbol)

    # A code point that becomes several symbols has a negative one. Its symbols take the places of
    # its bytes: no code point becomes more symbols than it has bytes.
    sources = tf.range(count) if with_offsets else None
    if tables.expansions:
        row = tf.maximum(-symbol, 0)  # row 0 is empty
        first, *others = (tf.cast(tf.gather(x, row), tf.int32) for x in tables.expansions)
        symbol = tf.where(symbol < 0, first, symbol)
        for i, other in enumerate(others, start=1):
            other = _preceding(other, i)
            symbol += other
            if with_offsets:
                sources = tf.where(other > 0, sources - i, sources)

    # What is left, end to end.
    kept = tf.cast(symbol > wordpiece_tables.NOTHING, tf.int32)
    before = tf.cumsum(kept, exclusive=True)
    target = tf.expand_dims(tf.where(kept > 0, before, count), 1)
    size = tf.expand_dims(count + 1, 0)
    symbols = tf.scatter_nd(target, symbol, size)[:-1]
    row_starts = tf.gather(before, row_starts)
    if not with_offsets:
        return symbols, row_starts, None, None
    lengths = characters.lengths
    if tables.special_symbols:
        for token, token_symbol in tables.special_symbols.items():
            lengths = tf.where(tf.equal(special, token_symbol), len(token.encode()), lengths)
    ends = sources + tf.gather(lengths, sources)
    if with_marks:
        ends = tf.gather(_after_marks(characters, is_dropped), tf.minimum(ends, count - 1))
    sources, ends = (tf.scatter_nd(target, x * kept, size)[:-1] for x in (sources, ends))
    return symbols, row_starts, sources, ends


def _after_marks(characters, is_dropped):
    """Where the first character starts, from each byte on, that is no mark which was dropped [n].

    The last byte, a line feed, is none.
    """
    # Controls are dropped, too, and with them the zeros that pad a text; they come before.
    may_be_mark = tf.logical_and(
        characters.code_points >= _FIRST_MARK,
        tf.not_equal(characters.code_points, _REPLACEMENT),
    )
    is_mark = tf.logical_and(is_dropped, may_be_mark)
    is_other = tf.logical_and(characters.starts, tf.logical_not(is_mark))
    is_other = tf.cast(is_other, tf.int32)
    count = tf.shape(is_other)[0]
    before = tf.cumsum(is_other, exclusive=True)
    target = tf.expand_dims(tf.where(is_other > 0, before, count), 1)
    others = tf.scatter_nd(target, tf.range(count) * is_other, tf.expand_dims(count + 1, 0))
    return tf.gather(others, before)


def _walk(symbols, base, steps, tables):
    """Walks the trie from every position at once.

    Args:
        symbols: int32 `[n]`.
        base: int32 `[n]`: base of the state to start from.
        steps: int: most symbols to read.
        tables: `WordPieceTables`.

    Returns:
        `(length, match)`, int32 `[n]`: symbols of the longest piece, 0 for none, and its id.
    """
    count = tf.shape(symbols)[0]
    symbols = tf.concat([symbols, tf.zeros([steps], tf.int32)], 0)
    deepest = tf.zeros_like(base)
    for k in range(steps):
        symbol = symbols[k : k + count]
        slot = base + symbol
        is_child = tf.equal(tf.cast(tf.gather(tables.label, slot), tf.int32), symbol)
        deepest = tf.where(is_child, slot, deepest)
        if k < steps - 1:
            base = tf.cast(tf.gather(tables.base, slot), tf.int32)
            base = tf.where(is_child, base, wordpiece_tables.DEAD)
    length = tf.cast(tf.gather(tables.length, deepest), tf.int32)
    match = tf.cast(tf.gather(tables.piece, deepest), tf.int32)
    return length, match


def _merge_added_tokens(symbols, ends, row_starts, tables):
    """Makes each added token in the text one symbol, with spaces in place of its other ones.

    Of tokens that overlap the leftmost wins, and of those that start together the longest.

    Args:
        symbols: int32 `[n]`.
        ends: int32 `[n]`: byte after each symbol's character, or None.
        row_starts: int32 `[rows]`: where each text starts.
        tables: `WordPieceTables`.

    Returns:
        The first two.
    """
    count = tf.shape(symbols)[0]
    position = tf.range(count)
    size = tf.expand_dims(count + 1, 0)
    # The line feed between two texts is no space that a token could hold.
    is_row_start = tf.scatter_nd(tf.expand_dims(row_starts, 1), tf.ones_like(row_starts), size)
    readable = tf.where(is_row_start[1:] > 0, wordpiece_tables.NOTHING, symbols)
    base = tf.zeros_like(symbols) + tables.added_base
    length, match = _walk(readable, base, tables.longest_added_token, tables)

    # A token is reached from the start of the text, past the tokens before it and over what is in
    # none. What no token covers is reached in any case.
    reached = tf.where(_is_inside(length), 0, 1)
    jump = tf.concat([position + tf.maximum(length, 1), tf.expand_dims(count, 0)], 0)
    reached = tf.concat([reached, [0]], 0)
    for _ in range(_ADDED_TOKEN_DOUBLINGS):
        arrived = tf.scatter_nd(tf.expand_dims(jump, 1), reached, size)
        reached = tf.minimum(reached + arrived, 1)
        jump = tf.gather(jump, jump)
    is_token = tf.logical_and(reached[:-1] > 0, length > 0)
    is_rest = _is_inside(tf.where(is_token, length, 0))
    merged = tf.where(is_rest, wordpiece_tables.SPACE, symbols)
    merged = tf.where(is_token, tables.first_added_symbol + match, merged)
    if ends is not None:
        last = tf.where(is_token, position + length - 1, position)
        ends = tf.gather(ends, tf.minimum(last, count - 1))
    return merged, ends


def _is_inside(length):
    """Whether a position lies in what starts before it and has `length[i]` positions [n]."""
    count = tf.shape(length)[0]
    is_long = tf.cast(length > 1, tf.int32)
    end = tf.expand_dims(tf.range(count) + tf.maximum(length, 1), 1)
    ended = tf.scatter_nd(end, is_long, tf.expand_dims(count + 1, 0))
    return tf.cumsum(is_long, exclusive=True) > tf.cumsum(ended)[:-1]
