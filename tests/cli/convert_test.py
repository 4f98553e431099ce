import json
import os
import shutil

import keras
import numpy as np
import pytest
import safetensors.numpy

import keras_bert_lib as kbl
from keras_bert_lib.cli import convert

TEXT = "the fine film was it"


@pytest.fixture(scope="module")
def models(artifacts, tmp_path_factory):
    """Model directories by class: the classifier of `artifacts`, and others with its tokenizer."""
    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(5)
    classifier = kbl.BertClassifier.from_pretrained(artifacts["model"])
    fields = classifier.config.to_dict() | {"hidden_act": "gelu_tanh"}
    encoder = kbl.BertEncoder(kbl.BertConfig.from_dict(fields))
    made = {
        "encoder": encoder,
        "pretrainer": kbl.BertPretrainer(encoder),
        "embedder": kbl.BertTextEmbedder(encoder, classifier.tokenizer, pooling="cls"),
    }
    paths = {"classifier": artifacts["model"]}
    for name, model in made.items():
        paths[name] = str(folder / name)
        model.save_pretrained(paths[name])
        classifier.tokenizer.save_pretrained(paths[name])
    return paths


def tensors(path):
    return safetensors.numpy.load_file(os.path.join(path, "model.safetensors"))


def assert_same_tensors(path, expected):
    found, expected = tensors(path), tensors(expected)
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("name", ["classifier", "pretrainer", "encoder"])
def test_there_and_back(run_command, models, tmp_path, name):
    there, back = tmp_path / "there", tmp_path / "back"
    for form, title in [("google", "google-research/bert"), ("model_garden", "Model Garden")]:
        code, out, error = run_command("convert", models[name], there, "--to", form, "--overwrite")
        assert (code, error) == (0, "")
        first, wrote, *_ = out.splitlines()
        assert first.startswith(
            f"Read {models[name]}: a model directory in the Hugging Face layout"
        )
        assert wrote.startswith(f"Wrote {there}: ")
        assert title in wrote
        assert f"\n  keras-bert inspect {there}\n" in out
        assert "bert_model.ckpt" in out

        code, out, error = run_command(
            *("convert", there / "bert_model.ckpt", back, "--to", "huggingface", "--overwrite"),
        )
        assert (code, error) == (0, "")
        assert title in out.splitlines()[0]
        assert_same_tensors(back, models[name])
        for file in ("config.json", "vocab.txt", "tokenizer_config.json"):
            with open(back / file, "rb") as a, open(os.path.join(models[name], file), "rb") as b:
                assert a.read() == b.read(), file
        assert sorted(os.listdir(tmp_path)) == ["back", "there"]  # nothing is left over


def test_checkpoints_of_others_predict_and_are_inspected(run_command, models, tmp_path):
    expected = run_command("predict", models["classifier"], TEXT)[1]
    model = kbl.BertClassifier.from_pretrained(models["classifier"])
    for form in ("google", "model_garden"):
        path = tmp_path / form
        run_command("convert", models["classifier"], path, "--to", form)
        assert run_command("predict", path, TEXT)[1] == expected
        for shown in (path, path / "bert_model.ckpt"):
            code, out, error = run_command("inspect", shown)
            assert (code, error) == (0, "")
            assert convert._TARGETS[form][0] in out
            assert "loads as: BertClassifier" in out
            assert "labels: neg, pos" in out
            assert "tokenizer: WordPiece, lowercased, accents stripped, 23 pieces" in out
            assert f"parameters: {model.count_params():,}\n" in out
            assert "\n  classifier.weight" in out


def test_keras_files_are_read_too(run_command, artifacts, tmp_path):
    code, out, _ = run_command("convert", artifacts["keras"], tmp_path / "m", "--to", "huggingface")
    assert code == 0
    assert f"Read {artifacts['keras']}: a Keras file, as a BertClassifier." in out
    assert_same_tensors(tmp_path / "m", artifacts["model"])
    answer = run_command("predict", tmp_path / "m", TEXT)[1]
    assert answer == run_command("predict", artifacts["model"], TEXT)[1]


