"""Which of several texts fits."""

import keras
from keras import ops

from keras_bert_lib.models.bert_encoder import check_inputs
from keras_bert_lib.models.task_model import TaskModel, logits_layer


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class BertMultipleChoice(TaskModel):
    """Scores several choices, as the possible endings of a text, against each other.

    `compile(optimizer)` is enough: the loss is then the sparse categorical cross entropy over the
    choices and the metric accuracy; `fit` takes the indices of the right ones, `[batch]`.

    Args:
        encoder: `BertEncoder`.
        tokenizer: `BertTokenizer` or None, which is saved with the model.
        dropout: float, the rate of dropout before the last layer; None takes the encoder's
            `hidden_dropout`.
        **kwargs: keyword arguments of `keras.Model`; the dtype policy is the encoder's where none
            is given.

    Call arguments:
        inputs: dict of the encoder's inputs, each int32 `[batch, choices, seq]`: each choice is
            encoded together with what it is to fit.
        training: bool, whether dropout is on.

    Returns:
        Float32 logits `[batch, choices]`.

    Raises:
        ValueError: if the inputs have not three dimensions, or the tokenizer has more pieces than
            the encoder.

    Example:
        ```python
        import numpy as np
        from keras_bert_lib.models import BertConfig, BertEncoder, BertMultipleChoice

        chooser = BertMultipleChoice(BertEncoder(BertConfig.from_size("tiny", vocab_size=100)))
        chooser.compile("adam")
        x = {"token_ids": np.array([[[2, 7, 3, 8, 3], [2, 7, 3, 9, 3]]], "int32")}
        chooser.fit(x, np.array([1]))
        ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805) (SWAG)
    """

    _architecture = "BertForMultipleChoice"

    def __init__(self, encoder, tokenizer=None, dropout=None, **kwargs):
        super().__init__(encoder, tokenizer, **kwargs)
        self.dropout = self.config.hidden_dropout if dropout is None else dropout
        self.dropout_layer = keras.layers.Dropout(
            self.dropout, dtype=self.dtype_policy, name="dropout"
        )
        self.classifier = logits_layer(1, self.config, "classifier")
        self.build()

    def build(self, input_shape=None):
        """Creates the head's weights; the encoder has its own already."""
        if not self.built:
            self.classifier.build((None, None, self.config.hidden_size))

    def _defaults(self):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return {"loss": loss, "metrics": ["accuracy"]}

    def call(self, inputs, training=None):
        """Returns the logits `[b, c]`."""
        check_inputs(inputs)
        token_ids = inputs["token_ids"]
        if len(token_ids.shape) != 3:
            raise ValueError(
                "`token_ids` must be [batch, choices, seq]. "
                f"Received: token_ids.shape={tuple(token_ids.shape)}"
            )
        flat = {name: ops.reshape(x, (-1, ops.shape(x)[-1])) for name, x in inputs.items()}
        pooled = self.encoder(flat, training=training)["pooled_output"]  # [b * c, h]
        logits = self.classifier(self.dropout_layer(pooled, training=training))  # [b * c, 1]
        return ops.reshape(logits, (-1, ops.shape(token_ids)[1]))

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | {"dropout": self.dropout}

    def _huggingface_config(self):
        return super()._huggingface_config() | {"classifier_dropout": self.dropout}

    @classmethod
    def _from_checkpoint(cls, config, checkpoint, **kwargs):
        kwargs.setdefault("dropout", checkpoint.config.get("classifier_dropout"))
        return super()._from_checkpoint(config, checkpoint, **kwargs)
