"""Checkpoints of Model Garden (TensorFlow 2, object-based): encoders, pretrainers, classifiers.

Such a checkpoint is a graph of objects, whose edges are the attributes of Model Garden's classes.
A tensor has many paths from the root; its key in the file is the one that happened to be shortest
when it was saved, so keys differ from program to program. Here the graph is walked instead.
"""

import os

from absl import logging

from keras_bert_lib.checkpoints import tensorflow_files
from keras_bert_lib.checkpoints.checkpoint import Checkpoint
from keras_bert_lib.checkpoints.load_weights import shortlist
from keras_bert_lib.checkpoints.object_graph import ObjectGraph
from keras_bert_lib.checkpoints.tensorflow_source import TensorflowSource

# Hugging Face's name -> path below the encoder.
_ENCODER = {
    "embeddings.word_embeddings.weight": "_embedding_layer/embeddings",
    "embeddings.position_embeddings.weight": "_position_embedding_layer/embeddings",
    "embeddings.token_type_embeddings.weight": "_type_embedding_layer/embeddings",
    "embeddings.LayerNorm.weight": "_embedding_norm_layer/gamma",
    "embeddings.LayerNorm.bias": "_embedding_norm_layer/beta",
    "pooler.dense.weight": "_pooler_layer/kernel",
    "pooler.dense.bias": "_pooler_layer/bias",
}
# Below `encoder.layer.0` -> below a Transformer block.
_BLOCK = {
    "attention.self.query.weight": "_attention_layer/_query_dense/kernel",
    "attention.self.query.bias": "_attention_layer/_query_dense/bias",
    "attention.self.key.weight": "_attention_layer/_key_dense/kernel",
    "attention.self.key.bias": "_attention_layer/_key_dense/bias",
    "attention.self.value.weight": "_attention_layer/_value_dense/kernel",
    "attention.self.value.bias": "_attention_layer/_value_dense/bias",
    "attention.output.dense.weight": "_attention_layer/_output_dense/kernel",
    "attention.output.dense.bias": "_attention_layer/_output_dense/bias",
    "attention.output.LayerNorm.weight": "_attention_layer_norm/gamma",
    "attention.output.LayerNorm.bias": "_attention_layer_norm/beta",
    "intermediate.dense.weight": "_intermediate_dense/kernel",
    "intermediate.dense.bias": "_intermediate_dense/bias",
    "output.dense.weight": "_output_dense/kernel",
    "output.dense.bias": "_output_dense/bias",
    "output.LayerNorm.weight": "_output_layer_norm/gamma",
    "output.LayerNorm.bias": "_output_layer_norm/beta",
}
# Below the masked language model head.
_MASKED_LM = {
    "cls.predictions.transform.dense.weight": "dense/kernel",
    "cls.predictions.transform.dense.bias": "dense/bias",
    "cls.predictions.transform.LayerNorm.weight": "layer_norm/gamma",
    "cls.predictions.transform.LayerNorm.bias": "layer_norm/beta",
    "cls.predictions.bias": "bias",
}
# The layers of an encoder with weights, in order, but for its blocks, and the attributes they have.
_LAYERS = (
    "_embedding_layer",
    "_position_embedding_layer",
    "_type_embedding_layer",
    "_embedding_norm_layer",
    "_pooler_layer",
)
# Paths of 2020.
_OLD_PATHS = {
    "_attention_layer/_output_dense/kernel": "_attention_output_dense/kernel",
    "_attention_layer/_output_dense/bias": "_attention_output_dense/bias",
}
# What Model Garden calls "gelu" is the tanh approximation. It has no word for the exact form, which
# a program has to give as a function; a config that says `gelu_exact` fails there, and is no
# silent mistake.
_ACTS_TO_HUGGINGFACE = {"gelu": "gelu_pytorch_tanh", "gelu_exact": "gelu"}
_PARAMS_FILE = "params.yaml"
# Key of params.yaml -> of a Hugging Face `config.json`.
_PARAMS = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_attention_heads": "num_attention_heads",
    "hidden_activation": "hidden_act",
    "intermediate_size": "intermediate_size",
    "dropout_rate": "hidden_dropout_prob",
    "attention_dropout_rate": "attention_probs_dropout_prob",
    "max_position_embeddings": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size",
    "initializer_range": "initializer_range",
}


