"""Changes the shape of a model and keeps what it has learned.

Keras cannot resize a weight in place, so each function returns a new model and leaves the given one
as it was. Every model of this library can be changed, be it encoder, pretrainer or one for a task.
A function prints one line that says what it did. The new model has the name and the arguments of
the old one, is not compiled, and all of it is trainable.

Example:
    ```python
    import keras_bert_lib as kbl

    tokenizer = kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fine"])
    encoder = kbl.BertEncoder(kbl.BertConfig.from_size("small", vocab_size=6))
    model = kbl.BertClassifier(encoder, tokenizer=tokenizer, labels=["neg", "pos"])
    model = kbl.models.surgery.drop_layers(model, [2, 3])
    model = kbl.models.surgery.change_labels(model, ["neg", "neutral", "pos"])
    ```
"""

import dataclasses

import keras
import numpy as np
from keras import ops

from keras_bert_lib.checkpoints.tensor_names import weights_by_name
from keras_bert_lib.layers.initializers import without_drawing
from keras_bert_lib.models.bert_classifier import REGRESSION, SINGLE_LABEL
from keras_bert_lib.models.bert_encoder import BertEncoder
from keras_bert_lib.models.pretrained_model import PretrainedModel

__all__ = [
    "add_tokens",
    "change_labels",
    "drop_layers",
    "extend_positions",
    "reinitialize_top_layers",
    "resize_token_embeddings",
]

# The weights with one row a piece.
_PIECE_WEIGHTS = ("embeddings/token_embedding", "mlm_head/bias")


def add_tokens(model, tokens):
    """Teaches the model's tokenizer whole words, and gives the model a row for each.

    A token is found wherever it stands in a text, before the text is cut to pieces, and its id
    follows those of the vocabulary; one that is in the vocabulary keeps its id. A new token's
    embedding starts as the mean of the other pieces', and so does its bias in a masked language
    model head: as good a guess as the model has, and not one that it finds more likely than all it
    knows.

    Args:
        model: a model with a `tokenizer`. For one without, add the tokens to the tokenizer that
            goes with it and call `resize_token_embeddings(model, tokenizer.vocabulary_size)`.
        tokens: list of str.

    Returns:
        A new model, with a new tokenizer.

    Raises:
        ValueError: if the model has no tokenizer, or a token cannot be added (see
            `BertTokenizer.add_tokens`).

    Example:
        ```python
        import keras_bert_lib as kbl

        tokenizer = kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fine"])
        encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=6))
        model = kbl.BertClassifier(encoder, tokenizer=tokenizer, labels=["neg", "pos"])
        model = kbl.models.surgery.add_tokens(model, ["COVID-19"])
        model.tokenizer.tokenize("fine COVID-19")  # ["fine", "COVID-19"]
        model.config.vocab_size  # 7
        ```

    References:
        - [Hewitt, 2021](https://nlp.stanford.edu/~johnhew/vocab-expansion.html) (the mean)
    """
    check_model(model)
    old = getattr(model, "tokenizer", None)
    if old is None:
        raise ValueError(
            "The model has no tokenizer to add tokens to. Add them to the tokenizer that goes with "
            "it and call `resize_token_embeddings(model, tokenizer.vocabulary_size)`. "
            f"Received: {type(model).__name__} with tokenizer=None"
        )
    tokenizer = type(old).from_config(old.get_config())
    tokenizer.add_tokens(tokens)
    # A model may have more rows than its tokenizer has pieces; those come first, and no text has
    # ever reached them.
    new_ids = range(old.vocabulary_size, tokenizer.vocabulary_size)
    vocab_size = max(tokenizer.vocabulary_size, model.config.vocab_size)
    new_model = with_pieces(model, vocab_size, new_ids, tokenizer)
    print(
        f"add_tokens: {len(new_ids)} of {len(tokens)} tokens have new ids; the tokenizer grew from "
        f"{old.vocabulary_size:,} to {tokenizer.vocabulary_size:,} pieces, the embedding from "
        f"{model.config.vocab_size:,} to {vocab_size:,} rows. New rows are the mean of the others."
    )
    return new_model


