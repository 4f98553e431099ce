"""Readers and `tf.data` pipelines: pretraining examples and labelled texts."""

from keras_bert_lib.data.documents import read_documents, split_document
from keras_bert_lib.data.labelled_texts import LabelledTexts, read_labelled_texts
from keras_bert_lib.data.pretraining_dataset import count_pretraining_examples, pretraining_dataset
from keras_bert_lib.data.sentences import split_sentences
from keras_bert_lib.data.text_classification import text_classification

__all__ = [
    "LabelledTexts",
    "count_pretraining_examples",
    "pretraining_dataset",
    "read_documents",
    "read_labelled_texts",
    "split_document",
    "split_sentences",
    "text_classification",
]