def matches(path):
    """Returns whether `path` is a checkpoint of TensorFlow 2."""
    prefix = tensorflow_files.find_prefix(path)
    if prefix is None:
        return False
    return tensorflow_files.open_reader(prefix).has_tensor(tensorflow_files.OBJECT_GRAPH)


def open_checkpoint(path):
    """Opens a checkpoint of Model Garden.

    The config is read from the `bert_config.json` or the `params.yaml` beside the checkpoint.
    Without either it is told from the shapes, and the activation is taken for Model Garden's usual
    one, the tanh approximation of GELU.

    A checkpoint with a classification head that has a dense layer of its own, as Model Garden
    pretrains them, has two poolers, of which only the head's was trained: that one is read.

    Args:
        path: its directory, or its prefix, such as `directory/bert_model.ckpt`.

    Returns:
        `Checkpoint`.

    Raises:
        ValueError: if a file is damaged, or the checkpoint is not one of BERT.
    """
    prefix = tensorflow_files.find_prefix(path)
    reader = tensorflow_files.open_reader(prefix)
    graph = ObjectGraph(reader, prefix)
    encoder = find_encoder(graph, prefix)
    names = encoder_keys(graph, encoder) | head_keys(graph, encoder)
    source = TensorflowSource(reader, prefix, names)
    directory = os.path.dirname(prefix)
    config = read_config(directory)
    if config is None:
        config = config_from_shapes(source)
        logging.warning(
            "%s has neither a bert_config.json nor a params.yaml; taken from the shapes: %s. Write "
            "a bert_config.json beside the checkpoint if its activation is another.",
            directory,
            ", ".join(f"{key}={value}" for key, value in config.items()),
        )
    check_num_heads(source, config)
    return Checkpoint(
        config=config,
        source=source,
        directory=directory,
        tokenizer=tensorflow_files.tokenizer_arguments(directory),
    )


def find_encoder(graph, prefix):
    """Returns the graph's only encoder."""
    found = []
    for node, children in enumerate(graph.children):
        layers = [graph.children[layer] for layer in graph.items(node, "layer_with_weights-")]
        functional = any("_attention_layer" in layer for layer in layers)
        if functional or {"_embedding_layer", "_transformer_layers"} <= set(children):
            found.append(node)
    if len(found) != 1:
        raise ValueError(
            f"{prefix} must have one BERT encoder of Model Garden. Received: {len(found)} of them, "
            f"among the tensors {shortlist(sorted(graph.keys.values()))}"
        )
    return found[0]


def encoder_keys(graph, encoder):
    """Returns the keys of an encoder's variables by Hugging Face's names."""
    layers = graph.items(encoder, "layer_with_weights-")
    if layers:  # `BertEncoder`, a functional model
        blocks = [layer for layer in layers if "_attention_layer" in graph.children[layer]]
        others = [layer for layer in layers if layer not in blocks]
        layers = dict(zip(_LAYERS, [*others[:4], *others[4:][-1:]]))
    else:  # `BertEncoderV2`
        blocks = graph.items(graph.children[encoder]["_transformer_layers"])
        layers = graph.children[encoder]
    nodes = {
        name: graph.find(layers.get(path.split("/")[0]), path.split("/")[1])
        for name, path in _ENCODER.items()
    }
    for i, block in enumerate(blocks):
        for name, path in _BLOCK.items():
            node = graph.find(block, path) or graph.find(block, _OLD_PATHS.get(path, path))
            nodes[f"encoder.layer.{i}.{name}"] = node
    names = {name: graph.keys[node] for name, node in nodes.items() if node in graph.keys}
    # What else the encoder has, as a projection of its embeddings, is no part of a BERT: loading
    # says so, by these names.
    return names | {key: key for key in sorted(graph.below(encoder) - set(names.values()))}


