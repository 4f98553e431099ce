"""Classification of texts and of pairs of texts."""

import keras
import numpy as np
from keras import ops

from keras_bert_lib.layers.initializers import normal
from keras_bert_lib.models.bert_encoder import BertEncoder
from keras_bert_lib.models.bert_pretrainer import check_encoder
from keras_bert_lib.models.pretrained_model import PretrainedModel, read_tokenizer


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class BertClassifier(PretrainedModel):
    """Puts a text, or a pair of texts, into one of several classes.

    `compile(optimizer)` is enough: the loss is then the sparse categorical cross entropy of the
    logits and the metric accuracy. A `loss` or `metrics` given to `compile` wins.

    `keras.models.load_model` reads a saved `.keras` file, compiled as it was, once
    `keras_bert_lib` is imported.

    Args:
        encoder: `BertEncoder`.
        num_classes: int, number of classes; may be left out where `labels` are given.
        tokenizer: `BertTokenizer` or None. `predict_text` needs one, and it is saved and exported
            with the model.
        labels: list of str, the names of the classes in the order of their ids. None names them
            `LABEL_0`, `LABEL_1` and so on.
        dropout: float, the rate of dropout before the last layer; None takes the encoder's
            `hidden_dropout`.
        **kwargs: keyword arguments of `keras.Model`; the dtype policy is the encoder's where none
            is given.

    Call arguments:
        inputs: dict of the encoder's inputs, as the tokenizer makes it.
        training: bool, whether dropout is on.

    Returns:
        Float32 logits `[batch, num_classes]`.

    Raises:
        ValueError: if neither or both disagreeing `num_classes` and `labels` are given, if
            labels are not unique strings, or if the tokenizer has more pieces than the encoder.

    Example:
        ```python
        import numpy as np
        from keras_bert_lib.models import BertClassifier, BertConfig, BertEncoder

        encoder = BertEncoder(BertConfig.from_size("tiny", vocab_size=100))
        classifier = BertClassifier(encoder, labels=["neg", "pos"])
        classifier.compile("adam")
        x = {"token_ids": np.array([[2, 7, 3], [2, 9, 3]], "int32")}
        classifier.fit(x, np.array([0, 1]))
        ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """

    _architecture = "BertForSequenceClassification"

    def __init__(
        self, encoder, num_classes=None, tokenizer=None, labels=None, dropout=None, **kwargs
    ):
        check_encoder(encoder)
        super().__init__(**({"dtype": encoder.dtype_policy} | kwargs))
        self.encoder = encoder
        self.config = encoder.config
        self.labels = check_labels(labels, num_classes)
        self.num_classes = len(self.labels)
        if tokenizer is not None and tokenizer.vocabulary_size > self.config.vocab_size:
            raise ValueError(
                "The tokenizer has more pieces than the encoder has embeddings. Use the "
                "vocabulary the encoder was made for. Received: tokenizer.vocabulary_size="
                f"{tokenizer.vocabulary_size}, vocab_size={self.config.vocab_size}"
            )
        self.tokenizer = tokenizer
        self.dropout = self.config.hidden_dropout if dropout is None else dropout
        self.dropout_layer = keras.layers.Dropout(
            self.dropout, dtype=self.dtype_policy, name="dropout"
        )
        # Logits are float32, whatever the compute dtype.
        self.classifier = keras.layers.Dense(
            self.num_classes,
            kernel_initializer=normal(self.config.initializer_range),
            dtype="float32",
            name="classifier",
        )
        self.build()

    def build(self, input_shape=None):
        """Creates the last layer's weights; the encoder has its own already."""
        if self.built:
            return
        self.classifier.build((None, self.config.hidden_size))

    def compile(self, optimizer, loss="auto", loss_weights=None, metrics="auto", **kwargs):
        """Prepares the model for `fit`.

        Args:
            optimizer: Keras optimizer or its name.
            loss: Keras loss or its name; `"auto"` is the sparse categorical cross entropy of the
                logits.
            loss_weights: as in `keras.Model.compile`.
            metrics: list of Keras metrics or names; `"auto"` is accuracy.
            **kwargs: other arguments of `keras.Model.compile`.
        """
        if isinstance(loss, str) and loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if isinstance(metrics, str) and metrics == "auto":
            metrics = ["accuracy"]
        super().compile(optimizer, loss, loss_weights, metrics, **kwargs)

    def compile_from_config(self, config):
        """Compiles as the model was when it was saved."""
        # Keras leaves this to classes that have a `compile` of their own.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def call(self, inputs, training=None):
        """Returns the logits `[b, c]`."""
        pooled = self.encoder(inputs, training=training)["pooled_output"]  # [b, h]
        return self.classifier(self.dropout_layer(pooled, training=training))

    def predict_text(self, texts, text_pairs=None, batch_size=32):
        """Classifies texts.

        Args:
            texts: list of str.
            text_pairs: list of str of the same length, for pairs, or None.
            batch_size: int, number of texts that are computed at once.

        Returns:
            List of dicts, one a text, with the best class's name `label` and its probability
            `score`.

        Raises:
            ValueError: if the model has no tokenizer, or the lists do not fit each other.

        Example:
            ```python
            import keras_bert_lib as kbl

            tokenizer = kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fine"])
            encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=6))
            classifier = kbl.BertClassifier(encoder, tokenizer=tokenizer, labels=["neg", "pos"])
            classifier.predict_text(["fine"])  # [{"label": "pos", "score": 0.51}]
            ```
        """
        if self.tokenizer is None:
            raise ValueError(
                "`predict_text` needs a tokenizer. Give one to the constructor, "
                "`BertClassifier(encoder, tokenizer=tokenizer)`, or set `classifier.tokenizer`. "
                "Received: tokenizer=None"
            )
        texts = check_texts(texts, "texts")
        if text_pairs is not None:
            text_pairs = check_texts(text_pairs, "text_pairs")
            if len(text_pairs) != len(texts):
                raise ValueError(
                    "`text_pairs` must be as long as `texts`. "
                    f"Received: {len(texts)} texts, {len(text_pairs)} text_pairs"
                )
        # Texts of like length share a batch, so that little of it is padding.
        lengths = [len(text) for text in texts]
        if text_pairs is not None:
            lengths = [length + len(pair) for length, pair in zip(lengths, text_pairs)]
        order = np.argsort(lengths, kind="stable")
        max_length = min(self.tokenizer.max_length, self.config.max_position_embeddings)
        results = [None] * len(texts)
        for start in range(0, len(texts), batch_size):
            batch = order[start : start + batch_size]
            inputs = self.tokenizer(
                [texts[i] for i in batch],
                None if text_pairs is None else [text_pairs[i] for i in batch],
                max_length=max_length,
            )
            logits = self.predict_on_batch(inputs)[: len(batch)]  # [b, c]
            probabilities = ops.convert_to_numpy(ops.softmax(logits, axis=-1))
            for i, row in zip(batch, probabilities):
                best = int(row.argmax())
                results[i] = {"label": self.labels[best], "score": float(row[best])}
        return results

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "num_classes": self.num_classes,
            "tokenizer": keras.saving.serialize_keras_object(self.tokenizer),
            "labels": list(self.labels),
            "dropout": self.dropout,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes the classifier that `get_config` describes."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("encoder", "tokenizer")
        }
        return cls(**(config | parts))

    def _huggingface_config(self):
        return super()._huggingface_config() | {
            "id2label": {str(i): label for i, label in enumerate(self.labels)},
            "label2id": {label: i for i, label in enumerate(self.labels)},
            "classifier_dropout": self.dropout,
        }

    @classmethod
    def _from_checkpoint(cls, config, checkpoint, **kwargs):
        dtype = kwargs.get("dtype")
        if "labels" not in kwargs and "num_classes" not in kwargs:
            kwargs["labels"] = read_labels(checkpoint)
        if "tokenizer" not in kwargs:
            kwargs["tokenizer"] = read_tokenizer(checkpoint)
        kwargs.setdefault("dropout", checkpoint.config.get("classifier_dropout"))
        return cls(BertEncoder(config, dtype=dtype), **kwargs)


