"""Writes checkpoints that Model Garden's models restore."""

import tensorflow as tf
from absl import logging

from keras_bert_lib.checkpoints import tensorflow_files
from keras_bert_lib.checkpoints.tensor_names import tensors_by_name, weights_by_name

# Our `hidden_act` -> what a config of Model Garden says; see model_garden.py.
_ACTS = {"gelu": "gelu_exact", "gelu_new": "gelu", "gelu_tanh": "gelu", "relu": "relu"}


def save_model_garden(model, directory, overwrite=False):
    """Writes a model as a checkpoint that Model Garden restores (`tf-models-official`).

    `tf.train.Checkpoint(encoder=encoder)` finds the encoder in it, be it a `BertEncoder` or a
    `BertEncoderV2`, and `tf.train.Checkpoint(model=model)` the whole model: a `BertPretrainerV2`
    with a `ClassificationHead` called `next_sentence` (and, under the names of `checkpoint_items`,
    what its tasks restore), a `BertPretrainer`, a `BertClassifier`, a `BertTokenClassifier` or a
    `BertSpanLabeler`. Every object of theirs is there, so that
    `assert_existing_objects_matched()` holds.

    What a config of Model Garden calls `gelu` is the tanh approximation. For a model with the
    exact form the `bert_config.json` says `gelu_exact`; give Model Garden's encoder
    `inner_activation=tf.nn.gelu` then.

    Args:
        model: `BertEncoder`, or a model that has one.
        directory: path; made where it does not exist. The checkpoint's prefix in it is
            `bert_model.ckpt`.
        overwrite: bool, whether to write among files that are not such a checkpoint's.

    Raises:
        ValueError: if the model has LayerNorm before its sublayers, which Model Garden computes
            in another way, or if `directory` is a file or holds something else and `overwrite`
            is False.

    Example:
        ```python
        import tempfile
        import keras_bert_lib as kbl

        directory = tempfile.mkdtemp()
        encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=100))
        kbl.checkpoints.save_model_garden(encoder, directory)
        encoder = kbl.BertEncoder.from_pretrained(directory)
        ```

    References:
        - [Model Garden](https://github.com/tensorflow/models), `official/nlp/modeling`
    """
    config = tensorflow_files.config_of(model, "Model Garden", _ACTS)
    tensors = tensors_by_name(weights_by_name(model))
    root = root_node(tensors, model.config.num_layers, model.config.num_heads)
    tensorflow_files.write_directory(
        directory,
        config,
        root.write,
        tokenizer=getattr(model, "tokenizer", None),
        overwrite=overwrite,
    )
    logging.info("Wrote %d tensors to %s.", len(tensors), directory)


def node(children=(), **more):
    """Returns an object of the graph that holds others under these names.

    Names such as `layer-0` need the dict. Their order decides by which of several paths a variable
    is called in the file, so it is that of Model Garden's objects.
    """
    parent = tf.train.Checkpoint()
    for name, child in dict(children, **more).items():
        setattr(parent, name, child)
    return parent


def numbered(prefix, nodes):
    """Returns names that number `nodes` behind a prefix."""
    return {f"{prefix}{i}": child for i, child in enumerate(nodes)}


def root_node(tensors, num_layers, num_heads):
    """Returns the root of a checkpoint with the encoder and whatever model is around it."""
    inputs = {name: node() for name in ("word_ids", "mask", "type_ids")}
    encoder = encoder_node(tensors, inputs, num_layers, num_heads)
    children = {"encoder": encoder, "model": encoder}
    if "cls.predictions.bias" in tensors:
        children |= pretrainer_nodes(tensors, inputs, encoder)
    elif "classifier.weight" in tensors:
        dense = dense_node(tensors, "classifier")
        # A `ClassificationHead`, and the dense layer that a `BertTokenClassifier` has instead.
        head = node(dropout=node(), out_proj=dense, kernel=dense.kernel, bias=dense.bias)
        layers = [node(), head]
        children["model"] = task_node(inputs, encoder, layers, [head], {"classifier": head})
    elif "qa_outputs.weight" in tensors:
        dense = dense_node(tensors, "qa_outputs")
        layers = [node(), dense, node(), node()]
        head = node({"layer_with_weights-0": dense} | numbered("layer-", layers))
        layers = [head, node(), node()]
        children["model"] = task_node(inputs, encoder, layers, [head], {"span_labeling": head})
    root = node(children)
    root.save_counter.assign(1)  # creates it; `tf.train.Checkpoint.restore` looks for it
    return root


