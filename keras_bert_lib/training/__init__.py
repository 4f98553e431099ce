from keras_bert_lib.training.adamw import AdamW
from keras_bert_lib.training.create_optimizer import create_optimizer
from keras_bert_lib.training.create_strategy import create_strategy
from keras_bert_lib.training.resume import Resume
from keras_bert_lib.training.warmup_constant import WarmupConstant
from keras_bert_lib.training.warmup_cosine_decay import WarmupCosineDecay
from keras_bert_lib.training.warmup_linear_decay import WarmupLinearDecay

__all__ = [
    "AdamW",
    "Resume",
    "WarmupConstant",
    "WarmupCosineDecay",
    "WarmupLinearDecay",
    "create_optimizer",
    "create_strategy",
]
