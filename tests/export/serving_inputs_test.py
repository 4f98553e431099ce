"""What a SavedModel answers to input that is wrong: which error, or which answer."""

import numpy as np
import pytest
import tensorflow as tf

import keras_bert_lib as kbl
from tests.export.task_models import MAX_LENGTH, make_model

NAMES = ("token_ids", "segment_ids", "padding_mask")
REFUSED = (ValueError, tf.errors.InvalidArgumentError)


def load(model, directory):
    return tf.saved_model.load(str(kbl.export.saved_model(model, directory)))


@pytest.fixture(scope="module")
def model():
    return make_model("label")


@pytest.fixture(scope="module")
def loaded(model, tmp_path_factory):
    return load(model, tmp_path_factory.mktemp("single") / "model")


@pytest.fixture(scope="module")
def of_pairs(tmp_path_factory):
    return load(make_model("answerer"), tmp_path_factory.mktemp("pairs") / "model")


def tokens(token_ids, dtype="int32"):
    token_ids = np.array(token_ids, dtype)
    return {
        "token_ids": tf.constant(token_ids),
        "segment_ids": tf.zeros_like(token_ids),
        "padding_mask": tf.ones_like(token_ids),
    }


def example(**features):
    def feature(value):
        if isinstance(value, int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=value))

    features = {name: feature(value) for name, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def probabilities(signature, texts):
    return signature(text=tf.constant(texts))["probabilities"].numpy()


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("", "   \t\n"),  # no tokens but the special ones
        (b"\xff\xfe film \xc3", "film"),  # U+FFFD is dropped
        ("fi\x00lm", "film"),  # so are controls
        ("film " * 200_000, "film " * MAX_LENGTH),  # 1 MB is cut, as any long text
        ("q" * 1_000_000, "[UNK]"),  # a word is a word at any length
    ],
    ids=["empty", "invalid UTF-8", "NUL", "1 MB", "1 MB without a space"],
)
def test_odd_texts_have_the_answer_of_what_is_left_of_them(model, loaded, text, same_as):
    answer = loaded.signatures["serving_default"]
    expected = answer(text=tf.constant([same_as]))
    # Together with others, too.
    outputs = answer(text=tf.constant([b"a fine film", text, b""]))
    np.testing.assert_allclose(outputs["probabilities"][1:2], expected["probabilities"], atol=1e-6)
    assert outputs["label"][1] == expected["label"][0]
    assert outputs["truncated"].numpy().tolist() == [0, int(len(text) > 100), 0]
    inputs = loaded.signatures["tokenize"](text=tf.constant([text]))
    np.testing.assert_array_equal(inputs["token_ids"], model.tokenizer([same_as])["token_ids"])


@pytest.mark.parametrize("name", ["serving_default", "tokenize", "tokens", "serve_examples"])
def test_an_empty_batch_has_empty_answers(loaded, name):
    arguments = {
        "tokens": {name: tf.zeros([0, 5], tf.int32) for name in NAMES},
        "serve_examples": {"examples": tf.zeros([0], tf.string)},
    }.get(name, {"text": tf.zeros([0], tf.string)})
    outputs = loaded.signatures[name](**arguments)
    assert {x.shape[0] for x in outputs.values()} == {0}
    for column, x in loaded.signatures[name].structured_outputs.items():
        assert outputs[column].dtype == x.dtype
        assert x.shape.is_compatible_with(outputs[column].shape)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("serving_default", {"text": [1]}, "expected to be a string"),
        ("serving_default", {"text": "a film"}, "Shape of tensor"),
        ("serving_default", {"text": [["a", "film"]]}, "Shape of tensor"),
        ("tokenize", {"text": [2.5]}, "expected to be a string"),
        ("tokenize", {"text": "a film"}, "Shape of tensor"),
        ("tokens", tokens([[2, 40, 3]], "float32"), "expected to be a int32"),
        ("tokens", tokens([[2, 40, 3]], "int64"), "expected to be a int32"),
        ("tokens", tokens([2, 40, 3]), "Shape of tensor"),
        ("tokens", tokens([[2, 4000, 3]]), "`token_ids` must lie between 0 and 79"),
        ("tokens", tokens([[2, -1, 3]]), "`token_ids` must lie between 0 and 79"),
        ("tokens", tokens([[40] * (MAX_LENGTH + 1)]), "between 1 and 32 tokens"),
        ("tokens", tokens(np.zeros([2, 0])), "between 1 and 32 tokens"),
        ("tokens", tokens([[2, 40, 3]]) | {"segment_ids": [[0, 2, 0]]}, "`segment_ids` must lie"),
        ("tokens", tokens([[2, 40, 3]]) | {"padding_mask": [[1, 1]]}, "same shape"),
        ("tokens", tokens([[2, 40, 3]]) | {"padding_mask": [[1, 2, 1]]}, "`padding_mask` must lie"),
        ("serve_examples", {"examples": [b"garbage"]}, "Could not parse example"),
        ("serve_examples", {"examples": [b""]}, "text.*is required"),
        ("serve_examples", {"examples": [example(text=1)]}, "Data types don't match"),
        ("serve_examples", {"examples": [example(text=[b"a", b"b"])]}, "Can't parse"),
    ],
)
def test_wrong_input_is_refused(loaded, name, arguments, message):
    arguments = {column: tf.convert_to_tensor(x) for column, x in arguments.items()}
    with pytest.raises(REFUSED, match=f"(?s){message}"):
        loaded.signatures[name](**arguments)
    # One bad request does no harm to the next.
    assert probabilities(loaded.signatures["serving_default"], ["a film"]).shape == (1, 3)


