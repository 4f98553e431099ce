"""What every model shares: saving, loading, and the state of its random numbers."""

import json

import keras
import numpy as np
from absl import logging
from keras import ops

from keras_bert_lib.checkpoints import huggingface
from keras_bert_lib.checkpoints.load_weights import load_weights
from keras_bert_lib.checkpoints.open_checkpoint import open_checkpoint
from keras_bert_lib.checkpoints.tensor_names import weights_by_name
from keras_bert_lib.layers.initializers import normal, without_drawing
from keras_bert_lib.models.bert_config import BertConfig
from keras_bert_lib.models.distributed_model import DistributedModel

# Different heads, whose weights have the same names and may have the same shapes: class of
# `transformers` -> ours.
_CLASSIFIERS = {
    "BertForSequenceClassification": "BertClassifier",
    "BertForTokenClassification": "BertTokenClassifier",
    "BertForMultipleChoice": "BertMultipleChoice",
}


class PretrainedModel(DistributedModel):
    """Base of the models: `save_pretrained`, `from_pretrained`, and exact `.keras` files.

    A subclass has a `config`, names the class of `transformers` that reads what it writes in
    `_architecture`, and makes itself from a `Checkpoint` in `_from_checkpoint`.
    """

    _architecture = None

    @classmethod
    def _from_checkpoint(cls, config, checkpoint, **kwargs):
        """Returns a new model, before its weights are read."""
        raise NotImplementedError

    @property
    def training_record(self):
        """What is known of the model's training: a dict that JSON can hold, or None.

        `save_pretrained` keeps it in `config.json`, as "training", and model cards show it. Set it
        to what you want to be known. Where nobody did, it is what `fit` measured in its last epoch,
        or in the best one, where `BestCheckpoint` put that one's weights back.
        """
        record = getattr(self, "_training_record", None)
        history = getattr(self, "history", None)
        if record is None and isinstance(history, keras.callbacks.History) and history.epoch:
            record = {"epochs": history.epoch[-1] + 1}
            best = getattr(history, "best_epoch", None)
            if best is None:
                return record | {"last epoch": _numbers(history.history, -1)}
            measured = {}
            if best in history.epoch:  # one before an interruption is not in this history
                measured = _numbers(history.history, history.epoch.index(best))
            return record | {"best epoch": {"epoch": best + 1} | measured}
        return None if record is None else json.loads(record)

    @training_record.setter
    def training_record(self, record):
        # As text, of which Keras makes no dict of its own.
        self._training_record = None if record is None else json.dumps(record)

    def _huggingface_config(self):
        """Returns the model's `config.json`."""
        return self.config.to_huggingface() | {"architectures": [self._architecture]}

    def _other_files(self):
        """Returns what further JSON files of the model's directory hold, by their paths in it."""
        return {}

    def save_pretrained(self, directory, overwrite=False):
        """Writes the model as a directory in the Hugging Face layout.

        `config.json` and `model.safetensors`, and the tokenizer's files where the model has a
        tokenizer. `transformers` loads it to the same numbers. The files are written aside and
        moved in place when all of them are whole: a save that is interrupted leaves an earlier
        one as it was.

        Args:
            directory: path; it is made where it does not exist.
            overwrite: bool, whether to write into a directory that holds other things than a
                model. They stay.

        Raises:
            ValueError: if `directory` is a file, or holds other things than a model and
                `overwrite` is False.

        Example:
            ```python
            import tempfile
            from keras_bert_lib.models import BertConfig, BertEncoder

            directory = tempfile.mkdtemp()
            encoder = BertEncoder(BertConfig.from_size("tiny", vocab_size=100))
            encoder.save_pretrained(directory)
            encoder = BertEncoder.from_pretrained(directory)
            ```
        """
        if hasattr(self, "mlm_head") and (
            self.config.mlm_hidden_act or self.config.mlm_layer_norm_eps
        ):
            logging.warning(
                "The masked LM head has an activation or epsilon of its own, which `transformers` "
                "does not read: its logits will differ."
            )
        config = self._huggingface_config()
        if self.training_record:
            config["training"] = self.training_record
        huggingface.write_directory(
            directory,
            config,
            weights_by_name(self),
            tokenizer=getattr(self, "tokenizer", None),
            overwrite=overwrite,
            files=self._other_files(),
        )

    @classmethod
    def from_pretrained(
        cls,
        path,
        revision=None,
        token=None,
        cache_dir=None,
        local_files_only=False,
        **kwargs,
    ):
        """Reads a model: its config, its weights and its tokenizer.

        Every tensor of the file must find its place, and every weight of the model its tensor. A
        head that the file does not have is newly initialized, and one log line says so.

        Args:
            path: a directory in the Hugging Face layout, as `save_pretrained` or `transformers`
                writes it, the name of a model on the Hugging Face hub, which is downloaded, or a
                model of another library: a directory of google-research/bert, Model Garden,
                KerasHub or sentence-transformers.
            revision: str, a branch, tag or commit on the hub; None is the main branch.
            token: str, an access token for private models on the hub; None takes the one of the
                machine's login.
            cache_dir: path of the cache of downloads; None is that of `huggingface_hub`.
            local_files_only: bool, whether to take only what has been downloaded before.
            **kwargs: arguments of the constructor, as `name` and `dtype`.

        Returns:
            The model, with its tokenizer where it has one and the directory has a vocabulary.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if the config describes another architecture, or a tensor is missing,
                unexpected or of another shape; the message names it.
        """
        checkpoint = open_checkpoint(path, revision, token, cache_dir, local_files_only)
        check_architecture(checkpoint, cls._architecture)
        try:
            config = BertConfig.from_huggingface(checkpoint.config)
        except ValueError as error:
            raise ValueError(f"{checkpoint.source.path}: {error}") from error
        with without_drawing():
            model = cls._from_checkpoint(config, checkpoint, **kwargs)
        weights = weights_by_name(model)
        for name in load_weights(checkpoint.source, weights):
            if name.endswith("/kernel"):  # the other weights of a head start from constants
                initializer = normal(config.initializer_range)
                weights[name].assign(initializer(weights[name].shape, weights[name].dtype))
        if isinstance(checkpoint.config.get("training"), dict):
            model.training_record = checkpoint.config["training"]
        return model

    # Keras files leave out the state of the random number generators. With it a model that was
    # saved in the middle of a training goes on with the very dropout masks it would have had.

    def save_own_variables(self, store):
        """Writes the state of the dropout layers' random numbers."""
        states = random_states(self)
        if states:
            store["random_states"] = np.stack([ops.convert_to_numpy(state) for state in states])

    def load_own_variables(self, store):
        """Reads what `save_own_variables` writes."""
        if "random_states" not in store.keys():  # noqa: SIM118 (an h5py view, not a dict)
            return
        for state, value in zip(random_states(self), np.asarray(store["random_states"])):
            state.assign(value)


