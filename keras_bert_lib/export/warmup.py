"""The requests that TensorFlow Serving runs on a model before it takes any from outside.

They are records of `tensorflow.serving.PredictionLog`. Of these messages the few fields that a
warmup needs are described here, so that the package `tensorflow-serving-api` is not needed to write
them; what is written is the same on the wire.
"""

import functools
import itertools

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from keras_bert_lib.export.quantization.pseudo_texts import pseudo_texts

FILE = "tf_serving_warmup_requests"  # in assets.extra, where the server looks for it

_SHORTEST = 8  # tokens
_BATCH_SIZES = (1, 8, 32)
_MOST_TOKENS = 4096  # of a request, so that loading stays quick
_CHOICES = 3  # for want of texts that say


def warmup_requests(module, texts=None):
    """Makes requests of several lengths and batch sizes.

    Args:
        module: `ServingModule`.
        texts: list of str, texts as the model will see them; of `(text, text_pair)` where it takes
            pairs; of `(text, [choice, ...])` for multiple choice. Their words are put together to
            texts of the lengths that are wanted. None for random words of the vocabulary.

    Returns:
        List of `(signature, inputs)`: str, and a dict of input name to array.

    Raises:
        ValueError: if there is no text, or one is of another form.
    """
    has_choices = module.answers.has_choices
    if texts is None:
        choices = _CHOICES if has_choices else None
        texts = pseudo_texts(module.answers.tokenizer.vocabulary, module.pairs, choices)
    first, second, choices = _columns(texts, module)
    first = _Words(first, module.answers.tokenizer)
    second = _Words(second, module.answers.tokenizer) if module.pairs else None

    def batch(count, length):
        """Texts, and second texts, that take about `length` tokens a row."""
        rows = range(count)
        if second is None:
            return {"text": _strings([first.text(length - 2, i) for i in rows])}
        short = max(1, (length - 3) // 4)  # most first texts are: a question, a title
        columns = {"text": _strings([first.text(short, i) for i in rows])}
        pairs = [second.text(length - 3 - short, i) for i in range(count * (choices or 1))]
        shape = [count, choices] if choices else [count]
        return columns | {"text_pair": _strings(pairs).reshape(shape)}

    requests = [
        ("serving_default", batch(count, length))
        for length in _lengths(module)
        for count in _BATCH_SIZES
        if count == 1 or count * length * (choices or 1) <= _MOST_TOKENS
    ]
    # Of the other signatures one request each.
    columns = batch(2, _lengths(module)[0])
    names = ("token_ids", "segment_ids", "padding_mask")
    tokens = {name: x.numpy() for name, x in module.tokenize(**columns).items() if name in names}
    return [
        *requests,
        ("tokenize", columns),
        ("tokens", tokens),
        ("serve_examples", {"examples": _strings(serialized_examples(columns))}),
    ]


def serialized_examples(columns):
    """Returns texts as serialized `tf.train.Example` messages, list of bytes.

    Args:
        columns: dict of feature name to texts, array of bytes `[rows]` or `[rows, choices]`.
    """
    examples = []
    for row in zip(*columns.values()):
        features = {
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=np.atleast_1d(x).tolist()))
            for name, x in zip(columns, row)
        }
        example = tf.train.Example(features=tf.train.Features(feature=features))
        examples.append(example.SerializeToString(deterministic=True))
    return examples


