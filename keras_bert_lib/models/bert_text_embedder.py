"""Sentence embeddings: one vector a text."""

import itertools

import keras
import numpy as np
from absl import logging
from keras import ops

from keras_bert_lib.checkpoints import sentence_transformers
from keras_bert_lib.models.bert_encoder import BertEncoder
from keras_bert_lib.models.pretrained_model import read_tokenizer
from keras_bert_lib.models.task_model import TaskModel
from keras_bert_lib.models.texts import check_texts

POOLINGS = ("mean", "cls", "max")
# Texts that are tokenized at once: characters of all of them together. A text counts as 64 at
# least, for a chunk's ids are padded to its longest text.
_CHUNK = 1 << 20
# Below every real activation; unlike minus infinity, it fits float16 and quantizes.
_LEAST = -1e4


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class BertTextEmbedder(TaskModel):
    """Turns a text to one vector, so that texts of like meaning have like vectors.

    Reads and writes the directories of `sentence-transformers`, to the same embeddings.

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
        inputs: dict of the encoder's inputs, as the tokenizer makes it.
        training: bool, whether dropout is on.

    Returns:
        Float32 embeddings `[batch, hidden]`.

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
        self.build()

    def build(self, input_shape=None):
        """Does nothing: the encoder has all the weights there are."""

    def _defaults(self):
        # Texts alone say nothing of which are alike: whoever trains brings a loss.
        return {"loss": None, "metrics": None}

    def call(self, inputs, training=None):
        """Returns the embeddings `[b, h]`."""
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
