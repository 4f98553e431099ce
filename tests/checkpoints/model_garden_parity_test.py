"""Live comparison with Model Garden, over several shapes and both GELUs.

Model Garden needs an environment of its own (`pip install ".[modelgarden]"`), whose Python the
environment variable MODELGARDEN_PYTHON names.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import keras_bert_lib as kbl
from keras_bert_lib.checkpoints.tensor_names import weights_by_name
from keras_bert_lib.models import BertQuestionAnswerer, BertTokenClassifier

pytestmark = pytest.mark.parity
PYTHON = os.environ.get("MODELGARDEN_PYTHON")
if PYTHON is None and importlib.util.find_spec("official") is not None:
    PYTHON = sys.executable
if PYTHON is None:
    pytest.skip("MODELGARDEN_PYTHON names no Python with Model Garden", allow_module_level=True)

PREDICTIONS = 4
SHAPES = [
    {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 4},
    {"num_layers": 3, "hidden_size": 21, "num_attention_heads": 3, "type_vocab_size": 16},
    {"num_layers": 1, "hidden_size": 35, "num_attention_heads": 5, "inner_dim": 7},
    {"num_layers": 12, "hidden_size": 12, "num_attention_heads": 1, "max_sequence_length": 11},
]
REST = {"vocab_size": 61, "inner_dim": 48, "max_sequence_length": 20, "type_vocab_size": 2}
# Model Garden's model -> ours.
MODELS = {
    "BertEncoder": kbl.BertEncoder,
    "BertEncoderV2": kbl.BertEncoder,
    "BertPretrainerV2": kbl.BertPretrainer,
    "BertPretrainer": kbl.BertPretrainer,
    "BertClassifier": kbl.BertClassifier,
    "BertClassifier with a pooler of its own": kbl.BertClassifier,
    "BertTokenClassifier": BertTokenClassifier,
    "BertSpanLabeler": BertQuestionAnswerer,
}


def make_cases(folder):
    """Returns one case for each model and GELU, over which the shapes are dealt out."""
    cases = []
    for model in MODELS:
        for exact_gelu in (False, True):
            directory = folder / f"{len(cases)}"
            directory.mkdir()
            encoder = REST | SHAPES[(len(cases) + len(cases) // 4) % len(SHAPES)]
            case = {
                "directory": str(directory),
                "model": model,
                "exact_gelu": exact_gelu,
                "encoder": encoder,
                "num_classes": 3,
                "predictions": PREDICTIONS,
            }
            inputs = make_inputs(encoder, seed=len(cases))
            np.savez(directory / "inputs.npz", **inputs)
            cases.append(case)
    return cases


def make_inputs(encoder, seed):
    """Returns a padded batch."""
    rng = np.random.default_rng(seed)
    seq = encoder["max_sequence_length"]
    lengths = rng.integers(PREDICTIONS, seq + 1, 5)
    lengths[0] = seq
    mask = np.arange(seq) < lengths[:, np.newaxis]
    inputs = {
        "input_word_ids": rng.integers(1, encoder["vocab_size"], mask.shape) * mask,
        "input_mask": mask,
        "input_type_ids": rng.integers(0, encoder["type_vocab_size"], mask.shape) * mask,
        "masked_lm_positions": rng.integers(0, PREDICTIONS, (5, PREDICTIONS)),
    }
    return {name: x.astype("int32") for name, x in inputs.items()}


def run_model_garden(action, cases, folder):
    """Runs Model Garden's models on the cases; their outputs are in `outputs.npz` then."""
    path = folder / "cases.json"
    path.write_text(json.dumps(cases), encoding="utf-8")
    worker = Path(__file__).with_name("model_garden_worker.py")
    result = subprocess.run(
        [PYTHON, worker, action, path], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-4000:]


def run_ours(model, directory):
    """Returns our outputs on a case's inputs, in the order of Model Garden's."""
    inputs = dict(np.load(Path(directory) / "inputs.npz"))
    outputs = model(
        {
            "token_ids": inputs["input_word_ids"],
            "padding_mask": inputs["input_mask"],
            "segment_ids": inputs["input_type_ids"],
            "masked_positions": inputs["masked_lm_positions"],
        }
    )
    return outputs if isinstance(outputs, dict) else {"logits": outputs}


