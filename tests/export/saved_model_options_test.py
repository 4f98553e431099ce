"""The best labels alone, few lengths, and weights of 16 bits."""

import os

import numpy as np
import pytest
import tensorflow as tf

import keras_bert_lib as kbl
from keras_bert_lib.export import stock_runtime
from keras_bert_lib.export.serving_module import ServingModule
from tests.export.task_models import make_model, make_texts

TEXTS = make_texts(50)[20:]


@pytest.fixture(scope="module")
def models():
    return {task: make_model(task) for task in ("label", "multi_label")}


def answers(model, **options):
    function = ServingModule(model, **options).text_function()
    return {name: x.numpy() for name, x in function(tf.constant(TEXTS)).items()}


def ranked(probabilities, labels, thresholds, top_k):
    """The labels of each text above their thresholds, best first, as pairs."""
    rows = [sorted(zip(-row, range(len(labels)))) for row in probabilities]
    return [
        [(labels[i], -p) for p, i in row if -p > thresholds.get(labels[i], 0)][:top_k]
        for row in rows
    ]


@pytest.mark.parametrize(
    ("task", "options", "k"),
    [
        ("label", {"top_k": 2}, 2),
        ("label", {"threshold": 0.5}, 1),
        ("multi_label", {"threshold": 0.5}, 3),
        ("multi_label", {"top_k": 2, "threshold": {"joy": 0.3, "anger": 0.7, "käse": 0.1}}, 2),
    ],
)
def test_the_best_labels(models, task, options, k):
    model = models[task]
    exact = answers(model)
    found = answers(model, **options)
    threshold = options.get("threshold", 0.0)
    thresholds = (
        threshold if isinstance(threshold, dict) else dict.fromkeys(model.labels, threshold)
    )
    expected = ranked(exact["probabilities"], model.labels, thresholds, k)
    counts = {len(row) for row in expected}
    assert len(counts) > 1 or "threshold" not in options  # some texts have fewer labels
    assert found["labels"].shape == found["label_ids"].shape == found["probabilities"].shape
    assert found["labels"].shape[1] == k
    for i, row in enumerate(expected):
        assert found["label_count"][i] == len(row)
        padded = [*row, *[("", 0.0)] * (k - len(row))]
        assert [name.decode() for name in found["labels"][i]] == [name for name, _ in padded]
        np.testing.assert_allclose(found["probabilities"][i], [p for _, p in padded], atol=1e-6)
        ids = [model.labels.index(name) if name else -1 for name, _ in padded]
        assert found["label_ids"][i].tolist() == ids
    np.testing.assert_array_equal(found["truncated"], exact["truncated"])


def test_few_lengths_are_all_that_the_model_sees(models):
    seen = []

    class Recorder:
        def __init__(self, model):
            self.model = model

        def __call__(self, tokens, training):
            seen.append(tokens["token_ids"].shape)
            assert (tokens["token_ids"].numpy()[tokens["padding_mask"] == 0] == 0).all()
            return self.model(tokens, training=training)

        def __getattr__(self, name):
            return getattr(self.model, name)

    module = ServingModule(models["label"], [8, 16, 32], lengths=(8, 16, 32))
    exact = answers(models["label"])["probabilities"]
    module.answers.model = Recorder(module.answers.model)
    for i, text in enumerate(TEXTS):
        found = module.answers.of_texts(tf.constant([text, text]))["probabilities"]
        np.testing.assert_allclose(found, exact[[i, i]], atol=1e-5)
    assert {shape[1] for shape in seen} == {8, 16, 32}


