"""Sentence embeddings: one vector a text."""

import itertools

import keras
import numpy as np
from absl import logging
from keras import ops

from keras_bert_lib.checkpoints import sentence_transformers
from keras_bert_lib.models import embedding_losses
from keras_bert_lib.models.bert_encoder import BertEncoder
from keras_bert_lib.models.distribution import mean_over_replicas
from keras_bert_lib.models.pretrained_model import read_tokenizer
from keras_bert_lib.models.task_model import TaskModel
from keras_bert_lib.models.texts import check_texts

POOLINGS = ("mean", "cls", "max")
# What each loss is told of; the first also takes "negative".
LOSSES = {
    "in_batch_negatives": ("anchor", "positive"),
    "cosine": ("anchor", "positive"),
    "triplet": ("anchor", "positive", "negative"),
}
# Texts that are tokenized at once: characters of all of them together. A text counts as 64 at
# least, for a chunk's ids are padded to its longest text.
_CHUNK = 1 << 20
# Below every real activation; unlike minus infinity, it fits float16 and quantizes.
_LEAST = -1e4


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class BertTextEmbedder(TaskModel):
    """Turns a text to one vector, so that texts of like meaning have like vectors.

    Reads and writes the directories of `sentence-transformers`, to the same embeddings.

    `fit` takes a dict of such inputs: "anchor", "positive", and where there is one "negative", as
    `kbl.data.text_pairs` makes it. What is learned from them, `compile` says.

    Args:
        encoder: `BertEncoder`.
        tokenizer: `BertTokenizer` or None. `encode` needs one, and it is saved with the model.
        pooling: `"mean"` of all tokens' vectors, special tokens included, `"cls"`, that of the
            first token, or `"max"`, the greatest value of each component.
        normalize: bool, whether embeddings are scaled to length 1.
        max_length: int, the most tokens of a text that `encode` reads; None takes the tokenizer's
            `max_length`, or the encoder's number of positions where that is less.
        **kwargs: keyword arguments of `keras.Model`; the dtype policy is the encoder's where none
            is given.

    Call arguments:
        inputs: dict of the encoder's inputs, as the tokenizer makes it, or a dict of such dicts.
        training: bool, whether dropout is on.

    Returns:
        Float32 embeddings `[batch, hidden]`, or a dict of them.

    Raises:
        ValueError: for an unknown `pooling`, if the tokenizer has more pieces than the encoder, or
            if the encoder has no positions for `max_length` tokens.

    Example:
        ```python
        import keras_bert_lib as kbl

        tokenizer = kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "film"])
        encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=7))
        embedder = kbl.BertTextEmbedder(encoder, tokenizer=tokenizer)
        embedder.encode(["a film", "film"]).shape  # (2, 128)
        ```

    References:
        - [Reimers and Gurevych, 2019](https://arxiv.org/abs/1908.10084)
    """

    _architecture = "BertModel"
    _use_pooler = False

    def __init__(
        self, encoder, tokenizer=None, pooling="mean", normalize=True, max_length=None, **kwargs
    ):
        super().__init__(encoder, tokenizer, **kwargs)
        if pooling not in POOLINGS:
            raise ValueError(
                f"`pooling` must be one of {', '.join(POOLINGS)}. Received: pooling={pooling!r}"
            )
        self.pooling = pooling
        self.normalize = normalize
        positions = self.config.max_position_embeddings
        if max_length is None:
            max_length = positions if tokenizer is None else min(tokenizer.max_length, positions)
        if not isinstance(max_length, int) or not 3 <= max_length <= positions:
            raise ValueError(
                "`max_length` must be at least 3, [CLS], one piece and [SEP], and at most the "
                f"encoder's {positions} positions. Received: max_length={max_length!r}"
            )
        self.max_length = max_length
        self._pair_loss = None  # dict of "loss", "temperature" and "margin"
        self._pair_accuracy = keras.metrics.Mean(name="accuracy")
        self.build()

    def build(self, input_shape=None):
        """Does nothing: the encoder has all the weights there are."""

    def compile(
        self,
        optimizer,
        loss="in_batch_negatives",
        loss_weights=None,
        metrics="auto",
        temperature=0.05,
        margin=1.0,
        **kwargs,
    ):
        """Prepares the model for `fit`.

        Args:
            optimizer: Keras optimizer or its name.
            loss: what the model learns:

                - `"in_batch_negatives"`, from pairs of texts that belong together (questions and
                  their answers): of all the second texts of a batch, that an anchor's own is the
                  nearest. Cosines over `temperature` are the logits of a cross entropy. The larger
                  the batch, the more is learned; no text should belong to two anchors of a batch.
                  Under `tf.distribute` the batch is that of a replica: none sees the texts of
                  another.
                - `"cosine"`, from pairs with a score, float `[batch]`, which `fit` takes as `y`:
                  that the cosine be the score, by the squared difference. Scale scores to lie
                  between 0 and 1, or -1 and 1.
                - `"triplet"`: that the Euclidean distance of "anchor" and "negative" be greater
                  than that of "anchor" and "positive", by `margin` at least.

                Any other loss is one of embeddings, as in `keras.Model.compile`.
            loss_weights: as in `keras.Model.compile`, for other losses.
            metrics: the same; the losses above bring "accuracy", the share of anchors whose own
                text is the nearest, but for `"cosine"`.
            temperature: float, see above.
            margin: float, see above.
            **kwargs: other arguments of `keras.Model.compile`.

        Raises:
            ValueError: if `temperature` is not positive, or `margin` is negative.

        Example:
            ```python
            import keras_bert_lib as kbl

            tokenizer = kbl.BertTokenizer("[PAD] [UNK] [CLS] [SEP] [MASK] a fine film".split())
            encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=8))
            embedder = kbl.BertTextEmbedder(encoder, tokenizer=tokenizer)
            embedder.compile("adam", loss="in_batch_negatives")
            x = {"anchor": tokenizer(["a film", "fine"]), "positive": tokenizer(["film", "a"])}
            embedder.fit(x)
            ```
        """
        if temperature <= 0 or margin < 0:
            raise ValueError(
                "`temperature` must be positive and `margin` not negative. "
                f"Received: temperature={temperature}, margin={margin}"
            )
        self._pair_loss = None
        if loss == "auto":
            loss = "in_batch_negatives"
        if isinstance(loss, str) and loss in LOSSES:
            if metrics not in ("auto", None):
                raise ValueError(
                    f"loss={loss!r} has the metrics there are. Leave `metrics` out. "
                    f"Received: metrics={metrics!r}"
                )
            self._pair_loss = {"loss": loss, "temperature": temperature, "margin": margin}
            loss = None
        super().compile(optimizer, loss, loss_weights, metrics, **kwargs)

    def get_compile_config(self):
        """Returns the arguments of `compile`, for the file."""
        return super().get_compile_config() | (self._pair_loss or {})

    def _defaults(self):
        # Whoever trains by another loss brings its metrics.
        return {"loss": None, "metrics": None}

    @property
    def metrics(self):
        """The metrics that there are for the loss."""
        metrics = super().metrics
        if self._pair_loss is None or self._pair_loss["loss"] == "cosine":
            metrics = [metric for metric in metrics if metric is not self._pair_accuracy]
        return metrics

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the loss of a batch and updates the metrics; see `compile`."""
        if self._pair_loss is None:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        name = self._pair_loss["loss"]
        given = y_pred if isinstance(y_pred, dict) else {}
        if missing := [part for part in LOSSES[name] if part not in given]:
            raise ValueError(
                f"loss={name!r} learns from a dict of {', '.join(LOSSES[name])}, each a dict of "
                f"inputs, and there is no {missing[0]}. Received: x of {', '.join(map(str, x))}"
            )
        if name == "cosine" and y is None:
            raise ValueError(
                "loss='cosine' learns from scores, float `[batch]`, as `y`. Received: y=None"
            )
        if name == "cosine":
            losses, hits = embedding_losses.cosine(y_pred, y)
        elif name == "triplet":
            losses, hits = embedding_losses.triplet(y_pred, self._pair_loss["margin"])
        else:
            temperature = self._pair_loss["temperature"]
            losses, hits = embedding_losses.in_batch_negatives(y_pred, temperature)
        weights = ops.ones_like(losses) if sample_weight is None else sample_weight
        weights = ops.cast(weights, "float32")
        if hits is not None:
            self._pair_accuracy.update_state(hits, weights)
        return mean_over_replicas(losses, weights)

    def call(self, inputs, training=None):
        """Returns the embeddings `[b, h]`, or a dict of them."""
        if inputs and all(isinstance(x, dict) for x in inputs.values()):
            return {name: self.call(x, training) for name, x in inputs.items()}
        x = self.encoder(inputs, training=training)["sequence_output"]  # [b, s, h]
        # Sums over many tokens, and lengths, want more digits than bfloat16 has.
        x = ops.cast(x, "float32")
        mask = inputs.get("padding_mask")
        if self.pooling == "cls":
            pooled = x[:, 0]
        elif mask is None:
            pooled = ops.max(x, axis=1) if self.pooling == "max" else ops.mean(x, axis=1)
        elif self.pooling == "max":
            pooled = ops.max(ops.where(ops.expand_dims(mask, -1) > 0, x, _LEAST), axis=1)
        else:
            mask = ops.cast(ops.expand_dims(mask, -1), "float32")  # [b, s, 1]
            # A row may be all padding, where a batch is filled up.
            pooled = ops.sum(x * mask, axis=1) / ops.maximum(ops.sum(mask, axis=1), 1.0)
        return ops.normalize(pooled, axis=-1, epsilon=1e-12) if self.normalize else pooled

    def encode(self, texts, batch_size=32, show_progress=False):
        """Embeds texts.

        Texts of like length share a batch, so that little of it is padding. The embeddings come
        in the order of the texts all the same.

        Args:
            texts: list of str, or one str. Of a text longer than `max_length` tokens the beginning
                counts.
            batch_size: int, number of texts that are computed at once.
            show_progress: bool, whether to show a progress bar.

        Returns:
            Float32 NumPy array `[len(texts), hidden]`, or `[hidden]` for one str.

        Raises:
            ValueError: if the model has no tokenizer, `texts` is not a list of strings, or
                `batch_size` is not positive.
        """
        if isinstance(texts, str):
            return self.encode([texts], batch_size, show_progress)[0]
        self._tokenizer_for("encode")
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(
                f"`batch_size` must be a positive integer. Received: batch_size={batch_size!r}"
            )
        rows = self._token_ids(check_texts(texts, "texts"))  # each int32 [tokens]
        # The longest first: if memory is short, that shows at once.
        order = np.argsort([-len(row) for row in rows], kind="stable")
        embeddings = np.zeros([len(rows), self.config.hidden_size], "float32")
        if self.predict_function is None:
            # XLA, which Keras takes where there is a GPU, would compile anew for each length.
            jit_compile, self.jit_compile = self.jit_compile, False
            self.make_predict_function()
            self.jit_compile = jit_compile
        progress = keras.utils.Progbar(len(rows), unit_name="text") if show_progress else None
        for start in range(0, len(rows), batch_size):
            batch = order[start : start + batch_size]
            inputs = pad([rows[i] for i in batch], self.tokenizer.pad_token_id)
            # Under a strategy, each device computes all rows, and they come one after another.
            embeddings[batch] = self.predict_on_batch(inputs)[: len(batch)]
            if progress is not None:
                progress.update(start + len(batch))
        return embeddings

    def predict_text(self, texts, batch_size=32):
        """Embeds texts: `encode`, by the name that the models of all tasks have.

        Args:
            texts: list of str.
            batch_size: int, number of texts that are computed at once.

        Returns:
            Float32 NumPy array `[len(texts), hidden]`.

        Raises:
            ValueError: as `encode`.
        """
        return self.encode(check_texts(texts, "texts"), batch_size)

    def _token_ids(self, texts):
        """Returns the ids of each text, special tokens included: a list of int32 [tokens]."""
        rows = []
        chunks = np.cumsum([max(len(text), 64) for text in texts]) // _CHUNK
        starts = [0, *(np.flatnonzero(np.diff(chunks)) + 1), len(texts)]
        for start, end in itertools.pairwise(starts if texts else []):
            inputs = self.tokenizer(texts[start:end], max_length=self.max_length)
            token_ids = np.asarray(inputs["token_ids"])  # [chunk, s]
            lengths = np.asarray(inputs["padding_mask"]).sum(-1)
            rows += [ids[:length].copy() for ids, length in zip(token_ids, lengths)]
        return rows

    def similarity(self, a, b):
        """Returns the cosine similarity of each of `a` with each of `b`.

        Args:
            a: embeddings `[n, hidden]`, or one, `[hidden]`.
            b: embeddings `[m, hidden]`, or one, `[hidden]`.

        Returns:
            Float32 NumPy array `[n, m]`, of values from -1 to 1.

        Raises:
            ValueError: if `a` and `b` are not embeddings of one width.

        Example:
            ```python
            import numpy as np
            import keras_bert_lib as kbl

            encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=7))
            embedder = kbl.BertTextEmbedder(encoder)
            embedder.similarity(np.eye(3)[:2], np.eye(3))  # [[1, 0, 0], [0, 1, 0]]
            ```
        """
        a, b = unit_rows(a, "a"), unit_rows(b, "b")
        if a.shape[1] != b.shape[1]:
            raise ValueError(
                "`a` and `b` must be embeddings of one width. "
                f"Received: a of shape {a.shape}, b of shape {b.shape}"
            )
        return a @ b.T

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "pooling": self.pooling,
            "normalize": self.normalize,
            "max_length": self.max_length,
        }

    def _other_files(self):
        return sentence_transformers.module_files(
            self.pooling, self.normalize, self.max_length, self.config.hidden_size
        )

    @classmethod
    def _from_checkpoint(cls, config, checkpoint, **kwargs):
        settings = checkpoint.config.get("sentence_embedding")
        path = checkpoint.source.path
        if settings is None:
            settings = {"pooling": "mean", "normalize": True}
            logging.info(
                "%s says nothing of pooling: the mean of all tokens, scaled to length 1.", path
            )
        if "unsupported" in settings:
            raise ValueError(settings["unsupported"])
        if settings.get("prompt"):
            logging.warning(
                "%s was trained with %r before each text; `encode` does not add it.",
                path,
                settings["prompt"],
            )
        if "tokenizer" not in kwargs:
            tokenizer = read_tokenizer(checkpoint)
            if settings.get("lowercase") and tokenizer is not None and not tokenizer.lowercase:
                # Letters are lowered before the tokenizer of a cased model, which leaves accents.
                changes = {"lowercase": True, "strip_accents": bool(tokenizer.strip_accents)}
                tokenizer = type(tokenizer).from_config(tokenizer.get_config() | changes)
            kwargs["tokenizer"] = tokenizer
        for name in ("pooling", "normalize", "max_length"):
            kwargs.setdefault(name, settings.get(name))
        # Embeddings do without the pooler, but what was read whole shall be written whole.
        use_pooler = "pooler.dense.weight" in checkpoint.source.names
        encoder = BertEncoder(config, use_pooler=use_pooler, dtype=kwargs.get("dtype"))
        return cls(encoder, **kwargs)


def pad(rows, pad_token_id):
    """Returns the inputs that hold the ids of `rows`, each `[tokens]`, padded to the longest."""
    lengths = np.array([len(row) for row in rows])
    token_ids = np.full([len(rows), lengths.max()], pad_token_id, "int32")  # [b, s]
    for ids, row in zip(token_ids, rows):
        ids[: len(row)] = row
    mask = np.arange(token_ids.shape[1]) < lengths[:, np.newaxis]
    return {"token_ids": token_ids, "padding_mask": mask.astype("int32")}


def unit_rows(x, name):
    """Returns the embeddings called `name` as float32 `[n, h]`, each scaled to length 1."""
    x = np.atleast_2d(np.asarray(x, "float32"))
    if x.ndim != 2:
        raise ValueError(f"`{name}` must be embeddings `[n, hidden]`. Received: shape {x.shape}")
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