def check_outputs(model, case):
    """Compares our outputs with Model Garden's, and returns the largest difference."""
    theirs = np.load(Path(case["directory"]) / "outputs.npz")
    names = {
        "sequence_output": ["sequence_output"],
        "pooled_output": ["pooled_output"],
        "mlm_logits": ["mlm_logits", "masked_lm"],
        "nsp_logits": ["next_sentence", "classification"],
        "logits": ["output_0", "logits"],
        "start_logits": ["output_0", "start_positions"],
        "end_logits": ["output_1", "end_positions"],
    }
    largest = 0
    for name, x in run_ours(model, case["directory"]).items():
        expected = theirs[next(other for other in names[name] if other in theirs)]
        assert np.std(expected) > 0.01, "the outputs say nothing"
        # Logits here are larger than 1: weights are drawn wide so that the outputs are no noise.
        scale = max(1, np.abs(expected).max())
        largest = max(largest, np.abs(np.asarray(x) - expected).max() / scale)
    assert largest < 1e-5, case
    return largest


def our_config(case):
    encoder = case["encoder"]
    return kbl.BertConfig(
        vocab_size=encoder["vocab_size"],
        hidden_size=encoder["hidden_size"],
        num_layers=encoder["num_layers"],
        num_heads=encoder["num_attention_heads"],
        intermediate_size=encoder["inner_dim"],
        max_position_embeddings=encoder["max_sequence_length"],
        type_vocab_size=encoder["type_vocab_size"],
        hidden_act="gelu" if case["exact_gelu"] else "gelu_tanh",
    )


def write_config(case, i):
    """Writes what may stand beside a checkpoint: bert_config.json, params.yaml or nothing."""
    encoder, act = case["encoder"], "gelu_exact" if case["exact_gelu"] else "gelu"
    config = {
        "vocab_size": encoder["vocab_size"],
        "hidden_size": encoder["hidden_size"],
        "num_hidden_layers": encoder["num_layers"],
        "num_attention_heads": encoder["num_attention_heads"],
        "intermediate_size": encoder["inner_dim"],
        "max_position_embeddings": encoder["max_sequence_length"],
        "type_vocab_size": encoder["type_vocab_size"],
        "hidden_act": act,
    }
    if case["exact_gelu"] or i % 3 == 0:
        path = Path(case["directory"]) / "bert_config.json"
        path.write_text(json.dumps(config), encoding="utf-8")
    elif i % 3 == 1:
        params = {name: encoder[name] for name in ("vocab_size", "hidden_size", "num_layers")}
        params |= {
            "num_attention_heads": encoder["num_attention_heads"],
            "intermediate_size": encoder["inner_dim"],
            "max_position_embeddings": encoder["max_sequence_length"],
            "type_vocab_size": encoder["type_vocab_size"],
            "hidden_activation": act,
        }
        # JSON is YAML.
        tree = {"task": {"model": {"encoder": {"type": "bert", "bert": params}}}}
        path = Path(case["directory"]) / "params.yaml"
        path.write_text(json.dumps(tree), encoding="utf-8")


def test_reads_what_model_garden_writes(tmp_path):
    cases = make_cases(tmp_path)
    run_model_garden("write", cases, tmp_path)
    largest = 0
    for i, case in enumerate(cases):
        write_config(case, i)
        model = MODELS[case["model"]].from_pretrained(case["directory"])
        assert model.config == our_config(case)
        largest = max(largest, check_outputs(model, case))
    print(f"largest difference over {len(cases)} models: {largest:.1e}")


def test_model_garden_reads_what_we_write(tmp_path):
    cases = make_cases(tmp_path)
    rng = np.random.default_rng(0)
    models = []
    for case in cases:
        encoder = kbl.BertEncoder(our_config(case))
        arguments = {"labels": ["a", "b", "c"]} if "Classifier" in case["model"] else {}
        kind = MODELS[case["model"]]
        model = encoder if kind is kbl.BertEncoder else kind(encoder, **arguments)
        for name, variable in weights_by_name(model).items():
            variable.assign(rng.normal(float(name.endswith("gamma")), 0.2, variable.shape))
        kbl.checkpoints.save_model_garden(model, case["directory"], overwrite=True)
        models.append(model)
    # A pooler within the head is none of ours.
    kept = [i for i, case in enumerate(cases) if "of its own" not in case["model"]]
    run_model_garden("read", [cases[i] for i in kept], tmp_path)
    largest = max(check_outputs(models[i], cases[i]) for i in kept)
    print(f"largest difference over {len(kept)} models: {largest:.1e}")
