"""A real classifier, BERT-tiny fine-tuned on SST-2, from its recorded embeddings on."""

import json

import numpy as np
import pytest
import safetensors.numpy

from keras_bert_lib.models import BertClassifier, BertConfig

SAMPLES = ("nuovo_cinema", "inputs_sst2_10tok", "input_12tok", "tonyma163_13tok")


@pytest.fixture(scope="module")
def samples(shared_data):
    return np.load(shared_data / "bert_tiny_sst2" / "samples.npz")


@pytest.fixture(scope="module")
def classifier(shared_data, tmp_path_factory):
    """The published tensors as a model directory; the embeddings, which were not, random."""
    directory = tmp_path_factory.mktemp("model")
    config = BertConfig.from_size("tiny", vocab_size=50)
    rng = np.random.default_rng(0)
    prefix = "bert.embeddings."
    tensors = {
        f"{prefix}word_embeddings.weight": rng.normal(size=(50, 128)),
        f"{prefix}position_embeddings.weight": rng.normal(size=(512, 128)),
        f"{prefix}token_type_embeddings.weight": rng.normal(size=(2, 128)),
        f"{prefix}LayerNorm.weight": rng.normal(size=128),
        f"{prefix}LayerNorm.bias": rng.normal(size=128),
        **np.load(shared_data / "bert_tiny_sst2" / "bert_tiny_sst2_encoder_hfnames.npz"),
    }
    # `save_file` takes what is not contiguous for something else.
    tensors = {name: np.ascontiguousarray(x, "float32") for name, x in tensors.items()}
    safetensors.numpy.save_file(tensors, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(config.to_huggingface()))
    return BertClassifier.from_pretrained(directory)


@pytest.mark.shared_data
@pytest.mark.parametrize("sample", SAMPLES)
def test_what_was_recorded(classifier, samples, sample):
    x = samples[f"{sample}.embeddings"][np.newaxis]  # [1, s, h]
    for block in classifier.encoder.blocks:
        x = block(x)
    pooled = classifier.encoder.pooler(x)
    np.testing.assert_allclose(x[0], samples[f"{sample}.hidden"], atol=1e-4)
    np.testing.assert_allclose(pooled[0], samples[f"{sample}.pooled"], atol=1e-4)
    logits = classifier.classifier(pooled)
    np.testing.assert_allclose(logits[0], samples[f"{sample}.logits"], atol=1e-4)
