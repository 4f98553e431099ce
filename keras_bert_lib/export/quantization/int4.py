"""Weights and embeddings of 4 bits."""

import copy

import numpy as np
from absl import logging
from keras.utils import Progbar
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_lib.export.quantization import flatbuffer, gptq
from keras_bert_lib.export.quantization.calibration import signature_of
from keras_bert_lib.export.quantization.dynamic_int8 import quantize_dynamic
from keras_bert_lib.export.quantization.embedding import (
    add_int8_table,
    embedding_tables,
    quantize_embeddings,
)
from keras_bert_lib.export.quantization.stream import Stream

_WEIGHT_BLOCK = 128
_EMBEDDING_BLOCK = 32
_BLOCK_UNIT = 32  # blocks are multiples of it, for XNNPACK
_FEWEST_TOKENS = 500
_ENOUGH_TOKENS = 4000
_MOST_TOKENS = 1 << 15
_MOST_ROWS = 1 << 16  # tokens and padding


def quantize_int4(model, samples):
    """Makes embeddings, and the weights of matrix products, integers of 4 bits.

    Activations stay float, and the runtime quantizes them to 8 bits as they come. One matrix after
    another is quantized, in the order in which the graph uses them, each on what the graph makes of
    the samples with all those before it quantized. Matrices that take one vector a text, as poolers
    do, get 8 bits, and heads of few outputs stay as they are.

    Args:
        model: `ModelT` of a float32 file. It is changed.
        samples: list of dict of input name to int32 array, see `calibration_samples`. 1,000 texts
            are enough; of more than 32,000 tokens only as many are used.

    Raises:
        ValueError: if the samples have too few tokens.
    """
    exact = copy.deepcopy(model, {id(buffer): buffer for buffer in model.buffers})
    uses, exact_uses = flatbuffer.large_layers(model), flatbuffer.large_layers(exact)
    tables = embedding_tables(model)
    quantize_embeddings(model, _add_table)
    signature = signature_of(model)
    graph, exact_graph = (m.subgraphs[signature.subgraphIndex] for m in (model, exact))
    pairs = list(zip(_in_order(uses, graph), _in_order(exact_uses, exact_graph)))

    indices = {x.name.decode(): x.tensorIndex for x in signature.inputs}
    masks = [_padding_mask(sample) for sample in samples]
    samples = [{indices[name]: x for name, x in sample.items()} for sample in samples]
    chosen = _choice(Stream(exact, exact_graph, samples), pairs[0][1], masks)
    samples, masks = [samples[i] for i in chosen], [masks[i] for i in chosen]

    stream, exact_stream = Stream(model, graph, samples), Stream(exact, exact_graph, samples)
    progress = Progbar(len(pairs), unit_name="matrix")
    for op, exact_op in pairs:
        buffer = exact_graph.tensors[exact_op.inputs[1]].buffer
        weights = flatbuffer.constant(exact, exact_graph.tensors[exact_op.inputs[1]])
        # What lies between the matrices of a feed-forward layer is wide: computing it twice takes
        # less than holding it for all samples.
        keep = weights.shape[0] >= weights.shape[1]
        statistics = gptq.InputStatistics(weights.shape[1])
        inputs = exact_stream.inputs_of(exact_op, keep), stream.inputs_of(op, keep)
        for *rows, mask in zip(*inputs, masks, strict=True):
            statistics.add(*(_tokens(x, mask) for x in rows))
        if buffer in uses:  # it may have been quantized where it was used before
            layer = {buffer: uses.pop(buffer)}
            if buffer in tables and weights.shape[1] % 2 == 0:
                # The output matrix of a masked LM is the embedding: the file holds it once.
                codes, scales = _table_codes(weights)
                shift = statistics.bias_shift(weights, gptq.dequantize(codes, scales))
                _use(model, layer[buffer], codes, scales, shift)
            elif statistics.rows <= len(samples) or weights.shape[1] % 2 == 1:
                quantize_dynamic(model, layer, {})
            else:
                block_size = _block_size(weights.shape[1], _WEIGHT_BLOCK)
                _use(model, layer[buffer], *gptq.quantize_matrix(weights, statistics, block_size))
        progress.add(1)
    quantize_dynamic(model, uses, {})  # those of other graphs only


