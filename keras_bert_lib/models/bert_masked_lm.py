"""Filling in masked pieces."""

import keras
import numpy as np
from keras import ops

from keras_bert_lib.models.bert_pretrainer import cross_entropy, hits, masked_lm_head
from keras_bert_lib.models.distribution import mean_over_replicas
from keras_bert_lib.models.task_model import TaskModel
from keras_bert_lib.models.texts import batches_of_like_length, check_texts


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
            training=training,
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

    def predict_text(self, texts, top_k=5, batch_size=32):
        """Ranks what may stand at each [MASK].

        Args:
            texts: list of str, with "[MASK]" for the pieces that are missing.
            top_k: int, how many pieces are given for each.
            batch_size: int, number of texts that are computed at once.

        Returns:
            List with a list for each text, and in it one for each "[MASK]", in their order: dicts,
            the most probable first, with the piece `token`, its probability `score`, and the text
            with it in place of this "[MASK]", `sequence`. A "[MASK]" past the tokens that the model
            reads has none.

        Raises:
            ValueError: if the model has no tokenizer, or its vocabulary no [MASK].

        Example:
            ```python
            import keras_bert_lib as kbl

            tokenizer = kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fine"])
            encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=6))
            model = kbl.BertMaskedLM(encoder, tokenizer=tokenizer)
            model.predict_text(["all is [MASK]"], top_k=1)
            # [[[{"token": "fine", "score": 0.17, "sequence": "all is fine"}]]]
            ```
        """
        tokenizer = mask_tokenizer(self._tokenizer_for("predict_text"))
        texts = check_texts(texts, "texts")
        if not isinstance(top_k, int) or top_k < 1:
            raise ValueError(f"`top_k` must be a positive integer. Received: top_k={top_k!r}")
        texts = [x.decode("utf-8", "replace") if isinstance(x, bytes) else x for x in texts]
        max_length = min(tokenizer.max_length, self.config.max_position_embeddings)
        answers = [None] * len(texts)
        for batch in batches_of_like_length([len(text) for text in texts], batch_size):
            tokens = tokenizer(
                [texts[i] for i in batch], max_length=max_length, return_offsets=True
            )
            del tokens["byte_offsets"]
            offsets = ops.convert_to_numpy(tokens.pop("char_offsets"))  # [b, s, 2]
            is_mask = ops.convert_to_numpy(tokens["token_ids"]) == tokenizer.mask_token_id
            positions = [np.flatnonzero(row) for row in is_mask]
            masked_positions = np.zeros([len(batch), max(1, is_mask.sum(axis=1).max())], "int32")
            for row, masks in zip(masked_positions, positions):
                row[: len(masks)] = masks
            logits = self.predict_on_batch(tokens | {"masked_positions": masked_positions})
            scores = ops.convert_to_numpy(ops.softmax(logits))  # [b, p, v]
            for row, i in enumerate(batch):
                answers[i] = [
                    self._ranked(tokenizer, texts[i], offsets[row, position], scores[row, k], top_k)
                    for k, position in enumerate(positions[row])
                ]
        return answers

    def _ranked(self, tokenizer, text, offsets, scores, top_k):
        """Returns the best pieces for one "[MASK]" of a text, whose place `offsets` `[2]` tells."""
        before, after = text[: offsets[0]], text[offsets[1] :]
        ranked = []
        # Embeddings that have no piece are none to give.
        for best in np.argsort(-scores[: tokenizer.vocabulary_size], kind="stable")[:top_k]:
            token = tokenizer.id_to_token(int(best))
            filled = before.rstrip() + token[2:] if token.startswith("##") else before + token
            ranked.append(
                {"token": token, "score": float(scores[best]), "sequence": filled + after}
            )
        return ranked


def mask_tokenizer(tokenizer):
    """Returns the tokenizer, or one like it that finds "[MASK]" in a text.

    Raises:
        ValueError: if its vocabulary has no [MASK].
    """
    if tokenizer.mask_token_id is None:
        raise ValueError(
            "The tokenizer has no [MASK] to be filled in. Use the vocabulary the model was "
            f"pretrained with. Received: {tokenizer.vocabulary_size} pieces without [MASK]"
        )
    if tokenizer.special_tokens_in_text:
        return tokenizer
    return type(tokenizer).from_config(tokenizer.get_config() | {"special_tokens_in_text": True})
