"""The metric of each task, as `verify` reports it of a model and of its file."""

import re
import string

import numpy as np


def accuracy(found, right):
    """Returns the share of answers that are the right ones; both are lists."""
    return float(np.mean([a == b for a, b in zip(found, right)]))


def micro_f1(found, right):
    """Returns the F1 of all labels, or entities, of all texts together.

    Args:
        found: list of sets.
        right: list of sets.

    Returns:
        float; 1 where there is nothing to find and nothing was found.
    """
    hits = sum(len(a & b) for a, b in zip(found, right))
    total = sum(len(a) + len(b) for a, b in zip(found, right))
    return 2 * hits / total if total else 1.0


def spearman(found, right):
    """Returns the rank correlation of two lists of numbers; NaN where one is constant."""
    a, b = _ranks(found), _ranks(right)
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm else float("nan")


def exact_match(found, right):
    """Returns the share of answers that are, but for case, articles and punctuation, right.

    Args:
        found: list of str.
        right: list with a list of str for each, all of which are right; an empty one where the
            right answer is none.

    References:
        - [Rajpurkar et al., 2016](https://arxiv.org/abs/1606.05250)
    """
    hits = [
        _normalized(answer) in [_normalized(text) for text in texts or [""]]
        for answer, texts in zip(found, right)
    ]
    return float(np.mean(hits))


def _ranks(values):
    """Returns the rank of each value, float64 `[n]`; equal ones share the mean of theirs."""
    values = np.asarray(values, np.float64).ravel()
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + last - 1) / 2)[inverse.ravel()]


def _normalized(text):
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())
