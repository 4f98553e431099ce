"""BERT's models, each a `keras.Model`."""

from keras_bert_lib.models import surgery
from keras_bert_lib.models.bert_classifier import BertClassifier
from keras_bert_lib.models.bert_config import BertConfig
from keras_bert_lib.models.bert_encoder import BertEncoder
from keras_bert_lib.models.bert_masked_lm import BertMaskedLM
from keras_bert_lib.models.bert_multiple_choice import BertMultipleChoice
from keras_bert_lib.models.bert_pretrainer import BertPretrainer
from keras_bert_lib.models.bert_question_answerer import BertQuestionAnswerer
from keras_bert_lib.models.bert_text_embedder import BertTextEmbedder
from keras_bert_lib.models.bert_token_classifier import BertTokenClassifier

__all__ = [
    "BertClassifier",
    "BertConfig",
    "BertEncoder",
    "BertMaskedLM",
    "BertMultipleChoice",
    "BertPretrainer",
    "BertQuestionAnswerer",
    "BertTextEmbedder",
    "BertTokenClassifier",
    "surgery",
]