def test_embedders(run_command, models, tmp_path):
    code, out, _ = run_command(
        "convert", models["classifier"], tmp_path / "e", "--to", "sentence_transformers"
    )
    assert code == 0
    assert "Left out, for the target has no place for it: classifier.\n" in out
    assert "nothing of pooling: it is the mean" in out
    embedder = kbl.BertTextEmbedder.from_pretrained(tmp_path / "e")
    classifier = kbl.BertClassifier.from_pretrained(models["classifier"])
    hidden = classifier.encoder(classifier.tokenizer([TEXT]))["sequence_output"]
    mean = np.mean(hidden, axis=1)
    np.testing.assert_allclose(embedder.encode([TEXT]), mean / np.linalg.norm(mean), atol=1e-6)
    # What the source says of pooling is kept.
    run_command("convert", models["embedder"], tmp_path / "f", "--to", "sentence_transformers")
    assert kbl.BertTextEmbedder.from_pretrained(tmp_path / "f").pooling == "cls"
    _, out, _ = run_command("convert", tmp_path / "f", tmp_path / "g", "--to", "google")
    assert "Left out, for the target has no place for it: pooling (cls).\n" in out
    _, out, _ = run_command("inspect", tmp_path / "f")
    assert "a model directory of sentence-transformers" in out
    assert "loads as: BertTextEmbedder\n" in out
    assert "pooling: cls\n" in out


def test_what_has_no_place_is_told(run_command, models, tmp_path):
    shutil.copytree(models["encoder"], tmp_path / "source")
    more = tensors(models["encoder"]) | {"cls.predictions.bias": np.ones([23], "float32")}
    safetensors.numpy.save_file(more, tmp_path / "source" / "model.safetensors")
    code, _, error = run_command(
        "convert", tmp_path / "source", tmp_path / "t", "--to", "huggingface"
    )
    assert code == 2  # half a head
    assert "cls.predictions.transform" in error
    more = tensors(models["pretrainer"])
    more = {name: array for name, array in more.items() if "seq_relationship" not in name}
    safetensors.numpy.save_file(more, tmp_path / "source" / "model.safetensors")
    code, out, _ = run_command(
        "convert", tmp_path / "source", tmp_path / "t", "--to", "huggingface"
    )
    assert code == 0
    assert "as a BertMaskedLM." in out
    assert "Left out, for such a model has no place for it: pooler.dense.bias, pooler" in out
    with open(tmp_path / "t" / "config.json", encoding="utf-8") as file:
        assert json.load(file)["architectures"] == ["BertForMaskedLM"]


def test_a_source_without_tokenizer(run_command, models, tmp_path):
    os.mkdir(tmp_path / "source")
    for file in ("config.json", "model.safetensors"):
        shutil.copy(os.path.join(models["encoder"], file), tmp_path / "source")
    code, out, _ = run_command("convert", tmp_path / "source", tmp_path / "t", "--to", "google")
    assert code == 0
    assert "no tokenizer" in out
    assert not os.path.exists(tmp_path / "t" / "vocab.txt")
    assert "tokenizer: none\n" in run_command("inspect", tmp_path / "t")[1]


def test_a_target_is_replaced_whole_or_not_at_all(run_command, models, tmp_path, monkeypatch):
    target = tmp_path / "t"
    target.mkdir()
    (target / "mine").write_text("precious")
    code, _, error = run_command("convert", models["encoder"], target, "--to", "google")
    assert code == 2
    assert f"{target} exists already. Give another TARGET, or add --overwrite" in error

    def fail(model, tokenizer, directory):
        os.mkdir(directory)
        raise OSError(28, "No space left on device", "f")

    replace = os.replace

    def fail_last(source, destination):
        if str(source).endswith("new"):
            raise OSError(28, "No space left on device", "f")
        replace(source, destination)

    for owner, name, failing in [(convert._WRITERS, "google", fail), (os, "replace", fail_last)]:
        with monkeypatch.context() as patch:
            (patch.setitem if owner is convert._WRITERS else patch.setattr)(owner, name, failing)
            code, _, error = run_command(
                "convert", models["encoder"], target, "--to", "google", "--overwrite"
            )
        assert code == 2
        assert "disk is full" in error
        assert os.listdir(tmp_path) == ["t"]
        assert (target / "mine").read_text() == "precious"
    code, _, _ = run_command("convert", models["encoder"], target, "--to", "google", "--overwrite")
    assert code == 0
    assert not (target / "mine").exists()
    assert os.listdir(tmp_path) == ["t"]


