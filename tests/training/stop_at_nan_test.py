"""A loss that is no number ends the training, and its batch is written down."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_bert_lib.training import Resume, StopAtNaN
from tests.training.resume_test import fit, make_dataset, make_model


def spoilt(bad):
    """Batches, the same in each iteration, of which one is not finite."""

    def spoil(number, batch):
        x, y = batch
        return tf.where(number == bad, tf.constant(np.nan), 1.0) * x, y

    batches = list(make_dataset().take(8))
    x, y = (tf.stack(column) for column in zip(*batches))
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).repeat()
    return dataset.enumerate().map(spoil)


@pytest.mark.parametrize("steps_per_execution", [1, 2])
def test_stops_and_writes_the_batch(tmp_path, steps_per_execution):
    dataset, bad = spoilt(17), 17
    model = make_model()
    model.steps_per_execution = steps_per_execution
    path = tmp_path / "state.npz"
    stop = StopAtNaN(tmp_path / "nan" / "batch.npz", lambda n: next(iter(dataset.skip(n))))
    # A ReLU makes zeros of them, so that their gradient alone is NaN, and the next step's loss.
    step = bad + 1 + steps_per_execution
    with pytest.raises(FloatingPointError, match=rf"nan after step {step}; .* in .*batch\.npz"):
        fit(model, Resume(path, 4), stop, dataset=dataset, steps_per_epoch=8)
    with np.load(tmp_path / "nan" / "batch.npz") as written:
        x, y = next(itertools.islice(dataset.as_numpy_iterator(), bad, None))
        np.testing.assert_array_equal(written["18/0"], x)
        np.testing.assert_array_equal(written["18/1"], y)
        assert {name[:2] for name in written.files} == set(map(str, range(18, step + 1)))
        assert np.isnan(x).all()
    # The weights before are kept: with good data the training goes on from there.
    resumed = fit(make_model(), Resume(path, 4), dataset=spoilt(-1), steps_per_epoch=8)
    assert min(resumed.weights) == 16
    assert np.isfinite(list(resumed.weights.values())).all()


def test_looks_now_and_then():
    with pytest.raises(FloatingPointError, match=r"nan after step 10\. Try a lower learning rate"):
        fit(make_model(), StopAtNaN("unused.npz", every=5), dataset=spoilt(8), steps_per_epoch=14)
    with pytest.raises(ValueError, match=r"`every` must be 1 or more\. Received: 0"):
        StopAtNaN("unused.npz", every=0)
