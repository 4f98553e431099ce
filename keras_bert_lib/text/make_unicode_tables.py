"""Makes `unicode_tables.npz`: what BERT's rules do to each of Unicode's code points.

    python -m keras_bert_lib.text.make_unicode_tables

The facts are read off the reference implementation, the `BertNormalizer` and `BertPreTokenizer` of
Hugging Face `tokenizers`, one code point at a time, and stored, so that token ids depend neither on
the Unicode version of the Python at hand (3.10 and 3.13 differ) nor on any package at run time.
"""

import os
from pathlib import Path

import numpy as np
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from keras_bert_lib.text import unicode_tables


def _normalizer(**rules):
    off = {
        "clean_text": False,
        "handle_chinese_chars": False,
        "strip_accents": False,
        "lowercase": False,
    }
    return BertNormalizer(**{**off, **rules}).normalize_str


def _mapping(normalize, code_points):
    """Returns the code points that `normalize` changes [n], and to what [n, longest]."""
    changed = [(cp, normalize(chr(cp))) for cp in code_points]
    changed = [(cp, [ord(c) for c in to]) for cp, to in changed if to != chr(cp)]
    longest = max(len(to) for _, to in changed)
    sources = np.array([cp for cp, _ in changed], np.int32)
    targets = np.array([to + [-1] * (longest - len(to)) for _, to in changed], np.int32)
    return sources, targets


def main():
    """Writes the tables beside this module."""
    code_points = [cp for cp in range(0x110000) if not 0xD800 <= cp <= 0xDFFF]
    clean = _normalizer(clean_text=True)
    isolate_cjk = _normalizer(handle_chinese_chars=True)
    split = BertPreTokenizer().pre_tokenize_str

    kinds = np.zeros(0x110000, np.uint8)
    kinds[0xD800:0xE000] = unicode_tables.REMOVED
    for cp in code_points:
        character = chr(cp)
        if not clean(character):
            kinds[cp] = unicode_tables.REMOVED
        elif clean(character) == " ":
            kinds[cp] = unicode_tables.SPACE
        elif isolate_cjk(character) != character:
            kinds[cp] = unicode_tables.CJK
        elif len(split(f"a{character}a")) == 3:
            kinds[cp] = unicode_tables.PUNCTUATION
    # Without cleaning, what would be removed is white space or, by far the most, part of words.
    unclean_kinds = kinds.copy()
    for cp in code_points:
        if kinds[cp] == unicode_tables.REMOVED:
            is_space = len(split(f"a{chr(cp)}a")) == 2
            unclean_kinds[cp] = unicode_tables.SPACE if is_space else unicode_tables.WORD

    lower_from, lower_to = _mapping(_normalizer(lowercase=True), code_points)
    bare_from, bare_to = _mapping(_normalizer(strip_accents=True), code_points)
    path = unicode_tables.PATH
    temporary = Path(f"{path}.tmp.npz")
    np.savez_compressed(
        temporary,
        kinds=kinds,
        unclean_kinds=unclean_kinds,
        lower_from=lower_from,
        lower_to=lower_to,
        bare_from=bare_from,
        bare_to=bare_to,
    )
    os.replace(temporary, path)
    print(
        f"Wrote {path} ({path.stat().st_size:,} bytes): {len(lower_from):,} code points change in "
        f"lower case, {len(bare_from):,} without accents."
    )


if __name__ == "__main__":
    main()
