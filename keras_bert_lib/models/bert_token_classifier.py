"""Classification of each token, as for named entities."""

import keras
from keras import ops

from keras_bert_lib.models.labelled_model import LabelledModel

# The label of tokens that have none: special tokens, padding, and later pieces of a word.
NO_LABEL = -100


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class BertTokenClassifier(LabelledModel):
    """Gives each token of a text one of several labels.

    `compile(optimizer)` is enough: the loss is then the sparse categorical cross entropy and the
    metric accuracy, both over the tokens that have a label; those whose label is -100 count for
    nothing.

    Args:
        encoder: `BertEncoder`. It needs no pooler: `BertEncoder(config, use_pooler=False)`.
        num_classes: int, number of labels; may be left out where `labels` are given.
        tokenizer: `BertTokenizer` or None, which is saved with the model.
        labels: list of str, the names of the labels in the order of their ids. None names them
            `LABEL_0`, `LABEL_1` and so on.
        dropout: float, the rate of dropout before the last layer; None takes the encoder's
            `hidden_dropout`.
        **kwargs: keyword arguments of `keras.Model`; the dtype policy is the encoder's where none
            is given.

    Call arguments:
        inputs: dict of the encoder's inputs, as the tokenizer makes it.
        training: bool, whether dropout is on.

    Returns:
        Float32 logits `[batch, seq, num_classes]`.

    Raises:
        ValueError: if neither or both disagreeing `num_classes` and `labels` are given, if
            labels are not unique strings, or if the tokenizer has more pieces than the encoder.

    Example:
        ```python
        import numpy as np
        from keras_bert_lib.models import BertConfig, BertEncoder, BertTokenClassifier

        config = BertConfig.from_size("tiny", vocab_size=100)
        tagger = BertTokenClassifier(BertEncoder(config, use_pooler=False), labels=["O", "NAME"])
        tagger.compile("adam")
        x = {"token_ids": np.array([[2, 7, 9, 3]], "int32")}
        tagger.fit(x, np.array([[-100, 0, 1, -100]]))
        ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """

    _architecture = "BertForTokenClassification"
    _use_pooler = False

    def _defaults(self):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=NO_LABEL)
        return {"loss": loss, "metrics": [TokenAccuracy(name="accuracy")]}

    def call(self, inputs, training=None):
        """Returns the logits `[b, s, c]`."""
        x = self.encoder(inputs, training=training)["sequence_output"]  # [b, s, h]
        return self.classifier(self.dropout_layer(x, training=training))


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class TokenAccuracy(keras.metrics.Mean):
    """The share of right labels among the tokens that have one."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts labels `y_true` `[b, s]` and logits `y_pred` `[b, s, c]`."""
        y_true = ops.cast(y_true, "int32")
        right = ops.cast(ops.equal(y_true, ops.argmax(y_pred, axis=-1)), "float32")
        weights = ops.cast(ops.not_equal(y_true, NO_LABEL), "float32")
        if sample_weight is not None:
            weights = weights * ops.cast(sample_weight, "float32")
        super().update_state(right, weights)
