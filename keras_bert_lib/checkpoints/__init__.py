"""Checkpoints of this and of other libraries.

Every format is read as one: a `Checkpoint` has a config in the words of a Hugging Face
`config.json`, and a `TensorSource` of weights under Hugging Face's names. `open_checkpoint` finds
out the format (its module says how another one plugs in), `load_weights` puts any of them into a
model, and `tensors_by_name` is what the writers of every format start from.
"""

from keras_bert_lib.checkpoints.checkpoint import Checkpoint
from keras_bert_lib.checkpoints.google_bert import save_google_bert
from keras_bert_lib.checkpoints.keras_hub import save_keras_hub_preset, to_keras_hub
from keras_bert_lib.checkpoints.load_weights import load_weights
from keras_bert_lib.checkpoints.open_checkpoint import open_checkpoint
from keras_bert_lib.checkpoints.save_model_garden import save_model_garden
from keras_bert_lib.checkpoints.tensor_names import tensors_by_name
from keras_bert_lib.checkpoints.tensor_source import TensorSource

__all__ = [
    "Checkpoint",
    "TensorSource",
    "load_weights",
    "open_checkpoint",
    "save_google_bert",
    "save_keras_hub_preset",
    "save_model_garden",
    "tensors_by_name",
    "to_keras_hub",
]
