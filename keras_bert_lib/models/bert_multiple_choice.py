"""Which of several texts fits."""

import keras
import numpy as np
from keras import ops

from keras_bert_lib.models.bert_encoder import check_inputs
from keras_bert_lib.models.task_model import TaskModel, logits_layer
from keras_bert_lib.models.texts import batches_of_like_length, check_texts


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

    def predict_text(self, texts, choices, batch_size=32):
        """Chooses for each text one of its choices.

        Args:
            texts: list of str.
            choices: list of lists of str, the choices for each text. One may have more than
                another.
            batch_size: int, number of choices that are computed at once.

        Returns:
            List of dicts, one a text, with the `index` of the choice that fits best, int, itself,
            `choice`, and its probability among them, `score`.

        Raises:
            ValueError: if the model has no tokenizer, or a text no choices.

        Example:
            ```python
            import keras_bert_lib as kbl

            tokenizer = kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fine"])
            encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=6))
            chooser = kbl.BertMultipleChoice(encoder, tokenizer=tokenizer)
            chooser.predict_text(["Is it fine?"], [["fine", "not so fine"]])
            # [{"index": 0, "choice": "fine", "score": 0.52}]
            ```
        """
        tokenizer = self._tokenizer_for("predict_text")
        texts = check_texts(texts, "texts")
        choices = [check_texts(row, f"choices[{i}]") for i, row in enumerate(choices)]
        if len(choices) != len(texts) or not all(choices):
            raise ValueError(
                "`choices` must hold at least one choice for each text. "
                f"Received: {len(texts)} texts, numbers of choices {[len(x) for x in choices]}"
            )
        rows = [(text, x) for text, row in zip(texts, choices) for x in row]
        logits = np.zeros([len(rows)], "float32")
        max_length = min(tokenizer.max_length, self.config.max_position_embeddings)
        for batch in batches_of_like_length([len(a) + len(b) for a, b in rows], batch_size):
            first, second = zip(*(rows[i] for i in batch))
            inputs = tokenizer(list(first), list(second), max_length=max_length)
            inputs = {name: ops.expand_dims(x, 1) for name, x in inputs.items()}  # [b, 1, s]
            logits[batch] = ops.convert_to_numpy(self.predict_on_batch(inputs))[: len(batch), 0]
        answers = []
        ends = np.cumsum([len(row) for row in choices])
        for row, end in zip(choices, ends):
            scores = logits[end - len(row) : end]  # [c]
            scores = np.exp(scores - scores.max())
            scores /= scores.sum()
            best = int(scores.argmax())
            answers.append({"index": best, "choice": row[best], "score": float(scores[best])})
        return answers

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | {"dropout": self.dropout}

    def _huggingface_config(self):
        return super()._huggingface_config() | {"classifier_dropout": self.dropout}

    @classmethod
    def _from_checkpoint(cls, config, checkpoint, **kwargs):
        kwargs.setdefault("dropout", checkpoint.config.get("classifier_dropout"))
        return super()._from_checkpoint(config, checkpoint, **kwargs)
