"""Models of KerasHub, live or saved as presets, in and out."""

import json
import os
import re
import shutil
import tempfile

import numpy as np
from absl import logging

from keras_bert_lib.checkpoints.checkpoint import Checkpoint
from keras_bert_lib.checkpoints.load_weights import shortlist
from keras_bert_lib.checkpoints.tensor_names import tensors_by_name, weights_by_name
from keras_bert_lib.checkpoints.tensor_source import TensorSource

# path of a variable of KerasHub -> Hugging Face's name
_NAMES = {
    "token_embedding/embeddings": "embeddings.word_embeddings.weight",
    "position_embedding/embeddings": "embeddings.position_embeddings.weight",
    "segment_embedding/embeddings": "embeddings.token_type_embeddings.weight",
    "embeddings_layer_norm/gamma": "embeddings.LayerNorm.weight",
    "embeddings_layer_norm/beta": "embeddings.LayerNorm.bias",
    "pooled_dense/kernel": "pooler.dense.weight",
    "pooled_dense/bias": "pooler.dense.bias",
    "mlm_head/intermediate_dense/kernel": "cls.predictions.transform.dense.weight",
    "mlm_head/intermediate_dense/bias": "cls.predictions.transform.dense.bias",
    "mlm_head/intermediate_layer_norm/gamma": "cls.predictions.transform.LayerNorm.weight",
    "mlm_head/intermediate_layer_norm/beta": "cls.predictions.transform.LayerNorm.bias",
    "mlm_head/output_bias": "cls.predictions.bias",
    "logits/kernel": "classifier.weight",
    "logits/bias": "classifier.bias",
}
# the same below a `transformer_layer_0`, `encoder.layer.0`
_LAYER_NAMES = {
    "self_attention_layer/query/kernel": "attention.self.query.weight",
    "self_attention_layer/query/bias": "attention.self.query.bias",
    "self_attention_layer/key/kernel": "attention.self.key.weight",
    "self_attention_layer/key/bias": "attention.self.key.bias",
    "self_attention_layer/value/kernel": "attention.self.value.weight",
    "self_attention_layer/value/bias": "attention.self.value.bias",
    "self_attention_layer/attention_output/kernel": "attention.output.dense.weight",
    "self_attention_layer/attention_output/bias": "attention.output.dense.bias",
    "self_attention_layer_norm/gamma": "attention.output.LayerNorm.weight",
    "self_attention_layer_norm/beta": "attention.output.LayerNorm.bias",
    "feedforward_intermediate_dense/kernel": "intermediate.dense.weight",
    "feedforward_intermediate_dense/bias": "intermediate.dense.bias",
    "feedforward_output_dense/kernel": "output.dense.weight",
    "feedforward_output_dense/bias": "output.dense.bias",
    "feedforward_layer_norm/gamma": "output.LayerNorm.weight",
    "feedforward_layer_norm/beta": "output.LayerNorm.bias",
}
# name of KerasHub's function -> `hidden_act` of a config.json
_ACTS = {"gelu_approximate": "gelu_pytorch_tanh", "gelu": "gelu", "relu": "relu"}
# class of a model -> the class of `transformers` that is most like it
_ARCHITECTURES = {
    "BertBackbone": "BertModel",
    "BertTextEmbedder": "BertModel",
    "BertMaskedLM": "BertForMaskedLM",
    "BertTextClassifier": "BertForSequenceClassification",
}
CONFIG_FILE = "config.json"
_KAGGLE = "kaggle://"


class KerasHubSource(TensorSource):
    """The weights of a live model of KerasHub.

    Args:
        path: str, what errors call the model.
        model: KerasHub's model.
    """

    def __init__(self, path, model):
        self.variables = {variable.path: variable for variable in model.weights}
        super().__init__(path, {common_name(key): key for key in self.variables})

    def shape(self, name):
        """Returns the shape of a tensor."""
        return self.read(name).shape

    def read(self, name):
        """Returns a tensor as an array."""
        key = self.names[name]
        array = np.asarray(self.variables[key])
        if key.endswith("attention_output/kernel"):
            return array.reshape(-1, array.shape[-1]).T  # [n, d, h] -> [h, n * d]
        if key.endswith("/kernel"):
            return array.reshape(array.shape[0], -1).T  # [in, n, d] or [in, out] -> [out, in]
        return array if key.endswith("/embeddings") else array.reshape(-1)