def check_texts(texts, name):
    """Returns the argument called `name` as a list of strings."""
    if isinstance(texts, (str, bytes)):
        raise ValueError(
            f"`{name}` must be a list of strings; put a single text in a list. "
            f"Received: {name}={texts!r}"
        )
    texts = list(texts)
    for i, text in enumerate(texts):
        if not isinstance(text, (str, bytes)):
            raise ValueError(f"`{name}` must hold strings only. Received at index {i}: {text!r}")
    return texts


def check_labels(labels, num_classes):
    """Returns the list of labels that the arguments describe."""
    if labels is None and num_classes is None:
        raise ValueError("Give `labels` or `num_classes`. Received: labels=None, num_classes=None")
    if labels is None:
        if not isinstance(num_classes, int) or num_classes < 1:
            raise ValueError(
                f"`num_classes` must be a positive integer. Received: num_classes={num_classes!r}"
            )
        return [f"LABEL_{i}" for i in range(num_classes)]
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"`labels` must be a list of strings. Received: labels={labels!r}")
    labels = list(labels)
    if not labels:
        raise ValueError("`labels` must name at least one class. Received: labels=[]")
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(f"`labels` must be unique, and {twice[0]!r} is not. Received: {labels!r}")
    if num_classes is not None and num_classes != len(labels):
        raise ValueError(
            "`num_classes` must be the number of `labels`, or be left out. "
            f"Received: num_classes={num_classes}, {len(labels)} labels"
        )
    return labels


def read_labels(checkpoint):
    """Returns the labels of a `Checkpoint`."""
    path = checkpoint.source.path
    id2label = checkpoint.config.get("id2label")
    if id2label is not None:
        if sorted(int(i) for i in id2label) != list(range(len(id2label))):
            raise ValueError(
                f"`id2label` in the config of {path} does not number its labels from 0 on. "
                f"Received: id2label={id2label}"
            )
        return [id2label[key] for key in sorted(id2label, key=int)]
    # `transformers` leaves `id2label` out where the labels have no names.
    if "classifier.weight" not in checkpoint.source.names:
        raise ValueError(
            f"{path} is no classifier, so it cannot say which classes there are. Give `labels` or "
            "`num_classes`. Received: labels=None, num_classes=None"
        )
    return [f"LABEL_{i}" for i in range(checkpoint.source.shape("classifier.weight")[0])]
