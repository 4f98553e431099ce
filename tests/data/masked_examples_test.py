"""Rows and masks: shapes, statistics, and what must never be masked."""

import numpy as np
import pytest
from absl.testing import parameterized

import keras_bert_lib as kbl
from keras_bert_lib.data.masked_examples import MASKINGS, masked_batch, piece_tables
from keras_bert_lib.data.segment_pairs import SegmentPair

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
            int(rng.random() < 0.5),
        )
        for _ in range(count)
    ]


def mask(pairs, max_length=64, max_predictions=20, prob=0.15, masking="piece", seed=0):
    """A batch of an example a row: the text, and what masking made of it."""
    rng = np.random.default_rng(seed)
    rows = [[pair] for pair in pairs]
    y = masked_batch(rows, max_length, max_predictions, TABLES, rng, prob, masking)
    plain = masked_batch(rows, max_length, 1, TABLES, rng, 0.0)
    # One piece at least is masked.
    taken = plain["masked_weights"][:, 0] == 1
    index = np.flatnonzero(taken), plain["masked_positions"][taken, 0]
    plain["token_ids"][index] = plain["masked_ids"][taken, 0]
    return plain, y


def masked(count=4000, **arguments):
    return mask(random_pairs(count, arguments.get("seed", 0)), **arguments)


