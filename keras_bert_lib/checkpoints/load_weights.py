"""The one way in which weights get into a model."""

import collections
import concurrent.futures

import keras
import numpy as np
from absl import logging

from keras_bert_lib.checkpoints import tensor_names


def load_weights(source, variables):
    """Assigns the tensors of a checkpoint to the variables of a model.

    Strict: every variable must find its tensors, every tensor its place. All names and shapes are
    checked before anything is assigned. Heads that the checkpoint does not have are said in one
    log line, and left as they are.

    Args:
        source: `TensorSource`.
        variables: dict of Keras variables by our names.

    Returns:
        List of our names of the variables that were left as they are.

    Raises:
        ValueError: if a tensor is missing, unexpected, of another shape, or not made of finite
            numbers.
    """
    absent = absent_parts(source, variables)
    wanted = {
        name: tensor_names.tensors_of(name)
        for name in variables
        if name.split("/")[0] not in absent
    }
    check_names(source, wanted)
    for name, tensors in wanted.items():
        check_shapes(source, name, tensors, tuple(variables[name].shape))
    if any(name.startswith("mlm_head/") for name in wanted):
        check_tied(source)
    for name, array in read_ahead(source, wanted):
        assign(variables[name], array)
    if absent:
        logging.warning("%s has no %s: newly initialized.", source.path, ", ".join(absent))
    used = {tensor for tensors in wanted.values() for tensor in tensors}
    unused = sorted(set(source.names) - used - set(tensor_names.BUFFERS) - set(tensor_names.TIED))
    if unused:
        logging.info("%s: not used by this model: %s.", source.path, ", ".join(unused))
    return [name for name in variables if name not in wanted]


def absent_parts(source, variables):
    """Returns the optional parts of the model of which the checkpoint has no tensor at all."""
    tensors = {}
    for name in variables:
        tensors.setdefault(name.split("/")[0], []).extend(tensor_names.tensors_of(name))
    return [
        part
        for part in tensor_names.OPTIONAL_PARTS
        if part in tensors and not set(tensors[part]) & set(source.names)
    ]


def check_names(source, wanted):
    """Raises for tensors that are missing and for such as have no place in any BERT."""
    used = [tensor for tensors in wanted.values() for tensor in tensors]
    missing = [tensor for tensor in used if tensor not in source.names]
    if missing:
        raise ValueError(
            f"{source.path} lacks {len(missing)} of the {len(used)} tensors the model needs. Check "
            f"that the config belongs to it. Missing: {shortlist(missing)}"
        )
    unexpected = [
        source.names[name]
        for name in sorted(set(source.names) - set(used))
        if name not in tensor_names.BUFFERS and not name.startswith(tensor_names.UNUSED)
    ]
    if unexpected:
        raise ValueError(
            f"{source.path} has {len(unexpected)} tensors that the model has no place for. Check "
            f"that the config belongs to it. Unexpected: {shortlist(unexpected)}"
        )


def read_ahead(source, wanted):
    """Yields our names and arrays in order, while threads make the next few ones."""

    def make(name):
        tensors = [read_numbers(source, tensor) for tensor in wanted[name]]
        return tensor_names.merge(name, tensors)

    with concurrent.futures.ThreadPoolExecutor(source.num_threads) as pool:
        ahead = collections.deque()
        for name in wanted:
            ahead.append((name, pool.submit(make, name)))
            if len(ahead) > source.num_threads:
                name, array = ahead.popleft()
                yield name, array.result()
        for name, array in ahead:
            yield name, array.result()


def read_numbers(source, name):
    """Returns a tensor as an array, or raises where it cannot be the weights of a model."""
    array = source.read(name)
    if array.dtype.kind in "biu":
        raise ValueError(
            f"{source.where(name)} holds integers. Quantized models cannot be read. "
            f"Received: {array.dtype}"
        )
    # NaN and infinity stay in a sum; no other test is as fast. In float32, for half precision
    # overflows.
    with np.errstate(all="ignore"):
        total = array.sum(dtype="float32")
    if not np.isfinite(total):
        raise ValueError(
            f"{source.where(name)} holds NaN or infinite numbers: the file is damaged, or its "
            "training failed."
        )
    return array


def assign(variable, array):
    """Gives a variable the value of an array that nobody else uses, in aligned memory."""
    if keras.backend.backend() == "tensorflow" and variable.dtype == array.dtype.name:
        import tensorflow as tf

        # A tensor in the array's own memory. It would be copied twice otherwise, which takes as
        # long as all the rest of loading.
        array = tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    variable.assign(array)


def shortlist(names):
    """Returns the first few names in one line."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def check_shapes(source, name, tensors, shape):
    """Raises where a tensor does not have the shape that our variable of `shape` needs."""
    # Ours is [in, out] or [out], all tensors' outs together; theirs [out, in] or [out].
    expected = (*shape[:-1], shape[-1] // len(tensors))
    if name.endswith("/kernel"):
        expected = expected[::-1]
    for tensor in tensors:
        found = tuple(source.shape(tensor))
        if found != expected:
            raise ValueError(
                f"{source.where(tensor)} has the wrong shape for the model ({name}). "
                f"Expected: {expected}. Received: {found}"
            )


def check_tied(source):
    """Raises where the MLM head has a matrix of its own, which ours cannot have."""
    for tensor, original in tensor_names.TIED.items():
        if tensor not in source.names:
            continue
        if not np.array_equal(source.read(tensor), source.read(original)):
            raise ValueError(
                f"{source.where(tensor)} differs from {source.names[original]}, but the masked "
                "language model head shares it. Such a model (tie_word_embeddings false) cannot "
                "be read."
            )
