"""Pairs of segments: where they come from, their balance, their lengths."""

import numpy as np
import pytest
from absl.testing import parameterized

from keras_bert_lib.data.segment_pairs import (
    _truncate,
    next_sentence_pairs,
    sentence_order_pairs,
    single_segments,
)
from keras_bert_lib.data.tokenized_documents import TokenizedDocument


def make_documents(count, sentences=(2, 30), pieces=(1, 40), seed=0):
    """Documents whose piece ids are all different, and tell where they stand.

    An id is document * 10,000 + place, counted over the document's pieces.
    """
    rng = np.random.default_rng(seed)
    documents = []
    for number in range(count):
        sizes = rng.integers(*pieces, size=rng.integers(*sentences))
        ids = (number * 10_000 + np.arange(sizes.sum())).astype(np.int32)
        documents.append(TokenizedDocument(ids, np.concatenate([[0], np.cumsum(sizes)])))
    return documents


def draw(
    documents, seed=0, max_tokens=61, short_seq_prob=0.1, pool_size=20, make=next_sentence_pairs
):
    rng = np.random.default_rng(seed)
    return list(make(documents, rng, max_tokens, short_seq_prob, pool_size))


def is_run(tokens):
    """Whether the pieces stand one after the other in one document."""
    return (np.diff(tokens) == 1).all()


