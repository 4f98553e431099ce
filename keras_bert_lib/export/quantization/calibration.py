"""What a float file computes inside, on texts."""

import dataclasses

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_lib.export.quantization import flatbuffer
from keras_bert_lib.export.quantization.interpreter import make_interpreter

_SIGNATURE = "serving_default"
_ROWS = 512  # as many of a layer's inputs are kept


@dataclasses.dataclass
class Statistics:
    """What a matrix product was seen to take and to give.

    Args:
        rows: float32 `[n, in]`, some of its inputs.
        input_low: float32 `[in]`, the least value of each channel of its inputs.
        input_high: float32 `[in]`, the greatest.
        output_low: float32 `[out]`, the least value of each channel of its outputs.
        output_high: float32 `[out]`, the greatest.
    """

    rows: np.ndarray
    input_low: np.ndarray
    input_high: np.ndarray
    output_low: np.ndarray
    output_high: np.ndarray

    def divided(self, divisor):
        """Returns what it would be with inputs that are divided by `divisor` `[in]`, positive."""
        return dataclasses.replace(
            self,
            rows=self.rows / divisor,
            input_low=self.input_low / divisor,
            input_high=self.input_high / divisor,
        )


def statistics(content, samples):
    """Runs a file on samples; says what its matrix products took and gave.

    Args:
        content: bytes of a float32 file.
        samples: list of dict of input name to int32 array.

    Returns:
        Dict of weight buffer, as in `flatbuffer.dense_layers`, to `Statistics`.
    """
    model = flatbuffer.read(content)
    graph = model.subgraphs[signature_of(model).subgraphIndex]
    layers = {}
    for buffer, uses in flatbuffer.dense_layers(model).items():
        uses = [(op.inputs[0], op.outputs[0]) for place, op in uses if place is graph]
        if uses:
            layers[buffer] = uses
    tensors = [tensor for uses in layers.values() for use in uses for tensor in use]
    found = {}
    for values in activations(content, tensors, samples):
        for buffer, uses in layers.items():
            for x, y in uses:
                seen = _statistics_of(_matrix(values[x]), _matrix(values[y]), len(samples))
                found.setdefault(buffer, []).append(seen)
    return {buffer: _merged(parts) for buffer, parts in found.items()}


def activations(content, tensors, samples):
    """Computes tensors inside a file for each sample.

    Args:
        content: bytes of the file.
        tensors: list of int, indices of tensors in the graph of the signature "serving_default".
        samples: list of dict of input name to int32 array.

    Yields:
        For each sample, a dict of index to array. What comes of padding tokens is left out of
        arrays that have a row for each token.
    """
    model = flatbuffer.read(content)
    signature = signature_of(model)
    graph = model.subgraphs[signature.subgraphIndex]
    tensors = [int(tensor) for tensor in dict.fromkeys(tensors)]
    # As outputs they can be read, however the runtime computes the rest.
    graph.outputs = np.array([*graph.outputs, *tensors], np.int32)
    for i in tensors:
        name = f"tensor {i}".encode()
        signature.outputs.append(schema.TensorMapT(name=name, tensorIndex=i))
    run = make_interpreter(flatbuffer.write(model)).get_signature_runner(_SIGNATURE)
    for sample in samples:
        outputs = run(**sample)
        values = {i: outputs[f"tensor {i}"] for i in tensors}
        masks = [x.reshape(-1) != 0 for name, x in sample.items() if name.endswith("mask")]
        for mask in masks:
            for i, x in values.items():
                if x.ndim == 2 and len(x) == len(mask):
                    values[i] = x[mask]
        yield values


def signature_of(model):
    """Returns the signature "serving_default"."""
    [signature] = [s for s in model.signatureDefs if s.signatureKey.decode() == _SIGNATURE]
    return signature


def _matrix(x):
    return x.reshape(-1, x.shape[-1])


def _statistics_of(x, y, number):
    """Returns the `Statistics` of one of `number` samples."""
    kept = np.linspace(0, len(x) - 1, min(len(x), -(-_ROWS // number))).astype(int)
    return Statistics(x[kept], x.min(0), x.max(0), y.min(0), y.max(0))


def _merged(parts):
    rows = np.concatenate([part.rows for part in parts])
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _ROWS)).astype(int)]
    return Statistics(
        rows,
        np.min([part.input_low for part in parts], axis=0),
        np.max([part.input_high for part in parts], axis=0),
        np.min([part.output_low for part in parts], axis=0),
        np.max([part.output_high for part in parts], axis=0),
    )
