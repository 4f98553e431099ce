"""Pretraining: masked language model and next sentence prediction."""

import keras
import numpy as np
from keras import ops

from keras_bert_lib.layers.masked_lm_head import MaskedLMHead
from keras_bert_lib.layers.next_sentence_head import NextSentenceHead
from keras_bert_lib.models.bert_encoder import BertEncoder, check_inputs
from keras_bert_lib.models.distribution import mean_over_replicas
from keras_bert_lib.models.pretrained_model import PretrainedModel
from keras_bert_lib.models.task_model import check_encoder


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class BertPretrainer(PretrainedModel):
    """BERT's two pretraining tasks, with their losses and metrics: `compile(optimizer)` is enough.

    The loss is the cross entropy of the masked pieces, its weighted mean over the global batch
    (the batches of all replicas together), plus the mean cross entropy of the next sentence
    labels. `fit` and `evaluate` report `loss`, `mlm_loss`, `nsp_loss`, `mlm_accuracy` (at the
    masked positions) and `nsp_accuracy`. A `loss` given to `compile` takes the place of the two.

    Args:
        encoder: `BertEncoder`.
        **kwargs: keyword arguments of `keras.Model`; the dtype policy is the encoder's where none
            is given.

    Call arguments:
        inputs: dict of the encoder's inputs and `masked_positions`, int32
            `[batch, predictions]`; without it every position is scored.
        training: bool, whether dropout is on.

    Training batches are one dict with more keys, and no `y`: `masked_ids`, int32
    `[batch, predictions]`, the pieces that were masked; `masked_weights`, float32
    `[batch, predictions]`, 1 for them and 0 for padding; `next_sentence_labels`, int32 `[batch]`,
    0 where the second segment is the real next one, 1 where it is not. Without these labels the
    masked pieces are all that is learned, and there is no `nsp_loss` and `nsp_accuracy`.

    Rows may hold several examples, with the keys that `BertEncoder` takes for them. Then
    `next_sentence_labels` are `[batch, examples]`, and `next_sentence_weights`, float32
    `[batch, examples]`, are 1 where there is an example. The loss is that of the same examples in
    rows of their own.

    Returns:
        Dict with the float32 logits `mlm_logits` `[batch, predictions, vocab_size]` and
        `nsp_logits` `[batch, 2]`, or `[batch, examples, 2]` of packed rows.

    Example:
        ```python
        import numpy as np
        from keras_bert_lib.models import BertConfig, BertEncoder, BertPretrainer

        pretrainer = BertPretrainer(BertEncoder(BertConfig.from_size("tiny", vocab_size=100)))
        pretrainer.compile("adam")
        pretrainer.fit(
            {
                "token_ids": np.array([[2, 7, 4, 3], [2, 4, 9, 3]], "int32"),
                "segment_ids": np.array([[0, 0, 1, 1], [0, 0, 1, 1]], "int32"),
                "padding_mask": np.ones([2, 4], "int32"),
                "masked_positions": np.array([[2], [1]], "int32"),
                "masked_ids": np.array([[8], [7]], "int32"),
                "masked_weights": np.ones([2, 1], "float32"),
                "next_sentence_labels": np.array([0, 1], "int32"),
            }
        )
        ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """

    _architecture = "BertForPreTraining"

    def __init__(self, encoder, **kwargs):
        check_encoder(encoder)
        super().__init__(**({"dtype": encoder.dtype_policy} | kwargs))
        self.encoder = encoder
        self.config = encoder.config
        self.mlm_head = masked_lm_head(self.config, self.dtype_policy)
        self.nsp_head = NextSentenceHead(
            self.config.initializer_range, dtype=self.dtype_policy, name="nsp_head"
        )
        self.mlm_loss = keras.metrics.Mean(name="mlm_loss")
        self.nsp_loss = keras.metrics.Mean(name="nsp_loss")
        self.mlm_accuracy = keras.metrics.Mean(name="mlm_accuracy")
        self.nsp_accuracy = keras.metrics.Mean(name="nsp_accuracy")
        self._has_next_sentences = True  # of the batches that were seen last
        self.build()

    def build(self, input_shape=None):
        """Creates the heads' weights; the encoder has its own already."""
        if self.built:
            return
        self.mlm_head.build((None, None, self.config.hidden_size))
        self.nsp_head.build((None, self.config.hidden_size))

    def call(self, inputs, training=None):
        """Returns the dict of logits."""
        check_inputs(inputs)
        outputs = self.encoder(inputs, training=training)
        mlm_logits = self.mlm_head(
            outputs["sequence_output"],
            ops.convert_to_tensor(self.encoder.embeddings.token_embedding),
            inputs.get("masked_positions"),
            training=training,
        )
        return {"mlm_logits": mlm_logits, "nsp_logits": self.nsp_head(outputs["pooled_output"])}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the loss of a batch and updates the metrics; see the class."""
        weights = ops.cast(x["masked_weights"], "float32")  # [b, p]
        losses = cross_entropy(x["masked_ids"], y_pred["mlm_logits"])  # [b, p]
        self.mlm_loss.update_state(losses, weights)
        self.mlm_accuracy.update_state(hits(x["masked_ids"], y_pred["mlm_logits"]), weights)
        loss = mean_over_replicas(losses, weights)  # a batch may have nothing masked in it
        self._has_next_sentences = "next_sentence_labels" in x
        if self._has_next_sentences:
            labels, logits = x["next_sentence_labels"], y_pred["nsp_logits"]
            losses = cross_entropy(labels, logits)  # [b], or [b, e] of packed rows
            weights = ops.cast(x.get("next_sentence_weights", ops.ones_like(losses)), "float32")
            self.nsp_loss.update_state(losses, weights)
            self.nsp_accuracy.update_state(hits(labels, logits), weights)
            loss = loss + mean_over_replicas(losses, weights)
        if self._compile_loss is not None:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        return loss

    def adapt_output_bias(self, batches):
        """Sets the bias of the masked pieces' logits to the log of how often each piece is masked.

        To be called before training from random weights: the model then begins with the pieces'
        frequencies and need not learn them first. From a bias of zeros it learns them by turning
        all token embeddings one way, away from what is rare, which costs steps and leaves worse
        embeddings. Some hundred thousand masked pieces tell frequencies well enough.

        Args:
            batches: iterable of training batches, such as `dataset.take(500)`; each a dict with
                `masked_ids` and `masked_weights`, see the class.

        Raises:
            ValueError: if nothing is masked in the batches, or a piece is not of the vocabulary.
        """
        counts = np.zeros(self.config.vocab_size)
        for batch in batches:
            ids = np.asarray(batch["masked_ids"])[np.asarray(batch["masked_weights"]) > 0]
            if ids.size and not 0 <= ids.min() <= ids.max() < len(counts):
                raise ValueError(
                    "`masked_ids` must be pieces of the model's vocabulary. Make the batches with "
                    f"the model's tokenizer. Received: ids from {ids.min()} to {ids.max()}, a "
                    f"vocabulary of {len(counts)}"
                )
            counts += np.bincount(ids, minlength=len(counts))
        if not counts.any():
            raise ValueError(
                "`batches` must have masked pieces in them. Give batches of "
                "`data.pretraining_dataset`. Received: none"
            )
        # As if each piece had been seen once more: what was not seen may still come.
        self.mlm_head.bias.assign(np.log((counts + 1) / (counts + 1).sum()))

    def get_metrics_result(self):
        """Returns the values of the metrics; those of next sentences where there are any."""
        results = super().get_metrics_result()
        if not self._has_next_sentences:
            results = {name: x for name, x in results.items() if not name.startswith("nsp_")}
        return results

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | {"encoder": keras.saving.serialize_keras_object(self.encoder)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes the pretrainer that `get_config` describes."""
        encoder = keras.saving.deserialize_keras_object(config["encoder"], custom_objects)
        return cls(**(config | {"encoder": encoder}))

    @classmethod
    def _from_checkpoint(cls, config, checkpoint, **kwargs):
        dtype = kwargs.get("dtype")
        return cls(BertEncoder(config, dtype=dtype), **kwargs)


