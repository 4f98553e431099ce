"""Documents of piece ids to the segments of examples: the three objectives of pretraining."""

import bisect
import itertools
from typing import NamedTuple

import numpy as np


class SegmentPair(NamedTuple):
    """One example before it is masked and packed."""

    tokens_a: np.ndarray  # [a] int32
    tokens_b: np.ndarray  # [b] int32; empty where there is one segment only
    label: int  # 1 where the second segment is random, or where the two are swapped


def next_sentence_pairs(documents, rng, max_tokens, short_seq_prob, pool_size):
    """Draws pairs of segments: half followed by what comes next, half by another document's.

    A pool of `pool_size` documents is held. One of them at a time is taken out at random and made
    into pairs, the next document of the stream taking its place. Its random next segments come from
    the others in the pool, never from itself; every sentence of the others is as likely as any, so
    that headings and other short documents do not stand for "random".

    Args:
        documents: iterable of `TokenizedDocument` without sentences over `max_tokens`; two at
            least.
        rng: `np.random.Generator`.
        max_tokens: the most pieces of both segments together.
        short_seq_prob: the share of pairs that aim at fewer pieces, drawn from 2 to `max_tokens`,
            so that the encoder meets short texts too.
        pool_size: documents held.

    Yields:
        `SegmentPair`; its label is 1 where the second segment is random.

    Raises:
        ValueError: if there are fewer than two documents.

    References:
        - google-research/bert, `create_pretraining_data.py`
    """
    documents = iter(documents)
    pool = list(itertools.islice(documents, max(2, pool_size)))
    check_enough_documents(len(pool))
    sizes = np.array([len(document.splits) - 1 for document in pool])  # [pool] sentences
    for newcomer in documents:
        drawn = rng.integers(len(pool))
        document, pool[drawn], sizes[drawn] = pool[drawn], newcomer, len(newcomer.splits) - 1
        yield from _next_sentence_pairs(document, pool, sizes, rng, max_tokens, short_seq_prob)
    # The stream is over. What is left stays in the pool, but is not drawn for itself.
    for drawn in rng.permutation(len(pool)):
        others = sizes.copy()
        others[drawn] = 0
        yield from _next_sentence_pairs(pool[drawn], pool, others, rng, max_tokens, short_seq_prob)


def check_enough_documents(count):
    """Raises unless there is a document and another one."""
    if count < 2:
        raise ValueError(
            "Next-sentence prediction needs two documents at least, to draw the random sentence "
            "from another one. Separate documents by a blank line, or take the objective "
            f'"sentence_order" or "none". Received: {count} document{"" if count == 1 else "s"}'
        )


def sentence_order_pairs(documents, rng, max_tokens, short_seq_prob, pool_size):
    """Draws pairs of segments that follow each other, half of them swapped.

    The arguments are those of `next_sentence_pairs`; one document is enough. Documents of a single
    sentence have no order and make no pair.

    Yields:
        `SegmentPair`; its label is 1 where the segments are swapped.

    References:
        - Lan et al., "ALBERT" (2020), https://arxiv.org/abs/1909.11942, section 3.1
    """
    for ids, splits in shuffled(documents, pool_size, rng):
        splits = splits.tolist()
        last = len(splits) - 1
        i = 0 if last > 1 else last
        while i < last:
            end = _end(splits, i, _target(rng, max_tokens, short_seq_prob))
            i = min(i, end - 2)  # The last sentence, left over, takes the one before it along.
            a_end = int(rng.integers(i + 1, end))
            tokens_a, tokens_b = _truncate(
                ids[splits[i] : splits[a_end]], ids[splits[a_end] : splits[end]], max_tokens, rng
            )
            if rng.random() < 0.5:
                yield SegmentPair(tokens_b, tokens_a, 1)
            else:
                yield SegmentPair(tokens_a, tokens_b, 0)
            i = end


