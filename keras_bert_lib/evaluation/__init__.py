"""How good a model is: metrics, tables and plots."""

from keras_bert_lib.evaluation import metrics
from keras_bert_lib.evaluation.evaluate import evaluate
from keras_bert_lib.evaluation.evaluation import Evaluation

__all__ = ["Evaluation", "evaluate", "metrics"]
