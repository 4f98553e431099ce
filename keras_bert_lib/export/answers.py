"""What the model of each task answers, as named tensors: the outputs of exported files.

One class a task. They are made of TensorFlow ops only, of which the TFLite converter makes built-in
operators.
"""

import tensorflow as tf

from keras_bert_lib.models import (
    BertClassifier,
    BertMaskedLM,
    BertMultipleChoice,
    BertQuestionAnswerer,
    BertTextEmbedder,
    BertTokenClassifier,
)
from keras_bert_lib.models.bert_classifier import MULTI_LABEL, REGRESSION, SINGLE_LABEL


class TaskAnswers:
    """Base of the answers of one task.

    It is no `tf.Module`, so the Keras objects it holds are not saved along with a module that has
    it for an attribute.

    Args:
        model: a model of the task, with a tokenizer.
        max_length: int, most tokens of a text, special tokens included.
    """

    pairs = None  # whether the task takes pairs of texts; None: as the caller says
    has_choices = False  # whether there are several second texts to each first one

    def __init__(self, model, max_length):
        self.model = model
        self.tokenizer = model.tokenizer
        self.max_length = max_length

    @property
    def labels(self):
        """List of str, what `labels.txt` holds; empty where answers are no labels."""
        return []

    def of_tokens(self, tokens):
        """Answers for token ids.

        Args:
            tokens: dict of the model's inputs, int32 `[b, s]`.

        Returns:
            Dict of name to tensor.
        """
        raise NotImplementedError

    def of_texts(self, text, text_pair=None):
        """Answers for texts; "truncated" int32 `[b]` among them, 1 where a text was cut to fit.

        Args:
            text: string `[b]`, or int32 `[b, bytes]` (UTF-8, NUL padded).
            text_pair: the same for second texts, or None.

        Returns:
            Dict of name to tensor.
        """
        tokens = self.tokenize(text, text_pair)
        truncated = tokens.pop("truncated")
        return {**self.of_tokens(tokens), "truncated": truncated}

    def tokenize(self, text, text_pair=None, **options):
        """Returns what the tokenizer makes of texts, less the inputs that say nothing."""
        tokens = self.tokenizer(
            text, text_pair, max_length=self.max_length, return_truncated=True, **options
        )
        if text_pair is None:
            del tokens["segment_ids"]  # all 0, which is what the model takes for none
        # The rows of a batch are padded to the longest. A batch of one has no padding, and its
        # graph no mask; its cost follows the length of the text.
        if text.shape[0] == 1:
            del tokens["padding_mask"]
        return tokens


class LabelAnswers(TaskAnswers):
    """One label a text: "probabilities" float32 `[b, classes]`, and "label" string `[b]`."""

    @property
    def labels(self):
        """The names of the outputs."""
        return self.model.labels

    def of_tokens(self, tokens):
        """Answers for token ids; see the class."""
        probabilities = tf.nn.softmax(self.model(tokens, training=False))  # [b, c]
        best = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
        return {"probabilities": probabilities, "label": tf.gather(self.model.labels, best)}


class MultiLabelAnswers(LabelAnswers):
    """Any number of labels a text: "probabilities" float32 `[b, classes]`, each by itself."""

    def of_tokens(self, tokens):
        """Answers for token ids; see the class."""
        return {"probabilities": tf.sigmoid(self.model(tokens, training=False))}


class RegressionAnswers(LabelAnswers):
    """Numbers: "values" float32 `[b, outputs]`."""

    def of_tokens(self, tokens):
        """Answers for token ids; see the class."""
        return {"values": self.model(tokens, training=False)}


class EmbeddingAnswers(TaskAnswers):
    """One vector a text: "embedding" float32 `[b, hidden]`."""

    pairs = False

    def of_tokens(self, tokens):
        """Answers for token ids; see the class."""
        return {"embedding": self.model(tokens, training=False)}


