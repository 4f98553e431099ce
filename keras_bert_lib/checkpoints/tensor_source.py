"""What every format of weights looks like to those who read it."""


class TensorSource:
    """The tensors of one checkpoint, whatever its format, under the names of Hugging Face.

    The lingua franca of this package: names as `transformers` has them for BERT, without the
    `bert.` prefix (`encoder.layer.0.attention.self.query.weight`), kernels in PyTorch's
    orientation `[out, in]`. A format is a subclass that says which tensors there are and reads
    one of them at a time, so that memory stays low.

    `num_threads` is the number of threads that may read at once.

    Args:
        path: str, the file that errors name.
        names: dict from the names above to those in the file, which errors show.
    """

    num_threads = 1

    def __init__(self, path, names):
        self.path = path
        self.names = names

    def shape(self, name):
        """Returns the shape of a tensor, without reading it."""
        raise NotImplementedError

    def read(self, name):
        """Returns a tensor as an array."""
        raise NotImplementedError

    def where(self, name):
        """Returns the file and the tensor's name in it, for errors."""
        return f"{self.path}: {self.names[name]}"
