"""The prefixes of words' tags that tell where an entity begins and ends."""

from typing import NamedTuple


class _Scheme(NamedTuple):
    """What stands before the type, of each word of an entity."""

    name: str
    first: str
    inner: str
    last: str
    single: str  # of an entity of one word


_BIO = _Scheme("BIO", "B-", "I-", "I-", "B-")
_SCHEMES = (
    _Scheme("IOBES", "B-", "I-", "E-", "S-"),
    _Scheme("BILOU", "B-", "I-", "L-", "U-"),
    _Scheme("BMEWO", "B-", "M-", "E-", "W-"),
)
_BEGINS = ("B-", "S-", "U-", "W-")
_ENDS = ("E-", "L-", "S-", "U-", "W-")


def find_scheme(tags):
    """Returns the scheme of a set of tags, or None where they have no prefixes.

    Raises:
        ValueError: if some tags have prefixes and some have none, or prefixes of different schemes
            are mixed.
    """
    if not any(tag.startswith(("B-", "I-")) for tag in tags):
        return None
    prefixes = {}  # of each a tag
    for tag in sorted(tags):
        if tag != "O":
            prefixes.setdefault(tag[:2], tag)
    for scheme in (_BIO, *_SCHEMES):
        if set(prefixes) <= set(scheme[1:]):
            return scheme
    raise ValueError(
        "Tags must be O, or have the prefixes of one scheme: BIO, IOBES, BILOU or BMEWO. "
        f"Received: {', '.join(prefixes.values())}"
    )


def in_order(tags, scheme):
    """Returns the tags of a sentence as the scheme has them, where their order is not of it.

    What is an entity does not change by it: a run of words of one type, which a tag that begins
    one, or ends the one before, divides. So I- after O begins an entity, which is how IOB1 has it.

    Args:
        tags: list of str.
        scheme: what `find_scheme` returns.
    """
    begins = []  # whether an entity begins with each word
    before = "O"
    for tag in tags:
        goes_on = before[2:] == tag[2:] and before != "O" and not before.startswith(_ENDS)
        begins.append(tag != "O" and not (goes_on and not tag.startswith(_BEGINS)))
        before = tag
    mended = []
    for i, tag in enumerate(tags):
        is_last = i + 1 == len(tags) or tags[i + 1] == "O" or begins[i + 1]
        if tag == "O":
            mended.append(tag)
        elif begins[i]:
            mended.append((scheme.single if is_last else scheme.first) + tag[2:])
        else:
            mended.append((scheme.last if is_last else scheme.inner) + tag[2:])
    return mended


def all_labels(tags, scheme):
    """Returns the labels for tags, in the order of their ids.

    With a scheme each type has all of its prefixes: a longer entity than those of the training data
    must not be one that no label is there for.

    Args:
        tags: set of str, those that occur.
        scheme: what `find_scheme` returns.
    """
    if scheme is None:
        return sorted(tags, key=lambda tag: (tag != "O", tag))
    prefixes = dict.fromkeys(scheme[1:])  # each once
    types = sorted({tag[2:] for tag in tags if tag != "O"})
    return ["O", *(prefix + name for name in types for prefix in prefixes)]
