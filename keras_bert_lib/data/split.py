"""Divides what a reader returned in two."""

import collections
import random

import numpy as np
from absl import logging

from keras_bert_lib.data.questions import Questions

# Fields that hold no row each.
_OF_ALL_ROWS = ("labels",)


def split(labelled, ratio, seed=0, stratify=True):
    """Divides what a reader returned in two, to train on one part and to measure on the other.

    Both keep the order of the rows. Questions on one context stay together, so that none is
    measured on a text that another was trained on.

    Args:
        labelled: `LabelledTexts`, `LabelledTokens`, `Questions`, `LabelledChoices` or `TextPairs`.
        ratio: float above 0 and below 1, the share of the rows that goes to the second part.
        seed: int; the same seed divides alike.
        stratify: bool. Of texts with one label each, whether as large a share of each label goes to
            the second part, of one with two rows or more at least one, and never all. A label with
            a single row stays in the first part, and is logged.

    Returns:
        `(first, second)`, two of the same kind.

    Raises:
        ValueError: `ratio` is no such number, or a part would be empty, as where each row has a
            label of its own.

    Example:
        >>> import keras_bert_lib as kbl
        >>> texts = kbl.data.read_labelled_texts([(str(i), i % 2) for i in range(10)])
        >>> train, held_out = kbl.data.split(texts, 0.2)
        >>> len(train.texts), held_out.label_ids.tolist()
        (8, [1, 0])
    """
    if not 0 < ratio < 1:
        raise ValueError(f"`ratio` must lie between 0 and 1, both excluded. Received: {ratio}")
    names = [name for name in labelled._fields if name not in _OF_ALL_ROWS]
    count = len(getattr(labelled, names[0]))
    groups = _strata(labelled, stratify) or {"": [[i] for i in range(count)]}
    if isinstance(labelled, Questions):
        groups = {"": _of_one_context(labelled.contexts)}
    second = set()
    alone = []
    for key, units in groups.items():  # each unit, a list of rows, stays together
        size = round(ratio * len(units))
        if len(units) > 1:
            size = min(max(size, 1), len(units) - 1)
        elif len(groups) > 1:
            alone.append(key)
            size = 0
        for unit in random.Random(f"{seed} {key}").sample(units, size):
            second.update(unit)
    if len(groups) > 1 and len(alone) == len(groups):
        raise ValueError(
            f"{count} rows cannot be divided in two parts, for no label has two of them. Read more "
            f"rows of each label. Received: {type(labelled).__name__} of {count} rows with {count} "
            "labels"
        )
    if not 0 < len(second) < count:
        raise ValueError(
            f"{count} rows cannot be divided in two parts with {ratio:.0%} of them in one. Read "
            f"more rows. Received: {type(labelled).__name__} of {count}"
        )
    if alone:
        logging.warning(
            "%d labels have one row each, which stays in the first part: %s.",
            len(alone),
            ", ".join(alone[:10]),
        )
    parts = [i for i in range(count) if i not in second], sorted(second)
    return tuple(
        labelled._replace(**{name: _rows(getattr(labelled, name), part) for name in names})
        for part in parts
    )


def _strata(labelled, stratify):
    """The rows of each label, where each row has one of several."""
    ids = getattr(labelled, "label_ids", None)
    labels = getattr(labelled, "labels", None)
    if not stratify or labels is None or ids is None or ids.ndim != 1 or ids.dtype.kind == "f":
        return None
    groups = collections.defaultdict(list)
    for i, label in enumerate(ids.tolist()):
        groups[labels[label]].append([i])
    return dict(sorted(groups.items()))


def _of_one_context(contexts):
    groups = collections.defaultdict(list)
    for i, context in enumerate(contexts):
        groups[context].append(i)
    return list(groups.values())


def _rows(column, places):
    if column is None:
        return None
    if isinstance(column, np.ndarray):
        return column[places]
    return [column[i] for i in places]
