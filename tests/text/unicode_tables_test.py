import numpy as np
import pytest
from tokenizers.normalizers import BertNormalizer

from keras_bert_lib.text import unicode_tables


@pytest.mark.parametrize("strip_accents", [True, False])
@pytest.mark.parametrize("lowercase", [True, False])
def test_every_code_point_is_normalized_as_by_huggingface(lowercase, strip_accents):
    normalize = BertNormalizer(
        clean_text=True,
        handle_chinese_chars=False,
        strip_accents=strip_accents,
        lowercase=lowercase,
    ).normalize_str
    table = unicode_tables.normalized_code_points(lowercase, strip_accents)
    kinds = unicode_tables.code_point_kinds()
    # One call a block, with a quote between characters: it keeps them apart, and none becomes one.
    for start in range(0, unicode_tables.CODE_POINTS, 4096):
        characters, expected = [], []
        for cp in range(start, start + 4096):
            if 0xD800 <= cp <= 0xDFFF:  # surrogates are not characters
                assert kinds[cp] == unicode_tables.REMOVED
            elif cp != ord('"'):
                characters.append(chr(cp))
                is_space = kinds[cp] == unicode_tables.SPACE
                expected.append(" " if is_space else "".join(chr(c) for c in table[cp] if c >= 0))
        assert normalize('"'.join(characters)).split('"') == (expected or [""])


def test_no_code_point_grows_past_its_bytes():
    """The graph lays symbols out in as many places as the text has bytes."""
    code_points = np.arange(unicode_tables.CODE_POINTS)
    size = 1 + (code_points >= 0x80) + (code_points >= 0x800) + (code_points >= 0x10000)
    for lowercase in (True, False):
        for strip_accents in (True, False):
            table = unicode_tables.normalized_code_points(lowercase, strip_accents)
            assert ((table >= 0).sum(axis=1) <= size).all()
