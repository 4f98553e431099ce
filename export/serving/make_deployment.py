"""Writes what TensorFlow Serving needs to serve a SavedModel of texts.

    python export/serving/make_deployment.py serving/sentiment --output deployment

reads the model's signatures and sizes, and writes models.config, batching.config,
monitoring.config, compose.yaml, a Dockerfile and kubernetes.yaml. Numbers in them are derived from
the model and the CPUs; why they are what they are is said beside them. The files are yours to
change.
"""

import argparse
import json
import math
import os
import re
import string
import sys
import textwrap
from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2

TEMPLATES = Path(__file__).parent / "templates"
CONFIGS = ("models.config", "batching.config", "monitoring.config")

# The greatest batch of the warmup requests, which a server must not refuse. On CPUs larger batches
# gain nothing: longer texts in them only make more padding.
MAX_BATCH_SIZE = 32
DEADLINE = 10.0  # seconds, of clients that are not told otherwise
FLOPS = 50e9  # a second, that a CPU of a server makes of float32 matrices
SERVER_BYTES = 512e6  # of a server with a model of no size
DT_STRING = 7


def main(argv=None):
    """Reads, derives, writes; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="directory of the model's versions, or of one of them")
    parser.add_argument("--output", required=True, help="directory to write the files to")
    parser.add_argument(
        "--name", help="name of the model on the server; its directory's by default"
    )
    parser.add_argument("--cpus", type=int, default=4, help="CPUs of a server (default: 4)")
    parser.add_argument(
        "--image",
        default="tensorflow/serving:2.19.1",
        help="image of TensorFlow Serving (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    try:
        folder, version = find_version(Path(args.model))
        model = read_model(folder / version)
        files = make_files(
            model, folder, version, Path(args.output), args.name, args.cpus, args.image
        )
    except (OSError, ValueError) as error:
        print(f"make_deployment: error: {error}", file=sys.stderr)
        return 2
    for name, content in files.items():
        write_file(Path(args.output) / name, content)
    print(f"Wrote {', '.join(files)} to {args.output}. Try: docker compose up, there.")
    return 0


def find_version(path):
    """Returns the directory of a model's versions and the newest of them, or the one of `path`.

    Raises:
        ValueError: if there is no SavedModel.
    """
    if (path / "saved_model.pb").is_file() and path.resolve().name.isdigit():
        return path.resolve().parent, path.resolve().name
    found = [
        x.name for x in path.glob("*") if x.name.isdigit() and (x / "saved_model.pb").is_file()
    ]
    if not found:
        raise ValueError(
            "The model's directory must hold versions, directories of numbers, as "
            f"kbl.export.saved_model writes them. Received: {path}"
        )
    return path.resolve(), max(found, key=int)


def read_model(directory):
    """Reads what matters to a server.

    Args:
        directory: path of a version.

    Returns:
        Dict: "can_batch", whether requests may be put together; "parameter_bytes", as float32;
        "flops", of a token, and "attention_flops", of a pair of tokens; "token_bytes" and
        "attention_bytes", of what a layer makes of them; "max_length", most tokens of a text.

    Raises:
        FileNotFoundError: if an older version of the library wrote it.
        ValueError: if it is no SavedModel that takes text.
    """
    content = (directory / "saved_model.pb").read_bytes()
    graph = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]
    signature = graph.signature_def["serving_default"]
    if "text" not in signature.inputs or signature.inputs["text"].dtype != DT_STRING:
        raise ValueError(
            "The model must take text: export it with kbl.export.saved_model. "
            f"Received: {directory}, whose serving_default takes {sorted(signature.inputs)}"
        )
    # By name where there is one: weights that are stored in 16 bits have none, and their copies in
    # 32 bits are not counted again.
    shapes = [
        (node.attr["shared_name"].s.decode(), [x.size for x in node.attr["shape"].shape.dim])
        for node in graph.graph_def.node
        if node.op == "VarHandleOp"
    ]
    shapes = [(name, shape) for name, shape in shapes if not name.startswith("float32_copy_")]
    matrices = [(name, shape) for name, shape in shapes if len(shape) == 2]
    if not matrices:
        raise ValueError(f"The model must have weights. Received: {directory}")
    vocabulary = max((shape for _, shape in matrices), key=lambda shape: shape[0])
    hidden = vocabulary[1]
    dense = [shape for name, shape in matrices if shape != vocabulary and "embedding" not in name]
    layers = sum(shape == [hidden, 3 * hidden] for shape in dense)
    widest = max(shape[1] for shape in dense)
    return {
        # Second texts `[batch, choices]` have two dimensions, of which a server joins one: requests
        # with other numbers of choices would fail together.
        "can_batch": all(len(x.tensor_shape.dim) == 1 for x in signature.inputs.values()),
        "parameter_bytes": 4 * sum(math.prod(shape) for _, shape in shapes),
        "flops": 2 * sum(math.prod(shape) for shape in dense),
        "attention_flops": 4 * hidden * layers,
        "token_bytes": 4 * (widest + 8 * hidden),
        "attention_bytes": 2 * 4 * hidden // 32,  # heads are no narrower than 32
        "max_length": read_max_length(directory),
    }


def read_max_length(directory):
    """Returns the most tokens of a text, which the export wrote beside the graph."""
    path = directory / "assets.extra" / "sizes.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path}, which tells the model's `max_length`. Export the model anew with "
            "kbl.export.saved_model."
        )
    return json.loads(path.read_text("utf-8"))["max_length"]


def batching(model, cpus):
    """Returns the parameters of batching, dict; templates/batching.config says what they mean."""
    # Most texts are much shorter than the longest. Each attends to all the others in its text.
    length = max(model["max_length"] // 4, 1)
    flops = MAX_BATCH_SIZE * length * (model["flops"] + length * model["attention_flops"])
    seconds = flops / (FLOPS * cpus)
    return {
        "max_batch_size": MAX_BATCH_SIZE,
        "max_enqueued_batches": min(max(int(DEADLINE / 2 / seconds), cpus), 100),
        "typical_length": length,
        "batch_seconds": f"{seconds:.1g}",
    }


def memory(model, cpus, versions):
    """Returns how much memory a server needs at most, in MiB.

    Weights count twice: kernels keep them in a layout of their own, too.
    """
    length = model["max_length"]
    rows = MAX_BATCH_SIZE * cpus  # at once, all as long as can be
    batches = rows * length * (model["token_bytes"] + length * model["attention_bytes"])
    needed = SERVER_BYTES + 2 * versions * model["parameter_bytes"] + batches
    return math.ceil(needed / 2**26) * 64


def make_files(model, folder, version, output, name, cpus, image):
    """Returns what to write, dict of file name to str.

    Raises:
        ValueError: if the name or the number of CPUs cannot be.
    """
    name = folder.name if name is None else name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(
            "The model's name must be letters, digits, dots, dashes and underscores. Give another "
            f"with --name. Received: {name!r}"
        )
    if cpus < 1:
        raise ValueError(f"--cpus must be at least 1. Received: {cpus}")
    source = os.path.relpath(folder, output.resolve())
    values = {
        "name": name,
        "object_name": object_name(name),
        "version": version,
        "image": image,
        "cpus": cpus,
        "memory_one": memory(model, cpus, versions=1),
        "memory_two": memory(model, cpus, versions=2),
        "model_source": source if source.startswith(".") else f"./{source}",
        "context": source,
        **batching(model, cpus),
    }
    flags = [
        "--port=8500",
        "--rest_api_port=8501",
        f"--rest_api_timeout_in_ms={DEADLINE * 1000:.0f}",
        f"--tensorflow_intra_op_parallelism={cpus}",
        f"--tensorflow_inter_op_parallelism={cpus}",
        "--model_config_file=/etc/serving/models.config",
        "--monitoring_config_file=/etc/serving/monitoring.config",
    ]
    configs = list(CONFIGS)
    if model["can_batch"]:
        flags += ["--enable_batching", "--batching_parameters_file=/etc/serving/batching.config"]
    else:
        configs.remove("batching.config")
    files = {config: render(config, values) for config in configs}
    lines = "".join(f"- {flag}\n" for flag in flags)
    values["flags_6"] = textwrap.indent(lines, " " * 6).rstrip()
    values["flags_12"] = textwrap.indent(lines, " " * 12).rstrip()
    values["config_volumes"] = "\n".join(
        f"      - ./{config}:/etc/serving/{config}:ro" for config in configs
    )
    values["config_data"] = "\n".join(
        f"  {config}: |\n{textwrap.indent(content, '    ').rstrip()}"
        for config, content in files.items()
    )
    for file in ("compose.yaml", "Dockerfile", "kubernetes.yaml"):
        files[file] = render(file, values)
    return files


def object_name(name):
    """Returns a name for images and Kubernetes' objects: lower case, a letter first, 63 at most."""
    name = re.sub(r"[^a-z0-9]+", "-", name.lower())
    return (name if name[0].isalpha() else f"model-{name}")[:50].strip("-")


def render(template, values):
    """Returns a template with its names replaced."""
    return string.Template((TEMPLATES / template).read_text("utf-8")).substitute(values)


def write_file(path, content):
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(content, "utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