def test_bad_input_gives_one_line_and_writes_nothing(run_command, artifacts, models, tmp_path):
    (tmp_path / "roberta").mkdir()
    (tmp_path / "roberta" / "config.json").write_text('{"model_type": "roberta"}')
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "bert_model.ckpt.index").write_bytes(b"nothing")
    shutil.copytree(models["encoder"], tmp_path / "cut")
    with open(os.path.join(models["encoder"], "model.safetensors"), "rb") as file:
        (tmp_path / "cut" / "model.safetensors").write_bytes(file.read()[:3000])
    for source, part in [
        (tmp_path / "absent", "absent"),
        (tmp_path, "neither a model directory"),
        (tmp_path / "roberta", "model.safetensors"),
        (tmp_path / "broken", "broken"),
        (tmp_path / "cut", "model.safetensors is damaged"),
        (artifacts["tflite"], "a TFLite file"),
        (artifacts["saved_model"], "exported from"),
        (tmp_path / "t", "another directory than SOURCE"),
    ]:
        code, _, error = run_command("convert", source, tmp_path / "t", "--to", "google")
        assert code == 2, source
        assert part in error
        assert error.count("\n") == 1
        assert not os.path.exists(tmp_path / "t")
    code, _, error = run_command("convert", models["encoder"], tmp_path / "t")
    assert code == 2
    assert "--to" in error


@pytest.mark.parity
def test_keras_hub(run_command, models, tmp_path):
    pytest.importorskip("keras_hub")
    code, out, error = run_command(
        "convert", models["pretrainer"], tmp_path / "p", "--to", "keras_hub"
    )
    assert (code, error) == (0, "")
    assert "Left out, for the target has no place for it: mlm_head, nsp_head.\n" in out
    assert "a preset of KerasHub" in run_command("inspect", tmp_path / "p")[1]
    code, out, _ = run_command("convert", tmp_path / "p", tmp_path / "back", "--to", "huggingface")
    assert code == 0
    assert f"Read {tmp_path / 'p'}: a preset of KerasHub, as a BertEncoder." in out
    encoder = kbl.BertEncoder.from_pretrained(tmp_path / "back")
    tokenizer = kbl.BertTokenizer.from_pretrained(tmp_path / "back")
    inputs = tokenizer([TEXT])
    expected = kbl.BertPretrainer.from_pretrained(models["pretrainer"]).encoder(inputs)
    np.testing.assert_array_equal(encoder(inputs)["pooled_output"], expected["pooled_output"])
    # No weight is left random in silence.
    encoder = kbl.BertEncoder(encoder.config, use_pooler=False)
    encoder.save_pretrained(tmp_path / "no_pooler")
    _, out, _ = run_command("convert", tmp_path / "no_pooler", tmp_path / "q", "--to", "keras_hub")
    assert "no pooler, but a BertBackbone has: it is newly initialized.\n" in out
    # The exact GELU is not KerasHub's.
    code, _, error = run_command(
        "convert", models["classifier"], tmp_path / "c", "--to", "keras_hub"
    )
    assert code == 2
    assert "GELU" in error
    assert not os.path.exists(tmp_path / "c")


@pytest.mark.parity
@pytest.mark.parametrize("form", ["huggingface", "sentence_transformers"])
def test_others_read_what_was_written(run_command, models, tmp_path, form):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    run_command("convert", models["classifier"], tmp_path / "garden", "--to", "model_garden")
    run_command("convert", tmp_path / "garden", tmp_path / "t", "--to", form)
    if form == "sentence_transformers":
        st = pytest.importorskip("sentence_transformers")
        embedder = kbl.BertTextEmbedder.from_pretrained(tmp_path / "t")
        theirs = st.SentenceTransformer(str(tmp_path / "t"), device="cpu").encode([TEXT])
        np.testing.assert_allclose(theirs, embedder.encode([TEXT]), atol=1e-5)
        return
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "t")
    model = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "t").eval()
    with torch.inference_mode():
        theirs = model(**tokenizer([TEXT], return_tensors="pt")).logits.numpy()
    classifier = kbl.BertClassifier.from_pretrained(models["classifier"])
    np.testing.assert_allclose(classifier(classifier.tokenizer([TEXT])), theirs, atol=1e-5)
