"""TFLite files as objects that can be changed, and what the passes do to them.

A `ModelT` of TFLite's schema holds operator codes, buffers and subgraphs. A subgraph holds tensors
and operators, which name tensors by their index; a constant tensor names a buffer. Subgraphs share
buffers. Passes replace what operators and tensors refer to, and never change a buffer that is
there: another tensor may refer to it. `write` leaves out what nothing refers to any more, and holds
equal buffers once.
"""

import hashlib

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

_TYPES = {
    schema.TensorType.FLOAT32: np.dtype("float32"),
    schema.TensorType.FLOAT16: np.dtype("float16"),
    schema.TensorType.INT8: np.dtype("int8"),
    schema.TensorType.INT16: np.dtype("int16"),
    schema.TensorType.INT32: np.dtype("int32"),
    schema.TensorType.INT64: np.dtype("int64"),
}
_CODES = {dtype: code for code, dtype in _TYPES.items()}
_ALIGNMENT = 16  # bytes; kernels may load 128 bits at once
# Of FULLY_CONNECTED; older kernels take scales for each channel, and use the first for all.
PER_CHANNEL_VERSION = 12
# Matrices with fewer outputs are heads. Their answers want all digits, and they take no room.
_FEWEST_OUTPUTS = 32


def read(content):
    """Returns the `ModelT` of a file's bytes. Its buffers are views of them."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    for graph in model.subgraphs:
        for op in graph.operators:
            op.inputs, op.outputs = np.array(op.inputs), np.array(op.outputs)  # not views
    return model


def write(model):
    """Returns the bytes of a `ModelT`, without what nothing refers to."""
    _drop_unused_tensors(model)
    _drop_unused_operator_codes(model)
    _merge_buffers(model)
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    # Room for all else, that is mostly scales: to grow, it would have to be copied.
    builder = flatbuffers.Builder(size + (1 << 23))
    model.buffers = [_AlignedBuffer(buffer.data) for buffer in model.buffers]
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(memoryview(builder.Bytes)[builder.Head() :])


def builtin(model, operator):
    """Returns an operator's code, one of `schema.BuiltinOperator`."""
    code = model.operatorCodes[operator.opcodeIndex]
    # Files from before schema 3a hold the code in the older, 8-bit field.
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def constant(model, tensor):
    """Returns the value of a tensor as a read-only array, or None where it has no constant one."""
    data = model.buffers[tensor.buffer].data
    if data is None or tensor.type not in _TYPES:
        return None
    shape = () if tensor.shape is None else tensor.shape
    return np.frombuffer(data, _TYPES[tensor.type]).reshape(shape)


def shape_of(tensor):
    """Returns a tensor's shape as a list, with -1 where a dimension is known only as it runs."""
    shape = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
    return [] if shape is None else [int(size) for size in shape]


def add_buffer(model, array):
    """Adds a buffer with the bytes of `array`; returns its index."""
    data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    model.buffers.append(schema.BufferT(data=data))
    return len(model.buffers) - 1


def add_constant(model, graph, name, array, quantization=None):
    """Adds a constant tensor; returns its index.

    Args:
        model: `ModelT`.
        graph: `SubGraphT` of it, which gets the tensor.
        name: str.
        array: NumPy array.
        quantization: `QuantizationParametersT` or None.
    """
    array = np.asarray(array)
    buffer = add_buffer(model, array)
    return add_tensor(graph, name, array.shape, array.dtype, buffer, quantization)


def add_tensor(graph, name, shape, dtype="float32", buffer=0, quantization=None):
    """Adds a tensor, whose `shape` has -1 where a dimension is known only as it runs.

    Returns:
        Its index.
    """
    shape = np.array(shape, np.int32)
    tensor = schema.TensorT(
        shape=np.where(shape < 0, 1, shape).astype(np.int32),
        shapeSignature=shape if (shape < 0).any() else None,
        type=_CODES[np.dtype(dtype)],
        buffer=buffer,
        name=name.encode(),
        quantization=quantization,
        hasRank=True,
    )
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def like(graph, tensor, dtype, quantization=None):
    """Adds a tensor of the shape of `tensor`, an index; returns its index."""
    name = f"{graph.tensors[tensor].name.decode()} {np.dtype(dtype)}"
    shape = shape_of(graph.tensors[tensor])
    return add_tensor(graph, name, shape, dtype, quantization=quantization)


