"""Tensors of safetensors files."""

import ml_dtypes  # noqa: F401 (teaches NumPy bfloat16, which files may hold)
import safetensors

from keras_bert_lib.checkpoints import tensor_names
from keras_bert_lib.checkpoints.tensor_source import TensorSource


class SafetensorsSource(TensorSource):
    """The tensors of one safetensors file, or of the shards of one model.

    A file is mapped into memory for as long as one tensor is read from it: mapped throughout, all
    of it would come to count as memory in use.

    Args:
        path: str, the file that errors name: the only one, or the shards' index.
        files: dict from the tensors' names in the files to the paths of these.
    """

    def __init__(self, path, files):
        super().__init__(path, tensor_names.canonical_names(files, path))
        self._files = files

    def shape(self, name):
        """Returns the shape of a tensor, without reading it."""
        with open_file(self._files[self.names[name]]) as file:
            return tuple(file.get_slice(self.names[name]).get_shape())

    def read(self, name):
        """Returns a tensor as an array."""
        with open_file(self._files[self.names[name]]) as file:
            return file.get_tensor(self.names[name])

    def where(self, name):
        """Returns the file and the tensor's name in it, for errors."""
        return f"{self._files[self.names[name]]}: {self.names[name]}"


def open_file(path):
    """Opens a safetensors file."""
    try:
        return safetensors.safe_open(path, framework="np")
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file: {error}") from error


def tensor_keys(path):
    """Returns the names of the tensors in a safetensors file."""
    with open_file(path) as file:
        return list(file.keys())
