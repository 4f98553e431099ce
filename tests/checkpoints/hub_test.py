from unittest import mock

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import errors

from keras_bert_lib.checkpoints import hub
from keras_bert_lib.models import BertEncoder
from tests.models.small_models import small_encoder

NAME = "someone/bert-tiny"


@pytest.fixture
def cache(tmp_path):
    """A cache of downloads that holds one model."""
    repository = tmp_path / "models--someone--bert-tiny"
    small_encoder(num_layers=1).save_pretrained(repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    return tmp_path


def test_a_model_in_the_cache_needs_no_network(cache):
    encoder = BertEncoder.from_pretrained(NAME, cache_dir=cache, local_files_only=True)
    directory = cache / "models--someone--bert-tiny" / "snapshots" / "abc"
    for ours, theirs in zip(
        encoder.get_weights(), BertEncoder.from_pretrained(directory).get_weights()
    ):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(FileNotFoundError, match=r"^There is no directory other/bert, and .*cache"):
        BertEncoder.from_pretrained("other/bert", cache_dir=cache, local_files_only=True)


def test_what_is_asked_of_the_hub(tmp_path):
    small_encoder(num_layers=1).save_pretrained(tmp_path)
    with mock.patch("huggingface_hub.snapshot_download", return_value=str(tmp_path)) as download:
        BertEncoder.from_pretrained(f"hf://{NAME}", revision="v2", token="hf_x", cache_dir="cache")
    (call,) = download.call_args_list
    assert call.args == (NAME,)
    options = dict(call.kwargs)
    patterns = options.pop("allow_patterns")
    assert options == {
        "revision": "v2",
        "token": "hf_x",
        "cache_dir": "cache",
        "local_files_only": False,
    }
    files = [
        "config.json",
        "model.safetensors",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "vocab.txt",
        "modules.json",
        "1_Pooling/config.json",
        "task.json",
        "model.weights.h5",
        "assets/tokenizer/vocabulary.txt",
    ]
    others = ["pytorch_model.bin", "tf_model.h5", "onnx/model.onnx", "rust_model.ot", "README.md"]
    filtered = huggingface_hub.utils.filter_repo_objects(files + others, allow_patterns=patterns)
    assert list(filtered) == files


def test_pickles_are_downloaded_only_where_there_is_nothing_better(tmp_path):
    with mock.patch("huggingface_hub.snapshot_download", return_value=str(tmp_path)) as download:
        with mock.patch("importlib.util.find_spec", return_value="torch"):
            hub.download(NAME)
        assert "pytorch_model.bin" in download.call_args.kwargs["allow_patterns"]
        with mock.patch("importlib.util.find_spec", return_value=None):
            with pytest.raises(FileNotFoundError, match="only be read where PyTorch is installed"):
                hub.download(NAME)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (errors.GatedRepoError, "is gated: ask for access"),
        (errors.RepositoryNotFoundError, "has no model of that name, or a private one"),
        (errors.RevisionNotFoundError, "has no such `revision`"),
        (errors.LocalEntryNotFoundError, "is not in the cache, and the Hugging Face hub cannot"),
        (errors.OfflineModeIsEnabled, "is not in the cache, and the Hugging Face hub cannot"),
        (ConnectionError, "did not give a model of that name: first line"),
    ],
)
def test_errors_are_one_line(kind, message):
    error = kind.__new__(kind)
    error.args = ("\nfirst line\nsecond line",)
    with mock.patch("huggingface_hub.snapshot_download", side_effect=error):
        with pytest.raises(FileNotFoundError, match=message) as raised:
            BertEncoder.from_pretrained(NAME)
    assert str(raised.value).startswith(f"There is no directory {NAME}, and ")
    assert "\n" not in str(raised.value)
