"""Documents of piece ids to pairs of segments: half followed by what comes next, half not."""

import itertools
from typing import NamedTuple

import numpy as np

# Characters that go through the tokenizer at once: enough to make the calls cheap.
_TOKENIZER_CHARACTERS = 65_536


class SegmentPair(NamedTuple):
    """One example before it is packed and masked."""

    tokens_a: np.ndarray  # [a] int32
    tokens_b: np.ndarray  # [b] int32, a + b <= max_tokens
    is_random: bool  # whether b comes from another document


def tokenize_documents(documents, tokenize, max_tokens):
    """Turns documents of sentences into documents of piece ids.

    Args:
        documents: iterable of documents, each a list of str.
        tokenize: a function of a list of str that gives (values, row splits) as NumPy arrays.
        max_tokens: longer sentences are cut into parts of this many pieces, so that text without
            punctuation is used whole and not only up to its first truncation.

    Yields:
        List of int32 arrays: the document's sentences, none empty. Documents of which no piece is
        left are dropped.
    """
    pending, characters = [], 0
    for document in documents:
        pending.append(document)
        characters += sum(map(len, document))
        if characters >= _TOKENIZER_CHARACTERS:
            yield from _tokenize_batch(pending, tokenize, max_tokens)
            pending, characters = [], 0
    if pending:
        yield from _tokenize_batch(pending, tokenize, max_tokens)


def _tokenize_batch(documents, tokenize, max_tokens):
    values, splits = tokenize([sentence for document in documents for sentence in document])
    row = 0
    for document in documents:
        sentences = []
        for start, end in itertools.pairwise(splits[row : row + len(document) + 1]):
            # A copy: a view would keep the ids of the whole batch in memory.
            sentences += [
                values[part : min(part + max_tokens, end)].copy()
                for part in range(start, end, max_tokens)
            ]
        row += len(document)
        if sentences:
            yield sentences


def next_sentence_pairs(documents, rng, max_tokens, short_seq_prob, pool_size):
    """Draws pairs of segments from a stream of documents.

    A pool of `pool_size` documents is held. One of them at a time is taken out at random and made
    into pairs, the next document of the stream taking its place. Its random next segments come from
    the others in the pool, never from itself; every sentence of the others is as likely as any, so
    that headings and other short documents do not stand for "random".

    Args:
        documents: iterable of documents, each a list of int arrays; two at least.
        rng: `np.random.Generator`.
        max_tokens: the most pieces of both segments together.
        short_seq_prob: the share of pairs that aim at fewer pieces, drawn from 2 to `max_tokens`,
            so that the encoder meets short texts too.
        pool_size: documents held.

    Yields:
        `SegmentPair`.

    Raises:
        ValueError: if there are fewer than two documents.

    References:
        - google-research/bert, `create_pretraining_data.py`
    """
    documents = iter(documents)
    pool = list(itertools.islice(documents, max(2, pool_size)))
    check_enough_documents(len(pool))
    sizes = np.array([len(document) for document in pool])  # [pool] sentences
    for newcomer in documents:
        drawn = rng.integers(len(pool))
        document, pool[drawn], sizes[drawn] = pool[drawn], newcomer, len(newcomer)
        yield from _document_pairs(document, pool, sizes, rng, max_tokens, short_seq_prob)
    # The stream is over. What is left stays in the pool, but is not drawn for itself.
    for drawn in rng.permutation(len(pool)):
        others = sizes.copy()
        others[drawn] = 0
        yield from _document_pairs(pool[drawn], pool, others, rng, max_tokens, short_seq_prob)


def check_enough_documents(count):
    """Raises unless there is a document and another one."""
    if count < 2:
        raise ValueError(
            "Next-sentence prediction needs two documents at least, to draw the random sentence "
            "from another one. Separate documents by a blank line. "
            f"Received: {count} document{'' if count == 1 else 's'}"
        )


def _document_pairs(document, pool, sizes, rng, max_tokens, short_seq_prob):
    """Yields the pairs of one document; `sizes` are the sentences to draw from in the pool."""
    ends = np.cumsum(sizes)
    i = 0
    while i < len(document):
        target = max_tokens
        if rng.random() < short_seq_prob:
            target = int(rng.integers(2, max_tokens + 1))

        # Take sentences until the target is reached, two at least, for the second may be the next.
        end, length = i, 0
        while end < len(document) and (length < target or end - i < 2):
            length += len(document[end])
            end += 1
        is_random = bool(rng.random() < 0.5)
        if end - i == 1:
            # The last sentence is left over. The one before it goes with it if a next sentence is
            # wanted; a document of one sentence has none, whatever is wanted.
            is_random = is_random or len(document) == 1
            i = i if is_random else i - 1
        a_end = end if end - i == 1 else i + int(rng.integers(1, end - i))

        tokens_a = np.concatenate(document[i:a_end])
        if is_random:
            target_b = max(1, target - len(tokens_a))
            tokens_b = _random_segment(pool, sizes, ends, target_b, rng)
            i = a_end  # What was not used opens the next pair.
        else:
            tokens_b = np.concatenate(document[a_end:end])
            i = end
        yield SegmentPair(*_truncate(tokens_a, tokens_b, max_tokens, rng), is_random)


def _random_segment(pool, sizes, ends, target, rng):
    """Sentences in a row from anywhere in the pool, until the target is reached."""
    sentence = rng.integers(ends[-1])
    drawn = np.searchsorted(ends, sentence, side="right")
    other = pool[drawn]
    start = end = int(sentence - ends[drawn] + sizes[drawn])
    length = 0
    while end < len(other) and length < target:
        length += len(other[end])
        end += 1
    return np.concatenate(other[start:end])


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