def test_a_file_of_half_the_size(models, tmp_path):
    """With all options at once, in a file, answered by its runtime and by a session."""
    model = make_model("multi_label")
    words = {"top_k": 2, "threshold": 0.3, "lengths": [16, 32], "warmup_texts": ["a fine film"]}
    path = kbl.export.saved_model(model, tmp_path / "half", weights="bfloat16", **words)
    variables = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    types = variables.get_variable_to_dtype_map()
    shapes = variables.get_variable_to_shape_map()
    is_matrix = {name: len(shapes[name]) > 1 for name in types if "half_variables" in name}
    assert is_matrix
    assert all(types[name] == tf.bfloat16 for name in is_matrix)
    floats = [name for name, dtype in types.items() if dtype == tf.float32]
    assert all(len(shapes[name]) < 2 for name in floats)
    half_bytes = os.path.getsize(path / "variables" / "variables.data-00000-of-00001")
    matrices = sum(np.prod(x.shape) for x in model.weights if len(x.shape) > 1)
    vectors = sum(np.prod(x.shape) for x in model.weights if len(x.shape) < 2)
    assert half_bytes < 2 * matrices + 4 * vectors + 6000  # and the names of things

    expected = answers(model, weights="bfloat16", top_k=2, threshold=0.3)
    found = stock_runtime.load(tmp_path / "half")(TEXTS)
    np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=1e-5)
    exact = {
        name: probability
        for row in answers(model)["probabilities"][:1]
        for name, probability in zip(model.labels, row)
    }
    (row, *_) = stock_runtime.load(tmp_path / "half").answers(TEXTS[:1])
    assert all(abs(exact[answer["label"]] - answer["score"]) < 0.02 for answer in row)
    with pytest.raises(ValueError, match="half/1 gives only the best labels"):
        kbl.export.verify(tmp_path / "half", model, ["a film"])
    # Servers load graphs into sessions.
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(path))
        signature = graph.signature_def["serving_default"]
        scores = session.run(
            signature.outputs["probabilities"].name, {signature.inputs["text"].name: TEXTS}
        )
    np.testing.assert_allclose(scores, expected["probabilities"], atol=1e-5)


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 0.05), ("float16", 0.005)])
def test_the_error_of_half_weights(models, dtype, bound):
    """Of a random model whose weights are thirty times those of BERT's initialization."""
    exact = answers(models["label"])["probabilities"]
    errors = np.abs(answers(models["label"], weights=dtype)["probabilities"] - exact)
    assert 0 < errors.max() < bound


def test_weights_too_large_for_float16():
    model = make_model("label")
    kernel = model.encoder.get_layer("embeddings").weights[0]
    kernel.assign(kernel * 1e5)
    with pytest.raises(ValueError, match=r'weights="float16".*embeddings.*too large.*"bfloat16"'):
        ServingModule(model, weights="float16")
    assert ServingModule(model, weights="bfloat16").half_variables


def test_bad_arguments(models, tmp_path):
    def refuse(part, task="label", **options):
        model = models.get(task) or make_model(task)
        with pytest.raises(ValueError, match=part):
            kbl.export.saved_model(model, tmp_path / "name", **options)

    for top_k in (0, 4, 1.0, "2", True):
        refuse("`top_k` must lie between 1 and 3", top_k=top_k)
    for threshold in (-0.1, 1, "0.5", True, {"joy": 0.1, "anger": None, "käse": 0.2}):
        refuse("`threshold` must be a number from 0 to below 1", threshold=threshold)
    refuse("a number for each label.*labels", threshold={"joy": 0.1, "sorrow": 0.2})
    refuse("are for a BertClassifier.*Received: a model of regression", "regression", top_k=1)
    refuse("Received: a model of BertTextEmbedder", "embedder", threshold=0.5)
    for lengths in ([], 32, [8, "16"], [True, 8]):
        refuse("`lengths` must be a list of numbers of tokens", lengths=lengths)
    refuse("between 3 and 32", lengths=[8, 64])
    refuse(r"leave out `max_length`.*max_length=16", lengths=[8, 32], max_length=16)
    refuse("float32, bfloat16, float16. Received: 'int8'", weights="int8")
    for texts in ([], "a text", [1], [("a", "b")]):
        refuse("`warmup_texts` must", warmup_texts=texts)
    refuse(r"each \(text, \[choice, ...\]\)", "choice", warmup_texts=[("a", "b")])
    refuse(r"each \(text, text_pair\)", "answerer", warmup_texts=[("a", ["b"])])
    assert not list(tmp_path.iterdir())
