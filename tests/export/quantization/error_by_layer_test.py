import json

import numpy as np
import tensorflow as tf

from keras_bert_lib.export import quantization
from tests.export.quantization.conftest import run


def test_rows(network, network_file):
    samples = [network.sample(seed) for seed in range(20)]
    content = quantization.quantize(network_file, "int8", samples)
    rows = quantization.error_by_layer(network_file, content, samples)
    kinds = ["EMBEDDING_LOOKUP"] * 2 + ["FULLY_CONNECTED"] * 2
    assert sorted(row["operator"] for row in rows) == kinds
    assert json.loads(json.dumps(rows)) == rows
    for row in rows:
        assert 20 < row["snr_db"] < 60
        assert 0.99 < row["cosine"] < 1

    # The last product gives the outputs, so its row can be checked from outside.
    expected = [run(network_file, **sample)["outputs"] for sample in samples]
    found = [run(content, **sample)["outputs"] for sample in samples]
    expected, found = np.concatenate(expected), np.concatenate(found)
    error = expected - found
    snr = 10 * np.log10(np.square(expected).sum() / np.square(error).sum())
    np.testing.assert_allclose(rows[-1]["snr_db"], snr, atol=0.01)
    np.testing.assert_allclose(rows[-1]["max_error"], np.abs(error).max(), rtol=1e-4)
    cosine = -tf.keras.losses.cosine_similarity(expected, found).numpy().mean()
    np.testing.assert_allclose(rows[-1]["cosine"], cosine, atol=1e-4)


def test_no_error(network, network_file):
    rows = quantization.error_by_layer(network_file, network_file, [network.sample(0)])
    assert len(rows) == 4
    assert all(row["max_error"] == 0 and row["snr_db"] is None for row in rows)
