"""What BERT's text rules do to each Unicode code point, as arrays."""

from functools import lru_cache
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("unicode_tables.npz")
CODE_POINTS = 0x110000

# Kinds of code points, by BERT's rules.
WORD = 0  # part of a word
REMOVED = 1  # NUL, U+FFFD, control and format characters: dropped
SPACE = 2  # any white space: ends a word
PUNCTUATION = 3  # a word of its own
CJK = 4  # an ideograph: a word of its own, unless `split_on_cjk` is off


@lru_cache
def _tables():
    with np.load(PATH) as file:
        return {name: file[name] for name in file.files}


def code_point_kinds(clean_text=True):
    """Returns the kind of every code point: uint8 `[0x110000]`.

    Args:
        clean_text: bool. Off, the only code points that are dropped are surrogates; what would
            have been belongs to words, or is a space.
    """
    return _tables()["kinds" if clean_text else "unclean_kinds"]


@lru_cache
def normalized_code_points(lowercase, strip_accents, clean_text=True):
    """Returns what each code point becomes.

    Accents are stripped before letters are lowered, as in Hugging Face's `BertNormalizer`:
    canonical decomposition (NFD), nonspacing marks (Mn) dropped, then each character's own lower
    case.

    Args:
        lowercase: bool.
        strip_accents: bool.
        clean_text: bool. Drops what is of the kind REMOVED.

    Returns:
        int32 `[0x110000, 3]`: the resulting code points, -1 padded (all -1: it vanishes).
    """
    tables = _tables()
    result = np.full((CODE_POINTS, 3), -1, np.int32)
    result[:, 0] = np.arange(CODE_POINTS)
    if strip_accents:
        targets = tables["bare_to"]
        result[tables["bare_from"], : targets.shape[1]] = targets
    if lowercase:
        lower_from, lower_to = tables["lower_from"], tables["lower_to"]
        one_to_one = np.arange(CODE_POINTS, dtype=np.int32)
        one_to_one[lower_from] = lower_to[:, 0]
        longer = lower_from[(lower_to[:, 1:] >= 0).any(axis=1)]
        for cp in longer:  # a letter with more than one lower-case letter, such as U+0130
            rows = np.flatnonzero(result[:, 0] == cp)
            result[rows, : lower_to.shape[1]] = lower_to[lower_from == cp]
        one_to_one[longer] = longer
        result = np.where(result >= 0, one_to_one[result], -1)
    result[code_point_kinds(clean_text) == REMOVED] = -1
    return result
