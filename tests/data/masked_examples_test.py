"""Packing and masking: shapes, statistics, and what must never be masked."""

import numpy as np
import pytest
from absl.testing import parameterized

import keras_bert_lib as kbl
from keras_bert_lib.data.masked_examples import mask_tokens, pack_pairs, piece_tables
from keras_bert_lib.data.next_sentence_pairs import SegmentPair

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = (
    SPECIAL[:1]
    + [f"[unused{i}]" for i in range(20)]
    + SPECIAL[1:]
    + [f"word{i}" for i in range(100)]
    + [f"##s{i}" for i in range(50)]
)
TOKENIZER = kbl.BertTokenizer(VOCABULARY)
TABLES = piece_tables(TOKENIZER)
WORDS = np.array([i for i, piece in enumerate(VOCABULARY) if piece.startswith("word")], np.int32)
SUFFIXES = np.array([i for i, piece in enumerate(VOCABULARY) if piece.startswith("##")], np.int32)


def random_pairs(count, seed=0, most=30):
    rng = np.random.default_rng(seed)
    pieces = np.concatenate([WORDS, SUFFIXES])
    return [
        SegmentPair(
            rng.choice(pieces, rng.integers(1, most)),
            rng.choice(pieces, rng.integers(1, most)),
            bool(rng.random() < 0.5),
        )
        for _ in range(count)
    ]


def masked(count=4000, max_length=64, max_predictions=20, prob=0.15, whole_word=False, seed=0):
    x = pack_pairs(random_pairs(count, seed), max_length, TABLES)
    rng = np.random.default_rng(seed)
    return x, mask_tokens(x["token_ids"], TABLES, rng, prob, max_predictions, whole_word)


