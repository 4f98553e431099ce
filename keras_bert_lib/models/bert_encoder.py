"""The encoder: from token ids to vectors."""

import contextlib
import contextvars
import functools
import math

import keras

from keras_bert_lib.layers.bert_embeddings import BertEmbeddings
from keras_bert_lib.layers.layer_normalization import LayerNormalization
from keras_bert_lib.layers.pooler import Pooler
from keras_bert_lib.layers.token_rows import TokenRows
from keras_bert_lib.layers.transformer_encoder_block import TransformerEncoderBlock
from keras_bert_lib.models.bert_config import BertConfig
from keras_bert_lib.models.pretrained_model import PretrainedModel

# Adversarial training moves the token embeddings of a call: a function of them and of
# `padding_mask`. A context variable, because each replica of a strategy has a thread of its own.
PERTURB = contextvars.ContextVar("perturb", default=None)


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
        frozen: dict or None, arguments with which to call `freeze`.
        lora: dict or None, arguments with which to call `enable_lora`.
        remat: bool, whether training computes each block again in the backward pass instead of
            keeping what is in it: a third more time for memory that hardly grows with the number
            of layers. Not with `output_attentions`.
        **kwargs: keyword arguments of `keras.Model`, as `name` and `dtype`.

    Call arguments:
        inputs: dict of int32 tensors, `token_ids` `[batch, seq]`, and, both optional,
            `segment_ids` `[batch, seq]` (none: all tokens in segment 0) and `padding_mask`
            `[batch, seq]` (1 for tokens, 0 for padding; none: no padding). Rows that hold several
            examples, packed end to end, have three keys more: `example_ids` `[batch, seq]` (1 for
            the tokens of the first example of a row, 2 for those of the second, ... and 0 for
            padding: tokens attend only to their own example), `position_ids` `[batch, seq]` (from
            0 on in each example) and, for the pooler, `cls_positions` `[batch, examples]` (where
            each example starts; any position where a row has fewer). Other keys are ignored.
        training: bool, whether dropout is on.

    Returns:
        Dict with `sequence_output` `[batch, seq, hidden]` and, where there is a pooler,
        `pooled_output` `[batch, hidden]` (`[batch, examples, hidden]` with `cls_positions`). On
        request `hidden_states`, a tuple of `num_layers + 1` tensors `[batch, seq, hidden]` whose
        first is the embeddings, and `attentions`, a tuple of `num_layers` tensors
        `[batch, heads, seq, seq]`.

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
        frozen=None,
        lora=None,
        remat=False,
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
        if remat and output_attentions:
            raise ValueError(
                "Attentions that are returned cannot be computed again: leave out `remat` or "
                f"`output_attentions`. Received: remat={remat}, output_attentions=True"
            )
        self.remat = remat
        self._skips_padding = False
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
            self.final_norm = LayerNormalization(
                epsilon=config.layer_norm_eps, dtype=dtype, name="final_norm"
            )
        self.pooler = None
        if use_pooler:
            self.pooler = Pooler(config.initializer_range, dtype=dtype, name="pooler")
        self._frozen, self._lora = None, None
        self.build()
        if frozen is not None:
            self.freeze(**frozen)
        if lora is not None:
            self.enable_lora(**lora)

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
        perturb = PERTURB.get()
        x = self.embeddings(
            inputs["token_ids"],
            inputs.get("segment_ids"),
            training=training,
            perturb=perturb and functools.partial(perturb, padding_mask=padding_mask),
            position_ids=inputs.get("position_ids"),
        )
        token_rows = None
        if self._skips_padding and padding_mask is not None:
            token_rows = TokenRows.of_mask(padding_mask)
            x = token_rows.pack(x)  # [t, h], here and below
        hidden_states = [x]  # each [b, s, h]
        attentions = []  # each [b, n, s, s]
        for block in self.blocks:
            call = functools.partial(
                block,
                padding_mask=padding_mask,
                training=training,
                return_attention=self.output_attentions,
                token_rows=token_rows,
                example_ids=inputs.get("example_ids"),
            )
            if self.remat and training:
                # Drawn out here, for the second time must drop what the first did.
                call = keras.remat(functools.partial(call, seeds=block.draw_seeds()))
            x = call(x)
            if self.output_attentions:
                x, attention = x
                attentions.append(attention)
            hidden_states.append(x)
        if self.final_norm is not None:
            x = self.final_norm(x, training=training)
            hidden_states[-1] = x
        if token_rows is not None:
            hidden_states = [token_rows.unpack(x) for x in hidden_states]
            x = hidden_states[-1]
        outputs = {"sequence_output": x}
        if self.pooler is not None:
            outputs["pooled_output"] = self.pooler(x, inputs.get("cls_positions"))
        if self.output_hidden_states:
            outputs["hidden_states"] = tuple(hidden_states)
        if self.output_attentions:
            outputs["attentions"] = tuple(attentions)
        return outputs

    @contextlib.contextmanager
    def skipping_padding(self, skips_padding=True):
        """Makes graphs that compute tokens only: padding costs nothing but in attention.

        Shapes in such a graph depend on values, which XLA and TFLite do not know. Outputs at
        padding, and of rows without a token, are those of any token.
        """
        self._skips_padding = skips_padding
        try:
            yield
        finally:
            self._skips_padding = False

    def freeze(self, num_layers=None, embeddings=True):
        """Leaves lower layers as they are when a model with this encoder is trained.

        That saves time and memory, and keeps small sets from undoing what pretraining learned.
        The pooler, which belongs to the head, is trained in any case. Call it before `compile`,
        once more to change it: `freeze(0, embeddings=False)` freezes nothing.

        `.keras` files keep what is frozen; `save_pretrained` does not.

        Args:
            num_layers: int, how many blocks are frozen, from the first one on; None is all.
            embeddings: bool, whether the embeddings are frozen too.

        Returns:
            Int, how many parameters of the encoder are trained. `model.summary()` shows those of
            the whole model.

        Raises:
            ValueError: if there are not so many blocks, or LoRA is on, which freezes all.

        Example:
            ```python
            import keras_bert_lib as kbl

            encoder = kbl.BertEncoder(kbl.BertConfig.from_size("mini", vocab_size=100))
            classifier = kbl.BertClassifier(encoder, num_classes=2)
            encoder.freeze(num_layers=3)  # of 4
            classifier.compile(kbl.training.create_optimizer(3e-5, total_steps=100))
            ```

        References:
            - [Lee et al., 2019](https://arxiv.org/abs/1911.03090)
        """
        if num_layers is None:
            num_layers = len(self.blocks)
        if not isinstance(num_layers, int) or not 0 <= num_layers <= len(self.blocks):
            raise ValueError(
                f"`num_layers` must be from 0 to the encoder's {len(self.blocks)} blocks, or None. "
                f"Received: num_layers={num_layers!r}"
            )
        if self._lora is not None:
            raise ValueError(
                "With LoRA the encoder's own weights are frozen already. Call `merge_lora` first, "
                f"or leave `freeze` out. Received: rank={self._lora['rank']}"
            )
        self._frozen = {"num_layers": num_layers, "embeddings": bool(embeddings)}
        return self._set_trainable()

    def enable_lora(self, rank=8, alpha=None, targets="attention"):
        """Trains small matrices in place of the encoder's weights (low-rank adaptation).

        Each kernel W that is adapted becomes W + (alpha / rank) A B with `rank` columns in A, and
        only A and B are trained, and the pooler and head, whose learning rate may be ten times
        that of a training of all weights. Memory for the optimizer all but vanishes.

        Call it before `compile`. `.keras` files keep the matrices, and training goes on from them;
        for `save_pretrained` and exported files call `merge_lora` first.

        Args:
            rank: int, columns of A and rows of B.
            alpha: float, how much their product counts for; None is `rank`, a factor of 1.
            targets: "attention" adapts the kernel of query, key and value; "all" every kernel of
                the blocks. Query, key and value are one kernel here and share A: it has as many
                parameters as query and value alone, which the paper adapts, have with an A each.

        Returns:
            Int, how many parameters of the encoder are trained, the pooler's among them.

        Raises:
            ValueError: if an argument is out of its range, or LoRA is on already, or layers are
                frozen.

        Example:
            ```python
            import keras_bert_lib as kbl

            encoder = kbl.BertEncoder(kbl.BertConfig.from_size("mini", vocab_size=100))
            classifier = kbl.BertClassifier(encoder, num_classes=2)
            encoder.enable_lora(rank=8)
            classifier.compile(kbl.training.create_optimizer(3e-4, total_steps=100))
            encoder.merge_lora()  # after `fit`
            ```

        References:
            - [Hu et al., 2021](https://arxiv.org/abs/2106.09685), section 4.1, and section 7.1 for
              what to adapt
        """
        if not isinstance(rank, int) or rank < 1:
            raise ValueError(f"`rank` must be a positive integer. Received: rank={rank!r}")
        if alpha is not None and not alpha > 0:
            raise ValueError(f"`alpha` must be above 0, or None. Received: alpha={alpha}")
        if targets not in ("attention", "all"):
            raise ValueError(f'`targets` must be "attention" or "all". Received: {targets!r}')
        if self._lora is not None or self._frozen is not None:
            raise ValueError(
                "LoRA is on already, or layers are frozen: call `merge_lora` or make the encoder "
                f"anew. Received: rank={rank}"
            )
        self._lora = {"rank": rank, "alpha": alpha, "targets": targets}
        for dense in self._lora_layers():
            # Keras gives the new variables the path of where they are made.
            *scopes, _ = dense.path.split("/")
            with contextlib.ExitStack() as stack:
                for scope in scopes:
                    stack.enter_context(keras.name_scope(scope))
                dense.enable_lora(rank, lora_alpha=alpha)
        return self._set_trainable()

    def merge_lora(self):
        """Adds what the matrices of `enable_lora` have learned to the weights, and removes them.

        The model gives the same answers as before, costs no more than one without LoRA, and can be
        saved by `save_pretrained`, exported, or trained on, all of it; compile it anew for that.

        Raises:
            ValueError: if LoRA is not on.
        """
        if self._lora is None:
            raise ValueError("Call `enable_lora` before. Received: an encoder without LoRA")
        for dense in self._lora_layers():
            dense.merge_lora()
        self._lora = None
        self._set_trainable()

    def _lora_layers(self):
        """Returns the dense layers that `self._lora` tells."""
        layers = [block.attention.qkv for block in self.blocks]
        if self._lora["targets"] == "all":
            for block in self.blocks:
                layers += [
                    block.attention.output_dense,
                    block.intermediate_dense,
                    block.output_dense,
                ]
        return layers

    def _set_trainable(self):
        """Sets what is trained, and returns how many parameters that are."""
        frozen = self._frozen or {"num_layers": 0, "embeddings": False}
        # To set what is set already does nothing in Keras: so all off, and then some on.
        self.trainable = False
        self.trainable = True
        self.embeddings.trainable = not frozen["embeddings"]
        for block in self.blocks[: frozen["num_layers"]]:
            block.trainable = False
        if self._lora is not None:
            for layer in (self.embeddings, *self.blocks, self.final_norm):
                for variable in [] if layer is None else layer.weights:
                    variable.trainable = variable.name.startswith("lora_")
        return sum(math.prod(variable.shape) for variable in self.trainable_variables)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "config": self.config.to_dict(),
            "output_hidden_states": self.output_hidden_states,
            "output_attentions": self.output_attentions,
            "use_pooler": self.use_pooler,
            "frozen": self._frozen and dict(self._frozen),
            "lora": self._lora and dict(self._lora),
            "remat": self.remat,
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
