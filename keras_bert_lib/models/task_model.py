"""What the models of all tasks share."""

import keras

from keras_bert_lib.backend import require_tensorflow
from keras_bert_lib.layers.initializers import normal
from keras_bert_lib.models.adversarial_step import adversarial_step
from keras_bert_lib.models.bert_encoder import BertEncoder
from keras_bert_lib.models.distributed_model import once_there
from keras_bert_lib.models.pretrained_model import PretrainedModel, read_tokenizer
from keras_bert_lib.models.smoothed_cross_entropy import smoothed


class TaskModel(PretrainedModel):
    """Base of the models of one task: an encoder, a tokenizer, and a loss and metrics to go with.

    A subclass adds its head and says in `_defaults` what `compile` takes where the caller gives
    nothing. `_use_pooler` tells whether the encoder that `from_pretrained` makes has a pooler.

    Args:
        encoder: `BertEncoder`.
        tokenizer: `BertTokenizer` or None.
        **kwargs: keyword arguments of `keras.Model`; the dtype policy is the encoder's where none
            is given.

    Raises:
        ValueError: if `encoder` is none, or the tokenizer has more pieces than it.
    """

    _use_pooler = True

    def __init__(self, encoder, tokenizer=None, **kwargs):
        check_encoder(encoder, pooler=self._use_pooler)
        super().__init__(**({"dtype": encoder.dtype_policy} | kwargs))
        self.encoder = encoder
        self.config = encoder.config
        self.tokenizer = tokenizer
        self.adversarial = None

    def __setattr__(self, name, value):
        """Sets an attribute; a tokenizer also after the model was built."""
        if name != "tokenizer":
            super().__setattr__(name, value)
            return
        if value is not None and value.vocabulary_size > self.config.vocab_size:
            raise ValueError(
                "The tokenizer has more pieces than the encoder has embeddings. Use the "
                "vocabulary the encoder was made for. Received: tokenizer.vocabulary_size="
                f"{value.vocabulary_size}, vocab_size={self.config.vocab_size}"
            )
        # Past Keras, which takes it for a layer, and a built model may not get new ones.
        object.__setattr__(self, name, value)

    def _tokenizer_for(self, method):
        """Returns the tokenizer; raises where the model has none, which `method` (str) needs."""
        if self.tokenizer is None:
            raise ValueError(
                f"`{method}` needs a tokenizer. Give one to the constructor, "
                f"`{type(self).__name__}(encoder, tokenizer=tokenizer)`, or set "
                "`model.tokenizer`. Received: tokenizer=None"
            )
        return self.tokenizer

    def _defaults(self):
        """Returns `loss`, `loss_weights` and `metrics` as `keras.Model.compile` takes them."""
        raise NotImplementedError

    def compile(
        self,
        optimizer,
        loss="auto",
        loss_weights=None,
        metrics="auto",
        label_smoothing=0.0,
        adversarial=None,
        **kwargs,
    ):
        """Prepares the model for `fit`.

        Args:
            optimizer: Keras optimizer or its name.
            loss: as in `keras.Model.compile`; `"auto"` is the loss that the class describes.
            loss_weights: as in `keras.Model.compile`.
            metrics: as in `keras.Model.compile`; `"auto"` are those that the class describes.
            label_smoothing: float from 0 to below 1, for the `"auto"` loss of labels: how much of
                each label all classes share.
            adversarial: `kbl.training.FGM`, `kbl.training.FreeLB` or None: whether each batch is
                learned with moved word embeddings too.
            **kwargs: other arguments of `keras.Model.compile`.

        Raises:
            ValueError: if the loss has no labels to smooth, or the backend is not TensorFlow and
                there is `adversarial`.
        """
        if adversarial is not None:
            require_tensorflow("`adversarial`")
        if adversarial is not None and not hasattr(adversarial, "passes"):
            raise ValueError(
                "`adversarial` must be a kbl.training.FGM or kbl.training.FreeLB, or None. "
                f"Received: adversarial={adversarial!r}"
            )
        defaults = self._defaults()
        if isinstance(loss, str) and loss == "auto":
            loss = smoothed(defaults["loss"], label_smoothing)
            loss_weights = loss_weights or defaults.get("loss_weights")
        elif label_smoothing:
            raise ValueError(
                "`label_smoothing` is for the model's own loss. Give it to your `loss` instead. "
                f"Received: label_smoothing={label_smoothing}, loss={loss}"
            )
        if isinstance(metrics, str) and metrics == "auto":
            metrics = defaults["metrics"]
        self.adversarial = adversarial
        super().compile(optimizer, loss, loss_weights, metrics, **kwargs)

    def train_step(self, *args):
        """Trains on a batch, as `compile` said."""
        # The arguments are the backend's: JAX has a state before the batch.
        if self.adversarial is None:
            return super().train_step(*args)
        with once_there(args):
            return adversarial_step(self, *args)

    def get_compile_config(self):
        """Returns what `compile_from_config` takes."""
        config = super().get_compile_config()
        if config:
            config["adversarial"] = keras.saving.serialize_keras_object(self.adversarial)
        return config

    def compile_from_config(self, config):
        """Compiles as the model was when it was saved."""
        # Keras leaves this to classes that have a `compile` of their own.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "tokenizer": keras.saving.serialize_keras_object(self.tokenizer),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes the model that `get_config` describes."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("encoder", "tokenizer")
        }
        return cls(**(config | parts))

    @classmethod
    def _from_checkpoint(cls, config, checkpoint, **kwargs):
        if "tokenizer" not in kwargs:
            kwargs["tokenizer"] = read_tokenizer(checkpoint)
        encoder = BertEncoder(config, use_pooler=cls._use_pooler, dtype=kwargs.get("dtype"))
        return cls(encoder, **kwargs)


def logits_layer(units, config, name):
    """Returns the layer from hidden vectors to `units` logits."""
    # Logits are float32, whatever the compute dtype.
    return keras.layers.Dense(
        units, kernel_initializer=normal(config.initializer_range), dtype="float32", name=name
    )


def check_encoder(encoder, pooler=True):
    """Raises where `encoder` is not a `BertEncoder`, or lacks the pooler that is needed."""
    if not isinstance(encoder, BertEncoder):
        raise ValueError(
            "`encoder` must be a BertEncoder. Make one with `BertEncoder(config)`. "
            f"Received: encoder={encoder!r}"
        )
    if pooler and encoder.pooler is None:
        raise ValueError(
            "`encoder` has no pooler, which this model needs. Make one with "
            "`BertEncoder(config)`. Received: encoder.use_pooler=False"
        )
