"""The shape of a BERT."""

import dataclasses
import numbers

from keras_bert_lib.layers.activations import HIDDEN_ACTS

# layers, hidden size, heads, intermediate size
_SIZES = {
    "tiny": (2, 128, 2, 512),
    "mini": (4, 256, 4, 1024),
    "small": (4, 512, 8, 2048),
    "medium": (8, 512, 8, 2048),
    "base": (12, 768, 12, 3072),
    "large": (24, 1024, 16, 4096),
}

# our field -> key of a Hugging Face config.json
_HUGGINGFACE_KEYS = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "hidden_act": "hidden_act",
    "hidden_dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "max_position_embeddings": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size",
    "layer_norm_eps": "layer_norm_eps",
    "initializer_range": "initializer_range",
    "pad_token_id": "pad_token_id",
}

# The tanh approximation goes by several names there.
_ACTS_FROM_HUGGINGFACE = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_new",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
_ACTS_TO_HUGGINGFACE = {
    "gelu": "gelu",
    "gelu_new": "gelu_new",
    "gelu_tanh": "gelu_pytorch_tanh",
    "relu": "relu",
}


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """The shape of a BERT: everything that decides its weights and what is computed with them.

    Args:
        vocab_size: int, number of pieces in the vocabulary.
        hidden_size: int, width of the model.
        num_layers: int, number of Transformer blocks.
        num_heads: int, number of attention heads; divides `hidden_size`.
        intermediate_size: int, width of the feed-forward network's inner layer.
        hidden_act: `"gelu"` (the exact erf form, BERT's own), `"gelu_new"` or `"gelu_tanh"` (both
            the tanh approximation) or `"relu"`.
        hidden_dropout: float, the rate of dropout on embeddings and sublayers.
        attention_dropout: float, the rate of dropout on attention probabilities.
        max_position_embeddings: int, the longest sequence, in tokens.
        type_vocab_size: int, number of segments.
        layer_norm_eps: float, added to the variance in LayerNorm.
        initializer_range: float, standard deviation of the initial weights.
        pad_token_id: int, id of the padding piece.
        position_embedding_type: `"learned"`, as in BERT, or `"sinusoidal"`.
        norm_first: bool, LayerNorm before each sublayer (pre-LN) instead of after it.
        mlm_hidden_act: like `hidden_act`, for the masked LM head; None for the same. KerasHub's
            `BertMaskedLM` has another than its encoder.
        mlm_layer_norm_eps: float, like `layer_norm_eps`, for the masked LM head; None for the same.

    Raises:
        ValueError: for a value that makes no model, as a `num_heads` that does not divide
            `hidden_size`.

    Example:
        ```python
        from keras_bert_lib.models import BertConfig

        config = BertConfig.from_size("mini", vocab_size=8000)
        config.hidden_size  # 256
        ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805) (base, large)
        - [Turc et al., 2019](https://arxiv.org/abs/1908.08962) (tiny, mini, small, medium)
    """

    vocab_size: int
    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    pad_token_id: int = 0
    position_embedding_type: str = "learned"
    norm_first: bool = False
    mlm_hidden_act: str | None = None
    mlm_layer_norm_eps: float | None = None

    def __post_init__(self):
        for name in (
            "vocab_size",
            "hidden_size",
            "num_layers",
            "num_heads",
            "intermediate_size",
            "max_position_embeddings",
            "type_vocab_size",
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
        if self.hidden_size % self.num_heads:
            raise ValueError(
                "`num_heads` must divide `hidden_size`. "
                f"Received: num_heads={self.num_heads}, hidden_size={self.hidden_size}"
            )
        for name in ("hidden_act", "mlm_hidden_act"):
            value = getattr(self, name)
            if value not in HIDDEN_ACTS and not (value is None and name == "mlm_hidden_act"):
                raise ValueError(
                    f"`{name}` must be one of {', '.join(HIDDEN_ACTS)}. Received: {name}={value!r}"
                )
        for name in ("hidden_dropout", "attention_dropout"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Real) or not 0 <= value < 1:
                raise ValueError(f"`{name}` must be in [0, 1). Received: {name}={value!r}")
        for name in ("layer_norm_eps", "initializer_range", "mlm_layer_norm_eps"):
            value = getattr(self, name)
            if value is None and name == "mlm_layer_norm_eps":
                continue
            if not isinstance(value, numbers.Real) or not value > 0:
                raise ValueError(f"`{name}` must be positive. Received: {name}={value!r}")
        pad_token_id = self.pad_token_id
        if not isinstance(pad_token_id, int) or not 0 <= pad_token_id < self.vocab_size:
            raise ValueError(
                "`pad_token_id` must be an id of the vocabulary. Received: "
                f"pad_token_id={self.pad_token_id!r}, vocab_size={self.vocab_size}"
            )
        if self.position_embedding_type not in ("learned", "sinusoidal"):
            raise ValueError(
                '`position_embedding_type` must be "learned" or "sinusoidal". '
                f"Received: position_embedding_type={self.position_embedding_type!r}"
            )
        if self.position_embedding_type == "sinusoidal" and self.hidden_size % 2:
            raise ValueError(
                "`hidden_size` must be even for sinusoidal positions. "
                f"Received: hidden_size={self.hidden_size}"
            )

    @classmethod
    def from_size(cls, size, **overrides):
        """Returns the config of a published size.

        Args:
            size: `"tiny"`, `"mini"`, `"small"`, `"medium"`, `"base"` or `"large"`.
            **overrides: fields that differ. `vocab_size` is 30,522, that of the published
                uncased models, where it is not given.

        Returns:
            A `BertConfig`.

        Raises:
            ValueError: for an unknown size.
        """
        if size not in _SIZES:
            raise ValueError(f"`size` must be one of {', '.join(_SIZES)}. Received: size={size!r}")
        num_layers, hidden_size, num_heads, intermediate_size = _SIZES[size]
        fields = {
            "vocab_size": 30522,
            "num_layers": num_layers,
            "hidden_size": hidden_size,
            "num_heads": num_heads,
            "intermediate_size": intermediate_size,
        }
        return cls.from_dict(fields | overrides)

    def to_dict(self):
        """Returns the fields as a dict that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields):
        """Returns the config with the fields of a dict, as `to_dict` makes.

        Raises:
            ValueError: for a field that a `BertConfig` does not have.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(fields) - set(known))
        if unknown:
            raise ValueError(
                f"A BertConfig has no field {unknown[0]!r}. It has {', '.join(known)}. "
                f"Received: {unknown}"
            )
        return cls(**fields)

    def to_huggingface(self):
        """Returns the dict of a Hugging Face `config.json`.

        The values that `BertConfig` of `transformers` does not know are added only where they
        differ from BERT's: `norm_first` makes another model, so its `model_type` is another.
        """
        fields = self.to_dict()
        config = {theirs: fields[ours] for ours, theirs in _HUGGINGFACE_KEYS.items()}
        config["hidden_act"] = _ACTS_TO_HUGGINGFACE[self.hidden_act]
        config["model_type"] = "bert_norm_first" if self.norm_first else "bert"
        config["tie_word_embeddings"] = True
        # The sines are written as a learned table would be, so both libraries read them.
        ours = {
            name: fields[name]
            for name in ("position_embedding_type", "mlm_hidden_act", "mlm_layer_norm_eps")
            if fields[name] not in ("learned", None)
        }
        return config | ({"keras_bert_lib": ours} if ours else {})

    @classmethod
    def from_huggingface(cls, config):
        """Returns the config that a Hugging Face `config.json` describes.

        Args:
            config: dict, the parsed `config.json`. Keys that do not change the encoder are
                ignored.

        Returns:
            A `BertConfig`.

        Raises:
            ValueError: if the file describes another architecture than BERT's encoder, or lacks a
                key that has no default.
        """
        model_type = config.get("model_type", "bert")
        if model_type not in ("bert", "bert_norm_first"):
            raise ValueError(
                "`config.json` describes another architecture than BERT; only model_type "
                f'"bert" can be read. Received: model_type={model_type!r}'
            )
        if config.get("is_decoder") or config.get("add_cross_attention"):
            raise ValueError(
                "`config.json` describes a decoder; only encoders can be read. "
                f"Received: is_decoder={config.get('is_decoder')!r}"
            )
        position_type = config.get("position_embedding_type", "absolute")
        if position_type != "absolute":
            raise ValueError(
                'Only absolute positions can be read (position_embedding_type "absolute" in '
                f"`config.json`). Received: position_embedding_type={position_type!r}"
            )
        if config.get("vocab_size") is None:
            raise ValueError(f"`config.json` has no `vocab_size`. Received: keys={sorted(config)}")
        # `transformers` may leave out what has the value of its own defaults, which are ours.
        fields = {
            ours: config[theirs]
            for ours, theirs in _HUGGINGFACE_KEYS.items()
            if config.get(theirs) is not None
        }
        act = fields.get("hidden_act", "gelu")
        if act not in _ACTS_FROM_HUGGINGFACE:
            raise ValueError(
                f"`hidden_act` in `config.json` must be one of {', '.join(_ACTS_FROM_HUGGINGFACE)}."
                f" Received: hidden_act={act!r}"
            )
        fields["hidden_act"] = _ACTS_FROM_HUGGINGFACE[act]
        fields["norm_first"] = model_type == "bert_norm_first"
        return cls.from_dict(fields | config.get("keras_bert_lib", {}))