class MaskedExamplesTest(parameterized.TestCase):
    def test_packing(self):
        a, b = WORDS[:3], WORDS[5:7]
        x, _ = mask([SegmentPair(a, b, 1), SegmentPair(b, a[:1], 0)], 10)
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
        assert x["labels"].tolist() == [1, 0]
        assert x["example_ids"].tolist() == x["padding_mask"].tolist()
        assert x["position_ids"].tolist() == [[*range(8), 0, 0], [*range(6), 0, 0, 0, 0]]
        ints = [name for name, array in x.items() if array.dtype == np.int32]
        assert set(x) - set(ints) == {"masked_weights", "rows", "starts"}

    def test_packing_is_the_tokenizers(self):
        texts, pairs = ["word1 word2s3", "word7"], ["word9", "word4s1s2 word5"]
        ids = [[row.numpy() for row in TOKENIZER.tokenize_ragged(rows)] for rows in (texts, pairs)]
        x, _ = mask([SegmentPair(a, b, 0) for a, b in zip(*ids)], 9)
        expected = TOKENIZER(texts, pairs, max_length=9, padding="max_length")
        for name, array in expected.items():
            np.testing.assert_array_equal(x[name], array.numpy())

    @parameterized.parameters(*MASKINGS)
    def test_labels_lead_back_to_the_text(self, masking):
        x, y = masked(500, masking=masking)
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

    @parameterized.parameters(*MASKINGS)
    def test_special_tokens_are_never_chosen(self, masking):
        _, y = masked(masking=masking)
        chosen = y["masked_ids"][y["masked_weights"] == 1]
        assert not np.isin(chosen, TOKENIZER.special_token_ids).any()

    def test_special_tokens_in_the_text_are_never_chosen(self):
        text = np.array([TOKENIZER.mask_token_id, TOKENIZER.unk_token_id, WORDS[0]], np.int32)
        _, y = mask([SegmentPair(text, text, 0)] * 200, 12, 9, prob=1.0)
        assert y["masked_weights"].sum(axis=1).tolist() == [2.0] * 200
        assert (y["masked_ids"][:, :2] == WORDS[0]).all()

    @parameterized.parameters((0.15, 20), (0.15, 3), (0.4, 40), (0.0, 20), (1.0, 64))
    def test_number_of_predictions(self, prob, most):
        x, y = masked(prob=prob, max_predictions=most)
        pieces = x["padding_mask"].sum(axis=1) - 3
        expected = np.minimum(np.maximum(1, np.rint(pieces * prob)), most)
        np.testing.assert_array_equal(y["masked_weights"].sum(axis=1), expected)

    def test_every_place_and_piece_is_chosen_alike(self):
        _, y = mask([SegmentPair(WORDS[:40], WORDS[40:80], 0)] * 4000, 83, seed=3)
        counts = np.bincount(y["masked_positions"].ravel()[y["masked_weights"].ravel() == 1])
        places = [i for i in range(1, 82) if i != 41]
        expected = 4000 * 12 / 80
        chi_square = ((counts[places] - expected) ** 2 / expected).sum()
        # 79 degrees of freedom: mean 79, standard deviation 12.6. (Drawing without replacement
        # makes it smaller by 15%.)
        assert 30 < chi_square < 79 + 5 * 12.6
        assert counts[[0, 41]].tolist() == [0, 0]

    @parameterized.parameters(*MASKINGS)
    def test_eighty_ten_ten(self, masking):
        x, y = masked(masking=masking)
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
        x, y = masked(masking="whole_word")
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
        x, y = mask([SegmentPair(word, word, 0)], 70, masking="whole_word")
        assert not y["masked_weights"].any()
        np.testing.assert_array_equal(y["token_ids"], x["token_ids"])

    def test_ngrams_are_of_one_to_three_words(self):
        # Words of one piece, so that a run of chosen pieces is a run of words.
        pairs = [SegmentPair(np.tile(WORDS, 4)[:380], WORDS[:20], 0)] * 500
        x, y = mask(pairs, 403, 20, prob=0.02, masking="ngram")
        runs = []
        for positions, weights in zip(y["masked_positions"], y["masked_weights"]):
            positions = positions[weights == 1]
            runs += [
                len(run) for run in np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1)
            ]
        shares = np.bincount(runs)[1:4] / len(runs)
        # The last one of an example fits more often if it is short.
        np.testing.assert_allclose(shares, np.array([6, 3, 2]) / 11, atol=0.08)
        assert max(runs) <= 9
        # A word's pieces go together, as when words are masked.
        x, y = masked(500, masking="ngram")
        continues = TABLES.continues_word & TABLES.is_maskable
        for ids, positions, weights in zip(
            x["token_ids"], y["masked_positions"], y["masked_weights"]
        ):
            chosen = set(positions[weights == 1].tolist())
            for i in range(2, 64):
                if continues[ids[i]] and TABLES.is_maskable[ids[i - 1]]:
                    assert (i in chosen) == (i - 1 in chosen)

    @parameterized.parameters(*MASKINGS)
    def test_a_row_is_its_examples(self, masking):
        """Where examples stand changes nothing in them: packed, they have the same masks."""
        pairs = random_pairs(60, most=12)
        pairs[7] = pairs[7]._replace(tokens_b=np.zeros(0, np.int32))
        rng = np.random.default_rng(0)
        alone = masked_batch([[p] for p in pairs], 32, 20, TABLES, rng, 0.3, masking)
        rng = np.random.default_rng(0)
        rows = [pairs[i : i + 3] for i in range(0, 60, 3)]
        x = masked_batch(rows, 96, 40, TABLES, rng, 0.3, masking)
        assert x["token_ids"].shape == (20, 96)
        examples = zip(x["rows"], x["starts"])
        for number, (row, start) in enumerate(examples):
            length = alone["padding_mask"][number].sum()
            here = slice(start, start + length)
            for name in ("token_ids", "segment_ids", "padding_mask", "position_ids"):
                np.testing.assert_array_equal(x[name][row, here], alone[name][number, :length])
            assert set(x["example_ids"][row, here]) == {number % 3 + 1}
            positions = x["masked_positions"][row] - start
            own = (positions >= 0) & (positions < length) & (x["masked_weights"][row] == 1)
            count = int(alone["masked_weights"][number].sum())
            for array, name in [
                (positions, "masked_positions"),
                (x["masked_ids"][row], "masked_ids"),
            ]:
                np.testing.assert_array_equal(array[own], alone[name][number, :count])
        assert x["masked_weights"].sum() == alone["masked_weights"].sum()
        np.testing.assert_array_equal(x["padding_mask"], x["example_ids"] > 0)
        np.testing.assert_array_equal(x["labels"], alone["labels"])

    def test_vocabularies_that_cannot_be_masked(self):
        with pytest.raises(ValueError, match=r"no \[MASK\] piece\. Add a line `\[MASK\]`"):
            piece_tables(kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "word"]))
        with pytest.raises(ValueError, match="special tokens only"):
            piece_tables(kbl.BertTokenizer(SPECIAL))
