"""BERT's models, each a `keras.Model`."""

from keras_bert_lib.models.bert_classifier import BertClassifier
from keras_bert_lib.models.bert_config import BertConfig
from keras_bert_lib.models.bert_encoder import BertEncoder
from keras_bert_lib.models.bert_pretrainer import BertPretrainer

__all__ = ["BertClassifier", "BertConfig", "BertEncoder", "BertPretrainer"]