def encoder_node(tensors, inputs, num_layers, num_heads):
    """Returns an encoder, which is a functional model as well as a `BertEncoderV2`."""
    words, positions, types = (
        tf.Variable(tensors[f"embeddings.{name}_embeddings.weight"])
        for name in ("word", "position", "token_type")
    )
    embedding = node(embeddings=words)
    position_embedding = node(embeddings=positions, _position_embeddings=positions)
    type_embedding = node(embeddings=types)
    norm = layer_norm_node(tensors, "embeddings.LayerNorm")
    dropout, attention_mask = node(), node()
    blocks = [block_node(tensors, i, num_heads) for i in range(num_layers)]
    attributes = {
        "_embedding_layer": embedding,
        "_position_embedding_layer": position_embedding,
        "_type_embedding_layer": type_embedding,
        "_embedding_norm_layer": norm,
        "_embedding_dropout": dropout,
        "_attention_mask_layer": attention_mask,
        "_transformer_layers": node(numbered("", blocks)),
        "_config": node(initializer=node(config=node())),
        "inputs": node(inputs),
    }
    with_weights = [embedding, position_embedding, type_embedding, norm, *blocks]
    # The order in which a functional model has its layers, operations and inputs included.
    layers = [inputs["word_ids"], embedding, inputs["type_ids"], position_embedding]
    layers += [type_embedding, node(), norm, dropout, inputs["mask"], attention_mask]
    layers += [*blocks, node()]
    if "pooler.dense.weight" in tensors:
        pooler = dense_node(tensors, "pooler.dense")
        attributes["_pooler_layer"] = pooler
        with_weights.append(pooler)
        layers.append(pooler)
    return node(
        numbered("layer_with_weights-", with_weights) | numbered("layer-", layers) | attributes
    )


def block_node(tensors, i, num_heads):
    """Returns the `TransformerEncoderBlock` number `i`."""
    prefix = f"encoder.layer.{i}"
    hidden_size = tensors[f"{prefix}.output.dense.bias"].shape[0]
    heads = (num_heads, hidden_size // num_heads)  # n, d
    attention = {
        f"_{name}_dense": dense_node(
            tensors, f"{prefix}.attention.self.{name}", (hidden_size, *heads), heads
        )
        for name in ("query", "key", "value")
    }
    attention["_output_dense"] = dense_node(
        tensors, f"{prefix}.attention.output.dense", (*heads, hidden_size)
    )
    attention_norm = layer_norm_node(tensors, f"{prefix}.attention.output.LayerNorm")
    return node(
        _attention_layer=node(attention, _softmax=node(), _dropout_layer=node()),
        _attention_dropout=node(),
        _attention_layer_norm=attention_norm,
        _attention_layer_norm_kv=attention_norm,
        _intermediate_dense=dense_node(tensors, f"{prefix}.intermediate.dense"),
        _intermediate_activation_layer=node(),
        _inner_dropout_layer=node(),
        _output_dense=dense_node(tensors, f"{prefix}.output.dense"),
        _output_dropout=node(),
        _output_layer_norm=layer_norm_node(tensors, f"{prefix}.output.LayerNorm"),
    )


def dense_node(tensors, name, kernel_shape=None, bias_shape=None):
    """Returns a dense layer; the attention's have more dimensions than `[in, out]`."""
    kernel, bias = tensors[f"{name}.weight"].T, tensors[f"{name}.bias"]
    return node(
        kernel=tf.Variable(kernel.reshape(kernel_shape or kernel.shape)),
        bias=tf.Variable(bias.reshape(bias_shape or bias.shape)),
    )


def layer_norm_node(tensors, name):
    """Returns a LayerNorm."""
    return node(
        gamma=tf.Variable(tensors[f"{name}.weight"]), beta=tf.Variable(tensors[f"{name}.bias"])
    )


def pretrainer_nodes(tensors, inputs, encoder):
    """Returns the children of the root where there is a masked language model head.

    The model is a `BertPretrainerV2` and a `BertPretrainer` in one: nobody minds attributes that
    the other has.
    """
    bias = tf.Variable(tensors["cls.predictions.bias"])
    masked_lm = node(
        {
            "embedding_table": encoder._embedding_layer.embeddings,
            "dense": dense_node(tensors, "cls.predictions.transform.dense"),
            "layer_norm": layer_norm_node(tensors, "cls.predictions.transform.LayerNorm"),
            "output_bias/bias": bias,
            "bias": bias,
        }
    )
    children = {"encoder": encoder, "masked_lm": masked_lm}
    if "cls.seq_relationship.weight" not in tensors:
        heads = node()
        config = node(encoder_network=encoder, classification_heads=heads)
        model = node(
            encoder_network=encoder,
            classification_heads=heads,
            masked_lm=masked_lm,
            inputs=node(),
            _config=config,
        )
        return children | {"model": model}
    dense = dense_node(tensors, "cls.seq_relationship")
    # The head's own pooler and the encoder's: they are two there, and one here.
    pooler = dense_node(tensors, "pooler.dense")
    heads = node({"0": node(dense=pooler, dropout=node(), out_proj=dense)})
    classification = node({"layer_with_weights-0": dense, "layer-0": node(), "layer-1": dense})
    attributes = {
        "encoder": encoder,
        "classification": classification,
        "masked_lm": masked_lm,
        "encoder_network": encoder,
        "classification_heads": heads,
        "inputs": node(),
    }
    layers = [node(), classification, masked_lm]
    model = task_node(inputs, encoder, layers, [classification, masked_lm], attributes)
    model._config.encoder_network = encoder
    model._config.classification_heads = heads
    return children | {"model": model, "next_sentence.pooler_dense": pooler}


def task_node(inputs, encoder, layers, with_weights, attributes):
    """Returns a functional model of the encoder and what comes behind it."""
    layers = [inputs["word_ids"], inputs["mask"], inputs["type_ids"], encoder, *layers]
    return node(
        numbered("layer_with_weights-", [encoder, *with_weights])
        | numbered("layer-", layers)
        | attributes,
        _network=encoder,
        _config=node({"0": encoder}, network=encoder),
    )