def common_name(key):
    """Returns Hugging Face's name for the variable whose path in KerasHub is `key`."""
    layer = re.fullmatch(r"transformer_layer_(\d+)/(.+)", key)
    if layer and layer[2] in _LAYER_NAMES:
        return f"encoder.layer.{layer[1]}.{_LAYER_NAMES[layer[2]]}"
    # What is not in the table has no place in a BERT; loading says so, by this name.
    return _NAMES.get(key, key)


def matches(path):
    """Returns whether `path` is a preset of KerasHub, its directory or name."""
    if os.path.isdir(path):
        return registered_name(os.path.join(path, CONFIG_FILE)) is not None
    return is_preset_name(path) or path.startswith(_KAGGLE)


def is_preset_name(path):
    """Returns whether `path` is called like a preset of BERT; KerasHub is not asked yet."""
    # Names on the Hugging Face hub have a hyphen or an owner; KerasHub's have neither.
    families = "bert|bge|(all|paraphrase|multi_qa|msmarco)_minilm|mxbai_embed"
    is_name = re.fullmatch(rf"({families})_[a-z0-9._]+", path)
    return bool(is_name) and not os.path.exists(path)


def open_checkpoint(path):
    """Opens a model of KerasHub.

    Args:
        path: a `BertBackbone`, `BertMaskedLM`, `BertTextClassifier` or `BertTextEmbedder` of
            `keras_hub.models`, a directory that `save_to_preset` wrote, the name of one of its
            presets, or a handle that begins with `kaggle://`; those are downloaded.

    Returns:
        `Checkpoint`.
    """
    if not isinstance(path, (str, os.PathLike)):
        return checkpoint_of(path, f"keras_hub.models.{type(path).__name__}")
    directory = find_directory(path)
    models = import_keras_hub(f"The preset {directory}").models
    name = "BertBackbone"
    task = registered_name(os.path.join(directory, "task.json"))
    if task in _ARCHITECTURES:
        name = task
    try:
        # float32 whatever the user's policy: nothing of the file is lost.
        model = getattr(models, name).from_preset(directory, dtype="float32")
        tokenizer = None
        if os.path.exists(os.path.join(directory, "tokenizer.json")):
            tokenizer = models.BertTokenizer.from_preset(directory)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"keras_hub could not read the preset {path}: {first_line(error)}"
        ) from error
    return checkpoint_of(model, directory, tokenizer)


def find_directory(path):
    """Returns the local directory of a preset, which is downloaded where it has to be."""
    if os.path.isdir(path):
        return path
    if not path.startswith(_KAGGLE):
        missing = f"There is no directory {path}, and a preset of that name"
        presets = import_keras_hub(missing).models.BertBackbone.presets
        if path not in presets:
            raise FileNotFoundError(
                f"There is no directory {path}, and KerasHub has no BERT preset of that name. It "
                f"has: {', '.join(sorted(presets))}"
            )
        path = presets[path]["kaggle_handle"]
    import_keras_hub(path)
    import kagglehub

    try:
        return kagglehub.model_download(path.removeprefix(_KAGGLE))
    except (OSError, ValueError) as error:  # no network, or no such handle
        raise FileNotFoundError(
            f"Kaggle did not give the model {path}: {first_line(error)}"
        ) from error


def checkpoint_of(model, path, tokenizer=None):
    """Returns the `Checkpoint` of a live model."""
    name = next((base.__name__ for base in type(model).__mro__ if is_readable(base)), None)
    if name is None:
        raise ValueError(
            f"Only a path, or a {', '.join(_ARCHITECTURES)} of KerasHub can be read. "
            f"Received: {model!r}"
        )
    config = read_config(model if name == "BertBackbone" else model.backbone)
    config["architectures"] = [_ARCHITECTURES[name]]
    if name == "BertTextClassifier":
        config["id2label"] = {str(i): f"LABEL_{i}" for i in range(model.num_classes)}
        config["classifier_dropout"] = model.dropout
    if name == "BertTextEmbedder":
        config["sentence_embedding"] = {"pooling": model.pooling_mode, "normalize": model.normalize}
    if name == "BertMaskedLM":
        head = model.masked_lm_head
        # Neither is what its encoder has.
        config["keras_bert_lib"] = {
            "mlm_hidden_act": act_of(head.intermediate_activation).replace("pytorch_", ""),
            "mlm_layer_norm_eps": head.layer_norm_epsilon,
        }
    preprocessor = getattr(model, "preprocessor", None)
    if tokenizer is None:
        tokenizer = getattr(preprocessor, "tokenizer", None)
    if tokenizer is not None:
        config["pad_token_id"] = tokenizer.pad_token_id
    return Checkpoint(
        config,
        KerasHubSource(path, model),
        tokenizer=tokenizer and tokenizer_arguments(tokenizer, preprocessor),
    )


