"""Fewer bits for the numbers of a TFLite file."""

from keras_bert_lib.export.quantization.error_by_layer import error_by_layer
from keras_bert_lib.export.quantization.quantize import MODES, NEED_SAMPLES, quantize

__all__ = ["MODES", "NEED_SAMPLES", "error_by_layer", "quantize"]
