"""The graph of objects in a TensorFlow 2 checkpoint."""

from tensorflow.core.protobuf import trackable_object_graph_pb2

from keras_bert_lib.checkpoints.tensorflow_files import OBJECT_GRAPH, read_tensor


class ObjectGraph:
    """The objects of a TensorFlow 2 checkpoint and the attributes by which they hold each other.

    An object is known by its number. A variable is an object too, one with a key: the name of its
    tensor in the checkpoint.

    Args:
        reader: what `tf.train.load_checkpoint` returns.
        path: str, the checkpoint's prefix.
    """

    def __init__(self, reader, path):
        graph = trackable_object_graph_pb2.TrackableObjectGraph()
        graph.ParseFromString(read_tensor(reader, path, OBJECT_GRAPH))
        # for each object: attribute -> object
        self.children = [
            {child.local_name: child.node_id for child in node.children} for node in graph.nodes
        ]
        # variable -> its key, and its name where it was trained
        self.keys, self.full_names = {}, {}
        for i, node in enumerate(graph.nodes):
            for attribute in node.attributes:
                if attribute.name == "VARIABLE_VALUE":
                    self.keys[i] = attribute.checkpoint_key
                    self.full_names[i] = attribute.full_name

    def find(self, node, path):
        """Returns the object that `path`, such as `dense/kernel`, leads to, or None."""
        for attribute in path.split("/"):
            node = self.children[node].get(attribute) if node is not None else None
        return node

    def items(self, node, prefix=""):
        """Returns the objects of a list, which are numbered, behind `prefix` if there is one."""
        children = self.children[node]
        items = []
        while f"{prefix}{len(items)}" in children:
            items.append(children[f"{prefix}{len(items)}"])
        return items

    def named(self, attribute):
        """Returns the objects that others hold under the name `attribute`, each once."""
        found = [children[attribute] for children in self.children if attribute in children]
        return list(dict.fromkeys(found))

    def below(self, node):
        """Returns the keys of all variables that `node` leads to."""
        seen, waiting = {node}, [node]
        while waiting:
            new = set(self.children[waiting.pop()].values()) - seen
            seen |= new
            waiting.extend(new)
        return {self.keys[i] for i in seen if i in self.keys}