def operator(model, code, inputs, outputs, options=None, version=1):
    """Returns an `OperatorT`, which the caller puts in its place among `graph.operators`.

    Args:
        model: `ModelT`, which gets the operator's code where it lacks it.
        code: one of `schema.BuiltinOperator`.
        inputs: list of int, indices of tensors.
        outputs: list of int, indices of tensors.
        options: an object like `schema.MulOptionsT`, or None for an operator that has none.
        version: int, that of the kernel that these types need.
    """
    result = schema.OperatorT(
        opcodeIndex=_code_index(model, code, version),
        inputs=np.array(inputs, np.int32),
        outputs=np.array(outputs, np.int32),
    )
    if options is not None:
        name = type(options).__name__.removesuffix("T")
        result.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        result.builtinOptions = options
    return result


def set_version(model, operator, version):
    """Says that an operator needs its kernel in `version`, or a later one where it did already."""
    version = max(version, model.operatorCodes[operator.opcodeIndex].version)
    operator.opcodeIndex = _code_index(model, builtin(model, operator), version)


def reshape(model, graph, x, y, shape):
    """Returns the operator that makes tensor `y`, of `shape` with at most one -1, of tensor `x`."""
    shape = np.array(shape, np.int32)
    inputs = [x, add_constant(model, graph, "shape", shape)]
    options = schema.ReshapeOptionsT(newShape=shape)
    return operator(model, schema.BuiltinOperator.RESHAPE, inputs, [y], options)


def multiply(model, graph, x, factor, y):
    """Returns the operator that makes tensor `y` of tensor `x` and of `factor`, an array."""
    inputs = [x, add_constant(model, graph, "factor", np.asarray(factor, np.float32))]
    return operator(model, schema.BuiltinOperator.MUL, inputs, [y], schema.MulOptionsT())


def multiply_input(model, graph, place, factor):
    """Multiplies the first input of the operator `place` by `factor`, an array."""
    x = place.inputs[0]
    y = like(graph, x, "float32")
    place.inputs[0] = y
    replace(graph, place, [multiply(model, graph, x, factor, y), place])


def replace(graph, place, operators):
    """Puts operators in the place of the operator `place`, which may be one of them."""
    [i] = [i for i, op in enumerate(graph.operators) if op is place]
    graph.operators[i : i + 1] = operators


def per_tensor(scale, zero_point=0):
    """Returns the quantization of codes that all have one scale and one zero point."""
    return schema.QuantizationParametersT(
        scale=np.array([scale], np.float32), zeroPoint=np.array([zero_point], np.int64)
    )


def per_channel(scale):
    """Returns the quantization of symmetric codes, whose zero is 0, by a scale for each row.

    Args:
        scale: float array `[rows]`.
    """
    scale = np.atleast_1d(np.asarray(scale, np.float32))
    return schema.QuantizationParametersT(
        scale=scale,
        zeroPoint=np.zeros(len(scale), np.int64),
        quantizedDimension=0,
    )


def dense_layers(model):
    """Returns the matrix products with constant float32 weights `[out, in]`, by weight buffer.

    Returns:
        Dict of buffer index to list of (`SubGraphT`, `OperatorT`), in the order of the file. An
        operator's inputs are x, weights, and where there is one (-1 is none) the bias.
    """
    layers = {}
    for graph in model.subgraphs:
        for op in graph.operators:
            if builtin(model, op) != schema.BuiltinOperator.FULLY_CONNECTED:
                continue
            weights = graph.tensors[op.inputs[1]]
            if weights.type == schema.TensorType.FLOAT32 and constant(model, weights) is not None:
                layers.setdefault(weights.buffer, []).append((graph, op))
    return layers


def large_layers(model):
    """Returns those of `dense_layers` that are no heads: what is worth fewer bits."""
    return {
        buffer: uses
        for buffer, uses in dense_layers(model).items()
        if shape_of(uses[0][0].tensors[uses[0][1].inputs[1]])[0] >= _FEWEST_OUTPUTS
    }