def resize_token_embeddings(model, vocab_size):
    """Changes the number of pieces that a model has embeddings for.

    New rows are the mean of the old ones, in the bias of a masked language model head too. A
    smaller number cuts rows off at the end.

    Args:
        model: any model of this library.
        vocab_size: int, the number of rows to have.

    Returns:
        A new model.

    Raises:
        ValueError: if `vocab_size` is less than the pieces of the model's tokenizer.

    Example:
        ```python
        import keras_bert_lib as kbl

        encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=6))
        encoder = kbl.models.surgery.resize_token_embeddings(encoder, 8)
        encoder.config.vocab_size  # 8
        ```
    """
    check_model(model)
    check_count(vocab_size, "vocab_size", 1)
    old_size = model.config.vocab_size
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is not None and vocab_size < tokenizer.vocabulary_size:
        raise ValueError(
            f"The model's tokenizer has {tokenizer.vocabulary_size} pieces, and each needs a row. "
            f"Received: vocab_size={vocab_size}"
        )
    new_model = with_pieces(model, vocab_size, range(old_size, vocab_size), tokenizer)
    if vocab_size > old_size:
        told = f"The {vocab_size - old_size:,} new rows are the mean of the others."
    else:
        told = f"{old_size - vocab_size:,} rows at the end were cut off."
    print(f"resize_token_embeddings: from {old_size:,} to {vocab_size:,} rows. {told}")
    return new_model


def extend_positions(model, max_position_embeddings, method="interpolate"):
    """Makes room for longer texts.

    `"interpolate"` stretches the table of positions over the new length, row by row on straight
    lines: the order of all positions is kept, but texts of every length are seen a little
    differently, and the model wants fine-tuning. `"tile"` repeats the table: texts that fitted
    before give what they gave, to the bit; to longer ones position 512 looks like position 0 until
    the model is fine-tuned on such. Sinusoidal positions just go on, whatever the method. The
    default length of the model's tokenizer grows along where it was all that the model took.

    Args:
        model: any model of this library.
        max_position_embeddings: int, the longest sequence from now on, in tokens.
        method: `"interpolate"` or `"tile"`.

    Returns:
        A new model.

    Raises:
        ValueError: if the model has as many positions already, or for an unknown `method`.

    Example:
        ```python
        import keras_bert_lib as kbl

        encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=6))
        encoder = kbl.models.surgery.extend_positions(encoder, 1024)
        encoder.config.max_position_embeddings  # 1024
        ```

    References:
        - [Dosovitskiy et al., 2020](https://arxiv.org/abs/2010.11929) (interpolation)
        - [Beltagy et al., 2020](https://arxiv.org/abs/2004.05150) (tiling)
    """
    check_model(model)
    old_length = model.config.max_position_embeddings
    check_count(max_position_embeddings, "max_position_embeddings", old_length + 1)
    if method not in ("interpolate", "tile"):
        raise ValueError(f'`method` must be "interpolate" or "tile". Received: method={method!r}')
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is not None and tokenizer.max_length == old_length:
        config = tokenizer.get_config() | {"max_length": max_position_embeddings}
        tokenizer = type(tokenizer).from_config(config)
    changes = {}
    if getattr(model, "max_length", None) == old_length:  # of a BertTextEmbedder
        changes["max_length"] = max_position_embeddings
    config = dataclasses.replace(model.config, max_position_embeddings=max_position_embeddings)
    new_model = remake(model, config, tokenizer, **changes)
    weights = arrays_by_name(model)
    name = "embeddings/position_embedding"
    table = weights.pop(name)  # [p, h]
    if model.config.position_embedding_type == "sinusoidal":
        told = "the sinusoids go on"
    elif method == "tile":
        weights[name] = table[np.arange(max_position_embeddings) % old_length]
        told = f"the {old_length:,} rows are repeated"
    else:
        weights[name] = stretch(table, max_position_embeddings)
        told = f"interpolated between the {old_length:,} rows"
    copy_weights(weights, new_model)
    print(
        f"extend_positions: from {old_length:,} to {max_position_embeddings:,} positions, {told}."
    )
    return new_model


