"""BERT in Keras, from raw text to a file that takes raw text."""

from keras_bert_lib import checkpoints, data, export, layers, models, text, training
from keras_bert_lib.models import BertClassifier, BertConfig, BertEncoder, BertPretrainer
from keras_bert_lib.text import BertTokenizer

__version__ = "0.1.0"

__all__ = [
    "BertClassifier",
    "BertConfig",
    "BertEncoder",
    "BertPretrainer",
    "BertTokenizer",
    "checkpoints",
    "data",
    "export",
    "layers",
    "models",
    "text",
    "training",
]