class NextSentencePairsTest(parameterized.TestCase):
    # A pool smaller than the corpus, as large, and larger.
    @parameterized.parameters(2, 20, 100, 500)
    def test_origins_and_lengths(self, pool_size):
        documents = make_documents(100)
        pairs = draw(documents, pool_size=pool_size)
        for tokens_a, tokens_b, is_random in pairs:
            assert len(tokens_a) > 0
            assert len(tokens_b) > 0
            assert len(tokens_a) + len(tokens_b) <= 61
            assert is_run(tokens_a)
            assert is_run(tokens_b)
            same_document = tokens_a[0] // 10_000 == tokens_b[0] // 10_000
            assert same_document != is_random
            if not is_random:
                assert tokens_a[-1] < tokens_b[0]
        # Every document is used.
        assert {int(pair.tokens_a[0]) // 10_000 for pair in pairs} == set(range(100))

    def test_next_is_next(self):
        # Short sentences and a wide target: nothing is truncated.
        documents = make_documents(100, pieces=(1, 3))
        for tokens_a, tokens_b, is_random in draw(documents, max_tokens=500):
            assert is_random or tokens_b[0] == tokens_a[-1] + 1

    @parameterized.parameters((2, 3), (2, 6), (3, 4), (20, 60))
    def test_half_are_random(self, least, most):
        pairs = draw(make_documents(2500, sentences=(least, most)))
        share = np.mean([pair.label for pair in pairs])
        # Five standard deviations, and no more: short documents must not tip the balance.
        assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(len(pairs))

    def test_one_sentence_documents_have_random_next(self):
        pairs = draw(make_documents(50, sentences=(1, 2)))
        assert len(pairs) == 50
        assert all(pair.label for pair in pairs)

    def test_unused_sentences_are_put_back(self):
        documents = make_documents(300, pieces=(3, 12))
        pairs = draw(documents, max_tokens=1000, short_seq_prob=0)
        firsts = {int(p.tokens_a[0]) for p in pairs} | {
            int(p.tokens_b[0]) for p in pairs if not p.label
        }
        covered = np.concatenate(
            [p.tokens_a for p in pairs] + [p.tokens_b for p in pairs if not p.label]
        )
        everything = np.concatenate([document.ids for document in documents])
        assert set(covered.tolist()) == set(everything.tolist())
        assert len(firsts) > 300

    def test_random_sentences_are_spread_evenly(self):
        # One long document among short ones: it is drawn as often as it has sentences.
        documents = make_documents(90, sentences=(10, 11)) + [
            TokenizedDocument(10_000_000 + np.arange(500) // 5, np.arange(0, 501, 5))
        ]
        draws = [p.tokens_b[0] for seed in range(30) for p in draw(documents, seed, pool_size=200)
                 if p.label and p.tokens_a[0] < 10_000_000]  # fmt: skip
        share = np.mean(np.array(draws) >= 10_000_000)
        expected = 100 / (100 + 890)
        assert abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / len(draws))

    def test_short_targets(self):
        documents = make_documents(200, sentences=(40, 60), pieces=(2, 8))
        lengths = {
            prob: np.mean(
                [len(p.tokens_a) + len(p.tokens_b) for p in draw(documents, 0, 125, prob)]
            )
            for prob in (0.0, 0.1, 1.0)
        }
        assert lengths[0.0] > 90
        assert lengths[0.0] > lengths[0.1] > lengths[1.0] + 20

    def test_same_seed_same_pairs(self):
        documents = make_documents(60)
        first, again, other = draw(documents, 7), draw(documents, 7), draw(documents, 8)
        assert len(first) == len(again)
        for a, b in zip(first, again):
            np.testing.assert_array_equal(a.tokens_a, b.tokens_a)
            np.testing.assert_array_equal(a.tokens_b, b.tokens_b)
            assert a.label == b.label
        assert [p.tokens_a[0] for p in first] != [p.tokens_a[0] for p in other]

    @parameterized.parameters(0, 1)
    def test_too_few_documents(self, count):
        with pytest.raises(ValueError, match=f"two documents at least.*Received: {count} document"):
            draw(make_documents(count))

    @parameterized.parameters(
        (30, 10, 20, 10, 10), (10, 30, 20, 10, 10), (30, 3, 20, 17, 3), (3, 30, 20, 3, 17),
        (30, 30, 21, 11, 10), (5, 5, 20, 5, 5), (40, 40, 2, 1, 1), (1, 9, 2, 1, 1),
    )  # fmt: skip
    def test_truncation(self, a, b, most, kept_a, kept_b):
        rng = np.random.default_rng(0)
        starts = set()
        for _ in range(50):
            tokens_a, tokens_b = _truncate(np.arange(a), np.arange(b), most, rng)
            assert (len(tokens_a), len(tokens_b)) == (kept_a, kept_b)
            assert is_run(tokens_a)
            assert is_run(tokens_b)
            starts.add(int(tokens_a[0]))
        # Pieces go from the front and from the back.
        assert len(starts) > 1 or a - kept_a < 2

    def test_swapped_segments(self):
        documents = make_documents(300, sentences=(1, 12), pieces=(1, 30))
        pairs = draw(documents, make=sentence_order_pairs)
        for tokens_a, tokens_b, is_swapped in pairs:
            assert len(tokens_a) + len(tokens_b) <= 61
            assert is_run(tokens_a)
            assert is_run(tokens_b)
            assert tokens_a[0] // 10_000 == tokens_b[0] // 10_000
            assert (tokens_a[0] > tokens_b[0]) == is_swapped
        share = np.mean([pair.label for pair in pairs])
        assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(len(pairs))
        # A document of a single sentence has no order; of every other one, the whole is used.
        used = {int(pair.tokens_a[0]) // 10_000 for pair in pairs}
        expected = [number for number, d in enumerate(documents) if len(d.splits) > 2]
        assert used == set(expected)
        assert 0 < len(expected) < 300

    def test_order_uses_every_sentence(self):
        documents = make_documents(50, sentences=(2, 12), pieces=(1, 6))
        pairs = draw(documents, max_tokens=500, short_seq_prob=0.5, make=sentence_order_pairs)
        pieces = np.concatenate([tokens for pair in pairs for tokens in pair[:2]])
        assert set(pieces.tolist()) == set(np.concatenate([d.ids for d in documents]).tolist())

    def test_single_segments_are_the_documents(self):
        documents = make_documents(100)
        segments = draw(documents, make=single_segments)
        assert all(len(tokens_b) == 0 for _, tokens_b, _ in segments)
        assert all(is_run(tokens_a) for tokens_a, _, _ in segments)
        pieces = np.concatenate([tokens_a for tokens_a, _, _ in segments])
        everything = np.concatenate([d.ids for d in documents])
        np.testing.assert_array_equal(np.sort(pieces), everything)
        lengths = np.array([len(tokens_a) for tokens_a, _, _ in segments])
        assert lengths.max() == 61
        assert np.mean(lengths == 61) > 0.6

    @parameterized.parameters(sentence_order_pairs, single_segments)
    def test_one_document_is_enough(self, make):
        (document,) = make_documents(1, sentences=(5, 6))
        assert draw([document], make=make)
