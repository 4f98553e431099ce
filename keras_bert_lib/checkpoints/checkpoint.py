"""A model on disk."""

import dataclasses

from keras_bert_lib.checkpoints.tensor_source import TensorSource


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A model on disk, whatever its format.

    Args:
        config: dict, what a Hugging Face `config.json` says of the model. A format that has no
            such file writes it in these words (`hidden_size`, `num_hidden_layers`, ...).
        source: `TensorSource`, the weights.
        directory: str, the folder of `vocab.txt` and `tokenizer_config.json`, or None where there
            is none.
        tokenizer: dict of arguments of `BertTokenizer`, for a format whose tokenizer is kept in
            other files than these; None takes those in `directory`.
    """

    config: dict
    source: TensorSource
    directory: str | None = None
    tokenizer: dict | None = None
