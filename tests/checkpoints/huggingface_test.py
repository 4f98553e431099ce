import json
import os
import shutil
from pathlib import Path
from unittest import mock

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from keras_bert_lib.checkpoints import tensor_names
from keras_bert_lib.models import (
    BertClassifier,
    BertEncoder,
    BertMaskedLM,
    BertPretrainer,
    BertQuestionAnswerer,
    BertTokenClassifier,
)
from keras_bert_lib.text import BertTokenizer
from tests.models.small_models import pretraining_batch, small_encoder

BATCH = pretraining_batch()
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##b"]


@pytest.fixture
def encoder():
    return small_encoder(num_layers=1)


@pytest.fixture
def saved(tmp_path):
    """The directory of a saved pretrainer."""
    BertPretrainer(small_encoder(num_layers=1)).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change(directory, function):
    """Rewrites the tensors of a model directory."""
    path = directory / "model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file(function(tensors), path)


def files(directory):
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


def test_merge_and_split_are_inverses():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(4, 12)).astype("float32")
    query, key, value = tensor_names.split("block_3/attention/qkv/kernel", kernel)
    # PyTorch's kernels are [out, in].
    np.testing.assert_array_equal(query, kernel[:, :4].T)
    np.testing.assert_array_equal(value, kernel[:, 8:].T)
    merged = tensor_names.merge("block_3/attention/qkv/kernel", [query, key, value])
    np.testing.assert_array_equal(merged, kernel)
    assert tensor_names.tensors_of("block_3/attention/qkv/kernel") == [
        f"encoder.layer.3.attention.self.{name}.weight" for name in ("query", "key", "value")
    ]


