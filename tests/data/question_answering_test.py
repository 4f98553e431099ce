"""Batches of questions with windows: those that the model reads, and answers in them."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

import keras_bert_lib as kbl
from keras_bert_lib.data import Questions, question_answering, read_questions

WORDS = ["ann", "sings", "in", "rome", "bob", "Ünal", "don't", "...", "😀", "abba", "\u200b"]
TOKENIZER = kbl.BertTokenizer(
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ann", "sings", "in", "rome", "bob", "unal"]
    + ["don", "'", "t", ".", "ab", "##ba"]
)


@pytest.fixture(scope="module")
def answerer():
    config = kbl.BertConfig.from_size(
        "tiny", vocab_size=TOKENIZER.vocabulary_size, num_layers=1, hidden_size=16
    )
    encoder = kbl.BertEncoder(config, use_pooler=False)
    return kbl.BertQuestionAnswerer(encoder, tokenizer=TOKENIZER)


def make_questions(count, longest, seed):
    """Random words; the answer is some of them, or there is none."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        words = list(rng.choice(WORDS, rng.integers(1, longest)))
        starts = np.cumsum([0, *(len(word) + 1 for word in words)])
        first = rng.integers(len(words))
        last = min(first + rng.integers(3), len(words) - 1)
        answer = " ".join(words[first : last + 1])
        has_answer = rng.random() < 0.8 and answer.strip("\u200b ")
        rows.append(
            (
                str(i),
                " ".join(rng.choice(WORDS, rng.integers(1, 6))),
                " ".join(words),
                [answer] if has_answer else [],
                [int(starts[first])] if has_answer else [],
            )
        )
    return Questions(*(list(column) for column in zip(*rows)))


def stacked(dataset):
    """All rows of a data set whose batches are padded to one length."""
    rows = list(dataset)
    return {
        name: np.concatenate([{**x, **y}[name].numpy() for x, y in rows]) for name in rows[0][0]
    }, {name: np.concatenate([y[name].numpy() for _, y in rows]) for name in rows[0][1]}


def one_hot(places, width):
    """Logits that leave no doubt."""
    return np.where(np.arange(width) == places[:, np.newaxis], 50.0, 0.0).astype("float32")


@hypothesis.given(
    seed=st.integers(0, 10_000), max_length=st.integers(16, 40), stride=st.integers(0, 12)
)
@hypothesis.settings(deadline=None, max_examples=4)
@hypothesis.example(
    seed=599, max_length=16, stride=0
)  # an answer that begins with two unseen words
def test_windows_and_answers_are_those_of_the_model(answerer, seed, max_length, stride):
    read = make_questions(12, 60, seed)
    options = {"batch_size": 5, "max_length": max_length, "shuffle": False}
    dataset = question_answering(read, TOKENIZER, stride=stride, pad_to_max_length=True, **options)
    x, y = stacked(dataset)
    answerer.stride = stride
    windows = {
        name: np.asarray(value)
        for name, value in answerer.windows(read.questions, read.contexts, max_length).items()
    }
    for name in x:
        width = windows[name].shape[1]
        np.testing.assert_array_equal(x[name][:, :width], windows[name])
        assert (x[name][:, width:] == 0).all()

    # What is learned, if it is learned, is decoded to the answer, where a window has all of it.
    width = windows["token_ids"].shape[1]
    logits = {name: one_hot(places, width) for name, places in y.items()}
    found = answerer.decode(logits, windows, "char_offsets", 12)
    spans = np.concatenate([found["answer_start"], found["answer_end"]], axis=1)
    for i, (context, answers, starts) in enumerate(
        zip(read.contexts, read.answers, read.answer_starts)
    ):
        of_text = windows["text_index"] == i
        has = y["start_logits"][of_text] > 0
        assert (has == (y["end_logits"][of_text] > 0)).all()
        assert bool(answers) or not has.any()
        if has.any():
            answer = context[spans[i][0] : spans[i][1]]
            assert answer.replace("\u200b", " ").split() == (
                answers[0].replace("\u200b", " ").split()
            )
            first = np.flatnonzero(windows["word_ids"][of_text][has.argmax()] >= 0)
            unseen = len(answers[0]) - len(answers[0].lstrip("\u200b "))  # no piece stands for it
            assert starts[0] <= spans[i][0] <= starts[0] + unseen
            assert len(first) > 0


