"""Tokenized documents: nothing is lost, empty ones are dropped, long sentences are cut."""

import numpy as np

import keras_bert_lib as kbl
from keras_bert_lib.data.tokenized_documents import (
    TokenizedDocument,
    cut_sentences,
    tokenize_documents,
)

TOKENIZER = kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcde"])


def test_tokenize_documents():
    # Enough text for several calls of the tokenizer.
    documents = [["a b", "", "c"], ["", ""], ["d"]] + [["e " * 700] * 30] * 10 + [["", "a"]]
    tokenized = list(tokenize_documents(documents, TOKENIZER))
    assert [len(splits) - 1 for _, splits in tokenized] == [2, 1] + [30] * 10 + [1]
    assert tokenized[0].ids.tolist() == [5, 6, 7]
    assert tokenized[0].splits.tolist() == [0, 2, 3]
    assert tokenized[1].ids.tolist() == [8]
    assert tokenized[5].ids.tolist() == [9] * 700 * 30
    assert tokenized[-1].splits.tolist() == [0, 1]
    assert all(ids.base is None for ids, _ in tokenized)


def test_cut_sentences():
    document = TokenizedDocument(np.arange(40), np.array([0, 2, 27, 37, 40]))
    assert cut_sentences(document, 25) is document
    ids, splits = cut_sentences(document, 10)
    assert ids is document.ids
    assert splits.tolist() == [0, 2, 12, 22, 27, 37, 40]
