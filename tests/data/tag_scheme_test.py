"""Schemes of tags: which one it is, and sentences put in its order."""

import hypothesis
import pytest
from hypothesis import strategies as st
from seqeval import scheme as schemes
from seqeval.metrics.sequence_labeling import get_entities

from keras_bert_lib.data.tag_scheme import all_labels, find_scheme, in_order

SCHEMES = {
    "BIO": ("BI", schemes.IOB2),
    "IOBES": ("BIES", schemes.IOBES),
    "BILOU": ("BILU", schemes.BILOU),
}


@pytest.mark.parametrize("name", SCHEMES)
@hypothesis.given(data=st.data())
@hypothesis.settings(deadline=None, max_examples=150)
def test_any_order_is_read_as_the_entities_that_it_tells(name, data):
    prefixes, strict = SCHEMES[name]
    tags = {f"{prefix}-{type_}" for prefix in prefixes for type_ in ("per", "loc")}
    scheme = find_scheme(tags)
    assert scheme.name == name
    given = data.draw(st.lists(st.sampled_from(["O", *sorted(tags)]), min_size=1, max_size=12))
    found = in_order(given, scheme)
    assert in_order(found, scheme) == found
    # seqeval reads any order of the tags that it knows, and, if told, only those of the scheme.
    as_iobes = str.maketrans("LU", "ES") if name == "BILOU" else {}
    lenient = [[tag.translate(as_iobes) for tag in row] for row in (given, found)]
    entities = get_entities(lenient[0])
    assert get_entities(lenient[1]) == entities
    if entities:
        in_scheme = schemes.Entities([found], strict).entities[0]
        assert [(e.tag, e.start, e.end - 1) for e in in_scheme] == entities


def test_schemes():
    for tags, expected in [
        ({"O", "B-x"}, "BIO"),
        ({"O", "I-x"}, "BIO"),
        ({"B-x", "I-x", "E-x"}, "IOBES"),
        ({"B-x", "U-x"}, "BILOU"),
        ({"B-x", "M-x", "W-y"}, "BMEWO"),
    ]:
        assert find_scheme(tags).name == expected
    assert find_scheme({"NN", "VB", "O"}) is None
    assert find_scheme({"O", "E-mail", "person"}) is None
    for tags in ({"B-x", "person"}, {"B-x", "E-x", "L-x"}, {"B-x", "X-y"}):
        with pytest.raises(ValueError, match=r"the prefixes of one scheme.*Received: "):
            find_scheme(tags)


def test_iob1_becomes_bio():
    tags = ["I-per", "I-per", "B-per", "O", "I-loc", "I-per"]
    expected = ["B-per", "I-per", "B-per", "O", "B-loc", "B-per"]
    assert in_order(tags, find_scheme(set(tags))) == expected


def test_labels():
    bio = find_scheme({"B-x"})
    assert all_labels({"B-x", "O", "B-a"}, bio) == ["O", "B-a", "I-a", "B-x", "I-x"]
    scheme = find_scheme({"B-x", "S-x"})
    assert all_labels({"S-x"}, scheme) == ["O", "B-x", "I-x", "E-x", "S-x"]
    assert all_labels({"VB", "O", "NN"}, None) == ["O", "NN", "VB"]
