import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from keras_bert_lib.checkpoints import safetensors_source
from keras_bert_lib.models import BertEncoder
from tests.models.small_models import small_encoder

RNG = np.random.default_rng(0)


@pytest.fixture
def saved(tmp_path):
    small_encoder(num_layers=1).save_pretrained(tmp_path)
    return tmp_path / "model.safetensors"


def data_start(path):
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


def flip(path, position, bit):
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", ml_dtypes.bfloat16])
def test_files_are_what_safetensors_reads(tmp_path, dtype):
    tensors = {
        f"t{i}": RNG.normal(size=shape).astype(dtype)
        for i, shape in enumerate([(3, 5), (7,), (1, 1, 2), ()])
    }
    path = tmp_path / "x.safetensors"
    safetensors_source.write_file(path, tensors)
    read = safetensors.numpy.load_file(path)
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        np.testing.assert_array_equal(read[name], tensor)
    with safetensors.safe_open(path, framework="np") as file:
        assert file.metadata()["format"] == "pt"
    source = safetensors_source.SafetensorsSource(str(path), [str(path)])
    np.testing.assert_array_equal(source.read("t0"), tensors["t0"])
    assert source.shape("t0") == (3, 5)


def test_no_flipped_bit_escapes(saved):
    start, size = data_start(saved), saved.stat().st_size
    for position in RNG.integers(start, size, 25):
        bit = int(RNG.integers(8))
        flip(saved, position, bit)
        with pytest.raises(ValueError, match=r"model.safetensors: \S+ is damaged.*Expected: check"):
            BertEncoder.from_pretrained(saved.parent)
        flip(saved, position, bit)
    BertEncoder.from_pretrained(saved.parent)


def test_no_flipped_bit_of_the_header_escapes(saved):
    # In the text of the checksums' own key a flip is harmless: it takes them away.
    weights = BertEncoder.from_pretrained(saved.parent).get_weights()
    for position in RNG.integers(0, data_start(saved), 40):
        bit = int(RNG.integers(8))
        flip(saved, position, bit)
        try:
            loaded = BertEncoder.from_pretrained(saved.parent).get_weights()
        except ValueError as error:
            problem = str(error)
        else:
            problem = f"{saved}: none"
            for ours, theirs in zip(loaded, weights):
                np.testing.assert_array_equal(ours, theirs)
        assert problem.startswith(str(saved))
        assert "\n" not in problem
        flip(saved, position, bit)


def test_files_without_checksums(saved):
    tensors = safetensors.numpy.load_file(saved)
    safetensors.numpy.save_file(tensors, saved)
    BertEncoder.from_pretrained(saved.parent)
    for value in (np.nan, np.inf, -np.inf):
        changed = {name: tensor.copy() for name, tensor in tensors.items()}
        changed["encoder.layer.0.output.dense.weight"][3, 4] = value
        safetensors.numpy.save_file(changed, saved)
        with pytest.raises(ValueError, match=r"layer.0.output.dense.weight holds NaN or infinite"):
            BertEncoder.from_pretrained(saved.parent)


@pytest.mark.parametrize("length", [0, 7, 8, 100, -1])
def test_truncated_files(saved, length):
    data = saved.read_bytes()
    saved.write_bytes(data[:length])
    with pytest.raises(ValueError, match=f"{saved} is damaged or no safetensors file"):
        BertEncoder.from_pretrained(saved.parent)


def test_integers_are_no_weights(saved):
    tensors = safetensors.numpy.load_file(saved)
    tensors["pooler.dense.weight"] = np.ones([16, 16], "int8")
    safetensors.numpy.save_file(tensors, saved)
    with pytest.raises(ValueError, match=r"pooler.dense.weight must hold floating .*Received: I8"):
        BertEncoder.from_pretrained(saved.parent)


def test_checksums_are_in_the_metadata(saved):
    with safetensors.safe_open(saved, framework="np") as file:
        checksums = json.loads(file.metadata()["keras_bert_lib.checksums"])
        array = file.get_tensor("pooler.dense.bias")
    assert checksums["pooler.dense.bias"] == safetensors_source.checksum(array)
    words = np.array([1, 2**63, 2**63, 5], "<u8")
    assert safetensors_source.checksum(words) == f"{6:016x}"  # modulo 2^64
    assert safetensors_source.checksum(np.array([1, 2, 3], "<i4")) == f"{1 + (2 << 32) + 3:016x}"
