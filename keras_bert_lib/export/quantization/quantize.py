"""Fewer bits for the numbers of a TFLite file."""

from keras_bert_lib.export.quantization import flatbuffer
from keras_bert_lib.export.quantization.calibration import statistics
from keras_bert_lib.export.quantization.dynamic_int8 import quantize_dynamic
from keras_bert_lib.export.quantization.embedding import quantize_embeddings
from keras_bert_lib.export.quantization.float16 import quantize_float16
from keras_bert_lib.export.quantization.int4 import quantize_int4
from keras_bert_lib.export.quantization.static_integers import quantize_static

MODES = ("none", "float16", "dynamic_int8", "int8", "int16x8", "int4")
NEED_SAMPLES = ("int8", "int16x8", "int4")


def quantize(content, mode, samples=None):
    """Quantizes a file.

    Args:
        content: bytes of a float32 file.
        mode: one of `MODES`. "float16" stores weights so; "dynamic_int8" multiplies by weights of 8
            bits and quantizes activations as they come; "int8" and "int16x8" multiply integers,
            activations of 8 or 16 bits by weights of 8; "int4" is like "dynamic_int8", with weights
            of 4 bits. All but "none" have embedding tables of 8 bits or fewer.
        samples: list of dict of input name to int32 array, for the signature "serving_default":
            what ranges are measured on. "float16" does without, "dynamic_int8" can.

    Returns:
        bytes. The same arguments give the same bytes.

    Raises:
        ValueError: for an unknown mode, or where samples are missing.
    """
    if mode not in MODES:
        raise ValueError(f"`quantization` must be one of {', '.join(MODES)}. Received: {mode!r}")
    if mode in NEED_SAMPLES and not samples:
        raise ValueError(
            f"`quantization={mode!r}` measures what the model computes on texts. Give "
            "`calibration_texts`, some hundred like those the model will be used on. "
            f"Received: {samples!r}"
        )
    if mode == "none":
        return content
    model = flatbuffer.read(content)
    if mode == "int4":
        quantize_int4(model, samples)
        return flatbuffer.write(model)
    tables = quantize_embeddings(model)
    if mode == "float16":
        quantize_float16(model)
        return flatbuffer.write(model)
    layers = flatbuffer.large_layers(model)
    seen = statistics(content, samples) if samples else {}
    static = {}
    if mode in ("int8", "int16x8"):
        # The logits of a masked LM are compared with each other; they want to be floats.
        static = {b: uses for b, uses in layers.items() if b in seen and b not in tables}
        quantize_static(model, static, seen, 8 if mode == "int8" else 16)
    dynamic = {b: uses for b, uses in layers.items() if b not in static}
    quantize_dynamic(model, dynamic, seen, tables)
    return flatbuffer.write(model)