class MaskedExamplesTest(parameterized.TestCase):
    def test_packing(self):
        a, b = WORDS[:3], WORDS[5:7]
        x = pack_pairs([SegmentPair(a, b, True), SegmentPair(b, a[:1], False)], 10, TABLES)
        cls, sep, pad = TOKENIZER.cls_token_id, TOKENIZER.sep_token_id, TOKENIZER.pad_token_id
        assert x["token_ids"].tolist() == [
            [cls, *a, sep, *b, sep, pad, pad],
            [cls, *b, sep, a[0], sep, pad, pad, pad, pad],
        ]
        assert x["segment_ids"].tolist() == [
            [0] * 5 + [1] * 3 + [0] * 2,
            [0] * 4 + [1] * 2 + [0] * 4,
        ]
        assert x["padding_mask"].tolist() == [[1] * 8 + [0] * 2, [1] * 6 + [0] * 4]
        assert x["next_sentence_labels"].tolist() == [1, 0]
        assert all(array.dtype == np.int32 for array in x.values())

    def test_packing_is_the_tokenizers(self):
        texts, pairs = ["word1 word2s3", "word7"], ["word9", "word4s1s2 word5"]
        ids = [[row.numpy() for row in TOKENIZER.tokenize_ragged(rows)] for rows in (texts, pairs)]
        x = pack_pairs([SegmentPair(a, b, False) for a, b in zip(*ids)], 9, TABLES)
        expected = TOKENIZER(texts, pairs, max_length=9, padding="max_length")
        for name, array in expected.items():
            np.testing.assert_array_equal(x[name], array.numpy())

    @parameterized.parameters(False, True)
    def test_labels_lead_back_to_the_text(self, whole_word):
        x, y = masked(500, whole_word=whole_word)
        assert y["masked_positions"].dtype == y["masked_ids"].dtype == np.int32
        assert y["masked_weights"].dtype == np.float32
        restored = y["token_ids"].copy()
        rows, slots = np.nonzero(y["masked_weights"])
        restored[rows, y["masked_positions"][rows, slots]] = y["masked_ids"][rows, slots]
        np.testing.assert_array_equal(restored, x["token_ids"])
        # Padding follows the predictions and is all zeros; positions rise.
        counts = y["masked_weights"].sum(axis=1).astype(int)
        for row, count in enumerate(counts):
            assert y["masked_weights"][row].tolist() == [1.0] * count + [0.0] * (20 - count)
            assert (np.diff(y["masked_positions"][row, :count]) > 0).all()
            assert not y["masked_positions"][row, count:].any()
            assert not y["masked_ids"][row, count:].any()

    @parameterized.parameters(False, True)
    def test_special_tokens_are_never_chosen(self, whole_word):
        _, y = masked(whole_word=whole_word)
        chosen = y["masked_ids"][y["masked_weights"] == 1]
        assert not np.isin(chosen, TOKENIZER.special_token_ids).any()

    def test_special_tokens_in_the_text_are_never_chosen(self):
        text = np.array([TOKENIZER.mask_token_id, TOKENIZER.unk_token_id, WORDS[0]], np.int32)
        x = pack_pairs([SegmentPair(text, text, False)] * 200, 12, TABLES)
        y = mask_tokens(x["token_ids"], TABLES, np.random.default_rng(0), 1.0, 9, False)
        assert y["masked_weights"].sum(axis=1).tolist() == [2.0] * 200
        assert (y["masked_ids"][:, :2] == WORDS[0]).all()

    @parameterized.parameters((0.15, 20), (0.15, 3), (0.4, 40), (0.0, 20), (1.0, 64))
    def test_number_of_predictions(self, prob, most):
        x, y = masked(prob=prob, max_predictions=most)
        pieces = x["padding_mask"].sum(axis=1) - 3
        expected = np.minimum(np.maximum(1, np.rint(pieces * prob)), most)
        np.testing.assert_array_equal(y["masked_weights"].sum(axis=1), expected)

    def test_every_place_and_piece_is_chosen_alike(self):
        x = pack_pairs([SegmentPair(WORDS[:40], WORDS[40:80], False)] * 4000, 83, TABLES)
        y = mask_tokens(x["token_ids"], TABLES, np.random.default_rng(3), 0.15, 20, False)
        counts = np.bincount(y["masked_positions"].ravel()[y["masked_weights"].ravel() == 1])
        places = [i for i in range(1, 82) if i != 41]
        expected = 4000 * 12 / 80
        chi_square = ((counts[places] - expected) ** 2 / expected).sum()
        # 79 degrees of freedom: mean 79, standard deviation 12.6. (Drawing without replacement
        # makes it smaller by 15%.)
        assert 30 < chi_square < 79 + 5 * 12.6
        assert counts[[0, 41]].tolist() == [0, 0]

    @parameterized.parameters(False, True)
    def test_eighty_ten_ten(self, whole_word):
        x, y = masked(whole_word=whole_word)
        rows, slots = np.nonzero(y["masked_weights"])
        old = y["masked_ids"][rows, slots]
        new = y["token_ids"][rows, y["masked_positions"][rows, slots]]
        n = len(old)
        assert n > 15_000
        replaced = (new != old) & (new != TOKENIZER.mask_token_id)
        for share, expected in [
            ((new == TOKENIZER.mask_token_id).mean(), 0.8),
            # A random piece is the old one now and then.
            (replaced.mean(), 0.1 * (1 - 1 / 150)),
            ((new == old).mean(), 0.1 * (1 + 1 / 150)),
        ]:
            assert abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / n)
        # Random pieces: all of the vocabulary but the special and the unused ones, evenly.
        counts = np.bincount(new[replaced], minlength=len(VOCABULARY))
        allowed = np.concatenate([WORDS, SUFFIXES])
        assert counts.sum() == counts[allowed].sum()
        expected = counts.sum() / len(allowed)
        chi_square = ((counts[allowed] - expected) ** 2 / expected).sum()
        assert chi_square < 149 + 5 * np.sqrt(2 * 149)
        # Nothing else was touched.
        assert (x["token_ids"] != y["token_ids"]).sum() == (new != old).sum()

    def test_whole_words(self):
        x, y = masked(whole_word=True)
        continues = TABLES.continues_word & TABLES.is_maskable
        for row in range(500):
            ids, length = x["token_ids"][row], x["padding_mask"][row].sum()
            chosen = set(y["masked_positions"][row][y["masked_weights"][row] == 1].tolist())
            for i in range(2, length):
                # A continuation stands or falls with the piece before it, unless that is special.
                if continues[ids[i]] and TABLES.is_maskable[ids[i - 1]]:
                    assert (i in chosen) == (i - 1 in chosen)
        pieces = x["padding_mask"].sum(axis=1) - 3
        budget = np.minimum(np.maximum(1, np.rint(pieces * 0.15)), 20)
        counts = y["masked_weights"].sum(axis=1)
        assert (counts <= budget).all()
        assert counts.sum() > 0.97 * budget.sum()

    def test_whole_word_longer_than_the_budget(self):
        word = np.concatenate([WORDS[:1], SUFFIXES[:30]])
        x = pack_pairs([SegmentPair(word, word, False)], 70, TABLES)
        y = mask_tokens(x["token_ids"], TABLES, np.random.default_rng(0), 0.15, 20, True)
        assert not y["masked_weights"].any()
        np.testing.assert_array_equal(y["token_ids"], x["token_ids"])

    def test_vocabularies_that_cannot_be_masked(self):
        with pytest.raises(ValueError, match=r"no \[MASK\] piece\. Add a line `\[MASK\]`"):
            piece_tables(kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "word"]))
        with pytest.raises(ValueError, match="special tokens only"):
            piece_tables(kbl.BertTokenizer(SPECIAL))
