"""The texts that are given to models: checks, and batches of those that are about as long."""

import re

import numpy as np


def check_texts(texts, name):
    """Returns the argument called `name` as a list of strings.

    Raises:
        ValueError: if it is none.
    """
    if isinstance(texts, (str, bytes)):
        raise ValueError(
            f"`{name}` must be a list of strings; put a single text in a list. "
            f"Received: {name}={texts!r}"
        )
    try:
        texts = list(texts)
    except TypeError:
        raise ValueError(f"`{name}` must be a list of strings. Received: {texts!r}") from None
    for i, text in enumerate(texts):
        if not isinstance(text, (str, bytes)):
            raise ValueError(f"`{name}` must hold strings only. Received at index {i}: {text!r}")
    return texts


def check_pairs(texts, seconds, name):
    """Returns the argument called `name`, the second texts, as a list of strings.

    Args:
        texts: list of str, the first texts.
        seconds: list of str, as many.
        name: str.

    Raises:
        ValueError: if it is none, or not as long as the texts.
    """
    seconds = check_texts(seconds, name)
    if len(seconds) != len(texts):
        raise ValueError(
            f"`{name}` must be as long as `texts`. "
            f"Received: {len(texts)} texts, {len(seconds)} {name}"
        )
    return seconds


def readable(text):
    """Returns a text, str or bytes, as a str that UTF-8 can hold: offsets count its characters."""
    if isinstance(text, bytes):
        return text.decode("utf-8", "replace")
    return re.sub("[\ud800-\udfff]", "\ufffd", text)  # surrogates that have no partner


def batches_of_like_length(lengths, batch_size):
    """Divides texts into batches of which little is padding.

    Args:
        lengths: list of int, one a text, in whichever unit.
        batch_size: int.

    Returns:
        List of int arrays `[b]`: which texts make a batch.

    Raises:
        ValueError: if `batch_size` is not positive.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(
            f"`batch_size` must be a positive integer. Received: batch_size={batch_size!r}"
        )
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
