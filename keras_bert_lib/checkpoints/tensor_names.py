"""Our names of weights and those of Hugging Face.

A kernel is transposed: Keras has `[in, out]`, PyTorch `[out, in]`. Query, key and value share one
fused kernel here. Names leave out the `bert.` that models with a head have before the encoder's.
"""

import math
import re

import numpy as np

_STRIP = 64  # rows

# our name -> tensors of the file.
_EMBEDDINGS = {
    "embeddings/token_embedding": ["embeddings.word_embeddings.weight"],
    "embeddings/position_embedding": ["embeddings.position_embeddings.weight"],
    "embeddings/segment_embedding": ["embeddings.token_type_embeddings.weight"],
    "embeddings/layer_norm/gamma": ["embeddings.LayerNorm.weight"],
    "embeddings/layer_norm/beta": ["embeddings.LayerNorm.bias"],
}
_BLOCK = {
    "attention/qkv/kernel": [f"attention.self.{x}.weight" for x in ("query", "key", "value")],
    "attention/qkv/bias": [f"attention.self.{x}.bias" for x in ("query", "key", "value")],
    "attention/output/kernel": ["attention.output.dense.weight"],
    "attention/output/bias": ["attention.output.dense.bias"],
    "attention_norm/gamma": ["attention.output.LayerNorm.weight"],
    "attention_norm/beta": ["attention.output.LayerNorm.bias"],
    "intermediate/kernel": ["intermediate.dense.weight"],
    "intermediate/bias": ["intermediate.dense.bias"],
    "output/kernel": ["output.dense.weight"],
    "output/bias": ["output.dense.bias"],
    "output_norm/gamma": ["output.LayerNorm.weight"],
    "output_norm/beta": ["output.LayerNorm.bias"],
}
# Not in `transformers`: the last LayerNorm of a pre-LN encoder.
_FINAL_NORM = {
    "final_norm/gamma": ["encoder.LayerNorm.weight"],
    "final_norm/beta": ["encoder.LayerNorm.bias"],
}
_HEADS = {
    "pooler/dense/kernel": ["pooler.dense.weight"],
    "pooler/dense/bias": ["pooler.dense.bias"],
    "mlm_head/dense/kernel": ["cls.predictions.transform.dense.weight"],
    "mlm_head/dense/bias": ["cls.predictions.transform.dense.bias"],
    "mlm_head/layer_norm/gamma": ["cls.predictions.transform.LayerNorm.weight"],
    "mlm_head/layer_norm/beta": ["cls.predictions.transform.LayerNorm.bias"],
    "mlm_head/bias": ["cls.predictions.bias"],
    "nsp_head/dense/kernel": ["cls.seq_relationship.weight"],
    "nsp_head/dense/bias": ["cls.seq_relationship.bias"],
    "classifier/kernel": ["classifier.weight"],
    "classifier/bias": ["classifier.bias"],
    "qa_outputs/kernel": ["qa_outputs.weight"],
    "qa_outputs/bias": ["qa_outputs.bias"],
}

# The parts of a model that a checkpoint may lack, and that a model may have no use for.
OPTIONAL_PARTS = ("pooler", "mlm_head", "nsp_head", "classifier", "qa_outputs")
HEADS = ("cls.", "classifier.", "qa_outputs.")
UNUSED = ("pooler.", *HEADS)
# Constants that older versions of `transformers` saved.
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
# The MLM head's matrix and bias under second names: copies, where they are tied.
TIED = {
    "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


def weights_by_name(model):
    """Returns the model's weights by stable names, such as `block_0/attention/qkv/kernel`.

    A name is the variable's path below the encoder, or below the model for the heads: the names
    of models differ from object to object, those of their layers do not.
    """
    owners = {model.name, model.encoder.name} if hasattr(model, "encoder") else {model.name}
    weights = {}
    for variable in model.weights:
        parts = variable.path.split("/")
        start = next(i for i, part in enumerate(parts) if part in owners)
        weights["/".join(parts[start + 1 :])] = variable
    return weights


def tensors_of(name):
    """Returns the names of the file's tensors that make up the weight with our `name`."""
    block = re.fullmatch(r"block_(\d+)/(.+)", name)
    if block and block[2] in _BLOCK:
        return [f"encoder.layer.{block[1]}.{tensor}" for tensor in _BLOCK[block[2]]]
    for names in (_EMBEDDINGS, _FINAL_NORM, _HEADS):
        if name in names:
            return names[name]
    if "/lora_kernel_" in name:
        raise ValueError(
            "The model has LoRA matrices apart from its weights. Call `encoder.merge_lora()` "
            f"before you save it. Received: {name}"
        )
    raise ValueError(
        "The model has a weight that the Hugging Face layout has no name for; save it as a "
        f"`.keras` file. Received: {name}"
    )


def canonical_names(keys, path):
    """Returns the names in a file by the names of this map.

    These have no `bert.`, and LayerNorm's weights are not called as in TensorFlow.

    Raises:
        ValueError: if two names come to one.
    """
    names = {}
    for key in keys:
        name = key.removeprefix("bert.")
        name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
        name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
        if name in names:
            raise ValueError(f"{path} holds one tensor twice, as {names[name]} and as {key}.")
        names[name] = key
    return names


def merge(name, tensors):
    """Returns our weight `name`, made of the file's tensors: a new array, see `aligned_empty`."""
    outs = sum(len(tensor) for tensor in tensors)
    is_kernel = name.endswith("/kernel")
    shape = (tensors[0].shape[1], outs) if is_kernel else (outs, *tensors[0].shape[1:])
    merged = aligned_empty(shape, tensors[0].dtype)
    end = 0
    for tensor in tensors:
        if not is_kernel:
            merged[end : end + len(tensor)] = tensor
            end += len(tensor)
            continue
        # A strip at a time, which the processor's cache holds, is twice as fast as all at once.
        for start in range(0, len(tensor), _STRIP):
            strip = tensor[start : start + _STRIP].T
            merged[:, end : end + strip.shape[1]] = strip
            end += strip.shape[1]
    return merged


def aligned_empty(shape, dtype):
    """Returns a new array that begins where tensors of TensorFlow do, at a multiple of 64 bytes.

    A large one begins at a multiple of 2 MiB. There Linux gives memory in huge pages: giving it in
    small ones can take longer than all the rest of loading.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    alignment = 2**21 if size > 2**22 else 64
    memory = np.empty(size + alignment, "uint8")
    start = -memory.ctypes.data % alignment
    return memory[start : start + size].view(dtype).reshape(shape)


def split(name, array):
    """Returns the file's tensors that our weight `name` makes; the inverse of `merge`."""
    tensors = np.split(array, len(tensors_of(name)), axis=-1)
    if name.endswith("/kernel"):
        tensors = [tensor.T for tensor in tensors]
    return [np.ascontiguousarray(tensor) for tensor in tensors]


def tensors_by_name(variables):
    """Returns all tensors of a model, which is what writers of any format start from.

    Args:
        variables: dict of Keras variables by our names.

    Returns:
        dict of NumPy arrays by the names of Hugging Face, without `bert.`.
    """
    tensors = {}
    for name, variable in variables.items():
        tensors |= dict(zip(tensors_of(name), split(name, np.asarray(variable))))
    return tensors