def head_keys(graph, encoder):
    """Returns the keys of the heads' variables by Hugging Face's names."""
    nodes = {}
    for head, children in enumerate(graph.children):
        if {"dense", "layer_norm", "bias"} <= set(children):
            nodes |= {name: graph.find(head, path) for name, path in _MASKED_LM.items()}
            # The encoder's own, as a rule.
            table = children.get("embedding_table")
            if graph.keys.get(table) not in graph.below(encoder):
                nodes["cls.predictions.decoder.weight"] = table
    heads = {
        "classifier": graph.named("classifier"),
        "qa_outputs": graph.named("span_labeling"),
        "cls.seq_relationship": next_sentence_heads(graph),
    }
    for name, found in heads.items():
        for head in found[:1]:
            # A `ClassificationHead`, a functional model, a dense layer.
            inner = graph.find(head, "out_proj") or graph.find(head, "layer_with_weights-0") or head
            nodes[f"{name}.weight"] = graph.find(inner, "kernel")
            nodes[f"{name}.bias"] = graph.find(inner, "bias")
            pooler = graph.find(head, "dense")
            if pooler is not None:
                nodes["pooler.dense.weight"] = graph.find(pooler, "kernel")
                nodes["pooler.dense.bias"] = graph.find(pooler, "bias")
    return {name: graph.keys[node] for name, node in nodes.items() if node in graph.keys}


def next_sentence_heads(graph):
    """Returns the pretraining head for next sentences, in a list that is empty without one."""
    # A `BertPretrainer` has one head; a `BertPretrainerV2` has as many as one likes.
    heads = [
        head for several in graph.named("classification_heads") for head in graph.items(several)
    ]
    if len(heads) > 1:
        kernels = {head: graph.find(head, "out_proj/kernel") for head in heads}
        heads = [h for h in heads if "next_sentence" in graph.full_names.get(kernels[h], "")]
    return heads + graph.named("classification")


def read_config(directory):
    """Returns the config beside a checkpoint, in the words of Hugging Face, or None."""
    config = tensorflow_files.read_config(directory)
    path = os.path.join(directory, _PARAMS_FILE)
    if config is None and os.path.exists(path):
        config = read_params(path)
    if config is None:
        return None
    act = config.get("hidden_act", "gelu")
    return config | {"hidden_act": _ACTS_TO_HUGGINGFACE.get(act, act)}


def read_params(path):
    """Returns the config that a `params.yaml`, written by Model Garden's trainer, has."""
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            model = yaml.safe_load(file)["task"]["model"]
        kind = model["encoder"]["type"]
        params = model["encoder"][kind]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ValueError(f"{path} has no task.model.encoder: {error!r}") from error
    if kind not in ("bert", "bert_v2") or params.get("norm_first"):
        raise ValueError(
            f"{path} describes another encoder than BERT. Received: type={kind!r}, "
            f"norm_first={params.get('norm_first')!r}"
        )
    config = {theirs: params[ours] for ours, theirs in _PARAMS.items() if ours in params}
    mlm_act = model.get("mlm_activation", params.get("hidden_activation"))
    if mlm_act != params.get("hidden_activation"):
        config["keras_bert_lib"] = {"mlm_hidden_act": {"gelu": "gelu_tanh"}.get(mlm_act, mlm_act)}
    return config


def config_from_shapes(source):
    """Returns the config that the shapes tell."""
    query = "encoder.layer.0.attention.self.query.weight"
    needed = [name for name in (query, *_ENCODER) if not name.startswith("pooler.")]
    missing = [name for name in needed if name not in source.names]
    if missing:
        raise ValueError(f"{source.path} lacks {shortlist(missing)}, so it is no BERT.")
    _, num_heads, _ = source.file_shape(query)
    vocab_size, hidden_size = source.shape("embeddings.word_embeddings.weight")
    layers = [name for name in source.names if name.endswith("attention.self.query.weight")]
    return {
        "vocab_size": vocab_size,
        "hidden_size": hidden_size,
        "num_hidden_layers": len(layers),
        "num_attention_heads": num_heads,
        "intermediate_size": source.shape("encoder.layer.0.intermediate.dense.weight")[0],
        "hidden_act": "gelu_pytorch_tanh",
        "max_position_embeddings": source.shape("embeddings.position_embeddings.weight")[0],
        "type_vocab_size": source.shape("embeddings.token_type_embeddings.weight")[0],
    }


def check_num_heads(source, config):
    """Raises where the config has another number of heads than the kernels."""
    # The kernels have this library's shapes whatever the heads, so loading would not notice.
    num_heads = config.get("num_attention_heads", 12)
    for name in source.names:
        if name.endswith(".attention.self.query.weight"):
            hidden_size, found, head_size = source.file_shape(name)
            if found != num_heads:
                raise ValueError(
                    f"{source.where(name)} has the wrong shape for the config's "
                    f"num_attention_heads={num_heads}. Expected: "
                    f"{(hidden_size, num_heads, hidden_size // num_heads)}. "
                    f"Received: {(hidden_size, found, head_size)}"
                )
