from keras_bert_lib.training.adamw import AdamW
from keras_bert_lib.training.balanced_class_weights import balanced_class_weights
from keras_bert_lib.training.best_checkpoint import BestCheckpoint
from keras_bert_lib.training.create_layout_map import create_layout_map
from keras_bert_lib.training.create_optimizer import create_optimizer
from keras_bert_lib.training.create_strategy import create_strategy
from keras_bert_lib.training.fgm import FGM
from keras_bert_lib.training.freelb import FreeLB
from keras_bert_lib.training.lamb import LAMB
from keras_bert_lib.training.matmul_rate import matmul_rate
from keras_bert_lib.training.pretraining_flops import pretraining_flops
from keras_bert_lib.training.pretraining_progress import PretrainingProgress
from keras_bert_lib.training.repeat import repeat
from keras_bert_lib.training.resume import Resume
from keras_bert_lib.training.stop_at_nan import StopAtNaN
from keras_bert_lib.training.warmup_constant import WarmupConstant
from keras_bert_lib.training.warmup_cosine_decay import WarmupCosineDecay
from keras_bert_lib.training.warmup_linear_decay import WarmupLinearDecay

__all__ = [
    "FGM",
    "LAMB",
    "AdamW",
    "BestCheckpoint",
    "FreeLB",
    "PretrainingProgress",
    "Resume",
    "StopAtNaN",
    "WarmupConstant",
    "WarmupCosineDecay",
    "WarmupLinearDecay",
    "balanced_class_weights",
    "create_layout_map",
    "create_optimizer",
    "create_strategy",
    "matmul_rate",
    "pretraining_flops",
    "repeat",
]