def write_warmup(path, model_name, requests):
    """Writes requests as the server reads them.

    Args:
        path: file to write.
        model_name: str.
        requests: list of `(signature, inputs)`, at most 1,000, which is what a server reads.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            request = _messages()["PredictRequest"](
                model_spec={"name": model_name, "signature_name": signature},
                inputs={
                    name: tf.make_tensor_proto(x).SerializeToString() for name, x in inputs.items()
                },
            )
            log = _messages()["PredictionLog"](predict_log={"request": request})
            writer.write(log.SerializeToString(deterministic=True))


@functools.cache
def _messages():
    """Returns the classes of the messages, by name.

    A map's `TensorProto` is declared as the bytes of one, which is the same on the wire.

    References:
        - tensorflow_serving/apis/{prediction_log,predict,model}.proto
    """
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="prediction_log", syntax="proto3")

    def message(parent, name, *fields):
        described = parent.add(name=name)
        for field, number, kind in fields:
            is_name = isinstance(kind, str)
            described.field.add(
                name=field,
                number=number,
                type=kinds.TYPE_MESSAGE if is_name else kind,
                type_name=kind if is_name else None,
                label=kinds.LABEL_REPEATED if field == "inputs" else kinds.LABEL_OPTIONAL,
            )
        return described

    messages = file.message_type
    message(messages, "ModelSpec", ("name", 1, kinds.TYPE_STRING)).field.add(
        name="signature_name", number=3, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL
    )
    predict = message(
        messages,
        "PredictRequest",
        ("model_spec", 1, ".ModelSpec"),
        ("inputs", 2, ".PredictRequest.InputsEntry"),
    )
    entry = message(
        predict.nested_type,
        "InputsEntry",
        ("key", 1, kinds.TYPE_STRING),
        ("value", 2, kinds.TYPE_BYTES),
    )
    entry.options.map_entry = True
    message(messages, "PredictLog", ("request", 1, ".PredictRequest"))
    message(messages, "PredictionLog", ("predict_log", 6, ".PredictLog"))
    pool = descriptor_pool.DescriptorPool()  # of its own: the real ones may be loaded, too
    pool.Add(file)
    return {
        x.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(x.name))
        for x in messages
    }


class _Words:
    """Makes texts of a certain number of tokens out of the words of others."""

    def __init__(self, texts, tokenizer):
        self._words = [word for text in texts for word in text.split()][:2000] or [b"a"]
        tokens = tokenizer(self._words, max_length=64)
        self._pieces = np.maximum(np.sum(tokens["padding_mask"], axis=1) - 2, 1).tolist()

    def text(self, pieces, start):
        """Returns a text (bytes) of at most so many pieces, at least a word."""
        shortest = min(self._pieces)
        fitting = [i for i, n in enumerate(self._pieces) if n <= max(pieces, shortest)]
        order = itertools.islice(itertools.cycle(fitting), start * 7, None)  # rows differ
        chosen = [next(order)]
        left = pieces - self._pieces[chosen[0]]
        while (left := left - self._pieces[i := next(order)]) >= 0:
            chosen.append(i)
        return b" ".join(self._words[i] for i in chosen)


def _lengths(module):
    """The numbers of tokens to try: those that rows are padded to, or else doubled ones."""
    if module.answers.lengths:
        return list(module.answers.lengths)
    lengths = [_SHORTEST]
    while lengths[-1] < module.max_length:
        lengths.append(min(2 * lengths[-1], module.max_length))
    return lengths


def _columns(texts, module):
    """Returns first texts, second texts (both lists of bytes), and how many choices there are."""
    form, fits = "a str", _is_text
    if module.answers.has_choices:
        form = "(text, [choice, ...])"
        fits = lambda row: _is_pair(row) and _is_text(row[0]) and _is_texts(row[1])  # noqa: E731
    elif module.pairs:
        form, fits = "(text, text_pair)", lambda row: _is_pair(row) and _is_texts(row)
    texts = [] if _is_text(texts) else list(texts)
    if not texts:
        raise ValueError(f"`warmup_texts` must be a list of texts, each {form}. Received: none")
    for i, row in enumerate(texts):
        if not fits(row):
            raise ValueError(
                f"`warmup_texts` must hold texts as the model takes them, each {form}. "
                f"Received at index {i}: {row!r}"
            )
    if not module.pairs:
        return [_encode(row) for row in texts], [], None
    first = [_encode(row[0]) for row in texts]
    if not module.answers.has_choices:
        return first, [_encode(row[1]) for row in texts], None
    return first, [_encode(x) for row in texts for x in row[1]], len(texts[0][1])


def _is_text(x):
    return isinstance(x, (str, bytes))


def _is_texts(x):
    return isinstance(x, (tuple, list)) and len(x) > 0 and all(map(_is_text, x))


def _is_pair(x):
    return isinstance(x, (tuple, list)) and len(x) == 2


def _encode(text):
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


def _strings(texts):
    return np.array(texts, object)
