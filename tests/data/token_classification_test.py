"""Batches of words with tags: labels at first pieces, long sentences, padding."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

import keras_bert_lib as kbl
from keras_bert_lib.data import LabelledTokens, read_labelled_tokens, token_classification

LETTERS = "abcde"
TOKENIZER = kbl.BertTokenizer(
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ab", "##cd", "'", ".", "北"]
    + [*LETTERS, *(f"##{letter}" for letter in LETTERS)]
)
# A word of several pieces, one with punctuation in it, one that is nothing, one that is unknown,
# one too long, one that the text rules change, two that look like one.
WORDS = ["a", "abcd", "b.c'd", "\u200b", "xyz", "a" * 101, "É", "a b", "北北", "[MASK]", ""]
PIECES = dict(zip(WORDS, TOKENIZER.tokenize_ragged(WORDS).to_list()))
LABELS = ["O", "B-x", "I-x"]


def rows_of(dataset):
    """(token ids, label ids) of every row, padding left out."""
    rows = []
    for x, y in dataset:
        assert x.keys() == {"token_ids", "segment_ids", "padding_mask"}
        assert y.dtype == tf.int32
        assert y.shape == x["token_ids"].shape
        lengths = x["padding_mask"].numpy().sum(axis=1)
        for ids, labels, length in zip(x["token_ids"].numpy(), y.numpy(), lengths):
            assert (labels[length:] == -100).all()
            rows.append((ids[:length].tolist(), labels[:length].tolist()))
    return rows


@hypothesis.given(
    sentences=st.lists(
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=8), min_size=1, max_size=6
    ),
    max_length=st.integers(3, 20),
)
@hypothesis.settings(deadline=None, max_examples=6)
def test_every_word_is_labelled_once_at_its_first_piece(sentences, max_length):
    rng = np.random.default_rng(0)
    tags = [[LABELS[i] for i in rng.integers(0, 3, len(words))] for words in sentences]
    source = LabelledTokens(sentences, tags, LABELS)
    found = rows_of(
        token_classification(source, TOKENIZER, 3, max_length=max_length, shuffle=False)
    )
    expected = []
    cls, sep = TOKENIZER.cls_token_id, TOKENIZER.sep_token_id
    for words, row_tags in zip(sentences, tags):
        ids, labels = [], []
        for word, tag in zip(words, row_tags):
            pieces = PIECES[word]
            ids += pieces
            labels += [LABELS.index(tag), *[-100] * (len(pieces) - 1)][: len(pieces)]
        room = max_length - 2
        for start in range(0, max(len(ids), 1), room):
            part = slice(start, start + room)
            expected.append(([cls, *ids[part], sep], [-100, *labels[part], -100]))
    assert found == expected


def test_shuffling_keeps_every_row_and_buckets():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, 500)
    words = [["a"] * n for n in lengths]
    tags = [["B-x", *["I-x"] * (n - 1)] for n in lengths]
    source = LabelledTokens(words, tags, LABELS)
    dataset = token_classification(source, TOKENIZER, batch_size=10)
    assert len(dataset) == 50
    first, second = rows_of(dataset), rows_of(dataset)
    assert first != second
    assert sorted(first) == sorted(second)
    assert sorted(len(ids) - 2 for ids, _ in first) == sorted(lengths)
    cells = sum(int(tf.size(y)) for _, y in dataset)
    assert cells < 1.1 * sum(lengths + 2)


def test_streaming(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("".join(f"{'ab ' * (i % 5)}a\tB-x\nb\tO\n\n" for i in range(90)), "utf-8")
    options = {"batch_size": 8, "labels": LABELS}
    expected = sorted(rows_of(token_classification(path, TOKENIZER, **options)))
    dataset = token_classification(path, TOKENIZER, streaming=True, **options)
    first, second = rows_of(dataset), rows_of(dataset)
    assert sorted(first) == sorted(second) == expected
    assert first != second
    with pytest.raises(ValueError, match="With `streaming`, `labels` must name the tags"):
        token_classification(path, TOKENIZER, streaming=True)


def test_one_sentence_and_one_in_the_last_batch():
    rows = [(["a", "abcd"], ["O", "B-x"]), (["abcd", "b"], ["B-x", "O"]), (["b"], ["O"])]
    for count in (1, 3):
        batches = list(token_classification(rows[:count], TOKENIZER, 2, labels=LABELS))
        assert sorted(y.shape[0] for _, y in batches) == [1, 2][: len(batches)]


def test_errors():
    rows = [(["a"], ["B-x"])]
    with pytest.raises(ValueError, match="`max_length` must be 3 at least"):
        token_classification(rows, TOKENIZER, max_length=2)
    with pytest.raises(ValueError, match=r"Sentence 0 has a tag that is not one of O, B-y.*'B-x'"):
        token_classification(LabelledTokens([["a"]], [["B-x"]], ["O", "B-y"]), TOKENIZER)


@pytest.mark.parity
@pytest.mark.shared_data
@pytest.mark.parametrize("vocabulary", ["bert-base-uncased", "bert-base-cased"])
def test_alignment_equals_huggingface(shared_data, vocabulary):
    transformers = pytest.importorskip("transformers")
    path = str(shared_data / "vocab" / vocabulary / "vocab.txt")
    lowercase = vocabulary.endswith("uncased")
    theirs = transformers.BertTokenizerFast(path, do_lower_case=lowercase)
    ours = kbl.BertTokenizer(path, lowercase=lowercase)
    source = read_labelled_tokens(
        [shared_data / "ner_wnut17" / x for x in ("wnut17train.conll", "emerging.dev.conll")]
    )
    strange = [["\u200b", "don't", "x" * 101, "U.S.", "New York", "naïve", "北京", "🙂", "[SEP]"]]
    source = source._replace(
        words=source.words + strange, tags=source.tags + [["O"] * 8 + ["B-person"]]
    )
    found = rows_of(token_classification(source, ours, max_length=512, shuffle=False))
    ids = {label: i for i, label in enumerate(source.labels)}
    encodings = theirs(source.words, is_split_into_words=True)
    for i, row in enumerate(found):
        word_ids = encodings.word_ids(i)
        firsts = [a is not None and a != b for a, b in zip(word_ids, [None, *word_ids])]
        labels = [
            ids[source.tags[i][word]] if is_first else -100
            for word, is_first in zip(word_ids, firsts)
        ]
        assert row == (encodings["input_ids"][i], labels)
    assert len(found) == len(source.words) == 3394 + 1009 + 1
