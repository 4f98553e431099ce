"""What every test starts from: two logical CPU devices, a fixed seed, clean global state."""

import importlib.util
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test reaches for the network

import keras
import pytest
import tensorflow as tf

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PARITY_PACKAGES = ("torch", "transformers")

# MirroredStrategy needs two devices, and they can only be made before TensorFlow runs its
# first op: hence here, and not in the tests that want them.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


def pytest_collection_modifyitems(config, items):
    absent = [name for name in PARITY_PACKAGES if importlib.util.find_spec(name) is None]
    for item in items:
        if absent and item.get_closest_marker("parity"):
            reason = f'{", ".join(absent)} not installed: pip install -e ".[parity]"'
            item.add_marker(pytest.mark.skip(reason=reason))
        if not SHARED_DATA.is_dir() and item.get_closest_marker("shared_data"):
            item.add_marker(pytest.mark.skip(reason=f"no data sets at {SHARED_DATA}"))


@pytest.fixture(autouse=True)
def fresh_state():
    """Seed Python, NumPy and Keras, and drop what earlier tests left in Keras."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    # As TensorFlow's own tests do: else a new strategy reuses the keys of collective operations of
    # an old one, whose shapes were others.
    tf.distribute.MirroredStrategy._collective_key_base += 100_000
    yield
    # A precision policy that one test sets must not reach the next.
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")


@pytest.fixture(scope="session")
def shared_data():
    """The folder of public data sets; tests that use it carry the `shared_data` marker."""
    return SHARED_DATA
