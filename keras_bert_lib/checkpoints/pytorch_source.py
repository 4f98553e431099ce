"""Tensors of PyTorch's pickles."""

import pickle

import ml_dtypes
import numpy as np

from keras_bert_lib.checkpoints import tensor_names
from keras_bert_lib.checkpoints.tensor_source import TensorSource


class PytorchSource(TensorSource):
    """The tensors of a `pytorch_model.bin`, or of the shards of one.

    A pickle can run any program when it is read, so it is read only by PyTorch, which then takes
    nothing but tensors.

    Args:
        path: str, the file that errors name: the only one, or the shards' index.
        files: list of str, paths of the file or the shards.

    Raises:
        ImportError: if PyTorch is not installed.
        ValueError: if a file is damaged, or holds other things than tensors.
    """

    def __init__(self, path, files):
        self._tensors = {}
        for file in files:
            self._tensors |= read_tensors(file)
        super().__init__(path, tensor_names.canonical_names(self._tensors, path))

    def shape(self, name):
        """Returns the shape of a tensor."""
        return tuple(self._tensors[self.names[name]].shape)

    def read(self, name):
        """Returns a tensor as an array."""
        import torch

        tensor = self._tensors[self.names[name]].detach().contiguous()
        if tensor.dtype == torch.bfloat16:  # which NumPy does not know
            return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return np.asarray(tensor)


def read_tensors(path):
    """Returns the dict of tensors that a file of PyTorch holds."""
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{path} is a pickle, which only PyTorch reads without running what may be in it. "
            "Install it (pip install torch), or have somebody who has it write the model anew: "
            "`save_pretrained` of `transformers` makes a model.safetensors."
        ) from error
    options = {"map_location": "cpu", "weights_only": True}
    try:
        try:
            tensors = torch.load(path, mmap=True, **options)
        except RuntimeError:  # files of before PyTorch 1.6 cannot be mapped
            tensors = torch.load(path, **options)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} is damaged, or holds other things than tensors, which may be programs and are "
            f"not read. Received: {type(error).__name__}"
        ) from error
    if not isinstance(tensors, dict) or not all(map(torch.is_tensor, tensors.values())):
        raise ValueError(
            f"{path} must hold a dict of tensors, as `save_pretrained` of `transformers` writes "
            f"it. Received: {type(tensors).__name__}"
        )
    return tensors
