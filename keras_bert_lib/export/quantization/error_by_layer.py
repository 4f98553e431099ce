"""Where a quantized file departs from its float one."""

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_lib.export.quantization import flatbuffer
from keras_bert_lib.export.quantization.calibration import activations, signature_of
from keras_bert_lib.export.quantization.embedding import embedding_lookups


def error_by_layer(float_content, quantized_content, samples):
    """Compares what two files compute behind each embedding table and each matrix product.

    The errors are those that have gathered up to there, those of the layers before included.

    Args:
        float_content: bytes of a float32 file.
        quantized_content: bytes of what `quantize` made of it.
        samples: list of dict of input name to int32 array.

    Returns:
        List of dict, in the order of computation: "name" of the tensor, "operator"
        (EMBEDDING_LOOKUP or FULLY_CONNECTED), "snr_db" (power of the values over that of the
        errors, in decibels; None where there are none), "cosine" (of the rows, in the mean),
        "max_error".
    """
    layers = _layers(float_content)
    quantized = _indices(quantized_content)
    layers = [layer for layer in layers if layer[0] in quantized]
    exact_runs = activations(float_content, [i for _, _, i in layers], samples)
    found_runs = activations(quantized_content, [quantized[n] for n, _, _ in layers], samples)
    totals = np.zeros([len(layers), 4])  # squares of values, of errors; cosines; rows
    largest = np.zeros(len(layers))
    for exact, found in zip(exact_runs, found_runs):
        for n, (name, _, i) in enumerate(layers):
            x = exact[i].astype(np.float64)
            y = found[quantized[name]].astype(np.float64).reshape(x.shape)
            x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, x.shape[-1])
            lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
            cosines = (x * y).sum(axis=1) / np.maximum(lengths, 1e-30)
            totals[n] += [np.square(x).sum(), np.square(x - y).sum(), cosines.sum(), len(x)]
            largest[n] = max(largest[n], np.abs(x - y).max())
    rows = []
    for (name, operator, _), (power, error, cosine, count), most in zip(layers, totals, largest):
        snr = float(10 * np.log10(max(power, 1e-30) / error)) if error else None
        row = {"name": name, "operator": operator, "snr_db": snr}
        rows.append(row | {"cosine": float(cosine / count), "max_error": float(most)})
    return rows


def _layers(content):
    """Returns (name, operator, index of the output) of each layer of a float file."""
    model = flatbuffer.read(content)
    graph = model.subgraphs[signature_of(model).subgraphIndex]
    lookups = {id(op) for _, op in embedding_lookups(model)}
    found = []
    for op in graph.operators:
        if id(op) in lookups:
            kind = "EMBEDDING_LOOKUP"
        elif flatbuffer.builtin(model, op) == schema.BuiltinOperator.FULLY_CONNECTED:
            kind = "FULLY_CONNECTED"
        else:
            continue
        i = int(op.outputs[0])
        found.append((graph.tensors[i].name.decode(), kind, i))
    return found


def _indices(content):
    """Returns a dict of name to index of the tensors that a signature's graph computes."""
    model = flatbuffer.read(content)
    graph = model.subgraphs[signature_of(model).subgraphIndex]
    computed = [int(i) for op in graph.operators for i in op.outputs]
    return {graph.tensors[i].name.decode(): i for i in computed}
