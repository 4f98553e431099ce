"""Say what is in a model, of whichever library, or in an exported file.

Tells the kind, the sizes, the tokenizer and each weight of a model directory (Hugging Face,
sentence-transformers), a KerasHub preset, a checkpoint of google-research/bert or Model Garden or a
.keras file; and the signatures and operations of a SavedModel or a .tflite file.
"""

import collections
import math
import re

from keras_bert_lib.cli import artifact, native_logs
from keras_bert_lib.cli.arguments import megabytes, shortened

EXAMPLES = """\
examples:
  keras-bert inspect my-classifier
  keras-bert inspect my-classifier.tflite
  keras-bert inspect uncased_L-12_H-768_A-12/bert_model.ckpt
"""
IF_INTERRUPTED = "Nothing was changed."


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument(
        "path",
        help="model directory, KerasHub preset, TensorFlow checkpoint (its directory or prefix), "
        "SavedModel directory, .keras or .tflite file",
    )


def run(args):
    """Prints one fact a line, then the table that belongs to the kind."""
    kind, path = artifact.kind_of(args.path)
    native_logs.start_tensorflow()
    with artifact.reading(path):
        print(f"{path}: {artifact.title_of(kind, path)}, {megabytes(path)}")
        _INSPECTORS[kind](path)


def _inspect_model(path):
    with native_logs.hidden():
        from keras_bert_lib.checkpoints import open_checkpoint, tensor_names
        from keras_bert_lib.models import BertConfig
        from keras_bert_lib.models.pretrained_model import read_tokenizer

        checkpoint = open_checkpoint(path)
        try:
            BertConfig.from_huggingface(checkpoint.config)
        except ValueError as error:  # no BERT
            raise ValueError(f"{path}: {error}") from error
        model_class = artifact.model_class(checkpoint)
    _facts(loads_as=model_class.__name__)
    _config(checkpoint.config)
    try:
        _tokenizer(read_tokenizer(checkpoint))
    except (ValueError, OSError) as error:  # All else can still be told.
        _facts(tokenizer=f"cannot be read: {' '.join(str(error).split())}")
    # Constants and second copies are no parameters.
    names = set(checkpoint.source.names) - set(tensor_names.BUFFERS) - set(tensor_names.TIED)
    _parameters({name: checkpoint.source.shape(name) for name in sorted(names, key=_in_order)})


def _inspect_keras(path):
    model = artifact.load_keras(path)
    _facts(model=type(model).__name__, compiled="yes" if model.compiled else "no")
    if hasattr(model, "_huggingface_config"):
        _config(model._huggingface_config())
        _tokenizer(getattr(model, "tokenizer", None))
    _parameters({weight.path: tuple(weight.shape) for weight in model.weights})


def _config(config):
    """The facts in a `config.json`."""
    embedding = config.get("sentence_embedding", {})
    _facts(
        architecture=", ".join(config.get("architectures") or []),
        layers=config.get("num_hidden_layers"),
        hidden_size=config.get("hidden_size"),
        heads=config.get("num_attention_heads"),
        intermediate_size=config.get("intermediate_size"),
        activation=config.get("hidden_act"),
        vocabulary=config.get("vocab_size"),
        segments=config.get("type_vocab_size"),
        longest_text=config.get("max_position_embeddings"),
        pooling=embedding.get("pooling"),
        labels=shortened(list((config.get("id2label") or {}).values())),
    )


def _tokenizer(tokenizer):
    """What a `BertTokenizer`, or None, does."""
    if tokenizer is None:
        _facts(tokenizer="none")
        return
    casing = "lowercased" if tokenizer.lowercase else "cased"
    stripped = tokenizer.lowercase if tokenizer.strip_accents is None else tokenizer.strip_accents
    accents = "accents stripped" if stripped else "accents kept"
    _facts(tokenizer=f"WordPiece, {casing}, {accents}, {tokenizer.vocabulary_size:,} pieces")
    _facts(
        added_tokens=shortened(tokenizer.added_tokens),
        special_tokens=shortened(tokenizer.additional_special_tokens),
        most_tokens=tokenizer.max_length,
    )


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
    variables = [v for signature in loaded.signatures.values() for v in signature.variables]
    _parameters({v.name.removesuffix(":0"): tuple(v.shape) for v in variables})
    ops = collections.Counter()
    for signature in loaded.signatures.values():
        graph = signature.graph.as_graph_def()
        ops.update(node.op for node in graph.node)
        ops.update(node.op for function in graph.library.function for node in function.node_def)
    _ops(ops)


def _inspect_tflite(path):
    with native_logs.hidden():
        from keras_bert_lib.export import metadata, stock_runtime

        interpreter = stock_runtime.make_interpreter(path)
        with open(path, "rb") as file:
            described = metadata.read(file.read()) or {}
    _facts(**{name: described.get(name) for name in metadata.FIELDS})
    for graph in described.get("subgraph_metadata", [])[:1]:
        print(graph.get("description", ""))
    for name in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(name)
        print(f"signature {name}:")
        for key, detail in runner.get_input_details().items():
            print(f"  in   {key}: {detail['dtype'].__name__} {_shape(detail['shape'])}")
        for key, detail in runner.get_output_details().items():
            print(f"  out  {key}: {detail['dtype'].__name__} {_shape(detail['shape'])}")
    labels = stock_runtime.read_labels(path)
    if labels:
        _facts(labels=shortened(labels))
    ops = collections.Counter(detail["op_name"] for detail in interpreter._get_ops_details())
    del ops["DELEGATE"]  # The interpreter's own, in place of ops that it counts too.
    _ops(ops)


def _facts(**facts):
    for name, value in facts.items():
        if value not in (None, ""):
            print(f"{name.replace('_', ' ')}: {value}")


def _in_order(name):
    """Sorts names, and layer 2 before layer 10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _parameters(shapes):
    """One line a tensor, those of a Transformer block gathered, and the total."""
    rows = {}  # name -> number of parameters, shape
    for name, shape in shapes.items():
        block = re.match(r"(.*\blayer\.\d+|(.*/)?block_\d+)[./]", name)
        if block:
            name = f"{block[1]} (all)"
        seen, _ = rows.get(name, (0, ""))
        rows[name] = (seen + math.prod(shape), "" if block else _shape(shape))
    print(f"parameters: {sum(count for count, _ in rows.values()):,}")
    width = max(map(len, rows))
    for name, (count, shape) in rows.items():
        print(f"  {name:{width}}  {count:>12,}  {shape}".rstrip())


def _ops(ops):
    print(f"ops: {sum(ops.values())} of {len(ops)} kinds")
    print("  " + ", ".join(f"{name} {count}" for name, count in ops.most_common()))


def _shape(shape):
    return "[" + ", ".join("?" if size in (None, -1) else str(size) for size in shape) + "]"


_INSPECTORS = {
    "model": _inspect_model,
    "keras": _inspect_keras,
    "saved_model": _inspect_saved_model,
    "tflite": _inspect_tflite,
}