def test_answers_that_reach_over_windows_are_in_none():
    # Windows of 3 pieces of the text without overlap: the answer is cut by each.
    context = "ann sings in rome bob"
    read = read_questions([{"question": "bob", "context": context, "answers": "sings in rome"}])
    for stride, expected in [(0, [(0, 0), (0, 0)]), (2, [(0, 0), (3, 5), (0, 0)])]:
        x, y = stacked(
            question_answering(read, TOKENIZER, max_length=7, stride=stride, batch_size=9)
        )
        places = sorted(zip(y["start_logits"].tolist(), y["end_logits"].tolist()))
        assert places == sorted(expected)
        assert len(x["token_ids"]) == len(expected)


def test_part_of_a_word_and_nothing():
    rows = [
        {"question": "bob", "context": "in abba rome", "answers": "bba"},
        {"question": "bob", "context": "in \u200b rome", "answers": "\u200b"},
        {"question": "bob", "context": "in rome", "answers": []},
    ]
    _, y = stacked(question_answering(rows, TOKENIZER, shuffle=False))
    # The pieces that hold the answer; [CLS] where there are none.
    assert y["start_logits"].tolist() == [4, 0, 0]
    assert y["end_logits"].tolist() == [5, 0, 0]


def test_shuffling_keeps_every_window_and_buckets():
    read = make_questions(200, 100, seed=1)
    dataset = question_answering(read, TOKENIZER, batch_size=8, max_length=64)

    def rows():
        return [
            (ids[mask > 0].tolist(), int(start), int(end))
            for x, y in dataset
            for ids, mask, start, end in zip(
                *(x[name].numpy() for name in ("token_ids", "padding_mask")),
                *(y[name].numpy() for name in ("start_logits", "end_logits")),
            )
        ]

    first, second = rows(), rows()
    assert first != second
    assert sorted(first) == sorted(second)
    real = sum(len(ids) for ids, _, _ in first)
    assert sum(int(tf.size(x["token_ids"])) for x, _ in dataset) < 1.2 * real


def test_streaming(tmp_path):
    read = make_questions(60, 40, seed=2)
    rows = [
        {"question": q, "context": c, "answers": a, "answer_start": s}
        for _, q, c, a, s in zip(*read)
    ]
    options = {"batch_size": 8, "max_length": 32, "pad_to_max_length": True}

    def sums(dataset):
        x, y = stacked(dataset)
        return sorted(zip(map(tuple, x["token_ids"].tolist()), y["start_logits"].tolist()))

    expected = sums(question_answering(read, TOKENIZER, **options))
    dataset = question_answering(rows, TOKENIZER, streaming=True, **options)
    assert sums(dataset) == sums(dataset) == expected


def test_errors():
    rows = [{"question": "bob", "context": "in rome", "answers": []}]
    for arguments, message in [
        ({"max_length": 4}, "`max_length` must be 5 at least"),
        ({"max_length": 32, "stride": 29}, r"`stride` must lie between 0 and 28.*Received: 29"),
        ({"stride": -1}, "`stride` must lie between"),
    ]:
        with pytest.raises(ValueError, match=message):
            question_answering(rows, TOKENIZER, **arguments)


@pytest.mark.slow
@pytest.mark.shared_data
def test_squad(shared_data, answerer):
    read = read_questions(shared_data / "squad" / "dev-v1.1.json")
    read = Questions(*(column[::60] for column in read))
    tokenizer = kbl.BertTokenizer(shared_data / "vocab" / "bert-base-uncased" / "vocab.txt")
    x, y = stacked(question_answering(read, tokenizer, shuffle=False, pad_to_max_length=True))
    offsets = tokenizer(
        read.questions,
        read.contexts,
        max_length=384,
        truncation="only_second",
        stride=128,
        padding="max_length",
        return_offsets=True,
    )
    np.testing.assert_array_equal(x["token_ids"], offsets["token_ids"])
    chars, text = offsets["char_offsets"].numpy(), offsets["text_index"].numpy()
    found = {}
    for row, (first, last) in enumerate(zip(y["start_logits"], y["end_logits"])):
        if first:
            span = read.contexts[text[row]][chars[row, first, 0] : chars[row, last, 1]]
            found.setdefault(text[row], []).append(span)
    right = [answers[0] in found.get(i, []) for i, answers in enumerate(read.answers)]
    assert len(found) >= 0.995 * len(read.ids)
    # An answer may be part of a word's piece, as of a plural.
    assert np.mean(right) > 0.98