def masked_lm_head(config, dtype):
    """Returns the head that a `BertConfig` describes."""
    return MaskedLMHead(
        vocab_size=config.vocab_size,
        hidden_act=config.mlm_hidden_act or config.hidden_act,
        layer_norm_eps=config.mlm_layer_norm_eps or config.layer_norm_eps,
        initializer_range=config.initializer_range,
        dtype=dtype,
        name="mlm_head",
    )


def cross_entropy(labels, logits):
    """Returns the cross entropy of each label, float32, in the labels' shape.

    What `ops.sparse_categorical_crossentropy` computes, in a fifth of the time that TensorFlow's
    kernel takes on a CPU: with that, it was a quarter of a small model's step.

    Args:
        labels: int32 `[...]`.
        logits: float32 `[..., classes]`.
    """
    classes = logits.shape[-1]
    # JAX wants all that the gradient needs as arguments, and gradients for all of them: so labels
    # are floats here, which tell any vocabulary's pieces apart.
    losses = _cross_entropy(
        ops.reshape(logits, (-1, classes)),
        ops.reshape(ops.cast(labels, "float32"), (-1,)),
    )
    return ops.reshape(losses, ops.shape(labels))


@ops.custom_gradient
def _cross_entropy(logits, labels):
    """Returns the cross entropy `[n]` of float32 logits `[n, c]` and labels `[n]`."""
    rows, classes = ops.shape(labels)[0], logits.shape[-1]
    # The places of the labels' logits among all n * c.
    places = ops.arange(rows, dtype="int32") * classes + ops.cast(labels, "int32")  # [n]
    probabilities = ops.softmax(logits, axis=-1)  # [n, c]
    # The largest logit has the probability 1 / sum(exp(logits - largest)), which is far from 0.
    norm = ops.max(logits, axis=-1) - ops.log(ops.max(probabilities, axis=-1))  # [n]
    own = ops.take(ops.reshape(probabilities, (-1,)), places)  # [n]

    def gradient(*args, upstream=None):
        if upstream is None:
            (upstream,) = args
        flat = ops.reshape(probabilities * ops.expand_dims(upstream, 1), (-1,))  # [n * c]
        flat = ops.scatter_update(flat, ops.expand_dims(places, 1), (own - 1.0) * upstream)
        return ops.reshape(flat, (-1, classes)), ops.zeros_like(upstream)

    return norm - ops.take(ops.reshape(logits, (-1,)), places), gradient


def hits(labels, logits):
    """Returns 1 where no logit is higher than the label's and 0 elsewhere, float32."""
    # Not by argmax, which takes TensorFlow several times as long.
    own = ops.take_along_axis(logits, ops.expand_dims(ops.cast(labels, "int32"), -1), axis=-1)
    return ops.cast(ops.equal(own[..., 0], ops.max(logits, axis=-1)), "float32")
