"""Filling in masked pieces."""

import keras
from keras import ops

from keras_bert_lib.models.bert_pretrainer import cross_entropy, hits, masked_lm_head
from keras_bert_lib.models.distribution import mean_over_replicas
from keras_bert_lib.models.task_model import TaskModel


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class BertMaskedLM(TaskModel):
    """Predicts masked pieces: BERT's first pretraining task alone.

    The loss is the cross entropy of the masked pieces, its weighted mean over the global batch.
    `compile(optimizer)` is enough; `fit` and `evaluate` report `loss`, `mlm_loss` and
    `mlm_accuracy`. A `loss` given to `compile` takes its place.

    Args:
        encoder: `BertEncoder`. It needs no pooler: `BertEncoder(config, use_pooler=False)`.
        tokenizer: `BertTokenizer` or None, which is saved with the model.
        **kwargs: keyword arguments of `keras.Model`; the dtype policy is the encoder's where none
            is given.

    Call arguments:
        inputs: dict of the encoder's inputs and `masked_positions`, int32
            `[batch, predictions]`; without it every position is scored.
        training: bool, whether dropout is on.

    Training batches are one dict with more keys, and no `y`, as those of `BertPretrainer`:
    `masked_ids`, int32 `[batch, predictions]`, and `masked_weights`, float32
    `[batch, predictions]`. Labels of next sentences may be there and are ignored.

    Returns:
        Float32 logits `[batch, predictions, vocab_size]`, or `[batch, seq, vocab_size]` where
        there are no `masked_positions`.

    Raises:
        ValueError: if the tokenizer has more pieces than the encoder.

    Example:
        ```python
        import numpy as np
        from keras_bert_lib.models import BertConfig, BertEncoder, BertMaskedLM

        config = BertConfig.from_size("tiny", vocab_size=100)
        model = BertMaskedLM(BertEncoder(config, use_pooler=False))
        model.compile("adam")
        model.fit(
            {
                "token_ids": np.array([[2, 7, 4, 3], [2, 4, 9, 3]], "int32"),
                "masked_positions": np.array([[2], [1]], "int32"),
                "masked_ids": np.array([[8], [7]], "int32"),
                "masked_weights": np.ones([2, 1], "float32"),
            }
        )
        ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """

    _architecture = "BertForMaskedLM"
    _use_pooler = False

    def __init__(self, encoder, tokenizer=None, **kwargs):
        super().__init__(encoder, tokenizer, **kwargs)
        self.mlm_head = masked_lm_head(self.config, self.dtype_policy)
        self.mlm_loss = keras.metrics.Mean(name="mlm_loss")
        self.mlm_accuracy = keras.metrics.Mean(name="mlm_accuracy")
        self.build()

    def build(self, input_shape=None):
        """Creates the head's weights; the encoder has its own already."""
        if not self.built:
            self.mlm_head.build((None, None, self.config.hidden_size))

    def _defaults(self):
        return {"loss": None, "metrics": None}  # see compute_loss

    def call(self, inputs, training=None):
        """Returns the logits `[b, p, v]`."""
        outputs = self.encoder(inputs, training=training)
        return self.mlm_head(
            outputs["sequence_output"],
            ops.convert_to_tensor(self.encoder.embeddings.token_embedding),
            inputs.get("masked_positions"),
        )

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the loss of a batch and updates the metrics; see the class."""
        weights = ops.cast(x["masked_weights"], "float32")  # [b, p]
        losses = cross_entropy(x["masked_ids"], y_pred)  # [b, p]
        self.mlm_loss.update_state(losses, weights)
        self.mlm_accuracy.update_state(hits(x["masked_ids"], y_pred), weights)
        if self._compile_loss is not None:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        return mean_over_replicas(losses, weights)