def test_inputs_that_a_signature_does_not_have(loaded):
    answer, text = loaded.signatures["serving_default"], tf.constant(["a film"])
    with pytest.raises(TypeError, match="text_pair"):
        answer(text=text, text_pair=text)
    with pytest.raises(TypeError, match="missing a required argument: 'text'"):
        answer()
    with pytest.raises(TypeError, match="missing a required argument"):
        loaded.signatures["tokens"](token_ids=tf.constant([[2, 3]]))


def test_rows_of_padding_alone(loaded):
    answer = loaded.signatures["tokens"]
    # A row that is all padding, as batches are filled up with, changes no other row.
    inputs = tokens([[2, 40, 41, 3], [0, 0, 0, 0]])
    inputs["padding_mask"] = tf.constant([[1, 1, 1, 1], [0, 0, 0, 0]])
    both = answer(**inputs)["probabilities"].numpy()
    assert np.isfinite(both).all()
    alone = answer(**tokens([[2, 40, 41, 3]]))["probabilities"]
    np.testing.assert_allclose(both[:1], alone, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": ["a", "film", "."], "text_pair": ["the", "film"]}, "equally many"),
        ({"text": "a", "text_pair": "the film"}, "Shape of tensor"),
        ({"text": [["a"]], "text_pair": ["the film"]}, "Shape of tensor"),
        ({"text": ["a"], "text_pair": [["the film"]]}, "Shape of tensor"),
        ({"text": ["a"], "text_pair": [1]}, "expected to be a string"),
    ],
)
def test_wrong_pairs_are_refused(of_pairs, arguments, message):
    arguments = {column: tf.convert_to_tensor(x) for column, x in arguments.items()}
    for name in ("serving_default", "tokenize"):
        with pytest.raises(REFUSED, match=f"(?s){message}"):
            of_pairs.signatures[name](**arguments)


@pytest.mark.slow
def test_odd_pairs_are_answered(of_pairs):
    answer = of_pairs.signatures["serving_default"]
    with pytest.raises(TypeError, match="missing a required argument: 'text_pair'"):
        answer(text=tf.constant(["a film"]))
    questions = [b"", b"\xff film", b"film " * 200_000, b"the film", b"the film"]
    contexts = [b"", b"the film \xc3 was", b"fine", b"film " * 200_000, b"q" * 1_000_000]
    outputs = answer(text=tf.constant(questions), text_pair=tf.constant(contexts))
    outputs = {name: x.numpy() for name, x in outputs.items()}
    assert outputs["truncated"].tolist() == [0, 0, 1, 1, 1]
    assert np.isfinite(outputs["score"]).all()
    starts, ends = outputs["answer_start"][:, 0], outputs["answer_end"][:, 0]
    lengths = [len(context) for context in contexts]
    assert (starts <= ends).all()
    assert (ends <= lengths).all()
    for i in range(len(questions)):
        alone = answer(text=tf.constant(questions[i : i + 1]), text_pair=contexts[i : i + 1])
        np.testing.assert_allclose(alone["score"], outputs["score"][i : i + 1], atol=1e-5)
