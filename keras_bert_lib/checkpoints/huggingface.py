"""Model directories in the Hugging Face layout: `config.json`, `model.safetensors`, `vocab.txt`."""

import json
import os
import re
import shutil
import tempfile

import ml_dtypes  # noqa: F401 (teaches NumPy bfloat16, which checkpoints may hold)
import numpy as np
import safetensors
import safetensors.numpy
from absl import logging

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

# our name -> tensors of the file. Names leave out the file's `bert.` prefix. A kernel is
# transposed: Keras has [in, out], PyTorch [out, in]. Query, key and value share one fused kernel.
_EMBEDDINGS = {
    "embeddings/token_embedding": ["embeddings.word_embeddings.weight"],
    "embeddings/position_embedding": ["embeddings.position_embeddings.weight"],
    "embeddings/segment_embedding": ["embeddings.token_type_embeddings.weight"],
    "embeddings/layer_norm/gamma": ["embeddings.LayerNorm.weight"],
    "embeddings/layer_norm/beta": ["embeddings.LayerNorm.bias"],
}
_BLOCK = {
    "attention/qkv/kernel": [f"attention.self.{x}.weight" for x in ("query", "key", "value")],
    "attention/qkv/bias": [f"attention.self.{x}.bias" for x in ("query", "key", "value")],
    "attention/output/kernel": ["attention.output.dense.weight"],
    "attention/output/bias": ["attention.output.dense.bias"],
    "attention_norm/gamma": ["attention.output.LayerNorm.weight"],
    "attention_norm/beta": ["attention.output.LayerNorm.bias"],
    "intermediate/kernel": ["intermediate.dense.weight"],
    "intermediate/bias": ["intermediate.dense.bias"],
    "output/kernel": ["output.dense.weight"],
    "output/bias": ["output.dense.bias"],
    "output_norm/gamma": ["output.LayerNorm.weight"],
    "output_norm/beta": ["output.LayerNorm.bias"],
}
# Not in `transformers`: the last LayerNorm of a pre-LN encoder.
_FINAL_NORM = {
    "final_norm/gamma": ["encoder.LayerNorm.weight"],
    "final_norm/beta": ["encoder.LayerNorm.bias"],
}
_HEADS = {
    "pooler/dense/kernel": ["pooler.dense.weight"],
    "pooler/dense/bias": ["pooler.dense.bias"],
    "mlm_head/dense/kernel": ["cls.predictions.transform.dense.weight"],
    "mlm_head/dense/bias": ["cls.predictions.transform.dense.bias"],
    "mlm_head/layer_norm/gamma": ["cls.predictions.transform.LayerNorm.weight"],
    "mlm_head/layer_norm/beta": ["cls.predictions.transform.LayerNorm.bias"],
    "mlm_head/bias": ["cls.predictions.bias"],
    "nsp_head/dense/kernel": ["cls.seq_relationship.weight"],
    "nsp_head/dense/bias": ["cls.seq_relationship.bias"],
    "classifier/kernel": ["classifier.weight"],
    "classifier/bias": ["classifier.bias"],
}

