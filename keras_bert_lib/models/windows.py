"""Texts of any length, as windows of a length that a model can read."""

import keras
import numpy as np
from keras import ops


def window_length(model, max_length, least):
    """Returns the tokens of a window, special tokens included.

    Args:
        model: a `TaskModel` with a tokenizer.
        max_length: int, or None for as many as the tokenizer and the model allow.
        least: int, what a text needs.

    Raises:
        ValueError: if the model cannot read so many.
    """
    positions = model.config.max_position_embeddings
    if max_length is None:
        return min(model.tokenizer.max_length, positions)
    if not isinstance(max_length, int) or not least <= max_length <= positions:
        raise ValueError(
            f"`max_length` must lie between {least} and {positions}, the model's "
            f"`max_position_embeddings`. Received: max_length={max_length!r}"
        )
    return max_length


def window_stride(max_length):
    """Returns how many pieces windows of `max_length` tokens share where nobody says otherwise."""
    return min(128, (max_length - 3) // 2)


def of_windows(values, text_index, num_texts, other):
    """Tells of each text what its windows have.

    Args:
        values: `[w]`, one a window.
        text_index: int32 `[w]`: the text that a window is of.
        num_texts: int or int32 scalar: texts in all.
        other: scalar, what stands at windows of other texts.

    Returns:
        `[num_texts, w]`.
    """
    text = ops.expand_dims(ops.arange(num_texts), 1)  # [t, 1]
    is_own = ops.equal(text, ops.expand_dims(text_index, 0))  # [t, w]
    return ops.where(is_own, ops.expand_dims(values, 0), other)


def model_inputs(windows):
    """Returns those of the tensors that are inputs of a model, as a dict."""
    return {name: windows[name] for name in ("token_ids", "segment_ids", "padding_mask")}


def predict_windows(model, windows, batch_size):
    """Returns what a model makes of windows, as NumPy arrays.

    Args:
        model: a `TaskModel`.
        windows: dict of arrays `[w, ...]`, its inputs among them.
        batch_size: int, number of windows that are computed at once.
    """
    inputs = model_inputs(windows)
    outputs = []
    for start in range(0, len(inputs["token_ids"]), batch_size):
        batch = {name: x[start : start + batch_size] for name, x in inputs.items()}
        size = len(batch["token_ids"])
        outputs.append(
            keras.tree.map_structure(
                lambda x, size=size: ops.convert_to_numpy(x)[:size], model.predict_on_batch(batch)
            )
        )
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *outputs)
