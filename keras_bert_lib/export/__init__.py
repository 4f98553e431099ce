"""Files that leave the building: SavedModel and TFLite, text in, answers out."""

from keras_bert_lib.export.saved_model import saved_model
from keras_bert_lib.export.tflite import tflite
from keras_bert_lib.export.verification import Verification
from keras_bert_lib.export.verification_error import VerificationError
from keras_bert_lib.export.verify import verify

__all__ = ["Verification", "VerificationError", "saved_model", "tflite", "verify"]