def single_segments(documents, rng, max_tokens, short_seq_prob, pool_size):
    """Cuts documents into segments, all of `max_tokens` but short ones and ends of documents.

    The arguments are those of `next_sentence_pairs`; one document is enough. Segments end within
    sentences, so that no piece is lost and no position is padding.

    Yields:
        `SegmentPair` without a second segment.

    References:
        - Liu et al., "RoBERTa" (2019), https://arxiv.org/abs/1907.11692, section 4.2
    """
    nothing = np.zeros(0, np.int32)
    for ids, _ in shuffled(documents, pool_size, rng):
        i = 0
        while i < len(ids):
            end = i + _target(rng, max_tokens, short_seq_prob)
            yield SegmentPair(ids[i:end], nothing, 0)
            i = end


def shuffled(items, size, rng):
    """Yields the items in a random order, holding `size` of them."""
    items = iter(items)
    held = list(itertools.islice(items, size))
    for item in items:
        place = rng.integers(len(held))
        yield held[place]
        held[place] = item
    rng.shuffle(held)
    yield from held


def _next_sentence_pairs(document, pool, sizes, rng, max_tokens, short_seq_prob):
    """Yields the pairs of one document; `sizes` are the sentences to draw from in the pool."""
    ids, splits = document.ids, document.splits.tolist()
    ends = np.cumsum(sizes)
    last = len(splits) - 1
    i = 0
    while i < last:
        target = _target(rng, max_tokens, short_seq_prob)
        end = _end(splits, i, target)
        is_random = rng.random() < 0.5
        if end - i == 1:
            # The last sentence is left over. The one before it goes with it if a next sentence is
            # wanted; a document of one sentence has none, whatever is wanted.
            is_random = is_random or last == 1
            i = i if is_random else i - 1
        a_end = end if end - i == 1 else int(rng.integers(i + 1, end))

        tokens_a = ids[splits[i] : splits[a_end]]
        if is_random:
            target_b = max(1, target - len(tokens_a))
            tokens_b = _random_segment(pool, sizes, ends, target_b, rng)
            i = a_end  # What was not used opens the next pair.
        else:
            tokens_b = ids[splits[a_end] : splits[end]]
            i = end
        yield SegmentPair(*_truncate(tokens_a, tokens_b, max_tokens, rng), int(is_random))


def _target(rng, max_tokens, short_seq_prob):
    """The pieces that an example aims at."""
    if rng.random() < short_seq_prob:
        return int(rng.integers(2, max_tokens + 1))
    return max_tokens


def _end(splits, i, target):
    """Where sentences from `i` on reach the target, two of them at least if there are."""
    return min(max(bisect.bisect_left(splits, splits[i] + target), i + 2), len(splits) - 1)


def _random_segment(pool, sizes, ends, target, rng):
    """Sentences in a row from anywhere in the pool, until the target is reached."""
    sentence = int(rng.integers(ends[-1]))
    drawn = int(np.searchsorted(ends, sentence, side="right"))
    ids, splits = pool[drawn]
    start = sentence - int(ends[drawn] - sizes[drawn])
    end = min(int(np.searchsorted(splits, splits[start] + target)), len(splits) - 1)
    return ids[splits[start] : splits[end]]


def _truncate(tokens_a, tokens_b, max_tokens, rng):
    """Shortens the longer segment, then both in turn; each piece from the front or the back."""
    a, b = len(tokens_a), len(tokens_b)
    if a + b <= max_tokens:
        return tokens_a, tokens_b
    # Each segment is sure of half the room; where both need more, the odd piece goes to the first.
    keep_b = min(b, max(max_tokens // 2, max_tokens - a))
    return _cut(tokens_a, max_tokens - keep_b, rng), _cut(tokens_b, keep_b, rng)


def _cut(tokens, keep, rng):
    front = int(rng.binomial(len(tokens) - keep, 0.5))
    return tokens[front : front + keep]