def test_files_have_the_names_of_transformers(encoder, tmp_path):
    encoder.save_pretrained(tmp_path / "encoder")
    names = set(safetensors.numpy.load_file(tmp_path / "encoder" / "model.safetensors"))
    assert "embeddings.word_embeddings.weight" in names
    assert "encoder.layer.0.attention.self.query.weight" in names
    assert len(names) == 5 + 16 + 2
    BertClassifier(encoder, 2).save_pretrained(tmp_path / "classifier")
    names = set(safetensors.numpy.load_file(tmp_path / "classifier" / "model.safetensors"))
    assert {"bert.pooler.dense.weight", "classifier.weight", "classifier.bias"} <= names
    config = json.loads((tmp_path / "classifier" / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}
    assert config["label2id"] == {"LABEL_0": 0, "LABEL_1": 1}


def test_heads_that_are_not_there_are_named_in_one_line(encoder, tmp_path):
    encoder.save_pretrained(tmp_path)
    with mock.patch("absl.logging.warning") as warning:
        classifier = BertClassifier.from_pretrained(tmp_path, labels=["a", "b"])
    (call,) = warning.call_args_list
    message = call.args[0] % call.args[1:]
    assert message == f"{tmp_path}/model.safetensors has no classifier: newly initialized."
    np.testing.assert_array_equal(
        classifier.encoder(BATCH)["pooled_output"], encoder(BATCH)["pooled_output"]
    )
    with mock.patch("absl.logging.warning") as warning:
        BertPretrainer.from_pretrained(tmp_path)
    assert warning.call_args.args[2] == "mlm_head, nsp_head"


def test_heads_that_are_not_needed_are_left_out(saved):
    with mock.patch("absl.logging.warning") as warning:
        encoder = BertEncoder.from_pretrained(saved)
    warning.assert_not_called()
    pretrainer = BertPretrainer.from_pretrained(saved)
    np.testing.assert_array_equal(
        encoder(BATCH)["pooled_output"], pretrainer.encoder(BATCH)["pooled_output"]
    )


def test_new_heads_are_drawn(encoder, tmp_path):
    encoder.save_pretrained(tmp_path)
    first = BertPretrainer.from_pretrained(tmp_path)
    second = BertPretrainer.from_pretrained(tmp_path)
    for ours, theirs in ((first.nsp_head, second.nsp_head), (first.mlm_head, second.mlm_head)):
        kernel = np.asarray(ours.dense.kernel)
        assert 0.01 < kernel.std() < 0.03  # initializer_range is 0.02
        assert np.abs(kernel).max() < 0.05
        assert (kernel != np.asarray(theirs.dense.kernel)).all()
        assert not np.asarray(ours.dense.bias).any()
    np.testing.assert_array_equal(first.mlm_head.layer_norm.gamma, np.ones(16))


@pytest.mark.parametrize("parts", [["cls.predictions"], ["cls.seq_relationship"]])
def test_one_of_the_pretraining_heads(saved, parts):
    lacking = {"cls.predictions": "nsp_head", "cls.seq_relationship": "mlm_head"}[parts[0]]
    expected = BertPretrainer.from_pretrained(saved)(BATCH)
    change(saved, lambda t: {n: x for n, x in t.items() if n.startswith(("bert.", *parts))})
    with mock.patch("absl.logging.warning") as warning:
        outputs = BertPretrainer.from_pretrained(saved)(BATCH)
    (call,) = warning.call_args_list
    assert call.args[2] == lacking
    kept = "mlm_logits" if lacking == "nsp_head" else "nsp_logits"
    np.testing.assert_array_equal(outputs[kept], expected[kept])


def test_heads_of_the_same_name(encoder, tmp_path):
    BertTokenClassifier(encoder, 2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"BertForTokenClassification.*BertTokenClassifier.from_"):
        BertClassifier.from_pretrained(tmp_path)
    BertEncoder.from_pretrained(tmp_path)
    with mock.patch("absl.logging.warning") as warning:
        BertQuestionAnswerer.from_pretrained(tmp_path)
    assert warning.call_args.args[2] == "qa_outputs"


def test_models_of_tokens_have_no_pooler(encoder, tmp_path):
    encoder.save_pretrained(tmp_path)
    model = BertTokenClassifier.from_pretrained(tmp_path, num_classes=2)
    assert model.encoder.pooler is None
    model.save_pretrained(tmp_path)
    names = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    assert not [name for name in names if "pooler" in name]


def test_a_vocabulary_that_does_not_fit(encoder, tmp_path):
    BertTokenizer(VOCABULARY + [f"w{i}" for i in range(40)]).save_pretrained(tmp_path)
    encoder.save_pretrained(tmp_path)
    for model_class in (BertQuestionAnswerer, BertMaskedLM):
        with pytest.raises(ValueError, match=r"vocabulary_size=48, vocab_size=40"):
            model_class.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "roberta"}, "model_type='roberta'"),
        ({"is_decoder": True}, "is_decoder=True"),
        ({"add_cross_attention": True}, "decoder"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'"),
        ({"hidden_act": "silu"}, "hidden_act='silu'"),
        ({"vocab_size": None}, "no `vocab_size`"),
        ({"num_attention_heads": 3}, "num_heads=3, hidden_size=16"),
        ({"hidden_size": "16"}, "hidden_size='16'"),
        ({"hidden_dropout_prob": "0.1"}, "hidden_dropout='0.1'"),
        ({"layer_norm_eps": [1]}, "layer_norm_eps=.1."),
        ({"pad_token_id": 40}, "pad_token_id=40"),
    ],
)
def test_configs_that_cannot_be_read(saved, changes, message):
    path = saved / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=message) as error:
        BertEncoder.from_pretrained(saved)
    assert str(error.value).startswith(str(saved))
    assert "\n" not in str(error.value)


def test_a_model_without_pooler(saved):
    change(saved, lambda t: {name: x for name, x in t.items() if "pooler" not in name})
    with mock.patch("absl.logging.warning") as warning:
        BertEncoder.from_pretrained(saved)
    assert warning.call_args.args[2] == "pooler"


