"""Model directories in the Hugging Face layout: `config.json`, `model.safetensors`, `vocab.txt`."""

import os

from keras_bert_lib.checkpoints.checkpoint import Checkpoint
from keras_bert_lib.checkpoints.files import read_json, write_json, written_aside
from keras_bert_lib.checkpoints.load_weights import shortlist
from keras_bert_lib.checkpoints.pytorch_source import PytorchSource
from keras_bert_lib.checkpoints.safetensors_source import SafetensorsSource, write_file
from keras_bert_lib.checkpoints.tensor_names import HEADS, tensors_by_name

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
PICKLE_FILE = "pytorch_model.bin"
INDEX_SUFFIX = ".index.json"
VOCABULARY_FILE = "vocab.txt"
# What a model directory may hold besides; a directory with these alone is not a stranger's.
TOKENIZER_FILES = (
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


def read_config(directory):
    """Returns the parsed `config.json` of a model directory."""
    path = os.path.join(directory, CONFIG_FILE)
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"{directory} has no {CONFIG_FILE}, so it is no model directory. "
            f"It holds: {', '.join(sorted(os.listdir(directory))) or 'nothing'}"
        )
    return read_json(path)


def has_tokenizer(directory):
    """Returns whether a model directory has a vocabulary, in either file that may hold it."""
    names = (VOCABULARY_FILE, "tokenizer.json")
    return any(os.path.exists(os.path.join(directory, name)) for name in names)


def open_weights(directory):
    """Returns the tensors of a model directory.

    They are in a safetensors file, or several with an index, or else in PyTorch's pickles.
    """
    for weights_file, source in ((WEIGHTS_FILE, SafetensorsSource), (PICKLE_FILE, PytorchSource)):
        path = os.path.join(directory, weights_file)
        if os.path.exists(path):
            return source(path, [path])
        path += INDEX_SUFFIX
        if os.path.exists(path):
            return open_shards(path, source)
    raise FileNotFoundError(
        f"{directory} has no {WEIGHTS_FILE}. It holds: {', '.join(sorted(os.listdir(directory)))}"
    )


def open_shards(path, source):
    """Returns the tensors of the files that an index names."""
    shards = read_json(path).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(x, str) for x in shards.values()):
        raise ValueError(f"{path} must have a `weight_map` of files. Received: {shards!r:.80}")
    for name in shards.values():
        if os.path.basename(name) != name or "\\" in name or ":" in name or name in ("", ".."):
            raise ValueError(f"{path} must name files in its own directory. Received: {name}")
    files = [os.path.join(os.path.dirname(path), name) for name in sorted(set(shards.values()))]
    opened = source(path, files)
    different = sorted(set(shards) ^ set(opened.names.values()))
    if different:
        raise ValueError(
            f"{path} does not belong to its files: each tensor must be in both. Only in one of "
            f"them: {shortlist(different)}"
        )
    return opened


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
    with written_aside(directory) as temporary:
        for name, contents in ({CONFIG_FILE: config} | dict(files)).items():
            path = os.path.join(temporary, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_json(path, contents)
        if tokenizer is not None:
            tokenizer.save_pretrained(temporary)
        write_file(os.path.join(temporary, WEIGHTS_FILE), tensors)


def check_target(directory, overwrite):
    """Raises where saving would mix a model into files of something else."""
    if os.path.exists(directory) and not os.path.isdir(directory):
        raise ValueError(f"`directory` must be a directory, not a file. Received: {directory}")
    if overwrite or not os.path.isdir(directory):
        return
    held = [name for name in sorted(os.listdir(directory)) if not name.startswith(".saving-")]
    if CONFIG_FILE in held or not set(held) - set(TOKENIZER_FILES):
        return
    raise ValueError(
        f"`directory` holds something other than a model: {shortlist(held)}. Choose another, or "
        f"pass overwrite=True to write among it. Received: {directory}"
    )
