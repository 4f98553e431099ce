"""Say what is in a model directory, a SavedModel, a .keras or a .tflite file."""

import collections
import json
import os

from keras_bert_lib.cli import artifact, native_logs
from keras_bert_lib.cli.arguments import megabytes

EXAMPLES = """\
examples:
  keras-bert inspect my-classifier
  keras-bert inspect my-classifier.tflite
"""
IF_INTERRUPTED = "Nothing was changed."


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument(
        "path", help="model directory, SavedModel directory, .keras or .tflite file"
    )


def run(args):
    """Prints one fact a line, then the table that belongs to the kind."""
    kind, path = artifact.kind_of(args.path)
    print(f"{path}: {_TITLES[kind]}, {megabytes(path)}")
    native_logs.start_tensorflow()
    with artifact.reading(path):
        _INSPECTORS[kind](path)


def _inspect_model(path):
    from keras_bert_lib.checkpoints import huggingface

    config = huggingface.read_config(path)
    _facts(
        architecture=", ".join(config.get("architectures") or []),
        layers=config.get("num_hidden_layers"),
        hidden_size=config.get("hidden_size"),
        heads=config.get("num_attention_heads"),
        intermediate_size=config.get("intermediate_size"),
        vocabulary=config.get("vocab_size"),
        longest_text=config.get("max_position_embeddings"),
        labels=_shortened(list(config.get("id2label", {}).values())),
    )
    tokenizer = os.path.join(path, "tokenizer_config.json")
    if os.path.isfile(tokenizer):
        with open(tokenizer, encoding="utf-8") as file:
            lowercase = json.load(file).get("do_lower_case", True)
        _facts(tokenizer="WordPiece, " + ("lowercased" if lowercase else "cased"))
    source = huggingface.open_weights(path)
    _parameters({source.names[name]: source.shape(name) for name in source.names})


def _inspect_keras(path):
    model = artifact.load_keras(path)
    _facts(model=type(model).__name__, compiled="yes" if model.compiled else "no")
    _parameters({weight.path: tuple(weight.shape) for weight in model.weights})


def _inspect_saved_model(path):
    with native_logs.hidden():
        import tensorflow as tf

        loaded = tf.saved_model.load(path)
    for name, signature in loaded.signatures.items():
        print(f"signature {name}:")
        for key, spec in sorted(signature.structured_input_signature[1].items()):
            print(f"  in   {key}: {spec.dtype.name} {_shape(spec.shape)}")
        for key, spec in sorted(signature.structured_outputs.items()):
            print(f"  out  {key}: {spec.dtype.name} {_shape(spec.shape)}")
    ops = collections.Counter()
    for signature in loaded.signatures.values():
        graph = signature.graph.as_graph_def()
        ops.update(node.op for node in graph.node)
        ops.update(node.op for function in graph.library.function for node in function.node_def)
    _ops(ops)


def _inspect_tflite(path):
    with native_logs.hidden():
        from keras_bert_lib.export import stock_runtime

        interpreter = stock_runtime.make_interpreter(path)
    for name in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(name)
        print(f"signature {name}:")
        for key, detail in runner.get_input_details().items():
            print(f"  in   {key}: {detail['dtype'].__name__} {_shape(detail['shape'])}")
        for key, detail in runner.get_output_details().items():
            print(f"  out  {key}: {detail['dtype'].__name__} {_shape(detail['shape'])}")
    labels = stock_runtime.read_labels(path)
    if labels:
        _facts(labels=_shortened(labels))
    ops = collections.Counter(detail["op_name"] for detail in interpreter._get_ops_details())
    del ops["DELEGATE"]  # The interpreter's own, in place of ops that it counts too.
    _ops(ops)


def _facts(**facts):
    for name, value in facts.items():
        if value not in (None, ""):
            print(f"{name.replace('_', ' ')}: {value}")


def _parameters(shapes):
    """One line a tensor, those of the numbered layers gathered, and the total."""
    sizes = {}
    for name, shape in shapes.items():
        count = 1
        for dimension in shape:
            count *= dimension
        group = name.rsplit(".layer.", 1)
        if len(group) == 2:
            name = f"{group[0]}.layer.{group[1].split('.')[0]} (all)"
            shape = ""
        seen, _ = sizes.get(name, (0, ""))
        sizes[name] = (seen + count, _shape(shape) if shape != "" else "")
    print(f"parameters: {sum(count for count, _ in sizes.values()):,}")
    width = max(map(len, sizes))
    for name, (count, shape) in sizes.items():
        print(f"  {name:{width}}  {count:>12,}  {shape}".rstrip())


def _ops(ops):
    print(f"ops: {sum(ops.values())} of {len(ops)} kinds")
    print("  " + ", ".join(f"{name} {count}" for name, count in ops.most_common()))


def _shape(shape):
    return "[" + ", ".join("?" if size in (None, -1) else str(size) for size in shape) + "]"


def _shortened(labels):
    shown = ", ".join(map(str, labels[:20]))
    return shown + (f", ... ({len(labels)} in all)" if len(labels) > 20 else "")


_TITLES = {
    "model": "a model directory",
    "keras": "a Keras file",
    "saved_model": "a SavedModel",
    "tflite": "a TFLite file",
}
_INSPECTORS = {
    "model": _inspect_model,
    "keras": _inspect_keras,
    "saved_model": _inspect_saved_model,
    "tflite": _inspect_tflite,
}
