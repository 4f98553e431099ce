"""WordPiece in the graph: UTF-8 bytes in, piece ids out.

Integer arithmetic, GATHER, SCATTER_ND and CUMSUM only; no string, loop or hash table. So the same
function runs eagerly, in `tf.data`, in any SavedModel loader and, converted, on TFLite's built-in
operators. All positions of all texts are worked on at once; texts lie end to end in one vector.
"""

import tensorflow as tf

from keras_bert_lib.text import wordpiece_tables

MAX_CHARS_PER_WORD = 100  # a longer word is [UNK], as in google-research/bert's tokenization.py
_DOUBLINGS = 7  # 2**7 >= MAX_CHARS_PER_WORD


def tokenize_bytes(data, row_starts, tables, unk_token_id):
    """Cuts UTF-8 texts to WordPieces by BERT's rules.

    Bytes that are not valid UTF-8 vanish: decoders replace them by U+FFFD, which BERT's rules drop.

    Args:
        data: int32 `[n]`, `n >= 1`: bytes (0 to 255) of the texts, one after another, with a line
            feed between them. NUL bytes vanish, so they serve as padding.
        row_starts: int32 `[rows]`: where each text starts in `data`, ascending.
        tables: `WordPieceTables`; its arrays may be tensors.
        unk_token_id: int: the piece of a word that cannot be put together.

    Returns:
        `(pieces, row_lengths)`: int32 `[n + 1]` with the piece ids of all texts end to end, then
        zeros; int32 `[rows]` with how many of them each text has.
    """
    symbols, sources = _normalize(data, tables)  # [n], [n]
    count = tf.shape(symbols)[0]
    position = tf.range(count)

    # Words: runs of word symbols, and each isolated symbol alone.
    is_char = symbols > wordpiece_tables.SPACE
    is_isolated = tf.logical_and(is_char, symbols < tables.first_word_symbol)
    breaks_before_next = tf.logical_or(tf.logical_not(is_char), is_isolated)
    breaks = tf.concat([[True], breaks_before_next[:-1]], 0)
    is_word_start = tf.logical_and(is_char, tf.logical_or(breaks, is_isolated))
    word = tf.cumsum(tf.cast(is_word_start, tf.int32))  # [n] number of the word, from 1

    # Longest match of a piece from every position.
    longest, match = _longest_matches(symbols, is_char, is_word_start, word, tables)

    # A piece starts at each word's start, and where a piece that starts ends.
    starts = tf.cast(is_word_start, tf.int32)
    jump = position + longest
    for _ in range(_DOUBLINGS):
        reached = tf.scatter_nd(tf.expand_dims(jump, 1), starts, tf.expand_dims(count, 0))
        starts = tf.minimum(starts + reached, 1)
        jump = tf.gather(jump, jump)
    is_start = tf.logical_and(starts > 0, is_char)

    # A word with a gap or too many characters is one [UNK].
    gap = tf.cast(tf.logical_and(is_start, longest < 1), tf.int32)
    per_word = tf.expand_dims(count + 1, 0)
    word_index = tf.expand_dims(word, 1)
    gaps = tf.scatter_nd(word_index, gap, per_word)
    lengths = tf.scatter_nd(word_index, tf.cast(is_char, tf.int32), per_word)
    is_unknown = tf.logical_or(gaps > 0, lengths > MAX_CHARS_PER_WORD)
    is_unknown = tf.gather(tf.cast(is_unknown, tf.int32), word) > 0  # [n]
    is_piece = tf.logical_and(is_start, tf.logical_or(is_word_start, tf.logical_not(is_unknown)))
    piece = tf.where(is_unknown, unk_token_id, match)

    # Pieces end to end, and the row each belongs to.
    is_piece = tf.cast(is_piece, tf.int32)
    target = tf.where(is_piece > 0, tf.cumsum(is_piece, exclusive=True), count)
    piece = tf.where(is_piece > 0, piece, 0)
    pieces = tf.scatter_nd(tf.expand_dims(target, 1), piece, tf.expand_dims(count + 1, 0))
    row_mark = tf.scatter_nd(
        tf.expand_dims(row_starts, 1), tf.ones_like(row_starts), tf.expand_dims(count, 0)
    )
    row = tf.gather(tf.cumsum(row_mark), sources)  # [n + 1] number of the row, from 1
    row_lengths = tf.scatter_nd(tf.expand_dims(row, 1), is_piece, tf.shape(row_starts) + 1)[1:]
    return pieces, row_lengths


def _following(x, k, fill):
    """`x[i + k]` at position i, and `fill` past the end."""
    return tf.concat([x, tf.fill([k], fill)], 0)[k:]


