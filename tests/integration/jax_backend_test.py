"""Keras on JAX gives the numbers of Keras on TensorFlow, on one device and divided over four.

JAX and TensorFlow cannot both be the backend of one process, so each has its own.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
ERRORS = """
import keras, numpy as np
import keras_bert_lib as kbl
from tests.export.task_models import make_model

model = make_model("label")
calls = {
    "export": lambda: kbl.export.saved_model(model, "never"),
    "verification": lambda: kbl.export.verify("never", model, ["a"]),
    "adversarial": lambda: model.compile("sgd", adversarial=kbl.training.FGM()),
    "strategy": lambda: kbl.training.create_strategy("mirrored"),
    "functional": lambda: model.tokenizer(keras.Input((), dtype="string")),
}
for name, call in calls.items():
    try:
        call()
    except ValueError as error:
        print(f"{name}: {error}")
"""

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed"),
]


def run(backend, *arguments):
    """Runs Python in a process with a backend, and four devices where it is JAX; returns output."""
    variables = {
        "KERAS_BACKEND": backend,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    process = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.slow
def test_models_compute_and_learn_as_on_tensorflow(tmp_path):
    for backend in ("tensorflow", "jax"):  # in this order: JAX reads files of TensorFlow
        run(backend, "-m", "tests.integration.backend_numbers", "models", tmp_path)
    expected, numbers = (np.load(tmp_path / f"models-{b}.npz") for b in ("tensorflow", "jax"))
    assert sorted(numbers) == sorted(expected)
    for name in expected:
        # Half precision rounds to 3 digits (float16) or 2 (bfloat16), each backend in its places.
        is_half = "mixed" in name
        tolerance = {"rtol": 0.01, "atol": 0} if is_half else {"rtol": 1e-5, "atol": 2e-5}
        np.testing.assert_allclose(numbers[name], expected[name], **tolerance, err_msg=name)
        if "losses" in name:
            assert np.ptp(expected[name]) > 0.01, name


@pytest.fixture(scope="module")
def distribution_numbers(tmp_path_factory):
    """Losses on one device and on four."""
    folder = tmp_path_factory.mktemp("distribution")
    run("jax", "-m", "tests.integration.backend_numbers", "distribution", folder)
    return np.load(folder / "distribution-jax.npz")


@pytest.mark.parametrize("way", ["data", "model", "data and model"])
def test_four_devices_train_like_one(distribution_numbers, way):
    assert distribution_numbers["devices"] == 4
    expected = distribution_numbers["one device"]
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(distribution_numbers[way], expected, rtol=0, atol=1e-5)


def test_a_divided_training_goes_on_from_its_file(distribution_numbers):
    loaded, expected = distribution_numbers["loaded"], distribution_numbers["one device"]
    np.testing.assert_allclose(loaded, expected[-len(loaded) :], rtol=0, atol=1e-5)


# A third of so small a model is positions and heads, which are on all devices.
@pytest.mark.parametrize(("way", "share"), [("model", 1 / 4), ("data and model", 1 / 2)])
def test_a_device_holds_its_part_of_the_blocks(distribution_numbers, way, share):
    for part in ("weights", "moments"):
        held = distribution_numbers[f"{way}, {part} on a device"]
        assert held == pytest.approx(1 / 3 + 2 / 3 * share, abs=0.03), part


def test_what_needs_tensorflow_says_so(tmp_path):
    lines = run("jax", "-c", ERRORS).splitlines()
    assert len(lines) == 5
    for line in lines:
        assert "TensorFlow backend" in line, line
        assert line.endswith("Received: backend 'jax'"), line
