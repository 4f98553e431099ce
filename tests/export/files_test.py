"""What holds for every kind of exported file."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bert_lib as kbl
from keras_bert_lib.export import stock_runtime

KINDS = ("saved_model", "none", "float16", "dynamic_int8")
HOSTILE = [
    b"",
    b"   \t\n",
    "😀😀😀".encode(),
    b"x" * 500,
    "Café LOVELY\u200b\u00ad".encode(),
    b"the film\xff\xfe is \xc3 fine \xed\xa0\x80",
    b"the\x00film\x00is",
    b"[MASK] the [CLS] film [SEP",
    b"the film " * 56,
    "東京 한국어 ß".encode(),
]


def probabilities_of(classifier, texts, **options):
    logits = classifier.predict_on_batch(classifier.tokenizer(texts, **options))
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_keras(classifier, held_out, files, kind):
    texts, labels = held_out
    report = kbl.export.verify(files[kind], classifier, texts, labels=labels)
    # float32 differs by the order of sums; float16 by weights rounded to 11 bits; int8 to 8 bits.
    tolerance = {"saved_model": 1e-6, "none": 1e-6, "float16": 5e-3, "dynamic_int8": 0.1}[kind]
    assert report.max_error < tolerance
    assert report.agreement >= (0.99 if kind == "dynamic_int8" else 1.0)
    assert report.keras_metric > 0.95  # the model has learned, so labels are no coin flips
    assert report.metric > 0.95
    assert report.texts == 300
    assert f"{report.agreement:.2%}" in str(report)


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_texts_are_answered_as_by_keras(classifier, files, kind):
    outputs = stock_runtime.load(files[kind])(HOSTILE)
    found = outputs["probabilities"]
    expected = probabilities_of(classifier, HOSTILE)
    tolerance = {"saved_model": 1e-6, "none": 1e-6, "float16": 5e-3, "dynamic_int8": 0.1}[kind]
    np.testing.assert_allclose(found, expected, atol=tolerance)
    assert outputs["label"].tolist() == [classifier.labels[i] for i in found.argmax(axis=-1)]


@pytest.mark.parametrize("kind", ["saved_model", "none"])
def test_a_megabyte(classifier, files, kind):
    text = "the café is fine " * 60_000
    # A TFLite file reads the bytes that it has room for; a character cut in two vanishes.
    read = text if kind == "saved_model" else text.encode()[:512]
    found = stock_runtime.load(files[kind])([text])["probabilities"]
    np.testing.assert_allclose(found, probabilities_of(classifier, [read]), atol=1e-6)


def test_cut_texts_are_said_to_be_cut(files):
    fits, too_many_tokens = "the café is fine", "a " * 250
    server = tf.saved_model.load(str(files["saved_model"])).signatures["serving_default"]
    long = "the café is fine " * 200
    assert server(text=tf.constant([fits, long]))["truncated"].numpy().tolist() == [0, 1]

    phone = stock_runtime.make_interpreter(files["none"]).get_signature_runner("serving_default")
    full = "é" * 256  # 512 bytes: for all the file knows, the first of more
    for text, expected in [(fits, 0), (too_many_tokens, 1), (full[1:], 0), (full + "é", 1)]:
        given = stock_runtime.utf8_bytes(text, 512)
        assert phone(text=given)["truncated"].tolist() == [expected], text
    # A client need not look for the end of a character: the file drops what is left of one.
    raw = np.frombuffer(("a" + full).encode()[:512], np.uint8).astype(np.int32)[None]
    whole = np.frombuffer(("a" + full).encode()[:511], np.uint8).astype(np.int32)[None]
    answers = [phone(text=np.pad(x, [[0, 0], [0, 512 - x.shape[1]]])) for x in (raw, whole)]
    np.testing.assert_array_equal(answers[0]["probabilities"], answers[1]["probabilities"])
    assert [int(answer["truncated"][0]) for answer in answers] == [1, 0]


def test_answers_do_not_depend_on_batch_mates(files, held_out):
    answer = stock_runtime.load(files["saved_model"])
    texts = held_out[0][:40]
    together = answer(texts)["probabilities"]
    alone = np.concatenate([answer([text])["probabilities"] for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert answer([])["probabilities"].shape == (0, 2)


def test_saved_model_needs_tensorflow_alone(files, held_out):
    """In a process that can import neither Keras nor this library."""
    program = """
