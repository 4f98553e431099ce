import json

import numpy as np
import pytest
from absl import logging

from keras_bert_lib.checkpoints import sentence_transformers
from keras_bert_lib.models import BertEncoder, BertTextEmbedder
from keras_bert_lib.text import BertTokenizer
from tests.models.small_models import pretraining_batch, small_encoder

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "É", "e", "é"]
BATCH = {name: x for name, x in pretraining_batch().items() if name != "masked_positions"}
MODULES = ("Transformer", "Pooling", "Normalize")


def write(path, contents):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(contents), encoding="utf-8")


def write_modules(directory, *types, folder=""):
    paths = [folder] + [f"{i}_{name.split('.')[-1]}" for i, name in enumerate(types)][1:]
    entries = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (path, name) in enumerate(zip(paths, types))
    ]
    write(directory / "modules.json", entries)


@pytest.fixture
def directory(tmp_path):
    """A directory with everything but modules.json, as old versions write it."""
    small_encoder(num_layers=1).save_pretrained(tmp_path)
    BertTokenizer(VOCABULARY, lowercase=False).save_pretrained(tmp_path)
    pooling = {
        "word_embedding_dimension": 16,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    write(tmp_path / "1_Pooling" / "config.json", pooling)
    return tmp_path


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
@pytest.mark.parametrize("old", [True, False])
def test_poolings(directory, pooling, old):
    write_modules(directory, *MODULES[: 2 if pooling == "max" else 3])
    keys = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
    old_config = {f"pooling_mode_{key}": mode == pooling for mode, key in keys.items()}
    new_config = {"embedding_dimension": 16, "pooling_mode": pooling, "include_prompt": True}
    write(directory / "1_Pooling" / "config.json", old_config if old else new_config)
    embedder = BertTextEmbedder.from_pretrained(directory)
    assert (embedder.pooling, embedder.normalize) == (pooling, pooling != "max")
    assert embedder.max_length == 16
    assert embedder.tokenizer.vocabulary == VOCABULARY


def test_a_model_in_a_folder_of_its_own(directory):
    expected = BertEncoder.from_pretrained(directory)(BATCH)["pooled_output"]
    folder = directory / "0_Transformer"
    folder.mkdir()
    for path in list(directory.iterdir()):
        if path.is_file():
            path.rename(folder / path.name)
    write(folder / "sentence_bert_config.json", {"max_seq_length": 9, "do_lower_case": False})
    # The names of version 5 and later.
    types = (
        "base.modules.transformer.Transformer",
        "sentence_transformer.modules.pooling.Pooling",
        "base.modules.normalize.Normalize",
    )
    write_modules(directory, *types, folder="0_Transformer")
    embedder = BertTextEmbedder.from_pretrained(directory)
    assert (embedder.max_length, embedder.tokenizer.lowercase) == (9, False)
    np.testing.assert_array_equal(embedder.encoder(BATCH)["pooled_output"], expected)
    np.testing.assert_array_equal(
        BertEncoder.from_pretrained(directory)(BATCH)["pooled_output"], expected
    )


def test_do_lower_case_lowers_before_a_cased_tokenizer(directory):
    write_modules(directory, *MODULES)
    write(directory / "sentence_bert_config.json", {"max_seq_length": 9, "do_lower_case": True})
    tokenizer = BertTextEmbedder.from_pretrained(directory).tokenizer
    # Accents are left where they are: that is the tokenizer's own business.
    assert tokenizer.tokenize("A É e") == ["a", "é", "e"]
    assert BertTokenizer.from_pretrained(directory).tokenize("A É e") == ["[UNK]", "É", "e"]


def test_a_prompt_is_said(directory, caplog):
    write_modules(directory, *MODULES)
    config = {"prompts": {"query": "find: ", "document": ""}, "default_prompt_name": None}
    write(directory / "config_sentence_transformers.json", config)
    logging.use_absl_handler()
    with caplog.at_level("WARNING"):
        BertTextEmbedder.from_pretrained(directory)
        assert "find" not in caplog.text
        write(
            directory / "config_sentence_transformers.json",
            config | {"default_prompt_name": "query"},
        )
        BertTextEmbedder.from_pretrained(directory)
    assert "'find: ' before each text" in caplog.text


@pytest.mark.parametrize(
    ("modules", "pooling", "message"),
    [
        ((*MODULES[:2], "Dense", "Normalize"), {}, r"Pooling, Dense, Normalize$"),
        (MODULES[:1], {}, r"at most a Normalize.* Received: Transformer$"),
        (MODULES, {"pooling_mode_max_tokens": True}, r"max, mean$|mean, max$"),
        (MODULES, {"pooling_mode": "lasttoken"}, r"one of cls, mean, max. Received: lasttoken$"),
        (MODULES, {"pooling_mode": ["mean", "max"]}, r"Received: mean, max$"),
        (MODULES, {"pooling_mode": []}, r"Received: none$"),
        (
            MODULES,
            {"pooling_mode_mean_tokens": False, "pooling_mode_mean_sqrt_len_tokens": True},
            r"1_Pooling.config.json: .* Received: pooling_mode_mean_sqrt_len_tokens$",
        ),
    ],
)
def test_what_an_embedder_cannot_do(directory, modules, pooling, message):
    write_modules(directory, *modules)
    path = directory / "1_Pooling" / "config.json"
    write(path, json.loads(path.read_text()) | pooling)
    with pytest.raises(ValueError, match=message):
        BertTextEmbedder.from_pretrained(directory)
    # The encoder is there all the same.
    assert BertEncoder.from_pretrained(directory).config.hidden_size == 16


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        ([], ValueError, r"must hold a list of modules. Received: \[\]"),
        ({"0": "Transformer"}, ValueError, "must hold a list of modules"),
        ([{"type": "x.Transformer"}], ValueError, "a module must have `type` and `path`"),
        ([{"type": "x.BoW", "path": ""}], ValueError, "must be a Transformer.* Received: BoW"),
        ([{"type": "x.Transformer", "path": "../other"}], ValueError, "outside the directory"),
        ([{"type": "x.Transformer", "path": "/tmp"}], ValueError, "outside the directory"),
        (
            [
                {"type": "x.Transformer", "path": ""},
                {"type": "x.Pooling", "path": "2_Pooling"},
            ],
            FileNotFoundError,
            "names a module without .*2_Pooling.config.json",
        ),
    ],
)
def test_broken_modules(directory, entries, error, message):
    write(directory / "modules.json", entries)
    with pytest.raises(error, match=message):
        BertTextEmbedder.from_pretrained(directory)


def test_modules_that_are_no_json(directory):
    (directory / "modules.json").write_text("[{")
    with pytest.raises(ValueError, match=r"modules.json is not valid JSON"):
        BertTextEmbedder.from_pretrained(directory)


def test_files_that_are_written(tmp_path):
    encoder = small_encoder(num_layers=1)
    BertTextEmbedder(encoder, pooling="max", max_length=9).save_pretrained(tmp_path)
    pooling = json.loads((tmp_path / "1_Pooling" / "config.json").read_text())
    assert pooling == {
        "word_embedding_dimension": 16,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": False,
        "pooling_mode_max_tokens": True,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    modules = sentence_transformers.read_modules(tmp_path)
    assert [module["kind"] for module in modules] == list(MODULES)
    BertTextEmbedder(encoder, normalize=False).save_pretrained(tmp_path)
    modules = sentence_transformers.read_modules(tmp_path)
    assert [module["kind"] for module in modules] == list(MODULES[:2])
