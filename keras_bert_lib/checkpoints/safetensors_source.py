"""Tensors of safetensors files."""

import json
import os

import ml_dtypes  # noqa: F401 (teaches NumPy bfloat16, which files may hold)
import numpy as np
import safetensors

from keras_bert_lib.checkpoints import tensor_names
from keras_bert_lib.checkpoints.tensor_source import TensorSource

_CHECKSUMS = "keras_bert_lib.checksums"
_DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}


class SafetensorsSource(TensorSource):
    """The tensors of one safetensors file, or of the shards of one model.

    A file is mapped into memory for as long as one tensor is read from it: mapped throughout, all
    of it would come to count as memory in use.

    Args:
        path: str, the file that errors name: the only one, or the shards' index.
        files: list of str, paths of the file or the shards.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if one is damaged, or a tensor is there twice.
    """

    def __init__(self, path, files):
        self._files = {}  # the file of each tensor
        self._checksums = {}
        for file in files:
            with open_file(file) as opened:
                keys, metadata = opened.keys(), opened.metadata() or {}
            for key in keys:
                if key in self._files:
                    raise ValueError(f"{path}: {key} is in {self._files[key]} and in {file}.")
                self._files[key] = file
            try:
                self._checksums |= json.loads(metadata.get(_CHECKSUMS, "{}"))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{file} is damaged; its checksums: {error}") from error
        super().__init__(path, tensor_names.canonical_names(self._files, path))

    def shape(self, name):
        """Returns the shape of a tensor, without reading it."""
        with open_file(self._files[self.names[name]]) as file:
            return tuple(file.get_slice(self.names[name]).get_shape())

    def read(self, name):
        """Returns a tensor as an array."""
        key = self.names[name]
        with open_file(self._files[key]) as file:
            array = file.get_tensor(key)
        if key in self._checksums and checksum(array) != self._checksums[key]:
            raise ValueError(
                f"{self.where(name)} is damaged, for it is not what was written; copy the file "
                f"anew. Expected: checksum {self._checksums[key]}. Received: {checksum(array)}"
            )
        return array

    def where(self, name):
        """Returns the file and the tensor's name in it, for errors."""
        return f"{self._files[self.names[name]]}: {self.names[name]}"


def open_file(path):
    """Opens a safetensors file."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{os.path.dirname(path)} has no {os.path.basename(path)}.")
    try:
        return safetensors.safe_open(path, framework="np")
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file: {error}") from error


def write_file(path, tensors):
    """Writes a safetensors file; the same tensors give the same bytes.

    The format has no checksums. So they go along as metadata, of which other readers take only
    the `format`, for which `transformers` asks. `safetensors` itself would write the metadata in
    an order that changes from run to run.

    Args:
        path: path of the file.
        tensors: dict of NumPy arrays.
    """
    arrays = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    checksums = {name: checksum(array) for name, array in arrays.items()}
    header = {"__metadata__": {"format": "pt", _CHECKSUMS: json.dumps(checksums)}}
    end = 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": _DTYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [end, end := end + array.nbytes],
        }
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)  # tensors begin at a multiple of 8
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for array in arrays.values():
            file.write(array.reshape(-1).view("uint8").data)


def checksum(array):
    """Returns the sum of an array's 64-bit words: fast, and no flipped bit escapes it."""
    data = array.reshape(-1).view("uint8")
    whole = data.size // 8 * 8
    total = int(data[:whole].view("<u8").sum(dtype="uint64"))
    return f"{(total + int.from_bytes(data[whole:].tobytes(), 'little')) % 2**64:016x}"
