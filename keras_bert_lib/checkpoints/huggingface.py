"""Model directories in the Hugging Face layout: `config.json`, `model.safetensors`, `vocab.txt`."""

import json
import os
import re
import shutil
import tempfile

import safetensors.numpy

from keras_bert_lib.checkpoints.checkpoint import Checkpoint
from keras_bert_lib.checkpoints.load_weights import shortlist
from keras_bert_lib.checkpoints.safetensors_source import SafetensorsSource, tensor_keys
from keras_bert_lib.checkpoints.tensor_names import HEADS, tensors_by_name

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
VOCABULARY_FILE = "vocab.txt"
# What a model directory may hold besides; a directory with these alone is not a stranger's.
_TOKENIZER_FILES = (
    VOCABULARY_FILE,
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
)


def matches(path):
    """Returns whether `path` is a model directory in this layout."""
    return os.path.exists(os.path.join(path, CONFIG_FILE))


def open_checkpoint(path):
    """Opens a model directory in this layout."""
    return Checkpoint(
        config=read_config(path),
        source=open_weights(path),
        directory=path,
    )


def find_directory(path):
    """Returns the local directory of a model.

    Args:
        path: a directory, or the name of a model on the Hugging Face hub, which is downloaded.

    Raises:
        FileNotFoundError: if it is neither.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        return path
    if os.path.exists(path) or not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", path):
        raise FileNotFoundError(
            "`path` must be a model directory or the name of a model on the Hugging Face hub. "
            f"Received: {path}"
        )
    import huggingface_hub

    try:
        return huggingface_hub.snapshot_download(
            path, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE, *_TOKENIZER_FILES]
        )
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"There is no directory {path}, and the Hugging Face hub did not give a model of that "
            f"name: {error}"
        ) from error


def read_config(directory):
    """Returns the parsed `config.json` of a model directory."""
    path = os.path.join(directory, CONFIG_FILE)
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"{directory} has no {CONFIG_FILE}, so it is no model directory. "
            f"It holds: {', '.join(sorted(os.listdir(directory))) or 'nothing'}"
        )
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} must hold a JSON object. Received: {type(config).__name__}")
    return config


def has_tokenizer(directory):
    """Returns whether a model directory has a vocabulary."""
    return os.path.exists(os.path.join(directory, VOCABULARY_FILE))


def open_weights(directory):
    """Returns the tensors of a model directory."""
    path = os.path.join(directory, WEIGHTS_FILE)
    if not os.path.exists(path):
        hint = ""
        if os.path.exists(os.path.join(directory, "pytorch_model.bin")):
            hint = (
                " It has a pytorch_model.bin, which only PyTorch can read; write it anew with "
                "`save_pretrained` of `transformers`."
            )
        raise FileNotFoundError(f"{directory} has no {WEIGHTS_FILE}.{hint}")
    return SafetensorsSource(path, dict.fromkeys(tensor_keys(path), path))


def write_directory(directory, config, variables, tokenizer=None, overwrite=False, files=()):
    """Writes a model directory.

    All files are written into a folder beside their places first, so that a disk that fills or an
    interruption leaves an earlier model as it was.

    Args:
        directory: path; made where it does not exist.
        config: dict, the contents of `config.json`.
        variables: dict of Keras variables by our names.
        tokenizer: `BertTokenizer` or None.
        overwrite: bool, whether to write among files that are not a model's.
        files: dict of what further JSON files hold by their paths in the directory.

    Raises:
        ValueError: if `directory` is a file, or holds something other than a model and
            `overwrite` is False.
    """
    directory = os.fspath(directory)
    check_target(directory, overwrite)
    # `transformers` keeps the prefix for models with a head.
    prefix = "" if config["architectures"] == ["BertModel"] else "bert."
    tensors = {
        name if name.startswith(HEADS) else prefix + name: array
        for name, array in tensors_by_name(variables).items()
    }
    os.makedirs(directory, exist_ok=True)
    # Within the directory: os.replace does not cross file systems.
    temporary = tempfile.mkdtemp(prefix=".saving-", dir=directory)
    try:
        for name, contents in ({CONFIG_FILE: config} | dict(files)).items():
            path = os.path.join(temporary, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                json.dump(contents, file, indent=2, sort_keys=True, ensure_ascii=False)
                file.write("\n")
        if tokenizer is not None:
            tokenizer.save_pretrained(temporary)
        # `transformers` asks for the format before it reads.
        weights_path = os.path.join(temporary, WEIGHTS_FILE)
        safetensors.numpy.save_file(tensors, weights_path, metadata={"format": "pt"})
        # It comes out readable by its owner alone; a server may run as somebody else.
        shutil.copymode(os.path.join(temporary, CONFIG_FILE), weights_path)
        for folder, _, names in os.walk(temporary):
            target = os.path.join(directory, os.path.relpath(folder, temporary))
            os.makedirs(target, exist_ok=True)
            for name in sorted(names):
                os.replace(os.path.join(folder, name), os.path.join(target, name))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_target(directory, overwrite):
    """Raises where saving would mix a model into files of something else."""
    if os.path.exists(directory) and not os.path.isdir(directory):
        raise ValueError(f"`directory` must be a directory, not a file. Received: {directory}")
    if overwrite or not os.path.isdir(directory):
        return
    held = [name for name in sorted(os.listdir(directory)) if not name.startswith(".saving-")]
    if CONFIG_FILE in held or not set(held) - set(_TOKENIZER_FILES):
        return
    raise ValueError(
        f"`directory` holds something other than a model: {shortlist(held)}. Choose another, or "
        f"pass overwrite=True to write among it. Received: {directory}"
    )
