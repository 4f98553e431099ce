"""Reads the operators of TFLite files."""

import collections

from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_lib.export.quantization import flatbuffer

_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items()}


def count_operators(content):
    """Returns how often each operator stands in a TFLite file.

    Args:
        content: bytes of the file.

    Returns:
        Dict, most first: names of the built-in operators, and "CUSTOM:name" of any other.
    """
    model = flatbuffer.read(content)

    def name(operator):
        code = flatbuffer.builtin(model, operator)
        if code == schema.BuiltinOperator.CUSTOM:
            return f"CUSTOM:{model.operatorCodes[operator.opcodeIndex].customCode.decode()}"
        return _NAMES[code]

    names = (name(operator) for graph in model.subgraphs for operator in graph.operators)
    return dict(collections.Counter(names).most_common())


def operators(content):
    """Returns the sorted names of the operators of a TFLite file; see `count_operators`."""
    return sorted(count_operators(content))


def check_builtin_only(content):
    """Raises where a file holds an operator that a stock runtime lacks.

    Raises:
        RuntimeError: naming the operators.
    """
    custom = [name for name in operators(content) if name.startswith("CUSTOM:")]
    if custom:
        raise RuntimeError(
            f"The converted graph needs operators that no stock runtime has: {custom}"
        )
