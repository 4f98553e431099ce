"""BERT in Keras, from raw text to a file that takes raw text."""

import os
import sys

from keras_bert_lib.version import __version__

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
    "BertTokenizer",
    "__version__",
    "checkpoints",
    "data",
    "evaluation",
    "export",
    "layers",
    "models",
    "text",
    "training",
]

# The command imports each part when it comes to it, so that `keras-bert --help` need not wait for
# TensorFlow. Programs get all of it at once: Keras loads a `.keras` file only if the classes in it
# have been imported.
if not os.path.basename(sys.argv[0]).startswith("keras-bert"):
    from keras_bert_lib import (
        checkpoints,
        data,
        evaluation,
        export,
        layers,
        models,
        text,
        training,
    )
    from keras_bert_lib.models import (
        BertClassifier,
        BertConfig,
        BertEncoder,
        BertMaskedLM,
        BertMultipleChoice,
        BertPretrainer,
        BertQuestionAnswerer,
        BertTextEmbedder,
        BertTokenClassifier,
    )
    from keras_bert_lib.text import BertTokenizer
