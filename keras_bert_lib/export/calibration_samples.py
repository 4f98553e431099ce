"""Makes a file's inputs of texts, for a quantizer to see what numbers the texts give rise to."""

import numpy as np

from keras_bert_lib.export.stock_runtime import utf8_bytes


def calibration_samples(module, texts, max_bytes=None):
    """Turns texts to inputs of the signature "serving_default".

    Args:
        module: `ServingModule`.
        texts: list of str; where the module takes pairs, of `(text, text_pair)`; for multiple
            choice, of `(text, [choice, ...])`.
        max_bytes: int for `interface="text"`; None for token ids of `module.max_length`.

    Returns:
        List of dicts of input name to int32 array, one dict a text.

    Raises:
        ValueError: if there is no text, or one is of another form.
    """
    if isinstance(texts, (str, bytes)):
        raise ValueError(
            "`calibration_texts` must be a list; put a single text in a list. "
            f"Received: calibration_texts={texts!r}"
        )
    texts = list(texts)
    if not texts:
        raise ValueError(
            "`calibration_texts` must hold some texts as the model will see them, 100 or more. "
            "Received: calibration_texts=[]"
        )
    samples = []
    for i, row in enumerate(texts):
        text, second = _split(row, module, i)
        if max_bytes is None:
            samples.append(_tokens(module, text, second))
            continue
        sample = {"text": utf8_bytes(text, max_bytes)}
        if second:
            sample["text_pair"] = np.concatenate([utf8_bytes(x, max_bytes) for x in second])
        samples.append(sample)
    return samples


def _split(row, module, i):
    """Returns the first text of a row, and the list of its second ones: none, one or the choices.

    Raises:
        ValueError: if the row is none that the module takes.
    """
    is_text = isinstance(row, (str, bytes))
    if not module.pairs:
        if not is_text:
            raise ValueError(
                f"`calibration_texts` must hold strings only. Received at index {i}: {row!r}"
            )
        return row, []
    form = "(text, [choice, ...])" if module.choices else "(text, text_pair)"
    if is_text or not isinstance(row, (tuple, list)) or len(row) != 2:
        raise ValueError(
            f"The model takes pairs, so `calibration_texts` must hold {form}. "
            f"Received at index {i}: {row!r}"
        )
    text, second = row
    if not module.choices:
        second = [second]
    elif isinstance(second, (str, bytes)) or len(second) != module.choices:
        raise ValueError(
            f"`calibration_texts` must hold {module.choices} choices in each {form}. "
            f"Received at index {i}: {row!r}"
        )
    for x in [text, *second]:
        if not isinstance(x, (str, bytes)):
            raise ValueError(
                f"`calibration_texts` must hold strings only. Received at index {i}: {x!r}"
            )
    return text, list(second)


def _tokens(module, text, second):
    """Returns the model's inputs, int32 `[1, max_length]`, or `[choices, max_length]`."""
    tokens = module.answers.tokenizer(
        [text] * max(len(second), 1),
        second or None,
        max_length=module.max_length,
        padding="max_length",
    )
    return {name: np.asarray(x) for name, x in tokens.items()}
