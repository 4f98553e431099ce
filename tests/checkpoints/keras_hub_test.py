"""What can be tested without KerasHub; `keras_hub_parity_test.py` has the rest."""

import json
import sys
from unittest import mock

import pytest

from keras_bert_lib import checkpoints
from keras_bert_lib.checkpoints import keras_hub
from keras_bert_lib.models import BertEncoder
from tests.models.small_models import small_encoder


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"registered_name": "keras_hub>BertBackbone"}, True),
        ({"registered_name": "keras_nlp>BertBackbone"}, True),
        ({"registered_name": "keras_hub>RobertaBackbone"}, True),  # and then refused
        ({"registered_name": None}, False),
        ({"model_type": "bert"}, False),
        ([], False),
    ],
)
def test_presets_are_told_by_their_config(tmp_path, config, found):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert keras_hub.matches(str(tmp_path)) == found


def test_names_of_presets():
    for name in ("bert_tiny_en_uncased", "bge_small_v1.5_en", "kaggle://keras/bert/keras/tiny/3"):
        assert keras_hub.matches(name)
    for name in ("bert-base-uncased", "google/bert_tiny", "bert", "/models/bert_tiny", "my_model"):
        assert not keras_hub.matches(name)


def test_a_directory_called_like_a_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_encoder().save_pretrained("bert_tiny_en")
    assert BertEncoder.from_pretrained("bert_tiny_en").config.hidden_size == 16


def test_without_keras_hub(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"registered_name": "keras_hub>BertBackbone"}))
    with mock.patch.dict(sys.modules, {"keras_hub": None}):
        for call, message in (
            (lambda: BertEncoder.from_pretrained(tmp_path), rf"The preset {tmp_path}"),
            (
                lambda: BertEncoder.from_pretrained("bert_tiny_en_uncased"),
                "There is no directory bert_tiny_en_uncased, and a preset of that name",
            ),
            (lambda: BertEncoder.from_pretrained("kaggle://a/b/keras/c"), "kaggle://a/b/keras/c"),
            (lambda: checkpoints.to_keras_hub(small_encoder()), "`to_keras_hub`"),
        ):
            with pytest.raises(ImportError, match=f"^{message} needs KerasHub: pip install keras"):
                call()


def test_things_that_are_no_model():
    for thing in (3, None, {"token_embedding/embeddings": 1}, small_encoder()):
        with pytest.raises(ValueError, match=r"Only a path, or a BertBackbone.* can be read"):
            BertEncoder.from_pretrained(thing)


def test_writing_among_other_files(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"must not exist, or be empty.* Received: "):
        checkpoints.save_keras_hub_preset(small_encoder(), tmp_path)
