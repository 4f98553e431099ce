"""Reads the operators of TFLite files."""

from tensorflow.lite.python import schema_py_generated as schema


def operators(content):
    """Returns the operators of a TFLite file.

    Args:
        content: bytes of the file.

    Returns:
        Sorted list of str: names of the built-in operators, and "CUSTOM:name" of any other.
    """
    model = schema.Model.GetRootAs(content)
    names = {
        code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
    }
    found = set()
    for i in range(model.OperatorCodesLength()):
        operator = model.OperatorCodes(i)
        # Files from before schema 3a hold the code in the older, 8-bit field.
        code = max(operator.BuiltinCode(), operator.DeprecatedBuiltinCode())
        name = names[code]
        found.add(f"CUSTOM:{operator.CustomCode().decode()}" if name == "CUSTOM" else name)
    return sorted(found)


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