def read_config(backbone):
    """Returns the config of a `BertBackbone` in the words of a Hugging Face `config.json`."""
    block = backbone.transformer_layers[0]
    return {
        "model_type": "bert",
        "vocab_size": backbone.vocabulary_size,
        "hidden_size": backbone.hidden_dim,
        "num_hidden_layers": backbone.num_layers,
        "num_attention_heads": backbone.num_heads,
        "intermediate_size": backbone.intermediate_dim,
        # Its config has neither of these; they are fixed in its code, to the tanh approximation
        # and 1e-12.
        "hidden_act": act_of(block.activation),
        "layer_norm_eps": block.layer_norm_epsilon,
        "hidden_dropout_prob": backbone.dropout,
        "attention_probs_dropout_prob": backbone.dropout,
        "max_position_embeddings": backbone.max_sequence_length,
        "type_vocab_size": backbone.num_segments,
    }


def act_of(function):
    """Returns the `hidden_act` of an activation function of KerasHub."""
    name = getattr(function, "__name__", repr(function))
    if name not in _ACTS:
        raise ValueError(
            f"The activation of the KerasHub model must be one of {', '.join(_ACTS)}. "
            f"Received: {name}"
        )
    return _ACTS[name]


def tokenizer_arguments(tokenizer, preprocessor):
    """Returns the arguments of `BertTokenizer` for a tokenizer of KerasHub, or None."""
    odd = {
        name: value
        for name, value in {"split": True, "suffix_indicator": "##", "oov_token": "[UNK]"}.items()
        if getattr(tokenizer, name) != value
    }
    if odd:
        logging.warning(
            "The KerasHub tokenizer is left out: ours needs %s.",
            ", ".join(f"{name}={value!r}" for name, value in odd.items()),
        )
        return None
    arguments = {
        "vocabulary": tokenizer.get_vocabulary(),
        "lowercase": tokenizer.lowercase,
        # KerasHub's presets leave accents alone, but BERT's uncased models were trained without.
        "strip_accents": True if tokenizer.strip_accents else None,
        "split_on_cjk": tokenizer.split_on_cjk,
        "special_tokens_in_text": tokenizer.special_tokens_in_strings,
    }
    if getattr(preprocessor, "sequence_length", None):
        arguments["max_length"] = preprocessor.sequence_length
    return arguments


def to_keras_hub(model):
    """Returns a `keras_hub.models.BertBackbone` with a model's encoder.

    Heads have no place in a backbone, and are left out.

    Args:
        model: `BertEncoder`, or a model that has one.

    Returns:
        `keras_hub.models.BertBackbone` with the same weights, to the bit.

    Raises:
        ImportError: if KerasHub is not installed.
        ValueError: if a `BertBackbone` would compute something else, as with the exact GELU, of
            which it has the tanh approximation only.

    Example:
        ```python
        import keras_bert_lib as kbl

        config = kbl.BertConfig.from_size("tiny", vocab_size=100, hidden_act="gelu_tanh")
        backbone = kbl.checkpoints.to_keras_hub(kbl.BertEncoder(config))
        ```
    """
    keras_hub = import_keras_hub("`to_keras_hub`")
    config = model.config
    if config.norm_first:
        raise ValueError(
            "KerasHub's BertBackbone has LayerNorm after each sublayer only. "
            "Received: norm_first=True"
        )
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=config.vocab_size,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
        hidden_dim=config.hidden_size,
        intermediate_dim=config.intermediate_size,
        dropout=config.hidden_dropout,
        max_sequence_length=config.max_position_embeddings,
        num_segments=config.type_vocab_size,
        dtype=model.dtype_policy,
    )
    check_computes_the_same(read_config(backbone), config)
    tensors = tensors_by_name(weights_by_name(model))
    for variable in backbone.weights:
        name = common_name(variable.path)
        if name not in tensors:
            continue
        tensor = tensors.pop(name)
        if variable.path.endswith("/kernel"):
            tensor = tensor.T
        variable.assign(tensor.reshape(variable.shape))
    if getattr(model, "encoder", model).pooler is None:
        logging.warning("The model has no pooler: that of the BertBackbone is newly initialized.")
    if tensors:
        logging.info("A BertBackbone has no place for: %s.", shortlist(sorted(tensors)))
    return backbone


