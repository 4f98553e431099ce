"""Models on the Hugging Face hub."""

import importlib.util
import os
import re
from pathlib import Path

from keras_bert_lib.checkpoints.huggingface import (
    CONFIG_FILE,
    INDEX_SUFFIX,
    PICKLE_FILE,
    TOKENIZER_FILES,
    WEIGHTS_FILE,
)

# Also those of the modules that sentence-transformers has in folders such as 1_Pooling, and those
# of a preset of KerasHub.
_FILES = (
    CONFIG_FILE,
    WEIGHTS_FILE,
    WEIGHTS_FILE + INDEX_SUFFIX,
    "model-*-of-*.safetensors",
    *TOKENIZER_FILES,
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "[0-9]_*/*.json",
    "[0-9]_*/*.safetensors",
    "[0-9]_*/vocab.txt",
    "task.json",
    "preprocessor.json",
    "*.weights.h5",
    "assets/tokenizer/*",
)
_PICKLES = (PICKLE_FILE, PICKLE_FILE + INDEX_SUFFIX, "pytorch_model-*-of-*.bin")


def download(name, revision=None, token=None, cache_dir=None, local_files_only=False):
    """Downloads a model that is not in the cache yet, and shows the progress.

    Args:
        name: str, `OWNER/MODEL`, with `hf://` before it or not.
        revision: str, a branch, tag or commit; None is the main branch.
        token: str, an access token for private models; None takes the one of the machine's login.
        cache_dir: path of the cache; None is that of `huggingface_hub`.
        local_files_only: bool, whether to take only what is in the cache. So does the environment
            variable `HF_HUB_OFFLINE=1`.

    Returns:
        Path of the directory in the cache.

    Raises:
        FileNotFoundError: if there is no such model, or it cannot be reached.
    """
    name = name.removeprefix("hf://")
    if os.path.exists(name) or not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise FileNotFoundError(
            "`path` must be a model directory or the name of a model on the Hugging Face hub. "
            f"Received: {name}"
        )
    import huggingface_hub

    def snapshot(patterns):
        return huggingface_hub.snapshot_download(
            name,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            allow_patterns=list(patterns),
        )

    try:
        directory = snapshot(_FILES)
        if not any(path.suffix in (".safetensors", ".h5") for path in Path(directory).rglob("*")):
            # Only where there is nothing better.
            if importlib.util.find_spec("torch") is None:
                raise FileNotFoundError(
                    f"it has no {WEIGHTS_FILE}, and a {PICKLE_FILE} can only be read where PyTorch "
                    "is installed (pip install torch)."
                )
            directory = snapshot([*_FILES, *_PICKLES])
        return directory
    except Exception as error:  # what there is depends on the version of huggingface_hub
        raise FileNotFoundError(f"There is no directory {name}, and {reason(error)}") from error


def reason(error):
    """Returns why the hub did not give a model, in one line."""
    from huggingface_hub import errors

    # The more special ones first.
    for kind, text in (
        (
            errors.GatedRepoError,
            "the model of that name on the Hugging Face hub is gated: ask for access on its page, "
            "then give a token (`token=`, or `hf auth login`)",
        ),
        (
            errors.RepositoryNotFoundError,
            "the Hugging Face hub has no model of that name, or a private one. Check the name, or "
            "give a token (`token=`, or `hf auth login`)",
        ),
        (
            errors.RevisionNotFoundError,
            "the model of that name on the Hugging Face hub has no such `revision`",
        ),
        (
            (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled),
            "the model of that name is not in the cache, and the Hugging Face hub cannot be "
            "reached, or is not to be (`local_files_only`, HF_HUB_OFFLINE)",
        ),
    ):
        if isinstance(error, kind):
            return f"{text}."
    first = next((line for line in str(error).split("\n") if line.strip()), "")
    return (
        f"the Hugging Face hub did not give a model of that name: {first or type(error).__name__}"
    )
