"""Random bytes through an exported file: it answers all, with the token ids of the Keras layer."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from keras_bert_lib.export.quantization import flatbuffer
from keras_bert_lib.export.stock_runtime import make_interpreter
from tests.export.conftest import make_classifier

MAX_BYTES = 64
ALPHABETS = [
    b"abcdefghijklmnopqrstuvwxyz .,!",
    bytes(range(256)),  # hardly ever valid UTF-8
    bytes(range(0x80, 0xC0)) + b"\xc2\xc3\xe4\xe9\xf0\xf4\xed\xef",  # lead and continuation bytes
    "äöé中文字한글😀👩‍🚀\u0301\u200d\u3000\ufeff".encode(),
    b"\x00\t\n\r \x7f[CLS]#",
]


def random_bytes(count):
    """Bytes of all lengths: letters, whole characters, broken ones, anything."""
    rng = np.random.default_rng(0)
    for i in range(count):
        alphabet = np.frombuffer(ALPHABETS[i % len(ALPHABETS)], np.uint8)
        yield rng.choice(alphabet, size=rng.integers(0, MAX_BYTES + 1))


def token_ids_tensor(path, config):
    """Index of the tensor that holds the token ids: what looks up their embeddings."""
    model = flatbuffer.read(path.read_bytes())
    graph = model.subgraphs[0]
    names = {"GATHER": (0, 1), "EMBEDDING_LOOKUP": (1, 0)}  # places of table and ids
    codes = {getattr(flatbuffer.schema.BuiltinOperator, name): name for name in names}
    for operator in graph.operators:
        name = codes.get(flatbuffer.builtin(model, operator))
        if name is None:
            continue
        table, ids = (operator.inputs[place] for place in names[name])
        if list(graph.tensors[table].shape) == [config.vocab_size, config.hidden_size]:
            return int(ids)
    raise AssertionError("no operator looks up token embeddings")


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["none", "dynamic_int8"])
def test_same_ids_for_any_bytes(quantization, tmp_path):
    import keras_bert_lib as kbl

    classifier = make_classifier()
    path = tmp_path / "file.tflite"
    kbl.export.tflite(classifier, path, quantization, max_bytes=MAX_BYTES, max_length=48)
    rows = np.zeros([10_000, MAX_BYTES], np.int32)
    for row, data in zip(rows, random_bytes(len(rows))):
        row[: len(data)] = data
    tokens = classifier.tokenizer(rows, max_length=48, padding="max_length")
    expected = tokens["token_ids"].numpy() * tokens["padding_mask"].numpy()

    watched = Interpreter(str(path), experimental_preserve_all_tensors=True)
    watched.allocate_tensors()
    ids_tensor = token_ids_tensor(path, classifier.config)
    answer = make_interpreter(str(path)).get_signature_runner("serving_default")
    seen = watched.get_input_details()[0]["index"]
    lengths = set()
    for row, ids in zip(rows, expected):
        watched.set_tensor(seen, row[None])
        watched.invoke()
        found = watched.get_tensor(ids_tensor).ravel()
        lengths.add(len(found))
        np.testing.assert_array_equal(found, ids[: len(found)], err_msg=str(bytes(row.tolist())))
        assert not ids[len(found) :].any()
        # The interpreter that its users run, with its delegate.
        probabilities = answer(text=row[None])["probabilities"]
        assert abs(probabilities.sum() - 1) < 1e-5
    assert len(lengths) > 40