def test_old_names_and_buffers(saved):
    expected = BertPretrainer.from_pretrained(saved)(BATCH)

    def old(tensors):
        new = {}
        for name, x in tensors.items():
            name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
            new[name.replace("LayerNorm.bias", "LayerNorm.beta")] = x
        new["bert.embeddings.position_ids"] = np.arange(16)[np.newaxis]
        new["cls.predictions.decoder.weight"] = new["bert.embeddings.word_embeddings.weight"]
        new["cls.predictions.decoder.bias"] = new["cls.predictions.bias"]
        return new

    change(saved, old)
    outputs = BertPretrainer.from_pretrained(saved)(BATCH)
    np.testing.assert_array_equal(outputs["mlm_logits"], expected["mlm_logits"])


@pytest.mark.parametrize("dtype", ["float16", ml_dtypes.bfloat16, "float64"])
def test_other_dtypes(saved, dtype):
    weights = BertPretrainer.from_pretrained(saved).get_weights()
    change(saved, lambda t: {name: x.astype(dtype) for name, x in t.items()})
    for ours, theirs in zip(BertPretrainer.from_pretrained(saved).get_weights(), weights):
        assert ours.dtype == "float32"
        np.testing.assert_array_equal(ours, theirs.astype(dtype).astype("float32"))


QUERY = "bert.encoder.layer.0.attention.self.query.weight"


def without(tensors, name):
    return {other: x for other, x in tensors.items() if other != name}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda t: without(t, QUERY), "lacks 1 of the .* Missing: encoder.layer.0.attention.self"),
        # Half a head is no absent head.
        (lambda t: without(t, "cls.seq_relationship.bias"), "Missing: cls.seq_relationship.bias"),
        (
            lambda t: t | {"bert.encoder.layer.1.output.dense.bias": np.ones(3, "float32")},
            "no place for.*Unexpected: bert.encoder.layer.1.output.dense.bias",
        ),
        (
            lambda t: t | {QUERY: np.ones([16, 8], "float32")},
            rf"{QUERY} has the wrong shape .*Expected: \(16, 16\). Received: \(16, 8\)",
        ),
        (
            lambda t: t | {"bert.embeddings.word_embeddings.weight": np.ones([39, 16], "float32")},
            r"word_embeddings.*Expected: \(40, 16\). Received: \(39, 16\)",
        ),
        (
            lambda t: t | {"cls.predictions.decoder.weight": np.ones([40, 16], "float32")},
            "decoder.weight differs from bert.embeddings.word_embeddings.weight",
        ),
        (lambda t: t | {QUERY[5:]: t[QUERY]}, f"one tensor twice, as .*{QUERY}"),
    ],
)
def test_tensors_that_do_not_fit(saved, function, message):
    change(saved, function)
    with pytest.raises(ValueError, match=message) as error:
        BertPretrainer.from_pretrained(saved)
    assert str(saved / "model.safetensors") in str(error.value)
    assert "\n" not in str(error.value)


