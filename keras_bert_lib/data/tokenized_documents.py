"""Documents of sentences to documents of piece ids."""

import itertools
from typing import NamedTuple

import numpy as np

# Characters that go through the tokenizer at once: enough to make the calls cheap.
_TOKENIZER_CHARACTERS = 65_536


class TokenizedDocument(NamedTuple):
    """The pieces of a document, end to end, so that sentences in a row are a slice."""

    ids: np.ndarray  # [n] int32
    splits: np.ndarray  # [sentences + 1] int: where each sentence starts, and n; none is empty


def tokenize_documents(documents, tokenizer):
    """Tokenizes documents, many at a time.

    Args:
        documents: iterable of documents, each a list of str, its sentences.
        tokenizer: `BertTokenizer`.

    Yields:
        `TokenizedDocument`. Documents of which no piece is left are dropped.
    """
    pending, characters = [], 0
    for document in documents:
        pending.append(document)
        characters += sum(map(len, document))
        if characters >= _TOKENIZER_CHARACTERS:
            yield from tokenize_batch(pending, tokenizer)
            pending, characters = [], 0
    if pending:
        yield from tokenize_batch(pending, tokenizer)


def tokenize_batch(documents, tokenizer):
    """Yields the `TokenizedDocument` of each document of a list that is not empty of pieces."""
    ragged = tokenizer.tokenize_ragged([s for document in documents for s in document])
    values, splits = ragged.values.numpy(), ragged.row_splits.numpy()
    ends = np.cumsum([len(document) for document in documents])
    for start, end in zip([0, *ends], ends):
        own = np.unique(splits[start : end + 1])  # without those of empty sentences
        if len(own) > 1:
            # Copies: views would keep the ids of the whole batch in memory.
            yield TokenizedDocument(values[own[0] : own[-1]].copy(), own - own[0])


def cut_sentences(document, max_tokens):
    """Returns the document with sentences over `max_tokens` pieces cut into parts.

    So text without punctuation is used whole, and not only up to its first truncation.
    """
    ids, splits = document
    if np.diff(splits).max() <= max_tokens:
        return document
    parts = [range(start, end, max_tokens) for start, end in itertools.pairwise(splits.tolist())]
    return TokenizedDocument(ids, np.array([*itertools.chain(*parts), len(ids)]))
