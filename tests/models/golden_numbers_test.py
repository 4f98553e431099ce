"""The numbers of `transformers`, from the file that make_golden_numbers.py writes."""

import json
from pathlib import Path

import numpy as np
import safetensors.numpy

from keras_bert_lib.models import BertEncoder, BertPretrainer
from tests.models.huggingface_parity import check_pretrainer, close


def read_golden(tmp_path):
    arrays = np.load(Path(__file__).with_name("golden_numbers.npz"))
    golden = {"weights": {}, "gradients": {}, "inputs": {}, "outputs": {}}
    for key in arrays.files:
        if key != "config":
            folder, name = key.split("/")
            golden[folder][name] = arrays[key]
    (tmp_path / "config.json").write_text(json.dumps(json.loads(str(arrays["config"]))))
    safetensors.numpy.save_file(golden["weights"], tmp_path / "model.safetensors")
    return golden


def test_pretrainer(tmp_path):
    golden = read_golden(tmp_path)
    pretrainer = BertPretrainer.from_pretrained(tmp_path)
    pretrainer.encoder.output_hidden_states = True
    check_pretrainer(pretrainer, golden["inputs"], golden["outputs"], golden["gradients"])


def test_encoder_reads_the_same_file(tmp_path):
    golden = read_golden(tmp_path)
    outputs = BertEncoder.from_pretrained(tmp_path)(golden["inputs"])
    close(outputs["sequence_output"], golden["outputs"]["hidden_states"][-1])
    close(outputs["pooled_output"], golden["outputs"]["pooled_output"])