def test_damaged_files(saved):
    path = saved / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=rf"{path} is damaged"):
        BertEncoder.from_pretrained(saved)
    path.write_bytes(whole)
    (saved / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json is not valid JSON"):
        BertEncoder.from_pretrained(saved)
    (saved / "config.json").write_text('{"model_type": "roberta", "vocab_size": 9}')
    with pytest.raises(ValueError, match="Received: model_type='roberta'"):
        BertEncoder.from_pretrained(saved)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no model.safetensors. It holds: config.json"):
        BertEncoder.from_pretrained(saved)
    path.write_bytes(whole)
    (saved / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no config.json.*It holds: model.safetensors"):
        BertEncoder.from_pretrained(saved)


def test_paths_that_are_no_model(tmp_path):
    for path in (tmp_path / "absent", "./absent/model", "a/b/c"):
        with pytest.raises(FileNotFoundError, match=f"Received: {path}"):
            BertEncoder.from_pretrained(path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileNotFoundError, match="must be a model directory"):
        BertEncoder.from_pretrained(tmp_path / "file")


def test_labels_of_a_classifier(encoder, tmp_path):
    BertClassifier(encoder, labels=["ä", "b", "c"]).save_pretrained(tmp_path)
    assert BertClassifier.from_pretrained(tmp_path).labels == ["ä", "b", "c"]
    assert BertClassifier.from_pretrained(tmp_path, labels=["x", "y", "z"]).labels == [*"xyz"]
    with pytest.raises(ValueError, match=r"classifier.weight.*Expected: \(2, 16\). Received: \(3"):
        BertClassifier.from_pretrained(tmp_path, labels=["x", "y"])
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(without(config, "id2label")))
    assert BertClassifier.from_pretrained(tmp_path).labels == ["LABEL_0", "LABEL_1", "LABEL_2"]
    (tmp_path / "config.json").write_text(json.dumps(config | {"id2label": {"1": "a", "2": "b"}}))
    with pytest.raises(ValueError, match=r"`id2label` in the config of"):
        BertClassifier.from_pretrained(tmp_path)


def test_an_encoder_does_not_know_its_classes(encoder, tmp_path):
    encoder.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"is no classifier.*Give `labels`"):
        BertClassifier.from_pretrained(tmp_path)


def test_tokenizer_beside_an_encoder(encoder, tmp_path):
    tokenizer = BertTokenizer(VOCABULARY)
    tokenizer.save_pretrained(tmp_path)
    encoder.save_pretrained(tmp_path)  # files of a tokenizer are no stranger's
    classifier = BertClassifier.from_pretrained(tmp_path, num_classes=2)
    assert classifier.tokenizer.vocabulary == VOCABULARY
    assert BertClassifier.from_pretrained(tmp_path, num_classes=2, tokenizer=None).tokenizer is None


def test_saving_among_other_files(encoder, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"other than a model: thesis.tex.*overwrite=True"):
        encoder.save_pretrained(tmp_path)
    encoder.save_pretrained(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    encoder.save_pretrained(tmp_path)  # now it is a model directory
    with pytest.raises(ValueError, match="must be a directory, not a file"):
        encoder.save_pretrained(tmp_path / "thesis.tex", overwrite=True)


@pytest.mark.parametrize("failing", ["json.dump", "json.dumps", "os.replace"])
def test_an_interrupted_save_leaves_the_earlier_one(encoder, saved, failing):
    before = files(saved)
    with mock.patch(failing, side_effect=OSError("No space left on device")):
        with pytest.raises(OSError, match="No space left"):
            BertClassifier(encoder, labels=["a", "b"]).save_pretrained(saved)
    assert files(saved) == before
    BertPretrainer.from_pretrained(saved)


def test_saving_again(encoder, tmp_path):
    encoder.save_pretrained(tmp_path / "new" / "model")
    modes = {path.stat().st_mode for path in (tmp_path / "new" / "model").iterdir()}
    assert len(modes) == 1, "a server that may read one file may read them all"
    first = files(tmp_path / "new" / "model")
    assert set(first) == {"config.json", "model.safetensors"}
    encoder.save_pretrained(tmp_path / "new" / "model")
    again = files(tmp_path / "new" / "model")
    assert again["config.json"] == first["config.json"]
    # Not to the byte: the order of a safetensors file's metadata changes.
    tensors, before = (safetensors.numpy.load(x["model.safetensors"]) for x in (again, first))
    assert set(tensors) == set(before)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, before[name])
    # A save that was killed leaves a folder that harms nobody.
    os.mkdir(tmp_path / "new" / "model" / ".saving-x")
    encoder.save_pretrained(tmp_path / "new" / "model")
    shutil.rmtree(tmp_path / "new" / "model" / ".saving-x")


def test_a_weight_without_a_name_there(encoder, tmp_path):
    encoder.blocks[0].intermediate_dense.enable_lora(2)
    with pytest.raises(ValueError, match=r"merge_lora.*Received: block_0/.*lora"):
        encoder.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()