def check_architecture(checkpoint, architecture):
    """Raises where a head would be read that means something else."""
    found = checkpoint.config.get("architectures") or []
    if architecture in found or architecture not in _CLASSIFIERS:
        return
    if set(found) & set(_CLASSIFIERS):
        raise ValueError(
            f"{checkpoint.source.path} is a {found[0]}, whose `classifier` is another than that of "
            f"a {architecture}. Load it with `{_CLASSIFIERS[found[0]]}.from_pretrained`, or only "
            "its encoder with `BertEncoder.from_pretrained`."
        )


def read_tokenizer(checkpoint):
    """Returns the `BertTokenizer` of a `Checkpoint`, or None where it has none."""
    from keras_bert_lib.text import BertTokenizer

    if checkpoint.tokenizer is not None:
        return BertTokenizer(**checkpoint.tokenizer)
    if checkpoint.directory is not None and huggingface.has_tokenizer(checkpoint.directory):
        return BertTokenizer.from_pretrained(checkpoint.directory)
    return None


def random_states(model):
    """Returns the variables that hold the seeds of all dropout layers, in order."""
    return [v for v in model.variables if v.path.endswith("seed_generator_state")]


def _numbers(history, place):
    """Returns what Keras' history has at a place of its lists, where JSON can hold it."""
    found = {name: values[place] for name, values in history.items() if values[place:]}
    return {
        name: float(value)
        for name, value in found.items()
        if np.ndim(value) == 0 and np.isfinite(value)
    }