import json, sys
sys.modules["keras"] = sys.modules["keras_bert_lib"] = sys.modules["tensorflow_text"] = None
import tensorflow as tf
answer = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
outputs = answer(text=tf.constant(json.load(sys.stdin)))
print(json.dumps([label.decode() for label in outputs["label"].numpy()]))
"""
    texts = held_out[0][:20]
    result = subprocess.run(
        [sys.executable, "-c", program, str(files["saved_model"])],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    labels = json.loads(result.stdout.splitlines()[-1])
    assert labels == stock_runtime.load(files["saved_model"])(texts)["label"].tolist()


@pytest.mark.parametrize("kind", ["saved_model", "none"])
def test_pairs(classifier, tmp_path, kind):
    path = tmp_path / ("pairs.tflite" if kind == "none" else "pairs")
    if kind == "none":
        kbl.export.tflite(classifier, path, quantization="none", pairs=True, max_bytes=256)
    else:
        kbl.export.saved_model(classifier, path, pairs=True)
    texts = ["the film", "", "café " * 40, "a dull day"]
    pairs = ["is fine", "", "grey", "long " * 60]
    cut = lambda text: text.encode()[:256] if kind == "none" else text  # noqa: E731
    inputs = classifier.tokenizer([cut(t) for t in texts], [cut(p) for p in pairs])
    expected = keras.ops.softmax(classifier.predict_on_batch(inputs))
    found = stock_runtime.load(path)(texts, pairs)["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(ValueError, match="takes pairs"):
        stock_runtime.load(path)(texts)


def test_half_precision_models_leave_as_float32(classifier, held_out, tmp_path):
    encoder = kbl.BertEncoder(classifier.config, dtype="mixed_bfloat16")
    half = kbl.BertClassifier(encoder, tokenizer=classifier.tokenizer, labels=classifier.labels)
    half.set_weights(classifier.get_weights())
    kbl.export.tflite(half, tmp_path / "half.tflite", quantization="none")
    texts = held_out[0][:20]
    found = stock_runtime.load(tmp_path / "half.tflite")(texts)["probabilities"]
    np.testing.assert_allclose(found, probabilities_of(classifier, texts), atol=1e-6)


@pytest.mark.parametrize("kind", ["saved_model", "none"])
def test_nothing_written_is_lost(classifier, tmp_path, monkeypatch, kind):
    """An export that fails, as on a full disk, leaves the earlier file and nothing else."""
    export, path = kbl.export.tflite, tmp_path / "model.tflite"
    failing = "pathlib.Path.write_bytes"
    if kind == "saved_model":
        export, path, failing = kbl.export.saved_model, tmp_path / "1", "os.rename"
    export(classifier, path)
    before = sorted(file.name for file in tmp_path.rglob("*"))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(failing, full)
        with pytest.raises(OSError, match="No space left"):
            export(classifier, path, overwrite=True)
    assert sorted(file.name for file in tmp_path.rglob("*")) == before
    assert stock_runtime.load(path)(["a fine day"])["label"].tolist() == ["pos"]
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export(classifier, path)


def test_bad_arguments(classifier, files, tmp_path):
    path = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match=r"none, float16, dynamic_int8.*Received: 'int3'"):
        kbl.export.tflite(classifier, path, quantization="int3")
    with pytest.raises(ValueError, match="text, tokens"):
        kbl.export.tflite(classifier, path, interface="strings")
    with pytest.raises(ValueError, match="`max_bytes`"):
        kbl.export.tflite(classifier, path, max_bytes=0)
    with pytest.raises(ValueError, match=r"between 3 and 128.*Received: 129"):
        kbl.export.tflite(classifier, path, max_length=129)
    with pytest.raises(ValueError, match=r"model of a task.*Received: BertEncoder"):
        kbl.export.saved_model(classifier.encoder, tmp_path / "1")
    bare = kbl.BertClassifier(kbl.BertEncoder(classifier.config), num_classes=2)
    with pytest.raises(ValueError, match="has no tokenizer"):
        kbl.export.saved_model(bare, tmp_path / "1")
    with pytest.raises(ValueError, match="at least one text"):
        kbl.export.verify(files["none"], classifier, [])
    with pytest.raises(FileNotFoundError):
        kbl.export.verify(tmp_path / "nowhere.tflite", classifier, ["a"])
    (tmp_path / "other.tflite").write_bytes(b"not a model at all")
    with pytest.raises(ValueError, match="not a TFLite file"):
        kbl.export.verify(tmp_path / "other.tflite", classifier, ["a"])
    assert not path.exists()
