import json
import os
import re
import shutil

import pytest

import keras_bert_lib as kbl


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("model", ["a model directory", "layers: 1", "labels: neg, pos", "WordPiece, lowercased"]),
        ("keras", ["a Keras file", "model: BertClassifier"]),
        ("saved_model", ["a SavedModel", "in   text: string [?]", "out  label: string [?]"]),
        ("tflite", ["a TFLite file", "in   text: int32 [1, 128]", "labels: neg, pos"]),
    ],
)
def test_inspect_says_what_is_there(run_command, artifacts, kind, parts):
    code, out, error = run_command("inspect", artifacts[kind])
    assert (code, error) == (0, "")
    for part in parts:
        assert part in out


@pytest.mark.parametrize("kind", ["model", "keras", "saved_model"])
def test_parameters_are_counted(run_command, artifacts, kind):
    _, out, _ = run_command("inspect", artifacts[kind])
    model = kbl.BertClassifier.from_pretrained(artifacts["model"])
    assert f"parameters: {model.count_params():,}\n" in out
    # A line for the block, one for each weight of the rest, with its shape.
    block = sum(weight.numpy().size for weight in model.encoder.blocks[0].weights)
    assert re.search(rf"\n  \S*(layer\.|block_)0 \(all\) +{block:,}\n", out)
    assert re.search(r"\n  \S*classifier\S* +32  \[(2, 16|16, 2)\]\n", out)


def test_tokenizer(run_command, artifacts, tmp_path):
    shutil.copytree(artifacts["model"], tmp_path / "m")
    tokenizer = kbl.BertTokenizer.from_pretrained(tmp_path / "m", lowercase=False)
    tokenizer.add_tokens(["COVID-19"])
    tokenizer.save_pretrained(tmp_path / "m")
    _, out, _ = run_command("inspect", tmp_path / "m")
    assert "tokenizer: WordPiece, cased, accents kept, 24 pieces\n" in out
    assert "added tokens: COVID-19\n" in out
    assert "most tokens: 16\n" in out
    # What else there is can be told without one.
    (tmp_path / "m" / "vocab.txt").write_text("a\na\n")
    code, out, _ = run_command("inspect", tmp_path / "m")
    assert code == 0
    assert "tokenizer: cannot be read: " in out
    assert "parameters: " in out


def test_tflite_ops_are_built_in(run_command, artifacts):
    _, out, _ = run_command("inspect", artifacts["tflite"])
    ops = out[out.index("ops: ") :]
    assert "GATHER" in ops
    assert "Flex" not in ops
    assert "CUSTOM" not in ops


def test_tflite_metadata(run_command, artifacts):
    _, out, _ = run_command("inspect", artifacts["tflite"])
    assert "\nname: BertClassifier\n" in out
    assert "\ndescription: Puts a text into one of several classes" in out
    assert f"\nWritten by keras_bert_lib {kbl.__version__}.\n" in out
    assert "license" not in out  # none was given


def test_broken_files_give_one_line(run_command, artifacts, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text(json.dumps({"vocab_size": 3}))
    (tmp_path / "weights" / "model.safetensors").write_bytes(b"\xff" * 64)
    shutil.copytree(artifacts["model"], tmp_path / "roberta")
    with open(tmp_path / "roberta" / "config.json", "r+", encoding="utf-8") as file:
        config = json.load(file) | {"model_type": "roberta"}
        file.seek(0)
        json.dump(config, file)
        file.truncate()
    with open(artifacts["tflite"], "rb") as file:
        (tmp_path / "cut.tflite").write_bytes(file.read()[:2000])
    os.mkdir(tmp_path / "saved")
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"nothing")
    for name in ["broken", "weights", "roberta", "cut.tflite", "saved", "absent"]:
        code, _, error = run_command("inspect", tmp_path / name)
        assert code == 2, name
        assert str(tmp_path / name) in error
        assert error.count("\n") == 1
