"""What the models share that give labels to texts or to tokens."""

import keras

from keras_bert_lib.models.task_model import TaskModel, logits_layer


class LabelledModel(TaskModel):
    """Base of the models whose last layer has one output a label.

    Args:
        encoder: `BertEncoder`.
        num_classes: int, number of classes; may be left out where `labels` are given.
        tokenizer: `BertTokenizer` or None.
        labels: list of str, the names of the classes in the order of their ids, or None.
        dropout: float, the rate of dropout before the last layer; None takes the encoder's
            `hidden_dropout`.
        **kwargs: keyword arguments of `keras.Model`.
    """

    def __init__(
        self, encoder, num_classes=None, tokenizer=None, labels=None, dropout=None, **kwargs
    ):
        super().__init__(encoder, tokenizer, **kwargs)
        self.labels = check_labels(labels, num_classes)
        self.num_classes = len(self.labels)
        self.dropout = self.config.hidden_dropout if dropout is None else dropout
        self.dropout_layer = keras.layers.Dropout(
            self.dropout, dtype=self.dtype_policy, name="dropout"
        )
        self.classifier = logits_layer(self.num_classes, self.config, "classifier")
        self.build()

    def build(self, input_shape=None):
        """Creates the head's weights; the encoder has its own already."""
        if not self.built:
            self.classifier.build((None, None, self.config.hidden_size))

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "num_classes": self.num_classes,
            "labels": list(self.labels),
            "dropout": self.dropout,
        }

    def _huggingface_config(self):
        return super()._huggingface_config() | {
            "id2label": {str(i): label for i, label in enumerate(self.labels)},
            "label2id": {label: i for i, label in enumerate(self.labels)},
            "classifier_dropout": self.dropout,
        }

    @classmethod
    def _from_checkpoint(cls, config, checkpoint, **kwargs):
        if "labels" not in kwargs and "num_classes" not in kwargs:
            kwargs["labels"] = read_labels(checkpoint)
        kwargs.setdefault("dropout", checkpoint.config.get("classifier_dropout"))
        return super()._from_checkpoint(config, checkpoint, **kwargs)


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
        if sorted(map(str, id2label)) != sorted(str(i) for i in range(len(id2label))):
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
