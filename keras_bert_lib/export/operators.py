"""The operators of exported files, and how many of them TFLite's delegate, XNNPACK, runs."""

import collections
import os
import tempfile
from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2

from keras_bert_lib.export import stock_runtime, tflite_file
from keras_bert_lib.export.quantization import flatbuffer


def count_operators(path):
    """Returns a dict of the operators of a file and how often each stands in it, most first.

    Args:
        path: a SavedModel directory or a `.tflite` file.
    """
    path = Path(path)
    if path.is_dir():
        proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
        graph = proto.meta_graphs[0].graph_def
        nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
        return dict(collections.Counter(node.op for node in nodes).most_common())
    return tflite_file.count_operators(path.read_bytes())


def count_partitions(path):
    """Says of each signature how many of its operators run in the delegate, in how many parts.

    Args:
        path: a `.tflite` file.

    Returns:
        Tuple of dicts, one a signature: "signature", its name; "operators", the number of all;
        "partitions", a list of int, the operators in each part; "outside", a dict of the names of
        the operators left to the runtime and how often each stands there.
    """
    path = Path(path)
    interpreter = stock_runtime.make_interpreter(path)
    names = list(interpreter.get_signature_list())
    if interpreter.num_subgraphs() == 1:
        return tuple({"signature": name, **_of_first_subgraph(interpreter)} for name in names)
    rows = []
    for i in range(len(names)):  # the runtime tells of its first graph only
        file = flatbuffer.read(path.read_bytes())
        file.subgraphs = [file.subgraphs[file.signatureDefs[i].subgraphIndex]]
        name, file.signatureDefs = file.signatureDefs[i].signatureKey.decode(), []
        with tempfile.TemporaryDirectory() as directory:
            single = os.path.join(directory, "single.tflite")
            with open(single, "wb") as written:
                written.write(flatbuffer.write(file))
            interpreter = stock_runtime.make_interpreter(single)
            rows.append({"signature": name, **_of_first_subgraph(interpreter)})
    return tuple(rows)


def _of_first_subgraph(interpreter):
    nodes = interpreter._get_ops_details()
    # A part stands among the nodes as one more, DELEGATE; those in its place are still there.
    delegates = [node for node in nodes if node["op_name"] == "DELEGATE"]
    nodes = [node for node in nodes if node["op_name"] != "DELEGATE"]
    maker = {tensor: node for node in nodes for tensor in node["outputs"]}
    sizes, inside = [], set()
    for delegate in delegates:
        found = set()  # from what the part gives back to what it takes
        ends, todo = set(delegate["inputs"]), list(delegate["outputs"])
        while todo:
            tensor = todo.pop()
            if tensor in maker and tensor not in ends and maker[tensor]["index"] not in found:
                found.add(maker[tensor]["index"])
                todo += list(maker[tensor]["inputs"])
        sizes.append(len(found))
        inside |= found
    outside = collections.Counter(n["op_name"] for n in nodes if n["index"] not in inside)
    return {"operators": len(nodes), "partitions": sizes, "outside": dict(outside.most_common())}
