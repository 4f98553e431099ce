"""Writes a model as a TFLite file that takes text."""

import json
import tempfile
from pathlib import Path

import tensorflow as tf

from keras_bert_lib.export import delegate_ops, mediapipe, tflite_file
from keras_bert_lib.export import metadata as tflite_metadata
from keras_bert_lib.export.calibration_samples import calibration_samples
from keras_bert_lib.export.files import write_file
from keras_bert_lib.export.quantization import MODES, NEED_SAMPLES, error_by_layer, quantize
from keras_bert_lib.export.quantization.pseudo_texts import pseudo_texts
from keras_bert_lib.export.saved_model import write_saved_model
from keras_bert_lib.export.serving_module import ServingModule, check_free, is_int

QUANTIZATIONS = MODES
INTERFACES = ("text", "tokens", "mediapipe")
_LEAST_BYTES = 8  # a character takes up to 4 bytes, "[MASK]" 6


def tflite(
    model,
    path,
    quantization="dynamic_int8",
    interface="text",
    max_bytes=512,
    max_length=None,
    pairs=False,
    choices=None,
    calibration_texts=None,
    metadata=None,
    error_report=None,
    overwrite=False,
):
    """Writes a TFLite file for Android, iOS, the web or any other LiteRT runtime.

    It holds built-in operators only, and its signature is `serving_default`. With
    `interface="text"` this takes `text` int32 `[1, max_bytes]`: the UTF-8 bytes, padded with zeros,
    and `text_pair` alike where there are pairs; the tokenizer is in the graph, and the cost follows
    the length of the text. With `interface="tokens"` it takes `token_ids`, `segment_ids`,
    `padding_mask`, int32 `[1, max_length]`, and no shape in it varies, as GPUs and NPUs want it.
    With `interface="mediapipe"` it takes `ids`, `mask` and `segment_ids`, int32 `[1, max_length]`:
    a `TextClassifier` or `TextEmbedder` of MediaPipe Tasks loads the file, and brings its own
    tokenizer. The answers have static shapes:

    - of a `BertClassifier` `probabilities` float32 `[1, classes]`, for several labels too, or
      `values` float32 `[1, outputs]` for a regression; the labels stand in the file's `labels.txt`
      (a `.tflite` is a zip archive, too), and the vocabulary in `vocab.txt`;
    - of a `BertTextEmbedder` `embedding` float32 `[1, hidden]`;
    - of a `BertMultipleChoice` `probabilities` float32 `[1, choices]`; its `text_pair` is int32
      `[choices, max_bytes]`, its token ids `[choices, max_length]`;
    - of a `BertTokenClassifier` its entities, at most 64: where they stand in the bytes of the
      text, `entity_starts` and `entity_ends` (exclusive) int32 `[1, 64]`, their types,
      `entity_labels` int32 `[1, 64]` (lines of `labels.txt`), `entity_scores` float32 `[1, 64]`,
      and how many there are, `entity_count` int32 `[1]`; places that are not used are 0, their
      labels -1. For token ids `logits` float32 `[1, max_length, labels]`;
    - of a `BertQuestionAnswerer`, which takes the question for `text` and for `text_pair` what
      holds the answer, where this stands in its bytes, `answer_start` and `answer_end` (exclusive)
      int32 `[1, 1]`, both 0 for no answer, its probability `score` float32 `[1, 1]`, and that of no
      answer, `no_answer_score` float32 `[1]`. For token ids `start_logits` and `end_logits` float32
      `[1, max_length]`;
    - of a `BertMaskedLM` for each "[MASK]" of the text, at most 8, where it stands, `mask_starts`
      and `mask_ends` int32 `[1, 8]`, the 5 most probable pieces, `token_ids` int32 `[1, 8, 5]`
      (lines of `vocab.txt`), their `scores` float32 `[1, 8, 5]`, and how many there are,
      `mask_count` int32 `[1]`. For token ids `logits` float32 `[1, max_length, vocab]`.

    With `interface="text"` there is `truncated` int32 `[1]` besides: 1 where a text was cut, by
    `max_length`, or before it came: a client whose text does not fit sends the first `max_bytes` of
    its bytes, and a text that fills the last place counts as cut. What is left of a character that
    was cut is dropped. Entities and masks for which there was no room count as cut, too.

    Texts of a `BertTokenClassifier`, and those that hold the answers of a `BertQuestionAnswerer`,
    are not cut by `max_length`: they are read in windows of so many tokens that overlap.

    Args:
        model: the model of a task, with a tokenizer.
        path: file to write.
        quantization: "none" (float32), "float16" (weights), "dynamic_int8" (weights 8 bits,
            activations quantized as they come), "int8" (products of 8-bit integers, whose ranges
            are measured on texts), "int16x8" (activations of 16 bits, for NPUs that have them;
            slow on CPUs), or "int4" (like "dynamic_int8", weights 4 bits). All but "none" have
            embeddings of 8 bits, or 4.
        interface: "text", "tokens", or, for a classifier of one label a text and an embedder,
            "mediapipe".
        max_bytes: int, most bytes of a text (`interface="text"`).
        max_length: int, most tokens of a text, special tokens included; longer ones are cut. None:
            all that the model has positions for; with "tokens", where each costs, 128 at most. With
            "tokens" it may be a list: `serving_default` takes the longest, and there is a signature
            `length_32` for 32, and so on, all with the same weights.
        pairs: bool, whether a `BertClassifier` takes pairs of texts.
        choices: int, the number of choices of a `BertMultipleChoice`.
        calibration_texts: list of str, texts as the model will see them; of `(text, text_pair)`
            where it takes pairs; of `(text, [choice, ...])` for multiple choice. "int8", "int16x8"
            and "int4" need them. "dynamic_int8" makes do with random words of the vocabulary.
        metadata: dict of str, what the file says of itself, with any of "name", "description",
            "author", "license" and "version" (the model's); name and description have defaults.
        error_report: path of a JSON file to write, or None: what quantization has changed behind
            each embedding table and each matrix product, on the calibration texts.
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
    _check_choice("quantization", quantization, QUANTIZATIONS)
    _check_choice("interface", interface, INTERFACES)
    if not is_int(max_bytes) or max_bytes < _LEAST_BYTES:
        raise ValueError(
            f"`max_bytes` must be at least {_LEAST_BYTES}, to hold a few characters of text. "
            f"Received: {max_bytes!r}"
        )
    tflite_metadata.check_metadata(metadata)
    check_free(path, overwrite)
    if error_report is not None:
        check_free(Path(error_report), overwrite)
    # Where shapes are fixed, each token costs, also those that are padding.
    most = 128 if interface == "tokens" else None
    if interface != "tokens" and isinstance(max_length, (list, tuple)):
        raise ValueError(
            'A list of lengths is for `interface="tokens"`; with others the cost follows the '
            f"text's length by itself. Received: max_length={max_length!r}"
        )
    module = ServingModule(model, max_length, most, pairs, choices)
    if interface == "mediapipe":
        mediapipe.check(module)
    if module.answers.has_choices and (not is_int(choices) or choices < 2):
        raise ValueError(
            "`choices` must say how many choices the file takes with each text, 2 or more. "
            f"Received: choices={choices!r}"
        )
    if calibration_texts is None and quantization in NEED_SAMPLES:
        raise ValueError(
            f'`quantization="{quantization}"` needs `calibration_texts`, 100 or more texts as the '
            "model will see them. Received: calibration_texts=None"
        )
    if calibration_texts is None and (quantization == "dynamic_int8" or error_report is not None):
        pieces = module.answers.tokenizer.vocabulary
        calibration_texts = pseudo_texts(pieces, module.pairs, module.choices)
    samples = None  # what the quantizer runs the graph on
    if calibration_texts is not None:
        samples = calibration_samples(
            module, calibration_texts, max_bytes if interface == "text" else None
        )
        if interface == "mediapipe":
            samples = mediapipe.renamed(samples)
    if interface == "text":
        functions = {"serving_default": module.text_function(max_bytes)}
    elif interface == "mediapipe":
        functions = {"serving_default": mediapipe.mediapipe_function(module)}
    else:
        functions = {"serving_default": module.tokens_function(module.max_length)}
        for length in module.lengths[:-1]:
            functions[f"length_{length}"] = module.tokens_function(length)

    with tempfile.TemporaryDirectory() as directory:
        # Only the way through a SavedModel keeps the names of inputs and outputs.
        write_saved_model(module, Path(directory, "1"), functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(Path(directory, "1")), signature_keys=list(functions)
        )
        exact = converter.convert()
    if interface == "tokens":
        exact = delegate_ops.for_delegates(exact)

    content = quantize(exact, quantization, samples)
    tflite_file.check_builtin_only(content)
    # Where the answers to token ids are logits, their labels are the model's own.
    labels = module.answers.labels if interface == "text" else getattr(model, "labels", [])
    content = tflite_metadata.attach(content, model, labels, metadata)
    write_file(path, content)
    if error_report is not None:
        layers = error_by_layer(exact, content, samples)
        report = {"quantization": quantization, "texts": len(samples), "layers": layers}
        write_file(error_report, (json.dumps(report, indent=2) + "\n").encode())


def _check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}. Received: {value!r}")
