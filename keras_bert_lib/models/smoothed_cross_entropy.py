"""Cross entropy with smoothed labels."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross entropy of class ids, each of which counts a little for all the other classes too.

    The label has 1 - s + s / classes, each other class s / classes. So the model is not driven to
    be surer than it can be, and its probabilities are nearer to how often it is right. Keras
    smooths only one-hot labels.

    Args:
        label_smoothing: float s, from 0, no smoothing, to below 1.
        ignore_class: int or None, the label of what counts for nothing.
        name: str.

    References:
        - [Szegedy et al., 2015](https://arxiv.org/abs/1512.00567), section 7
        - `torch.nn.CrossEntropyLoss(label_smoothing=)`, which this equals
    """

    def __init__(self, label_smoothing, ignore_class=None, name="smoothed_cross_entropy"):
        super().__init__(name=name)
        self.label_smoothing = label_smoothing
        self.ignore_class = ignore_class

    def call(self, y_true, y_pred):
        """Returns the losses of labels `[...]` and logits `[..., c]`, whose mean is the loss."""
        y_true = ops.cast(y_true, "int32")
        if len(y_true.shape) == len(y_pred.shape):  # Keras makes [b] to [b, 1]
            y_true = ops.squeeze(y_true, axis=-1)
        counts = ops.ones_like(y_true, dtype="float32")
        if self.ignore_class is not None:
            counts = ops.cast(ops.not_equal(y_true, self.ignore_class), "float32")
            y_true = ops.where(ops.equal(y_true, self.ignore_class), 0, y_true)
        log_probabilities = ops.log_softmax(ops.cast(y_pred, "float32"))
        right = ops.take_along_axis(log_probabilities, ops.expand_dims(y_true, -1), axis=-1)[..., 0]
        mean = ops.mean(log_probabilities, axis=-1)
        losses = -(1.0 - self.label_smoothing) * right - self.label_smoothing * mean
        # The mean over all is to be the mean over those that count.
        size = ops.cast(ops.size(counts), "float32")
        return losses * counts * ops.divide_no_nan(size, ops.sum(counts))

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            "label_smoothing": self.label_smoothing,
            "ignore_class": self.ignore_class,
            "name": self.name,
        }


def smoothed(loss, label_smoothing):
    """Returns `loss`, a Keras loss, with smoothed labels.

    Raises:
        ValueError: if it is none of labels, or `label_smoothing` is out of its range.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(
            "`label_smoothing` must be from 0 to below 1. "
            f"Received: label_smoothing={label_smoothing}"
        )
    if label_smoothing == 0:
        return loss
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        return SmoothedCrossEntropy(label_smoothing, loss.ignore_class)
    if isinstance(loss, keras.losses.BinaryCrossentropy):
        return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=label_smoothing)
    losses = loss.values() if isinstance(loss, dict) else [loss]
    names = ", ".join(sorted({type(x).__name__ for x in losses}))
    raise ValueError(
        "`label_smoothing` is for losses of labels: of texts, of tokens and of choices. Places in "
        "a text, numbers and embeddings have none to smooth; leave it out. Received: "
        f"label_smoothing={label_smoothing}, loss {names}"
    )
