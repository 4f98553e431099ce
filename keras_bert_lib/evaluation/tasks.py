"""The names of tasks."""

from keras_bert_lib.models import (
    BertMaskedLM,
    BertMultipleChoice,
    BertQuestionAnswerer,
    BertTextEmbedder,
    BertTokenClassifier,
)

EMBEDDING, ENTITIES, ANSWERS = "embedding", "entities", "question_answering"
CHOICE, MASKED_LM = "multiple_choice", "masked_lm"
_TASKS = {
    BertTextEmbedder: EMBEDDING,
    BertTokenClassifier: ENTITIES,
    BertQuestionAnswerer: ANSWERS,
    BertMultipleChoice: CHOICE,
    BertMaskedLM: MASKED_LM,
}


def task_of(model):
    """Returns the name of a model's task; of a `BertClassifier` it is its `problem_type`."""
    for kind, task in _TASKS.items():
        if isinstance(model, kind):
            return task
    return model.problem_type
