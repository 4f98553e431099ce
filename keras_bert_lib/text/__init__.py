"""Vocabularies and the tokenizer."""

from keras_bert_lib.text.bert_tokenizer import BertTokenizer
from keras_bert_lib.text.vocabulary import load_vocabulary, save_vocabulary

__all__ = ["BertTokenizer", "load_vocabulary", "save_vocabulary"]