def drop_layers(model, layers):
    """Takes Transformer blocks out of a model, which makes it smaller and faster.

    The blocks that stay keep their order and their weights. Fine-tuning afterwards wins back most
    of what is lost; of the blocks of BERT, the last are missed the least.

    Args:
        model: any model of this library.
        layers: list of int, the blocks to drop, from 0; -1 is the last.

    Returns:
        A new model.

    Raises:
        ValueError: if there is no such block, or none would be left.

    Example:
        ```python
        import keras_bert_lib as kbl

        encoder = kbl.BertEncoder(kbl.BertConfig.from_size("small", vocab_size=6))
        encoder = kbl.models.surgery.drop_layers(encoder, [-2, -1])
        encoder.config.num_layers  # 2
        ```

    References:
        - [Sajjad et al., 2020](https://arxiv.org/abs/2004.03844)
    """
    check_model(model)
    num_layers = model.config.num_layers
    layers = [layers] if isinstance(layers, int) else list(layers)
    for layer in layers:
        if not isinstance(layer, int) or not -num_layers <= layer < num_layers:
            raise ValueError(
                f"`layers` must be numbers of the {num_layers} blocks, from 0 to {num_layers - 1}. "
                f"Received: layers={layers}"
            )
    dropped = {layer % num_layers for layer in layers}
    kept = [layer for layer in range(num_layers) if layer not in dropped]
    if not dropped or not kept:
        raise ValueError(
            "`layers` must leave at least one block of the model, and drop at least one. "
            f"Received: layers={layers}, {num_layers} blocks"
        )
    new_model = remake(model, dataclasses.replace(model.config, num_layers=len(kept)))
    weights = arrays_by_name(model)
    blocks = {name: array for name, array in weights.items() if name.startswith("block_")}
    weights = {name: array for name, array in weights.items() if name not in blocks}
    for name, array in blocks.items():
        block, _, rest = name.partition("/")
        layer = int(block.removeprefix("block_"))
        if layer in kept:
            weights[f"block_{kept.index(layer)}/{rest}"] = array
    copy_weights(weights, new_model)
    print(
        f"drop_layers: {len(kept)} of {num_layers} blocks stay ({', '.join(map(str, kept))}); "
        f"{new_model.count_params():,} of {model.count_params():,} parameters are left."
    )
    return new_model


def change_labels(model, labels=None, num_classes=None):
    """Gives a classifier other classes: the encoder is kept, the head begins anew.

    All other arguments of the model are kept, too; only a single number (a regression) that becomes
    several classes, or the other way round, changes the `problem_type`.

    Args:
        model: a model with `labels`.
        labels: list of str, the names of the new classes.
        num_classes: int, how many; may be left out where `labels` are given.

    Returns:
        A new model, whose head is newly initialized.

    Raises:
        ValueError: if the model has no labels, or the arguments name none.

    Example:
        ```python
        import keras_bert_lib as kbl

        encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=6))
        model = kbl.BertClassifier(encoder, labels=["neg", "pos"])
        model = kbl.models.surgery.change_labels(model, ["neg", "neutral", "pos"])
        model.num_classes  # 3
        ```
    """
    check_model(model)
    if not hasattr(model, "labels"):
        raise ValueError(
            "The model has no labels to change. Make a classifier of its encoder, such as "
            f"`BertClassifier(encoder, labels=[...])`. Received: {type(model).__name__}"
        )
    changes = {"labels": labels, "num_classes": num_classes}
    # A type that followed from the number of classes follows from the new one.
    usual = REGRESSION if model.num_classes == 1 else SINGLE_LABEL
    if getattr(model, "problem_type", None) == usual:
        changes["problem_type"] = None
    new_model = remake(model, model.config, **changes)
    weights = arrays_by_name(model)
    head = sorted(set(weights) - set(weights_by_name(model.encoder)))
    for name in head:
        del weights[name]
    copy_weights(weights, new_model)
    kind = getattr(new_model, "problem_type", "token classification").replace("_", " ")
    print(
        f"change_labels: from {model.num_classes} to {new_model.num_classes} classes ({kind}). The "
        f"head ({', '.join(head)}) is newly initialized: fine-tune the model before you use it."
    )
    return new_model


