"""Vocabularies and the tokenizer."""

from keras_bert_lib.text.bert_tokenizer import BertTokenizer
from keras_bert_lib.text.learn_vocabulary import learn_vocabulary
from keras_bert_lib.text.vocabulary import load_vocabulary, save_vocabulary

__all__ = ["BertTokenizer", "learn_vocabulary", "load_vocabulary", "save_vocabulary"]