class EntityAnswers(TaskAnswers):
    """The entities in a text; for token ids "logits" float32 `[b, s, labels]`."""

    pairs = False

    def of_tokens(self, tokens):
        """Answers for token ids; see the class."""
        return {"logits": self.model(tokens, training=False)}

    def of_texts(self, text, text_pair=None):
        """Answers for texts; see the class."""
        raise ValueError(
            "A BertTokenClassifier cannot be exported with texts for inputs yet. "
            'Received: interface="text"'
        )


class SpanAnswers(TaskAnswers):
    """Where the answer stands; for token ids "start_logits", "end_logits" float32 `[b, s]`."""

    pairs = True

    def of_tokens(self, tokens):
        """Answers for token ids; see the class."""
        return self.model(tokens, training=False)

    def of_texts(self, text, text_pair=None):
        """Answers for texts; see the class."""
        raise ValueError(
            "A BertQuestionAnswerer cannot be exported with texts for inputs yet. "
            'Received: interface="text"'
        )


class ChoiceAnswers(TaskAnswers):
    """Which choice fits: "probabilities" float32 `[b, choices]`.

    Token ids are `[b, choices, s]`. Second texts are strings `[b, choices]`, or the bytes of the
    choices for one text, int32 `[choices, bytes]`.
    """

    pairs = True
    has_choices = True

    def of_tokens(self, tokens):
        """Answers for token ids; see the class."""
        return {"probabilities": tf.nn.softmax(self.model(tokens, training=False))}

    def of_texts(self, text, text_pair):
        """Answers for texts; see the class."""
        if text.dtype == tf.string:
            batch, choices = -1, tf.shape(text_pair)[1]
            text_pair = tf.reshape(text_pair, [-1])  # [b * c]
        else:
            batch, choices = 1, text_pair.shape[0]
        # The rows of one text are padded to the longest of its batch.
        tokens = self.tokenize(tf.repeat(text, choices, axis=0), text_pair)  # each [b * c, s]
        truncated = tf.reshape(tokens.pop("truncated"), [batch, choices])
        tokens = {
            name: tf.reshape(x, [batch, choices, tf.shape(x)[1]]) for name, x in tokens.items()
        }
        return {**self.of_tokens(tokens), "truncated": tf.reduce_max(truncated, axis=1)}


class FillAnswers(TaskAnswers):
    """What stands at each [MASK]; for token ids "logits" float32 `[b, s, vocab]`."""

    pairs = False

    def of_tokens(self, tokens):
        """Answers for token ids; see the class."""
        return {"logits": self.model(tokens, training=False)}

    def of_texts(self, text, text_pair=None):
        """Answers for texts; see the class."""
        raise ValueError(
            "A BertMaskedLM cannot be exported with texts for inputs yet. "
            'Received: interface="text"'
        )


# The class of the model, or of a BertClassifier the problem.
_ANSWERS = {
    SINGLE_LABEL: LabelAnswers,
    MULTI_LABEL: MultiLabelAnswers,
    REGRESSION: RegressionAnswers,
    BertTextEmbedder: EmbeddingAnswers,
    BertTokenClassifier: EntityAnswers,
    BertQuestionAnswerer: SpanAnswers,
    BertMultipleChoice: ChoiceAnswers,
    BertMaskedLM: FillAnswers,
}
_MODELS = (BertClassifier, *(key for key in _ANSWERS if not isinstance(key, str)))


def answers_class(model):
    """Returns the subclass of `TaskAnswers` for a model.

    Raises:
        ValueError: if it is a model of no task.
    """
    for model_class in _MODELS:
        if isinstance(model, model_class):
            return _ANSWERS[model.problem_type if model_class is BertClassifier else model_class]
    raise ValueError(
        "`model` must be a model of a task, such as a BertClassifier or a BertTextEmbedder; "
        f"fine-tune the encoder first. Received: {type(model).__name__}"
    )
