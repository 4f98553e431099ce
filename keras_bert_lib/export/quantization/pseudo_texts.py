"""Texts of random words, for want of real ones."""

import random

_NUMBER = 64
_WORDS = (4, 60)  # of a text


def pseudo_texts(pieces, pairs=False, choices=None):
    """Makes texts of the words of a vocabulary, drawn at random.

    They say nothing, but in a BERT the same channels are large whatever the text is, and that is
    what smoothing has to know: on MiniLM it does as well with these texts as with real ones.

    Args:
        pieces: list of str, a vocabulary.
        pairs: bool, whether to make pairs of texts.
        choices: int or None, how many second texts each first one has.

    Returns:
        List of str; with `pairs`, of `(text, text_pair)`, or with `choices` of
        `(text, [choice, ...])`. The same for the same vocabulary.
    """
    words = [x for x in pieces if x and not x.startswith("##") and not x.startswith("[")]
    draws = random.Random(0)

    def text():
        return " ".join(draws.choices(words or ["a"], k=draws.randint(*_WORDS)))

    if not pairs:
        return [text() for _ in range(_NUMBER)]
    if choices is None:
        return [(text(), text()) for _ in range(_NUMBER)]
    return [(text(), [text() for _ in range(choices)]) for _ in range(_NUMBER)]
