"""Weights in several files, and in PyTorch's."""

import builtins
import json
import pickle
from unittest import mock

import numpy as np
import pytest
import safetensors.numpy

from keras_bert_lib.models import BertEncoder, BertPretrainer
from tests.models.small_models import small_encoder

INDEX = "model.safetensors.index.json"


@pytest.fixture
def encoder():
    return small_encoder(num_layers=1)


@pytest.fixture
def sharded(encoder, tmp_path):
    """A model directory whose weights are in two files with an index."""
    encoder.save_pretrained(tmp_path)
    tensors = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(tensors)
    weight_map = {}
    for i, part in enumerate([names[:9], names[9:]]):
        file = f"model-0000{i + 1}-of-00002.safetensors"
        safetensors.numpy.save_file({name: tensors[name] for name in part}, tmp_path / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (tmp_path / INDEX).write_text(json.dumps(index))
    return tmp_path


def check_equal(ours, theirs):
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_shards(encoder, sharded):
    check_equal(BertEncoder.from_pretrained(sharded), encoder)


@pytest.mark.parametrize(
    "name",
    ["../model.safetensors", "/etc/passwd", "..", "", "a/b.safetensors", "..\\x", "c:x"],
)
def test_an_index_may_not_lead_elsewhere(sharded, name):
    index = json.loads((sharded / INDEX).read_text())
    index["weight_map"]["pooler.dense.bias"] = name
    (sharded / INDEX).write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"must name files in its own directory.*Received") as e:
        BertEncoder.from_pretrained(sharded)
    assert str(e.value).startswith(str(sharded / INDEX))


def test_an_index_that_does_not_fit(sharded):
    text = (sharded / INDEX).read_text()
    index = json.loads(text)
    file = index["weight_map"].pop("pooler.dense.bias")
    (sharded / INDEX).write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"does not belong to its files.*pooler.dense.bias"):
        BertEncoder.from_pretrained(sharded)
    (sharded / INDEX).write_text('{"weight_map": [1]}')
    with pytest.raises(ValueError, match=r"must have a `weight_map` of files. Received: \[1\]"):
        BertEncoder.from_pretrained(sharded)
    (sharded / INDEX).write_text(text[:-1])
    with pytest.raises(ValueError, match=r"index.json is not valid JSON"):
        BertEncoder.from_pretrained(sharded)
    (sharded / INDEX).write_text(text)
    whole = (sharded / file).read_bytes()
    (sharded / file).write_bytes(whole[:-4])
    with pytest.raises(ValueError, match=f"{file} is damaged"):
        BertEncoder.from_pretrained(sharded)
    (sharded / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {file}"):
        BertEncoder.from_pretrained(sharded)


def test_a_tensor_in_two_shards(sharded):
    first, second = sorted(sharded.glob("model-*"))
    tensors = safetensors.numpy.load_file(second)
    name = next(iter(safetensors.numpy.load_file(first)))
    safetensors.numpy.save_file(tensors | {name: np.ones(1, "float32")}, second)
    with pytest.raises(ValueError, match=f"{name} is in both .*00001.*00002"):
        BertEncoder.from_pretrained(sharded)


def to_pickle(directory, old=False, dtype=None):
    """Turns a model directory's weights into a pytorch_model.bin."""
    import torch

    tensors = safetensors.numpy.load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    tensors = {name: torch.tensor(x, dtype=dtype) for name, x in tensors.items()}
    options = {"_use_new_zipfile_serialization": not old}
    torch.save(tensors, directory / "pytorch_model.bin", **options)
    return tensors


@pytest.mark.parity
@pytest.mark.parametrize("old", [False, True])
def test_pickles(tmp_path, old):
    pytest.importorskip("torch")
    pretrainer = BertPretrainer(small_encoder(num_layers=1))
    pretrainer.save_pretrained(tmp_path)
    to_pickle(tmp_path, old)
    check_equal(BertPretrainer.from_pretrained(tmp_path), pretrainer)


@pytest.mark.parity
def test_half_precision_and_shards_of_pickles(encoder, tmp_path):
    torch = pytest.importorskip("torch")
    encoder.save_pretrained(tmp_path)
    tensors = to_pickle(tmp_path, dtype=torch.bfloat16)
    loaded = BertEncoder.from_pretrained(tmp_path)
    for ours, theirs in zip(loaded.get_weights(), encoder.get_weights()):
        np.testing.assert_array_equal(ours, torch.tensor(theirs).bfloat16().float().numpy())
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "pytorch_model-00001-of-00001.bin")
    index = {"weight_map": dict.fromkeys(tensors, "pytorch_model-00001-of-00001.bin")}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    check_equal(BertEncoder.from_pretrained(tmp_path), loaded)


class Program:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parity
def test_a_pickle_with_a_program_in_it_is_not_run(encoder, tmp_path):
    torch = pytest.importorskip("torch")
    encoder.save_pretrained(tmp_path / "model")
    to_pickle(tmp_path / "model")
    path = tmp_path / "model" / "pytorch_model.bin"
    torch.save({"x": Program(tmp_path / "ran")}, path)
    with pytest.raises(ValueError, match="holds other things than tensors") as error:
        BertEncoder.from_pretrained(tmp_path / "model")
    path.write_bytes(pickle.dumps(Program(tmp_path / "ran")))
    with pytest.raises(ValueError, match=r"pytorch_model.bin is damaged"):
        BertEncoder.from_pretrained(tmp_path / "model")
    torch.save([torch.ones(2)], path)
    with pytest.raises(ValueError, match=r"must hold a dict of tensors.*Received: list"):
        BertEncoder.from_pretrained(tmp_path / "model")
    assert not (tmp_path / "ran").exists()
    assert "\n" not in str(error.value)


def test_a_pickle_without_pytorch(encoder, tmp_path):
    encoder.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    real_import = builtins.__import__

    def no_torch(name, *args, **kwargs):
        if name == "torch":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    with mock.patch("builtins.__import__", no_torch):
        with pytest.raises(ImportError, match=r"pytorch_model.bin is a pickle.*pip install torch"):
            BertEncoder.from_pretrained(tmp_path)
