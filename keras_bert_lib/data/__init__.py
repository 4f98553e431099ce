"""Readers and `tf.data` pipelines: pretraining examples, and the data sets of all tasks."""

from keras_bert_lib.data.beam_token_cache import build_token_cache_with_beam
from keras_bert_lib.data.build_token_cache import build_token_cache
from keras_bert_lib.data.compared_texts import TextPairs, read_text_pairs
from keras_bert_lib.data.documents import read_documents, split_document
from keras_bert_lib.data.glue import read_glue
from keras_bert_lib.data.labelled_choices import LabelledChoices, read_labelled_choices
from keras_bert_lib.data.labelled_texts import LabelledTexts, read_labelled_texts
from keras_bert_lib.data.labelled_tokens import LabelledTokens, read_labelled_tokens
from keras_bert_lib.data.masked_language_modeling import masked_language_modeling
from keras_bert_lib.data.multiple_choice import multiple_choice
from keras_bert_lib.data.plain_texts import Texts, read_texts
from keras_bert_lib.data.pretraining_dataset import count_pretraining_examples, pretraining_dataset
from keras_bert_lib.data.question_answering import question_answering
from keras_bert_lib.data.questions import Questions, read_questions
from keras_bert_lib.data.sentences import split_sentences
from keras_bert_lib.data.split import split
from keras_bert_lib.data.text_classification import text_classification
from keras_bert_lib.data.text_pairs import text_pairs
from keras_bert_lib.data.token_classification import token_classification

__all__ = [
    "LabelledChoices",
    "LabelledTexts",
    "LabelledTokens",
    "Questions",
    "TextPairs",
    "Texts",
    "build_token_cache",
    "build_token_cache_with_beam",
    "count_pretraining_examples",
    "masked_language_modeling",
    "multiple_choice",
    "pretraining_dataset",
    "question_answering",
    "read_documents",
    "read_glue",
    "read_labelled_choices",
    "read_labelled_texts",
    "read_labelled_tokens",
    "read_questions",
    "read_text_pairs",
    "read_texts",
    "split",
    "split_document",
    "split_sentences",
    "text_classification",
    "text_pairs",
    "token_classification",
]
