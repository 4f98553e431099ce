"""What TensorFlow Serving runs before it is ready: the requests, and how they are written."""

import numpy as np
import pytest
import tensorflow as tf

import keras_bert_lib as kbl
from keras_bert_lib.export.serving_module import ServingModule
from keras_bert_lib.export.warmup import warmup_requests
from tests.export.task_models import make_model

WARMUP = "assets.extra/tf_serving_warmup_requests"
WORDS = ["the film was fine", "a dull [SEP] film", "é 東京 was"]
TEXTS = {
    "label": WORDS,
    "choice": [(text, ["fine", "dull", "so so", text]) for text in WORDS],
    "answerer": [(text, "the film was by ann " * 10) for text in WORDS],
}


def tokens_of(module, inputs):
    """The longest row of a request, in tokens."""
    tokens = module.tokenize(**{name: tf.constant(x) for name, x in inputs.items()})
    assert not tokens["truncated"].numpy().any()
    return tokens["token_ids"].shape[-1]


@pytest.mark.parametrize("task", list(TEXTS))
def test_requests_of_several_lengths_and_batch_sizes(task):
    model = make_model(task)
    module = ServingModule(model, [10, 20, 32], lengths=(10, 20, 32))
    requests = warmup_requests(module, TEXTS[task])
    texts = [inputs for signature, inputs in requests if signature == "serving_default"]
    sizes = {(len(inputs["text"]), tokens_of(module, inputs)) for inputs in texts}
    for rows in (1, 8, 32):
        lengths = sorted(length for count, length in sizes if count == rows)
        assert len(lengths) == 3
        # Each is padded to another length.
        assert lengths[0] <= 10 < lengths[1] <= 20 < lengths[2] <= 32
    others = [signature for signature, _ in requests if signature != "serving_default"]
    assert sorted(others) == ["serve_examples", "tokenize", "tokens"]
    words = {word for row in WORDS for word in row.encode().split()}
    for inputs in texts:
        assert {word for text in inputs["text"] for word in text.split()} <= words
        if task == "choice":
            assert inputs["text_pair"].shape == (len(inputs["text"]), 4)


def test_requests_without_texts_are_of_the_vocabulary():
    module = ServingModule(make_model("label"))
    requests = warmup_requests(module)
    text = dict(requests)["tokenize"]["text"][0].decode()
    assert set(text.split()) <= set(module.answers.tokenizer.vocabulary)
    lengths = [
        tokens_of(module, inputs)
        for signature, inputs in requests
        if signature == "serving_default" and len(inputs["text"]) == 1
    ]
    assert lengths == [8, 16, 32]


@pytest.mark.parity
@pytest.mark.parametrize("task", ["label", "choice", "masked"])
def test_tensorflow_serving_reads_and_replays_them(tmp_path, task):
    """By its own messages, with its own names of types, through the signatures."""
    pytest.importorskip("tensorflow_serving")
    from tensorflow_serving.apis import prediction_log_pb2

    path = kbl.export.saved_model(
        make_model(task), tmp_path / "sentiment", warmup_texts=TEXTS.get(task)
    )
    signatures = tf.saved_model.load(str(path)).signatures
    called = set()
    for record in tf.data.TFRecordDataset(str(path / WARMUP)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.name == "sentiment"
        # Nothing is lost: the messages know all that is there.
        assert log.SerializeToString(deterministic=True) == record.numpy()
        signature = signatures[request.model_spec.signature_name]
        inputs = {name: tf.make_ndarray(x) for name, x in request.inputs.items()}
        specs = signature.structured_input_signature[1]
        assert {name: tf.as_dtype(x.dtype) for name, x in request.inputs.items()} == {
            name: spec.dtype for name, spec in specs.items()
        }
        inputs = {name: tf.constant(x, specs[name].dtype) for name, x in inputs.items()}
        rows = {len(x) for x in inputs.values()}
        outputs = signature(**inputs)
        assert {len(x) for x in outputs.values()} == rows
        if "probabilities" in outputs:
            sums = np.sum(outputs["probabilities"], axis=1)
            np.testing.assert_allclose(sums, np.ones(len(sums)), atol=1e-5)
        called.add((request.model_spec.signature_name, *rows))
    assert {("serving_default", n) for n in (1, 8, 32)} < called
    assert {name for name, _ in called} == set(signatures)
