"""Layers of BERT, written with `keras.ops`."""

from keras_bert_lib.layers.bert_embeddings import BertEmbeddings
from keras_bert_lib.layers.masked_lm_head import MaskedLMHead
from keras_bert_lib.layers.next_sentence_head import NextSentenceHead
from keras_bert_lib.layers.pooler import Pooler
from keras_bert_lib.layers.self_attention import SelfAttention
from keras_bert_lib.layers.transformer_encoder_block import TransformerEncoderBlock

__all__ = [
    "BertEmbeddings",
    "MaskedLMHead",
    "NextSentenceHead",
    "Pooler",
    "SelfAttention",
    "TransformerEncoderBlock",
]