def check_computes_the_same(theirs, config):
    """Raises where a backbone, whose config is `theirs`, computes something else than ours."""
    act = config.to_huggingface()["hidden_act"]
    # The tanh approximation goes by two names.
    if act.replace("gelu_new", "gelu_pytorch_tanh") != theirs["hidden_act"]:
        raise ValueError(
            "KerasHub's BertBackbone has no other activation than the tanh approximation of GELU. "
            "Where a difference of about 0.005 in hidden states does not matter, load the model "
            'with `hidden_act="gelu_tanh"` in its config. '
            f"Received: hidden_act={config.hidden_act!r}"
        )
    if config.layer_norm_eps != theirs["layer_norm_eps"]:
        raise ValueError(
            f"KerasHub's BertBackbone has no other epsilon in LayerNorm than "
            f"{theirs['layer_norm_eps']}. Received: layer_norm_eps={config.layer_norm_eps}"
        )
    if config.attention_dropout != config.hidden_dropout:
        logging.warning(
            "A BertBackbone has one rate of dropout: %s instead of %s on attention, in training.",
            config.hidden_dropout,
            config.attention_dropout,
        )


def save_keras_hub_preset(model, directory):
    """Writes a preset of KerasHub: a model's encoder, and its tokenizer where it has one.

    `keras_hub.models.BertBackbone.from_preset(directory)` reads it, and so do the tasks.

    Args:
        model: `BertEncoder`, or a model that has one.
        directory: path; it must not exist, or be empty.

    Raises:
        ImportError: if KerasHub is not installed.
        ValueError: as `to_keras_hub`, or if `directory` holds something.

    Example:
        ```python
        import keras_bert_lib as kbl

        config = kbl.BertConfig.from_size("tiny", vocab_size=100, hidden_act="gelu_tanh")
        kbl.checkpoints.save_keras_hub_preset(kbl.BertEncoder(config), "preset")
        encoder = kbl.BertEncoder.from_pretrained("preset")
        ```
    """
    directory = os.fspath(directory)
    if os.path.exists(directory) and (not os.path.isdir(directory) or os.listdir(directory)):
        raise ValueError(
            f"`directory` must not exist, or be empty. Choose another. Received: {directory}"
        )
    backbone = to_keras_hub(model)
    os.makedirs(os.path.dirname(os.path.abspath(directory)), exist_ok=True)
    temporary = tempfile.mkdtemp(prefix=".saving-", dir=os.path.dirname(os.path.abspath(directory)))
    try:
        backbone.save_to_preset(temporary)
        tokenizer = getattr(model, "tokenizer", None)
        if tokenizer is not None:
            to_keras_hub_tokenizer(tokenizer).save_to_preset(temporary)
        os.chmod(temporary, 0o755)  # mkdtemp makes it its owner's alone
        os.replace(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def to_keras_hub_tokenizer(tokenizer):
    """Returns the `keras_hub.models.BertTokenizer` that is most like a `BertTokenizer` of ours."""
    if tokenizer.added_tokens:
        logging.warning(
            "KerasHub's tokenizer finds added tokens only where they are whole words: %s.",
            shortlist(list(tokenizer.added_tokens)),
        )
    if tokenizer.additional_special_tokens:
        logging.warning(
            "KerasHub's tokenizer does not find special tokens of your own in texts: %s.",
            shortlist(list(tokenizer.additional_special_tokens)),
        )
    strip_accents = tokenizer.strip_accents
    return import_keras_hub("Its tokenizer").models.BertTokenizer(
        vocabulary=tokenizer.vocabulary,
        lowercase=tokenizer.lowercase,
        strip_accents=tokenizer.lowercase if strip_accents is None else strip_accents,
        split_on_cjk=tokenizer.split_on_cjk,
        special_tokens_in_strings=tokenizer.special_tokens_in_text,
    )


def import_keras_hub(what):
    """Returns the module `keras_hub`, which `what` needs and which takes seconds to import."""
    try:
        import keras_hub
    except ImportError as error:
        raise ImportError(
            f"{what} needs KerasHub: pip install keras-hub. Received: {first_line(error)}"
        ) from error
    return keras_hub


def registered_name(file):
    """Returns the class of KerasHub that a preset's JSON file describes, or None."""
    try:
        with open(file, encoding="utf-8") as opened:
            name = json.load(opened).get("registered_name") or ""
    except (OSError, ValueError, AttributeError):
        return None
    package, _, name = name.partition(">")
    return name if package in ("keras_hub", "keras_nlp") else None


def is_readable(base):
    """Returns whether a class is one of KerasHub's that can be read."""
    package = base.__module__.split(".")[0]
    return package in ("keras_hub", "keras_nlp") and base.__name__ in _ARCHITECTURES


def first_line(error):
    """Returns the first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