def _decode_utf8(data):
    """Returns (code point that starts at each byte [n], whether one does [n])."""
    one, two, three = (_following(data, k, 0) for k in (1, 2, 3))

    def between(x, low, high):
        return tf.logical_and(x >= low, x <= high)

    def is_continuation(x):
        return between(x, 0x80, 0xBF)

    # The second byte's range rules out overlong forms, surrogates and code points past U+10FFFF.
    low = tf.where(tf.equal(data, 0xE0), 0xA0, tf.where(tf.equal(data, 0xF0), 0x90, 0x80))
    high = tf.where(tf.equal(data, 0xED), 0x9F, tf.where(tf.equal(data, 0xF4), 0x8F, 0xBF))
    second = tf.logical_and(one >= low, one <= high)
    third = tf.logical_and(second, is_continuation(two))
    fourth = tf.logical_and(third, is_continuation(three))
    is_ascii = data < 0x80
    is_two = tf.logical_and(between(data, 0xC2, 0xDF), second)
    is_three = tf.logical_and(between(data, 0xE0, 0xEF), third)
    is_four = tf.logical_and(between(data, 0xF0, 0xF4), fourth)

    # Each form drops the marker bits of its bytes: 0xC0 * 64 + 0x80, and so on.
    code_point = tf.where(is_ascii, data, 0)
    code_point = tf.where(is_two, data * 64 + one - 0x3080, code_point)
    code_point = tf.where(is_three, (data * 64 + one) * 64 + two - 0xE2080, code_point)
    four_bytes = ((data * 64 + one) * 64 + two) * 64 + three - 0x3C82080
    code_point = tf.where(is_four, four_bytes, code_point)
    starts = tf.logical_or(tf.logical_or(is_ascii, is_two), tf.logical_or(is_three, is_four))
    return code_point, starts


def _find_special_tokens(data, special_symbols):
    """Returns (symbol of the special token that starts at each byte or 0, bytes inside one)."""
    three_bytes = (data * 256 + _following(data, 1, 0)) * 256 + _following(data, 2, 0)
    found = tf.zeros_like(data)
    inside = tf.zeros_like(data)
    for token, symbol in special_symbols.items():
        code = token.encode()
        matches = None
        for i in [*range(0, len(code) - 3, 3), len(code) - 3]:  # three bytes at a time
            here = tf.equal(_following(three_bytes, i, 0), int.from_bytes(code[i : i + 3], "big"))
            matches = here if matches is None else tf.logical_and(matches, here)
        matches = tf.cast(matches, tf.int32)
        found += matches * symbol
        inside += _covered(matches, len(code))
    return found, inside > 0


def _covered(matches, length):
    """1 at the `length - 1` positions after each match."""
    total = tf.cumsum(matches)
    before = tf.concat([tf.zeros([length], tf.int32), total], 0)[: tf.shape(total)[0]]
    return total - matches - before


def _normalize(data, tables):
    """Returns (symbols of the normalized text [n], byte that each comes from [n])."""
    count = tf.shape(data)[0]
    code_point, starts = _decode_utf8(data)
    block = code_point // wordpiece_tables.PAGE
    page = tf.cast(tf.gather(tables.pages, block), tf.int32)
    row = page * wordpiece_tables.PAGE + code_point - block * wordpiece_tables.PAGE
    symbol = tf.cast(tf.gather(tables.symbols, row), tf.int32)
    symbol = tf.where(starts, symbol, wordpiece_tables.NOTHING)
    if tables.special_symbols:
        special, inside = _find_special_tokens(data, tables.special_symbols)
        symbol = tf.where(special > 0, special, symbol)
        symbol = tf.where(inside, wordpiece_tables.NOTHING, symbol)

    # Most code points become one symbol; those that become several have negative ones.
    width = tables.expansions.shape[1] if tables.expansions.shape[0] else 1
    columns = [symbol]
    if width > 1:
        several = symbol < 0
        expanded = tf.cast(
            tf.gather(tables.expansions, tf.where(several, -1 - symbol, 0)), tf.int32
        )  # [n, width]
        columns = [tf.where(several, expanded[:, 0], symbol)]
        columns += [tf.where(several, expanded[:, i], 0) for i in range(1, width)]

    # Laid end to end. They fit: no code point becomes more symbols than it has bytes.
    sizes = tf.add_n([tf.cast(column > 0, tf.int32) for column in columns])
    first = tf.cumsum(sizes, exclusive=True)
    targets = [tf.where(column > 0, first + i, count) for i, column in enumerate(columns)]
    target = tf.expand_dims(tf.concat(targets, 0), 1)
    size = tf.expand_dims(count + 1, 0)
    position = tf.range(count)
    symbols = tf.scatter_nd(target, tf.concat(columns, 0), size)[:-1]
    sources = tf.scatter_nd(target, tf.concat([position] * width, 0), size)[:-1]
    return symbols, sources


def _longest_matches(symbols, is_char, is_word_start, word, tables):
    """Walks the trie from every position; returns (characters matched [n], piece id [n])."""
    state = tf.where(is_word_start, tables.word_root, tables.suffix_root)
    state = tf.where(is_char, state, wordpiece_tables.DEAD)
    longest = tf.zeros_like(symbols)
    match = tf.zeros_like(symbols)
    # Outside words the word number is 0 and the symbol NOTHING, so that no match crosses an end.
    word = tf.where(is_char, word, 0)
    count = tf.shape(symbols)[0]
    padding = tf.zeros([tables.longest_piece], tf.int32)
    padded_symbols = tf.concat([symbols, padding], 0)
    padded_word = tf.concat([word, padding], 0)
    for k in range(tables.longest_piece):
        symbol = padded_symbols[k : k + count]
        slot = tf.gather(tables.base, state)
        slot = tf.cast(slot, tf.int32) + symbol
        is_child = tf.equal(tf.cast(tf.gather(tables.label, slot), tf.int32), symbol)
        if k:
            is_child = tf.logical_and(is_child, tf.equal(padded_word[k : k + count], word))
        state = tf.where(is_child, slot, wordpiece_tables.DEAD)
        piece = tf.cast(tf.gather(tables.piece, state), tf.int32)
        longest = tf.where(piece >= 0, k + 1, longest)
        match = tf.where(piece >= 0, piece, match)
    return longest, match