# The parts of a model that a checkpoint may lack, and that a model may have no use for.
_OPTIONAL = ("pooler", "mlm_head", "nsp_head", "classifier")
_UNUSED = ("pooler.", "cls.", "classifier.", "qa_outputs.")
# Constants that older versions of `transformers` saved.
_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
# The MLM head's matrix and bias under second names: copies, where they are tied.
_TIED = {
    "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


def tensors_of(name):
    """Returns the names of the file's tensors that make up the weight with our `name`."""
    block = re.fullmatch(r"block_(\d+)/(.+)", name)
    if block and block[2] in _BLOCK:
        return [f"encoder.layer.{block[1]}.{tensor}" for tensor in _BLOCK[block[2]]]
    for names in (_EMBEDDINGS, _FINAL_NORM, _HEADS):
        if name in names:
            return names[name]
    raise ValueError(
        "The model has a weight that the Hugging Face layout has no name for; save it as a "
        f"`.keras` file. Received: {name}"
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


def tensor_shape(directory, name):
    """Returns the shape of the tensor `name` in a model directory, or None if there is none."""
    with open_weights(directory) as file:
        return tuple(file.get_slice(name).get_shape()) if name in file.keys() else None  # noqa: SIM118


def open_weights(directory):
    """Opens the `model.safetensors` of a model directory."""
    path = os.path.join(directory, WEIGHTS_FILE)
    if not os.path.exists(path):
        hint = ""
        if os.path.exists(os.path.join(directory, "pytorch_model.bin")):
            hint = (
                " It has a pytorch_model.bin, which only PyTorch can read; write it anew with "
                "`save_pretrained` of `transformers`."
            )
        raise FileNotFoundError(f"{directory} has no {WEIGHTS_FILE}.{hint}")
    try:
        return safetensors.safe_open(path, framework="np")
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file: {error}") from error


def load_weights(directory, variables):
    """Assigns the tensors of a model directory to the variables of a model.

    All names and shapes are checked before anything is assigned.

    Args:
        directory: path of a directory with a `model.safetensors`.
        variables: dict of Keras variables by our names.

    Raises:
        FileNotFoundError: if there is no `model.safetensors`.
        ValueError: if a tensor is missing, unexpected or of another shape.
    """
    path = os.path.join(directory, WEIGHTS_FILE)
    with open_weights(directory) as file:
        keys = file_keys(file, path)  # name without prefix -> name in the file
        absent = absent_parts(keys, variables)
        wanted = {name: tensors_of(name) for name in variables if name.split("/")[0] not in absent}
        check_names(keys, wanted, path)
        for name, tensors in wanted.items():
            check_shapes(file, keys, name, tensors, tuple(variables[name].shape), path)
        if any(name.startswith("mlm_head/") for name in wanted):
            check_tied(file, keys, path)
        for name, tensors in wanted.items():
            variables[name].assign(merge(name, [file.get_tensor(keys[t]) for t in tensors]))
    if absent:
        logging.warning("%s has no %s: newly initialized.", path, ", ".join(absent))
    used = {tensor for tensors in wanted.values() for tensor in tensors}
    unused = sorted(set(keys) - used - set(_BUFFERS) - set(_TIED))
    if unused:
        logging.info("%s: not used by this model: %s.", path, ", ".join(unused))


def file_keys(file, path):
    """Returns the file's names by the names of the map: no `bert.`, no TensorFlow LayerNorm."""
    keys = {}
    for key in file.keys():  # noqa: SIM118 (not a dict)
        name = key.removeprefix("bert.")
        name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
        name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
        if name in keys:
            raise ValueError(f"{path} holds one tensor twice, as {keys[name]} and as {key}.")
        keys[name] = key
    return keys


def absent_parts(keys, variables):
    """Returns the optional parts of the model of which the file has no tensor at all."""
    tensors = {}
    for name in variables:
        tensors.setdefault(name.split("/")[0], []).extend(tensors_of(name))
    return [part for part in _OPTIONAL if part in tensors and not set(tensors[part]) & set(keys)]


def check_names(keys, wanted, path):
    """Raises for tensors that are missing and for such as have no place in any BERT."""
    used = [tensor for tensors in wanted.values() for tensor in tensors]
    missing = [tensor for tensor in used if tensor not in keys]
    if missing:
        raise ValueError(
            f"{path} lacks {len(missing)} of the {len(used)} tensors the model needs. Check that "
            f"config.json belongs to it. Missing: {shortlist(missing)}"
        )
    unexpected = [
        keys[name]
        for name in sorted(set(keys) - set(used))
        if name not in _BUFFERS and not name.startswith(_UNUSED)
    ]
    if unexpected:
        raise ValueError(
            f"{path} has {len(unexpected)} tensors that the model has no place for. Check that "
            f"config.json belongs to it. Unexpected: {shortlist(unexpected)}"
        )


def shortlist(names):
    """Returns the first few names in one line."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def check_shapes(file, keys, name, tensors, shape, path):
    """Raises where a tensor does not have the shape that our variable of `shape` needs."""
    # Ours is [in, out] or [out], all tensors' outs together; theirs [out, in] or [out].
    expected = (*shape[:-1], shape[-1] // len(tensors))
    if name.endswith("/kernel"):
        expected = expected[::-1]
    for tensor in tensors:
        found = tuple(file.get_slice(keys[tensor]).get_shape())
        if found != expected:
            raise ValueError(
                f"{path}: {keys[tensor]} has the wrong shape for the model ({name}). "
                f"Expected: {expected}. Received: {found}"
            )


def check_tied(file, keys, path):
    """Raises where the MLM head has a matrix of its own, which ours cannot have."""
    for tensor, original in _TIED.items():
        if tensor not in keys:
            continue
        if not np.array_equal(file.get_tensor(keys[tensor]), file.get_tensor(keys[original])):
            raise ValueError(
                f"{path}: {keys[tensor]} differs from {keys[original]}, but the masked language "
                "model head shares it. Such a model (tie_word_embeddings false) cannot be read."
            )


def merge(name, tensors):
    """Returns our weight `name`, made of the file's tensors."""
    if name.endswith("/kernel"):
        tensors = [tensor.T for tensor in tensors]
    return tensors[0] if len(tensors) == 1 else np.concatenate(tensors, axis=-1)


def split(name, array):
    """Returns the file's tensors that our weight `name` makes; the inverse of `merge`."""
    tensors = np.split(array, len(tensors_of(name)), axis=-1)
    if name.endswith("/kernel"):
        tensors = [tensor.T for tensor in tensors]
    return [np.ascontiguousarray(tensor) for tensor in tensors]


def write_directory(directory, config, variables, tokenizer=None, overwrite=False):
    """Writes a model directory.

    All files are written into a folder beside their places first, so that a disk that fills or an
    interruption leaves an earlier model as it was.

    Args:
        directory: path; made where it does not exist.
        config: dict, the contents of `config.json`.
        variables: dict of Keras variables by our names.
        tokenizer: `BertTokenizer` or None.
        overwrite: bool, whether to write among files that are not a model's.

    Raises:
        ValueError: if `directory` is a file, or holds something other than a model and
            `overwrite` is False.
    """
    directory = os.fspath(directory)
    check_target(directory, overwrite)
    # `transformers` keeps the prefix for models with a head.
    prefix = "" if config["architectures"] == ["BertModel"] else "bert."
    tensors = {}
    for name, variable in variables.items():
        for tensor, array in zip(tensors_of(name), split(name, np.asarray(variable))):
            head = tensor.startswith(("cls.", "classifier."))
            tensors[tensor if head else prefix + tensor] = array
    os.makedirs(directory, exist_ok=True)
    # Within the directory: os.replace does not cross file systems.
    temporary = tempfile.mkdtemp(prefix=".saving-", dir=directory)
    try:
        with open(os.path.join(temporary, CONFIG_FILE), "w", encoding="utf-8") as file:
            json.dump(config, file, indent=2, sort_keys=True, ensure_ascii=False)
            file.write("\n")
        if tokenizer is not None:
            tokenizer.save_pretrained(temporary)
        # `transformers` asks for the format before it reads.
        weights_path = os.path.join(temporary, WEIGHTS_FILE)
        safetensors.numpy.save_file(tensors, weights_path, metadata={"format": "pt"})
        # It comes out readable by its owner alone; a server may run as somebody else.
        shutil.copymode(os.path.join(temporary, CONFIG_FILE), weights_path)
        for name in sorted(os.listdir(temporary)):
            os.replace(os.path.join(temporary, name), os.path.join(directory, name))
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