def _in_order(layers, graph):
    """Returns the operators of `flatbuffer.dense_layers` that are in a graph, in its order."""
    dense = {id(op) for uses in layers.values() for _, op in uses}
    return [op for op in graph.operators if id(op) in dense]


def _padding_mask(sample):
    """Returns the mask of a sample's tokens, bool `[tokens]`, or None where there is no padding."""
    for name, x in sample.items():
        if "mask" in name:
            return np.reshape(x, -1) != 0
    return None


def _tokens(x, mask):
    """Returns a matrix's inputs `[rows, size]`, without those that come of padding."""
    x = x.reshape(-1, x.shape[-1])
    return x[mask] if mask is not None and len(x) == len(mask) else x


def _choice(stream, first, masks):
    """Chooses samples, evenly, of no more tokens than are of use.

    Args:
        stream: `Stream` over all samples.
        first: `OperatorT`, its first matrix product.
        masks: list of the samples' padding masks.

    Returns:
        Indices of samples, int array, those of few tokens first: the runtime plans its memory anew
        where a length changes.
    """
    rows, tokens = [], []
    for x, mask in zip(stream.inputs_of(first, keep=False), masks, strict=True):
        rows.append(x.size // x.shape[-1])
        tokens.append(len(_tokens(x, mask)))
    if sum(tokens) < _FEWEST_TOKENS:
        raise ValueError(
            f"`calibration_texts` must have {_FEWEST_TOKENS} tokens or more for int4; 1,000 texts "
            f"are good, 200 will do. Received: {len(masks)} texts of {sum(tokens)} tokens in all"
        )
    share = min(1, _MOST_TOKENS / sum(tokens), _MOST_ROWS / sum(rows))
    number = max(1, int(len(masks) * share))
    chosen = np.arange(number) * len(masks) // number
    if sum(tokens) < _ENOUGH_TOKENS:
        logging.warning(
            "int4 has %d tokens of calibration texts to go by; with %d it would lose less.",
            sum(tokens),
            _ENOUGH_TOKENS,
        )
    return chosen[np.argsort(np.array(rows)[chosen], kind="stable")]


def _use(model, uses, codes, scales, shift):
    """Gives matrix products 4-bit weights, and adds `shift` to their biases."""
    for graph, op in uses:
        name = graph.tensors[op.inputs[1]].name.decode()
        bias = shift
        if len(op.inputs) > 2 and op.inputs[2] >= 0:
            bias = shift + flatbuffer.constant(model, graph.tensors[op.inputs[2]])
        bias = flatbuffer.add_constant(model, graph, name + " bias", bias)
        op.inputs = np.array(
            [op.inputs[0], _add(model, graph, name, codes, scales), bias], np.int32
        )
        flatbuffer.set_version(model, op, flatbuffer.PER_CHANNEL_VERSION)
        op.builtinOptions.asymmetricQuantizeInputs = True


def _add_table(model, graph, name, table):
    """Adds an embedding table as 4-bit codes; returns the index of its tensor."""
    if table.shape[1] % 2 == 1:  # rows would begin in the middle of a byte
        return add_int8_table(model, graph, name, table)
    return _add(model, graph, name, *_table_codes(table))


def _table_codes(table):
    scales = gptq.best_scales(table, _block_size(table.shape[1], _EMBEDDING_BLOCK))
    return gptq.round_to_nearest(table, scales), scales


def _block_size(inputs, largest):
    """Returns the number of weights that share a scale: as large as may be, or a whole row."""
    for size in range(largest, 0, -_BLOCK_UNIT):
        if inputs % size == 0:
            return size
    return inputs


def _add(model, graph, name, codes, scales):
    """Adds a constant of 4-bit codes `[rows, columns]`; returns the index of its tensor."""
    data = flatbuffer.add_buffer(model, gptq.pack(codes))
    if scales.shape[1] == 1:
        quantization = flatbuffer.per_channel(scales[:, 0])
    else:
        half = flatbuffer.add_constant(model, graph, name + " scales", scales.astype(np.float16))
        quantization = schema.QuantizationParametersT(
            detailsType=schema.QuantizationDetails.BlockwiseQuantization,
            details=schema.BlockwiseQuantizationT(
                scales=half, blockSize=codes.shape[1] // scales.shape[1]
            ),
        )
    tensor = flatbuffer.add_tensor(graph, name, codes.shape, "int8", data, quantization)
    graph.tensors[tensor].type = schema.TensorType.INT4
    return tensor
