"""Extractive question answering: where in a text the answer begins and ends."""

import keras

from keras_bert_lib.models.task_model import TaskModel, logits_layer


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class BertQuestionAnswerer(TaskModel):
    """Scores each token as the first and as the last of the answer to a question.

    The question is the first segment, the text the second. `compile(optimizer)` is enough: the
    loss is then the mean of the two sparse categorical cross entropies, and the metric the
    accuracy of each.

    Args:
        encoder: `BertEncoder`. It needs no pooler: `BertEncoder(config, use_pooler=False)`.
        tokenizer: `BertTokenizer` or None, which is saved with the model.
        **kwargs: keyword arguments of `keras.Model`; the dtype policy is the encoder's where none
            is given.

    Call arguments:
        inputs: dict of the encoder's inputs, as the tokenizer makes it of questions and texts.
        training: bool, whether dropout is on.

    Returns:
        Dict with the float32 logits `start_logits` and `end_logits`, each `[batch, seq]`. `fit`
        takes the positions of the first and the last token under the same names, each int32
        `[batch]`.

    Raises:
        ValueError: if the tokenizer has more pieces than the encoder.

    Example:
        ```python
        import numpy as np
        from keras_bert_lib.models import BertConfig, BertEncoder, BertQuestionAnswerer

        config = BertConfig.from_size("tiny", vocab_size=100)
        answerer = BertQuestionAnswerer(BertEncoder(config, use_pooler=False))
        answerer.compile("adam")
        x = {
            "token_ids": np.array([[2, 7, 3, 8, 9, 3]], "int32"),
            "segment_ids": np.array([[0, 0, 0, 1, 1, 1]], "int32"),
        }
        answerer.fit(x, {"start_logits": np.array([3]), "end_logits": np.array([4])})
        ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """

    _architecture = "BertForQuestionAnswering"
    _use_pooler = False

    def __init__(self, encoder, tokenizer=None, **kwargs):
        super().__init__(encoder, tokenizer, **kwargs)
        self.qa_outputs = logits_layer(2, self.config, "qa_outputs")
        self.build()

    def build(self, input_shape=None):
        """Creates the head's weights; the encoder has its own already."""
        if not self.built:
            self.qa_outputs.build((None, None, self.config.hidden_size))

    def _defaults(self):
        names = ("start_logits", "end_logits")
        return {
            "loss": {
                name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in names
            },
            "loss_weights": dict.fromkeys(names, 0.5),
            "metrics": {name: ["accuracy"] for name in names},
        }

    def call(self, inputs, training=None):
        """Returns the dict of logits."""
        x = self.encoder(inputs, training=training)["sequence_output"]  # [b, s, h]
        logits = self.qa_outputs(x)  # [b, s, 2]
        return {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}
