"""Directories of sentence-transformers: a model, and how its vectors become one."""

import dataclasses
import json
import os

from keras_bert_lib.checkpoints import huggingface

MODULES_FILE = "modules.json"
SETTINGS_FILE = "sentence_bert_config.json"
POOLING_FOLDER, NORMALIZE_FOLDER = "1_Pooling", "2_Normalize"
# our `pooling` -> the key that older versions switch on for it
_POOLING_KEYS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
}
_MODULE_TYPES = {
    "transformer": "sentence_transformers.models.Transformer",
    "pooling": "sentence_transformers.models.Pooling",
    "normalize": "sentence_transformers.models.Normalize",
}


def matches(path):
    """Returns whether `path` is a directory of sentence-transformers."""
    return os.path.exists(os.path.join(path, MODULES_FILE))


def open_checkpoint(path):
    """Opens the model in a directory of sentence-transformers.

    What the other modules do is in its config, as `sentence_embedding`: a dict of `pooling`,
    `normalize`, `max_length` (or None), `lowercase` and `prompt` (or None); or, where they do
    something that this library does not, of `unsupported`, a sentence that says what. The encoder
    can be used then, but not as an embedder.
    """
    modules = read_modules(path)
    folder = modules[0]["path"]
    checkpoint = huggingface.open_checkpoint(folder)
    config = checkpoint.config | {"sentence_embedding": read_settings(path, modules)}
    return dataclasses.replace(checkpoint, config=config)


def read_modules(directory):
    """Returns the list of modules, dicts of `kind` and `path`, that a directory is made of."""
    file = os.path.join(directory, MODULES_FILE)
    entries = read_json(file)
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{file} must hold a list of modules. Received: {entries!r}")
    modules = []
    for entry in entries:
        if not isinstance(entry, dict) or not {"path", "type"} <= set(entry):
            raise ValueError(f"{file}: a module must have `type` and `path`. Received: {entry!r}")
        path = os.path.normpath(os.path.join(directory, entry["path"]))
        root = os.path.normpath(directory)
        if os.path.isabs(entry["path"]) or os.path.relpath(path, root).startswith(os.pardir):
            raise ValueError(f"{file} names a path outside the directory. Received: {entry!r}")
        modules.append({"kind": entry["type"].split(".")[-1], "path": path})
    if modules[0]["kind"] != "Transformer":
        raise ValueError(
            f"The first module in {file} must be a Transformer; models without one cannot be read. "
            f"Received: {modules[0]['kind']}"
        )
    return modules


def read_settings(directory, modules):
    """Returns what `open_checkpoint` adds to the config."""
    kinds = [module["kind"] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return {
            "unsupported": f"{directory} cannot be read as an embedder: modules must be a "
            "Transformer, a Pooling and at most a Normalize. Use its encoder with "
            f"`BertEncoder.from_pretrained`. Received: {', '.join(kinds)}"
        }
    file = os.path.join(modules[1]["path"], "config.json")
    pooling = read_json(file)
    modes = pooling.get("pooling_mode")
    if modes is None:
        prefix = "pooling_mode_"
        names = {key: mode for mode, key in _POOLING_KEYS.items()}
        on = [key for key, value in pooling.items() if key.startswith(prefix) and value is True]
        modes = [names.get(key, key) for key in on]
    modes = [modes] if isinstance(modes, str) else modes
    if len(modes) != 1 or modes[0] not in _POOLING_KEYS:
        return {
            "unsupported": f"{file}: the pooling must be one of {', '.join(_POOLING_KEYS)}. "
            f"Received: {', '.join(modes) or 'none'}"
        }
    file = os.path.join(modules[0]["path"], SETTINGS_FILE)
    settings = read_json(file) if os.path.exists(file) else {}
    return {
        "pooling": modes[0],
        "normalize": "Normalize" in kinds,
        "max_length": settings.get("max_seq_length"),
        "lowercase": settings.get("do_lower_case", False),
        "prompt": read_prompt(directory),
    }


def read_prompt(directory):
    """Returns the prompt that sentence-transformers puts before every text, or None."""
    file = os.path.join(directory, "config_sentence_transformers.json")
    settings = read_json(file) if os.path.exists(file) else {}
    return (settings.get("prompts") or {}).get(settings.get("default_prompt_name"))


def read_json(path):
    """Returns what a JSON file holds."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"{MODULES_FILE} names a module without {path}.") from None
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def module_files(pooling, normalize, max_length, hidden_size):
    """Returns the JSON files, by their paths, that make a model's directory an embedder's.

    Args:
        pooling: `"cls"`, `"mean"` or `"max"`.
        normalize: bool, whether embeddings are scaled to length 1.
        max_length: int, the most tokens of a text.
        hidden_size: int, width of the embeddings.

    Returns:
        dict of what the files hold.
    """
    paths = {"transformer": "", "pooling": POOLING_FOLDER}
    if normalize:
        paths["normalize"] = NORMALIZE_FOLDER
    files = {
        MODULES_FILE: [
            {"idx": i, "name": str(i), "path": path, "type": _MODULE_TYPES[kind]}
            for i, (kind, path) in enumerate(paths.items())
        ],
        # The tokenizer has its own `do_lower_case`.
        SETTINGS_FILE: {"max_seq_length": max_length, "do_lower_case": False},
        # The names of old versions, which new ones read too.
        f"{POOLING_FOLDER}/config.json": {
            "word_embedding_dimension": hidden_size,
            **{key: mode == pooling for mode, key in _POOLING_KEYS.items()},
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    }
    if normalize:
        # Old versions make the module of nothing, new ones of a config; either wants the folder.
        files[f"{NORMALIZE_FOLDER}/config.json"] = {}
    return files