def reinitialize_top_layers(model, n, seed=None):
    """Draws the top blocks and the pooler, where there is one, anew.

    What they learned is the closest to pretraining's own tasks, and the farthest from others:
    fine-tuning on few examples is often more stable without it.

    Args:
        model: any model of this library.
        n: int, how many blocks from the top; 0 is the pooler alone.
        seed: int, for the same weights each time; None draws others.

    Returns:
        A new model.

    Raises:
        ValueError: if the model has fewer blocks.

    Example:
        ```python
        import keras_bert_lib as kbl

        encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=6))
        encoder = kbl.models.surgery.reinitialize_top_layers(encoder, 1, seed=1)
        ```

    References:
        - [Zhang et al., 2020](https://arxiv.org/abs/2006.05987)
    """
    check_model(model)
    num_layers = model.config.num_layers
    check_count(n, "n", 0)
    if n > num_layers:
        raise ValueError(f"`n` must be at most the {num_layers} blocks there are. Received: n={n}")
    new_model = remake(model, model.config)
    weights = arrays_by_name(model)
    # Drawn one after the other, so each kernel gets other numbers.
    draw = keras.initializers.TruncatedNormal(
        stddev=model.config.initializer_range, seed=keras.random.SeedGenerator(seed)
    )
    parts = ["pooler"] + [f"block_{layer}" for layer in range(num_layers - n, num_layers)]
    count = 0
    for name, array in weights.items():
        if name.split("/")[0] not in parts:
            continue
        count += array.size
        if name.endswith("/kernel"):
            weights[name] = ops.convert_to_numpy(draw(array.shape))
        else:
            weights[name] = np.full_like(array, 1 if name.endswith("/gamma") else 0)
    copy_weights(weights, new_model)
    pooler = "the pooler and " if "pooler/dense/kernel" in weights else ""
    print(
        f"reinitialize_top_layers: {pooler}the top {n} of {num_layers} blocks are drawn anew, "
        f"{count:,} of {model.count_params():,} parameters."
    )
    return new_model


def with_pieces(model, vocab_size, new_ids, tokenizer):
    """Returns the model with `vocab_size` rows; those in the range `new_ids` begin as a mean."""
    config = dataclasses.replace(model.config, vocab_size=vocab_size)
    new_model = remake(model, config, tokenizer)
    weights = arrays_by_name(model)
    for name in _PIECE_WEIGHTS:
        if name in weights:
            old = weights[name]  # [v, h] or [v]
            new = np.empty((vocab_size, *old.shape[1:]), old.dtype)
            kept = min(len(old), vocab_size)
            new[:kept] = old[:kept]
            new[new_ids.start : new_ids.stop] = old[: new_ids.start].mean(axis=0, dtype="float64")
            weights[name] = new
    copy_weights(weights, new_model)
    return new_model


def stretch(table, length):
    """Returns `table` `[p, h]` as `[length, h]`: first and last row stay, others lie between."""
    positions = np.linspace(0, len(table) - 1, length)  # in the old table's rows
    below = np.minimum(positions.astype("int64"), len(table) - 2) if len(table) > 1 else 0
    share = (positions - below)[:, np.newaxis]
    above = np.minimum(below + 1, len(table) - 1)
    return (table[below] * (1 - share) + table[above] * share).astype(table.dtype)


def remake(model, config, tokenizer=None, **changes):
    """Returns a model of the same class and arguments, but for the changes, before its weights."""
    if isinstance(model, BertEncoder):
        with without_drawing():  # all of it is copied
            return BertEncoder(**(model.get_config() | {"config": config}))
    arguments = model.get_config() | changes
    arguments["encoder"] = remake(model.encoder, config)
    if "tokenizer" in arguments:
        arguments["tokenizer"] = tokenizer or model.tokenizer
    return type(model)(**arguments)


def arrays_by_name(model):
    """Returns the model's weights as arrays, by the names they have in every model."""
    return {name: ops.convert_to_numpy(v) for name, v in weights_by_name(model).items()}


def copy_weights(arrays, model):
    """Assigns the arrays to the model's weights of the same names."""
    variables = weights_by_name(model)
    for name, array in arrays.items():
        variables[name].assign(array)


def check_model(model):
    """Raises where `model` is not one of this library's."""
    if not isinstance(model, PretrainedModel):
        raise ValueError(
            "`model` must be a model of this library, such as a BertEncoder or a BertClassifier. "
            f"Received: model={model!r}"
        )


def check_count(value, name, least):
    """Raises unless the argument called `name` is an int of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(
            f"`{name}` must be an integer of at least {least}. Received: {name}={value!r}"
        )