def bias_of(model, graph, operator, size):
    """Returns the bias `[size]` of a matrix product, zeros where there is none."""
    if len(operator.inputs) < 3 or operator.inputs[2] < 0:
        return np.zeros(size, np.float32)
    return constant(model, graph.tensors[operator.inputs[2]])


class _AlignedBuffer(schema.BufferT):
    """A buffer that starts at a multiple of 16 bytes, as the schema wants and Python forgets."""

    def Pack(self, builder):  # noqa: N802 (the name is the schema's)
        data = None
        if self.data is not None:
            size = len(self.data)
            builder.StartVector(1, size, _ALIGNMENT)
            builder.head -= size
            builder.Bytes[builder.head : builder.head + size] = memoryview(self.data)
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


def _code_index(model, code, version):
    for i, known in enumerate(model.operatorCodes):
        same = code == max(known.builtinCode, known.deprecatedBuiltinCode)
        if same and version == known.version:
            return i
    model.operatorCodes.append(
        schema.OperatorCodeT(
            builtinCode=code,
            # The older field has 8 bits; 127 in it says to look at the newer.
            deprecatedBuiltinCode=min(code, 127),
            version=version,
        )
    )
    return len(model.operatorCodes) - 1


def _drop_unused_tensors(model):
    for number, graph in enumerate(model.subgraphs):
        signatures = [s for s in model.signatureDefs or [] if s.subgraphIndex == number]
        named = [t for s in signatures for t in (*(s.inputs or []), *(s.outputs or []))]
        lists = [graph.inputs, graph.outputs]
        for op in graph.operators:
            lists += [op.inputs, op.outputs, op.intermediates]
        used = {int(i) for indices in lists if indices is not None for i in indices}
        used |= {tensor.tensorIndex for tensor in named}
        used |= {_scales(graph.tensors[i]) for i in used if i >= 0}
        kept = sorted(used - {-1, None})
        new = {old: i for i, old in enumerate(kept)} | {-1: -1}

        def renumbered(indices, new=new):
            return None if indices is None else np.array([new[int(i)] for i in indices], np.int32)

        graph.tensors = [graph.tensors[i] for i in kept]
        graph.inputs, graph.outputs = renumbered(graph.inputs), renumbered(graph.outputs)
        for op in graph.operators:
            op.inputs, op.outputs = renumbered(op.inputs), renumbered(op.outputs)
            op.intermediates = renumbered(op.intermediates)
        for tensor in named:
            tensor.tensorIndex = new[tensor.tensorIndex]
        for tensor in graph.tensors:
            if _scales(tensor) is not None:
                tensor.quantization.details.scales = new[_scales(tensor)]


def _scales(tensor):
    """Returns the index of the tensor that holds a blockwise quantized tensor's scales, or None."""
    quantization = tensor.quantization
    if quantization is None:
        return None
    if quantization.detailsType != schema.QuantizationDetails.BlockwiseQuantization:
        return None
    return quantization.details.scales


def _drop_unused_operator_codes(model):
    operators = [op for graph in model.subgraphs for op in graph.operators]
    kept = sorted({op.opcodeIndex for op in operators})
    model.operatorCodes = [model.operatorCodes[i] for i in kept]
    for op in operators:
        op.opcodeIndex = kept.index(op.opcodeIndex)


def _merge_buffers(model):
    users = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    users += model.metadata or []
    old, model.buffers = model.buffers, [schema.BufferT()]  # the first is the empty one
    new, by_content = {}, {}
    for i in sorted({user.buffer for user in users} | set(model.metadataBuffer or [])):
        data = old[i].data
        if data is None:
            new[i] = 0
            continue
        digest = hashlib.sha256(data).digest()
        if digest not in by_content:
            by_content[digest] = len(model.buffers)
            model.buffers.append(old[i])
        new[i] = by_content[digest]
    for user in users:
        user.buffer = new[user.buffer]
    if model.metadataBuffer is not None:
        model.metadataBuffer = np.array([new[int(i)] for i in model.metadataBuffer], np.int32)
