"""The encoder: from token ids to vectors."""

import keras

from keras_bert_lib.layers.bert_embeddings import BertEmbeddings
from keras_bert_lib.layers.pooler import Pooler
from keras_bert_lib.layers.transformer_encoder_block import TransformerEncoderBlock
from keras_bert_lib.models.bert_config import BertConfig
from keras_bert_lib.models.pretrained_model import PretrainedModel


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class BertEncoder(PretrainedModel):
    """BERT's encoder: embeddings, Transformer blocks and pooler.

    All weights exist as soon as the object does.

    Args:
        config: `BertConfig`.
        output_hidden_states: bool, whether to return what each block takes and gives too.
        output_attentions: bool, whether to return each block's attention probabilities too.
        use_pooler: bool, whether there is a pooler. Models that look at each token, as
            `BertTokenClassifier`, need none, and files of such models have none.
        **kwargs: keyword arguments of `keras.Model`, as `name` and `dtype`.

    Call arguments:
        inputs: dict of int32 tensors, `token_ids` `[batch, seq]`, and, both optional,
            `segment_ids` `[batch, seq]` (none: all tokens in segment 0) and `padding_mask`
            `[batch, seq]` (1 for tokens, 0 for padding; none: no padding). Other keys are
            ignored.
        training: bool, whether dropout is on.

    Returns:
        Dict with `sequence_output` `[batch, seq, hidden]` and, where there is a pooler,
        `pooled_output` `[batch, hidden]`. On request `hidden_states`, a tuple of `num_layers + 1`
        tensors `[batch, seq, hidden]` whose first is the embeddings, and `attentions`, a tuple of
        `num_layers` tensors `[batch, heads, seq, seq]`.

    Example:
        ```python
        import numpy as np
        from keras_bert_lib.models import BertConfig, BertEncoder

        encoder = BertEncoder(BertConfig.from_size("tiny", vocab_size=100))
        outputs = encoder({"token_ids": np.array([[2, 7, 3]], "int32")})
        outputs["sequence_output"].shape  # (1, 3, 128)
        ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """

    _architecture = "BertModel"

    def __init__(
        self,
        config,
        output_hidden_states=False,
        output_attentions=False,
        use_pooler=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(config, BertConfig):
            raise ValueError(
                "`config` must be a BertConfig. Make one with `BertConfig(...)` or "
                f"`BertConfig.from_size(...)`. Received: config={config!r}"
            )
        self.config = config
        self.output_hidden_states = output_hidden_states
        self.output_attentions = output_attentions
        self.use_pooler = use_pooler
        dtype = self.dtype_policy
        self.embeddings = BertEmbeddings(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            max_position_embeddings=config.max_position_embeddings,
            type_vocab_size=config.type_vocab_size,
            position_embedding_type=config.position_embedding_type,
            dropout=config.hidden_dropout,
            layer_norm_eps=config.layer_norm_eps,
            initializer_range=config.initializer_range,
            dtype=dtype,
            name="embeddings",
        )
        self.blocks = [
            TransformerEncoderBlock(
                num_heads=config.num_heads,
                intermediate_size=config.intermediate_size,
                hidden_act=config.hidden_act,
                hidden_dropout=config.hidden_dropout,
                attention_dropout=config.attention_dropout,
                layer_norm_eps=config.layer_norm_eps,
                initializer_range=config.initializer_range,
                norm_first=config.norm_first,
                dtype=dtype,
                name=f"block_{i}",
            )
            for i in range(config.num_layers)
        ]
        # A pre-LN stack ends in a sum that nothing has normalized yet.
        self.final_norm = None
        if config.norm_first:
            self.final_norm = keras.layers.LayerNormalization(
                epsilon=config.layer_norm_eps, dtype=dtype, name="final_norm"
            )
        self.pooler = None
        if use_pooler:
            self.pooler = Pooler(config.initializer_range, dtype=dtype, name="pooler")
        self.build()

    def build(self, input_shape=None):
        """Creates all weights; they do not depend on the inputs' shape."""
        if self.built:
            return
        hidden_shape = (None, None, self.config.hidden_size)
        self.embeddings.build((None, None))
        for block in self.blocks:
            block.build(hidden_shape)
        if self.final_norm is not None:
            self.final_norm.build(hidden_shape)
        if self.pooler is not None:
            self.pooler.build(hidden_shape)

    def call(self, inputs, training=None):
        """Returns the dict of outputs."""
        check_inputs(inputs)
        padding_mask = inputs.get("padding_mask")
        x = self.embeddings(inputs["token_ids"], inputs.get("segment_ids"), training=training)
        hidden_states = [x]  # each [b, s, h]
        attentions = []  # each [b, n, s, s]
        for block in self.blocks:
            x, attention = block(
                x, padding_mask=padding_mask, training=training, return_attention=True
            )
            hidden_states.append(x)
            attentions.append(attention)
        if self.final_norm is not None:
            x = self.final_norm(x)
            hidden_states[-1] = x
        outputs = {"sequence_output": x}
        if self.pooler is not None:
            outputs["pooled_output"] = self.pooler(x)
        if self.output_hidden_states:
            outputs["hidden_states"] = tuple(hidden_states)
        if self.output_attentions:
            outputs["attentions"] = tuple(attentions)
        return outputs

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "config": self.config.to_dict(),
            "output_hidden_states": self.output_hidden_states,
            "output_attentions": self.output_attentions,
            "use_pooler": self.use_pooler,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes the encoder that `get_config` describes."""
        return cls(**(config | {"config": BertConfig.from_dict(config["config"])}))

    @classmethod
    def _from_checkpoint(cls, config, checkpoint, **kwargs):
        return cls(config, **kwargs)


def check_inputs(inputs):
    """Raises where `inputs` is not what a tokenizer makes."""
    if not isinstance(inputs, dict) or "token_ids" not in inputs:
        received = sorted(inputs) if isinstance(inputs, dict) else type(inputs).__name__
        raise ValueError(
            "`inputs` must be a dict with `token_ids`, and optionally `segment_ids` and "
            f"`padding_mask`, as the tokenizer makes it. Received: {received}"
        )
