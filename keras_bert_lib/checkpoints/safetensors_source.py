"""Tensors of safetensors files."""

import json
import os

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from keras_bert_lib.checkpoints import tensor_names
from keras_bert_lib.checkpoints.tensor_source import TensorSource

_CHECKSUMS = "keras_bert_lib.checksums"
_DTYPES = {
    "F64": np.dtype("float64"),
    "F32": np.dtype("float32"),
    "F16": np.dtype("float16"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}


class SafetensorsSource(TensorSource):
    """The tensors of one safetensors file, or of the shards of one model.

    Tensors are read, not mapped: pages of a mapped file count as memory in use.

    Args:
        path: str, the file that errors name: the only one, or the shards' index.
        files: list of str, paths of the file or the shards.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if one is damaged, or a tensor is there twice.
    """

    num_threads = min(4, os.cpu_count() or 1)

    def __init__(self, path, files):
        self._entries = {}  # file, and what its header says, of each tensor
        self._checksums = {}
        for file in files:
            header, checksums = read_header(file)
            for key, entry in header.items():
                if key in self._entries:
                    other = self._entries[key]["file"]
                    raise ValueError(f"{path}: {key} is in both {other} and {file}.")
                self._entries[key] = entry | {"file": file}
            self._checksums |= checksums
        super().__init__(path, tensor_names.canonical_names(self._entries, path))

    def shape(self, name):
        """Returns the shape of a tensor, without reading it."""
        return tuple(self._entries[self.names[name]]["shape"])

    def read(self, name):
        """Returns a tensor as an array."""
        key = self.names[name]
        entry = self._entries[key]
        if entry["dtype"] not in _DTYPES:
            raise ValueError(
                f"{self.where(name)} must hold floating point numbers; quantized models cannot be "
                f"read. Received: {entry['dtype']}"
            )
        data = np.fromfile(entry["file"], "uint8", entry["size"], offset=entry["start"])
        array = data.view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
        if key in self._checksums and checksum(array) != self._checksums[key]:
            raise ValueError(
                f"{self.where(name)} is damaged, for it is not what was written; copy the file "
                f"anew. Expected: checksum {self._checksums[key]}. Received: {checksum(array)}"
            )
        return array

    def where(self, name):
        """Returns the file and the tensor's name in it, for errors."""
        key = self.names[name]
        return f"{self._entries[key]['file']}: {key}"


def read_header(path):
    """Returns what the header of a safetensors file says.

    Returns:
        A dict of the tensors' `dtype`, `shape`, `start`, the byte at which they begin, and `size`,
        their number of bytes; and a dict of such checksums as `write_file` leaves.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{os.path.dirname(path)} has no {os.path.basename(path)}.")
    try:
        # Refuses a header that is not well formed, or does not fit the size of the file.
        with safetensors.safe_open(path, framework="np"):
            pass
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
        metadata = header.pop("__metadata__", {})
        checksums = json.loads(metadata.get(_CHECKSUMS, "{}"))
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is damaged or no safetensors file: {error}") from error
    for entry in header.values():
        start, end = entry["data_offsets"]
        entry |= {"start": 8 + size + start, "size": end - start}
    return header, checksums


def write_file(path, tensors):
    """Writes a safetensors file.

    The format has no checksums. So they go along as metadata, of which other readers take only
    the `format`, for which `transformers` asks.

    Args:
        path: path of the file.
        tensors: dict of NumPy arrays.
    """
    # The library writes the memory of an array as it lies, whatever its strides.
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    checksums = {name: checksum(array) for name, array in arrays.items()}
    metadata = {"format": "pt", _CHECKSUMS: json.dumps(checksums)}
    data = safetensors.numpy.save(arrays, metadata)  # `save_file` lets the owner alone read it
    with open(path, "wb") as file:
        file.write(data)


def checksum(array):
    """Returns the sum of an array's 64-bit words: fast, and no flipped bit escapes it."""
    data = array.reshape(-1).view("uint8")
    whole = data.size // 8 * 8
    total = int(data[:whole].view("<u8").sum(dtype="uint64"))
    return f"{(total + int.from_bytes(data[whole:].tobytes(), 'little')) % 2**64:016x}"
