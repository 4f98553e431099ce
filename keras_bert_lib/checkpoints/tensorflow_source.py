"""Tensors of TensorFlow checkpoints."""

import math

from keras_bert_lib.checkpoints.tensor_source import TensorSource
from keras_bert_lib.checkpoints.tensorflow_files import read_tensor


class TensorflowSource(TensorSource):
    """The tensors of a TensorFlow checkpoint, of whichever BERT.

    google-research/bert has kernels `[in, out]`; Model Garden's attention has `[hidden, heads,
    head_size]`, or `[heads, head_size, hidden]` for its output, and biases `[heads, head_size]`.

    Args:
        reader: what `tf.train.load_checkpoint` returns.
        path: str, the checkpoint's prefix.
        names: dict from Hugging Face's names to those in the checkpoint.
    """

    def __init__(self, reader, path, names):
        super().__init__(path, names)
        self._reader = reader
        self._shapes = reader.get_variable_to_shape_map()

    def shape(self, name):
        """Returns the shape of a tensor, without reading it."""
        shape = self.file_shape(name)
        if self.is_kernel(name):
            # The heads are the kernel's output, but for the layer behind the attention.
            inputs = shape[:-1] if name.endswith("attention.output.dense.weight") else shape[:1]
            return (math.prod(shape) // math.prod(inputs), math.prod(inputs))
        return (math.prod(shape),) if name.endswith(".bias") else shape

    def file_shape(self, name):
        """Returns the shape that a tensor has in the checkpoint."""
        return tuple(self._shapes[self.names[name]])

    def read(self, name):
        """Returns a tensor as an array."""
        array = read_tensor(self._reader, self.path, self.names[name])
        shape = self.shape(name)
        return array.reshape(shape[::-1]).T if self.is_kernel(name) else array.reshape(shape)

    def is_kernel(self, name):
        """Returns whether a tensor is `[in, out]` in the checkpoint."""
        key = self.names[name].removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
        return key.endswith("/kernel")
