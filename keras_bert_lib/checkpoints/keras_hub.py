"""Models of KerasHub, live or saved as presets, in and out."""

import json
import os
import re

import numpy as np
from absl import logging

from keras_bert_lib.checkpoints.checkpoint import Checkpoint
from keras_bert_lib.checkpoints.load_weights import load_weights, shortlist
from keras_bert_lib.checkpoints.tensor_source import TensorSource

# path of a KerasHub variable -> our common name of it, that of Hugging Face
_NAMES = {
    "token_embedding/embeddings": "embeddings.word_embeddings.weight",
    "position_embedding/embeddings": "embeddings.position_embeddings.weight",
    "segment_embedding/embeddings": "embeddings.token_type_embeddings.weight",
    "embeddings_layer_norm/gamma": "embeddings.LayerNorm.weight",
    "embeddings_layer_norm/beta": "embeddings.LayerNorm.bias",
    "pooled_dense/kernel": "pooler.dense.weight",
    "pooled_dense/bias": "pooler.dense.bias",
    "mlm_head/intermediate_dense/kernel": "cls.predictions.transform.dense.weight",
    "mlm_head/intermediate_dense/bias": "cls.predictions.transform.dense.bias",
    "mlm_head/intermediate_layer_norm/gamma": "cls.predictions.transform.LayerNorm.weight",
    "mlm_head/intermediate_layer_norm/beta": "cls.predictions.transform.LayerNorm.bias",
    "mlm_head/output_bias": "cls.predictions.bias",
    "logits/kernel": "classifier.weight",
    "logits/bias": "classifier.bias",
}
# the same below a `transformer_layer_0`, `encoder.layer.0`
_LAYER_NAMES = {
    "self_attention_layer/query/kernel": "attention.self.query.weight",
    "self_attention_layer/query/bias": "attention.self.query.bias",
    "self_attention_layer/key/kernel": "attention.self.key.weight",
    "self_attention_layer/key/bias": "attention.self.key.bias",
    "self_attention_layer/value/kernel": "attention.self.value.weight",
    "self_attention_layer/value/bias": "attention.self.value.bias",
    "self_attention_layer/attention_output/kernel": "attention.output.dense.weight",
    "self_attention_layer/attention_output/bias": "attention.output.dense.bias",
    "self_attention_layer_norm/gamma": "attention.output.LayerNorm.weight",
    "self_attention_layer_norm/beta": "attention.output.LayerNorm.bias",
    "feedforward_intermediate_dense/kernel": "intermediate.dense.weight",
    "feedforward_intermediate_dense/bias": "intermediate.dense.bias",
    "feedforward_output_dense/kernel": "output.dense.weight",
    "feedforward_output_dense/bias": "output.dense.bias",
    "feedforward_layer_norm/gamma": "output.LayerNorm.weight",
    "feedforward_layer_norm/beta": "output.LayerNorm.bias",
}
# name of KerasHub's function -> `hidden_act` of a config.json
_ACTS = {"gelu_approximate": "gelu_pytorch_tanh", "gelu": "gelu", "relu": "relu"}
# class of a model -> the class of `transformers` that is most like it
_ARCHITECTURES = {
    "BertBackbone": "BertModel",
    "BertTextEmbedder": "BertModel",
    "BertMaskedLM": "BertForMaskedLM",
    "BertTextClassifier": "BertForSequenceClassification",
}
