"""Writes a model as a TFLite file that takes text."""

import os
import tempfile
from pathlib import Path

import tensorflow as tf

from keras_bert_lib.export import tflite_file
from keras_bert_lib.export.saved_model import write_saved_model
from keras_bert_lib.export.serving_module import ServingModule, check_free

QUANTIZATIONS = ("none", "float16", "dynamic_int8")
INTERFACES = ("text", "tokens")


def tflite(
    model,
    path,
    quantization="dynamic_int8",
    interface="text",
    max_bytes=512,
    max_length=None,
    pairs=False,
    overwrite=False,
):
    """Writes a TFLite file for Android, iOS, the web or any other LiteRT runtime.

    It holds built-in operators only. Its one signature, `serving_default`, gives `probabilities`
    float32 `[1, classes]`; the labels stand in the file's `labels.txt` (a `.tflite` is a zip
    archive, too). With `interface="text"` it takes `text` int32 `[1, max_bytes]`: the UTF-8 bytes,
    padded with zeros (and `text_pair` with `pairs`); the tokenizer is in the graph, and the cost
    follows the length of the text. It also gives `truncated` int32 `[1]`: 1 where a text was cut,
    by `max_length`, or before it came: a client whose text does not fit sends the first
    `max_bytes` of its bytes, and a text that fills the last place counts as cut. What is left of
    a character that was cut is dropped. With `interface="tokens"` it takes `token_ids`,
    `segment_ids`, `padding_mask`, int32 `[1, max_length]`, and all shapes are static, as GPU and
    NPU delegates ask for.

    Args:
        model: `BertClassifier` with a tokenizer.
        path: file to write.
        quantization: "none" (float32), "float16" (weights), or "dynamic_int8" (weights 8 bits,
            activations quantized as they come).
        interface: "text" or "tokens".
        max_bytes: int, most bytes of a text (`interface="text"`).
        max_length: int, most tokens of a text, special tokens included; longer ones are cut. None:
            128, or all that the model has positions for.
        pairs: bool, whether the model takes pairs of texts.
        overwrite: bool, whether to replace what stands at `path`.

    Raises:
        FileExistsError: if `path` is there already, without `overwrite`.
        ValueError: if an argument is none of these, or the model cannot be exported.

    Example:
        ```python
        kbl.export.tflite(classifier, "phone.tflite", quantization="dynamic_int8")
        ```
    """
    path = Path(path)
    if quantization not in QUANTIZATIONS:
        raise ValueError(
            f"`quantization` must be one of {', '.join(QUANTIZATIONS)}. Received: {quantization!r}"
        )
    if interface not in INTERFACES:
        raise ValueError(
            f"`interface` must be one of {', '.join(INTERFACES)}. Received: {interface!r}"
        )
    if max_bytes < 1:
        raise ValueError(f"`max_bytes` must be at least 1. Received: {max_bytes}")
    check_free(path, overwrite)
    module = ServingModule(model, max_length, most=128)
    if interface == "text":
        text = tf.TensorSpec([1, max_bytes], tf.int32, name="text")
        text_pair = tf.TensorSpec([1, max_bytes], tf.int32, name="text_pair") if pairs else None
        function = module.text_function(text, text_pair)
    else:
        function = module.tokens_function([1, module.max_length])

    def without_label(**inputs):
        answer = function(**inputs)
        del answer["label"]  # strings do not exist in TFLite: it is for the caller to look up
        return answer

    signature = tf.function(without_label, autograph=False).get_concrete_function(
        **{spec.name: spec for spec in function.input_signature}
    )
    with tempfile.TemporaryDirectory() as directory:
        # Only the way through a SavedModel keeps the names of inputs and outputs.
        write_saved_model(module, Path(directory, "1"), {"serving_default": signature})
        converter = tf.lite.TFLiteConverter.from_saved_model(str(Path(directory, "1")))
        if quantization != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantization == "float16":
            converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()

    tflite_file.check_builtin_only(content)
    content = tflite_file.with_labels(content, model.labels)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
