"""Sentence splitting: the rules by example, the properties on random and hostile text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_bert_lib.data import read_documents, split_sentences

# A bar stands where a sentence ends.
CASES = [
    "It rained.| Nobody came.| Why?| Because!",
    "One line\nwrapped over two.| And\tmore.",
    "Dr. Grey met Mrs. Lee, Prof. Ng et al. in St. Ives.| They ate.",
    "J. R. R. Tolkien and C. S. Lewis met.| So do I.| He said it isn't.| Good.",
    "The U.S. Army moved at 9 a.m. on 3 Jan. 1990.| It was cold.",
    "Pi is 3.14 and e is 2.718.| See example.org or v1.2.3.| Done.",
    '"Why?" he asked.| "I won’t!" she said.| (It was late.)| [Yes!]| “Good.”| Fine.',
    "Wait... what?| Well…| He left.| No... Never.".replace("... N", "...| N"),
    "What?!| No!!!| So?",
    "It cost 5.| Then 6.| No. 7 came last.| No.| He went.",
    "1. Introduction.| 2. Method.| In 1990.| It ended.",
    "Apples, pears etc. are fruit.| Acme Inc. sells them.| He works at Acme Inc.| She too.",
    "今天下雨。|没有人来！|为什么？|「因为。」|他说。",
    "وصل القطار.| هل رأيته؟| نعم.",
    "वह आया।| वह गया।",
    "all in small letters .| no capitals at all .| nothing .",
    "No stop at the end",
    "",
    " \n\t ",
    "...",
    "!",
]


@pytest.mark.parametrize("case", CASES)
def test_rules(case):
    expected = [" ".join(s.split()) for s in case.split("|") if s.strip()]
    assert [" ".join(s.split()) for s in split_sentences(case.replace("|", ""))] == expected


def without_spaces(text):
    return "".join(text.split())


@given(st.text(alphabet=st.sampled_from("aB1.!?…。！\"'”)]( \n\u00a0I") | st.characters()))
def test_every_character_is_kept_in_order(text):
    sentences = split_sentences(text)
    assert without_spaces("".join(sentences)) == without_spaces(text)
    assert all(sentence == sentence.strip() != "" for sentence in sentences)


def test_hostile_text_takes_linear_time():
    patterns = [
        ".",
        "a.",
        "A. ",
        ". ",
        '."',
        " ",
        '" ',
        "! ",
        "1. ",
        "Mr. ",
        "x",
        "....x",
        "。",
        "(“",
    ]
    started = time.monotonic()
    for pattern in patterns:
        text = pattern * (300_000 // len(pattern))
        assert without_spaces("".join(split_sentences(text))) == without_spaces(text)
    # Quadratic time would take an hour; this is no timing of the machine.
    assert time.monotonic() - started < 120


@pytest.mark.shared_data
def test_sentences_of_a_novel(shared_data):
    documents = list(read_documents(shared_data / "gutenberg" / "Emma_158.txt"))
    sentences = [sentence for document in documents for sentence in document]
    words = sum(len(sentence.split()) for sentence in sentences)
    # English prose of the time: some twenty words a sentence, few of them broken at "Mr."
    assert 12 < words / len(sentences) < 30
    assert sum(s.endswith((" Mr.", " Mrs.", " Dr.")) for s in sentences) <= 2
    assert sum(s.endswith((".", "!", "?", "”", "_", ")")) for s in sentences) > 0.85 * len(
        sentences
    )
