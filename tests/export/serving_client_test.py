"""The Python clients of export/serving answer as the models do, and fail as they should."""

import contextlib
import importlib.util
import socket
import threading
import time

import numpy as np
import pytest

import keras_bert_lib as kbl
from export.serving.clients import serving_errors, text_client
from export.serving.clients.rest_client import RestTextClient
from tests.export.model_server import ModelServer, grpc_server, rest_server
from tests.export.task_models import make_model, make_texts

OTHER_TASKS = [
    "multi_label",
    "regression",
    "embedder",
    "tagger",
    "answerer",
    "choice",
    "masked",
]
BYTES = make_texts(40)  # three of them are no UTF-8
TEXTS = [text.decode("utf-8", "ignore") for text in BYTES]
# The same words over and over hold the same answer in several places.
CONTEXTS = [text for text in TEXTS if len(text) < 200 or len(set(text)) > 5][::-1]
SECONDS = {
    "answerer": [CONTEXTS[i % len(CONTEXTS)] for i in range(40)],
    "choice": [[TEXTS[(i + k) % 40] for k in range(1, 3 + i % 2)] for i in range(40)],
}
KINDS = ["rest", pytest.param("grpc", marks=pytest.mark.parity)]


def save(task, directory):
    model = make_model(task)
    kbl.export.saved_model(model, directory / task / "1")
    return model


@contextlib.contextmanager
def serving(kind, server):
    """Gives a function that makes clients of a running server."""
    if kind == "rest":
        with rest_server(server) as url:
            yield lambda model, **options: RestTextClient(url, model, **options)
        return
    pytest.importorskip("tensorflow_serving", reason="pip install tensorflow-serving-api")
    from export.serving.clients.grpc_client import GrpcTextClient

    with grpc_server(server) as target, contextlib.ExitStack() as stack:
        yield lambda model, **options: stack.enter_context(GrpcTextClient(target, model, **options))


@pytest.fixture(scope="module")
def model_and_server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    return save("label", directory), ModelServer({"label": directory / "label"})


@pytest.fixture(params=KINDS)
def make_client(request, model_and_server, monkeypatch):
    monkeypatch.setattr(text_client, "_FIRST_WAIT", 0.02)
    model_and_server[1].reset()
    with serving(request.param, model_and_server[1]) as make:
        yield make


@pytest.fixture
def server(model_and_server):
    return model_and_server[1]


@pytest.fixture
def model(model_and_server):
    return model_and_server[0]


def assert_alike(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_alike(found[key], value)
    elif isinstance(expected, (list, np.ndarray)):
        assert isinstance(found, list)
        assert len(found) == len(expected)
        for one, other in zip(found, expected):
            assert_alike(one, other)
    elif isinstance(expected, (float, np.floating)):
        assert abs(found - expected) < 2e-5
    else:
        assert found == expected


def answers_of_model(model, task):
    if task == "embedder":
        return model.encode(TEXTS)
    columns = [TEXTS, SECONDS[task]] if task in SECONDS else [TEXTS]
    answers = model.predict_text(*columns)
    # A file has room for so many entities, and so many masks.
    if task == "tagger":
        return [row[:64] for row in answers]
    if task == "masked":
        keys = ("token", "score")
        return [[[{k: x[k] for k in keys} for x in fills] for fills in row[:8]] for row in answers]
    return answers


def test_answers_as_predict_text(make_client, server, model):
    answers = make_client("label").predict(TEXTS)
    assert_alike(answers, model.predict_text(TEXTS))
    assert {answer["label"] for answer in answers} >= {"anger", "käse"}
    # In parts, for the server takes no more at once.
    assert server.requests == [("serving_default", 32), ("serving_default", 8)]
    assert make_client("label").predict([]) == []


@pytest.mark.slow
@pytest.mark.parametrize("task", OTHER_TASKS)
def test_answers_of_every_task(task, tmp_path):
    model = save(task, tmp_path)
    expected = answers_of_model(model, task)
    assets = tmp_path / task / "1" / "assets.extra"
    server = ModelServer({task: tmp_path / task})
    for kind in ("rest", "grpc") if importlib.util.find_spec("tensorflow_serving") else ("rest",):
        server.reset()
        with serving(kind, server) as make:
            answers = make(task, assets=assets).predict(TEXTS, SECONDS.get(task))
        assert_alike(answers, expected)
        assert max(size for _, size in server.requests) <= 32
        assert sum(size for _, size in server.requests) == 40


@pytest.mark.slow
def test_answers_of_chosen_labels(tmp_path):
    model = make_model("multi_label")
    path = kbl.export.saved_model(model, tmp_path / "m", top_k=2, threshold=0.6)
    with serving("rest", ModelServer({"m": path.parent})) as make:
        answers = make("m").predict(TEXTS)
    assert_alike(answers, [row[:2] for row in model.predict_text(TEXTS, threshold=0.6)])
    assert {0, 1, 2} == {len(answer) for answer in answers}


def test_bytes_that_are_no_text(make_client, model):
    found = make_client("label").predict([*BYTES[-3:], b"\xff\x00\xfe", "half \ud800 a pair"])
    assert_alike(found, make_client("label").predict([*BYTES[-3:], "\x00", "half  a pair"]))


def test_tokenizes(make_client, model):
    rows = make_client("label").tokenize(TEXTS)
    batch = {name: np.array(x) for name, x in model.tokenizer(TEXTS).items()}
    for i, row in enumerate(rows):
        count = batch["padding_mask"][i].sum()
        assert row["token_ids"] == batch["token_ids"][i, :count].tolist()
        assert len(row["segment_ids"]) == len(row["byte_offsets"]) == count
    assert rows[TEXTS.index("q" * 300)]["truncated"] == 0  # one word, which is unknown
    assert rows[TEXTS.index("a b c d " * 60)]["truncated"] == 1


def test_status_and_versions(make_client, server):
    available = [{"version": 1, "state": "AVAILABLE", "error": ""}]
    assert make_client("label").status() == available
    assert make_client("label", version=1).status() == available
    server.labels["label", "stable"] = 1
    assert len(make_client("label", version="stable").predict(["a film"])) == 1
    for wrong in ({"version": 2}, {"version": "canary"}):
        with pytest.raises(serving_errors.ModelNotFound, match="NOT_FOUND"):
            make_client("label", **wrong).predict(["a film"])
    with pytest.raises(serving_errors.ModelNotFound, match="versions of model other"):
        make_client("other").status()


def test_tries_again_where_the_server_has_no_room(make_client, server):
    server.failures.extend(["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
    assert len(make_client("label").predict(TEXTS)) == 40
    assert len(server.requests) == 2
    assert not server.failures
    server.failures.extend(["UNAVAILABLE"] * 5)
    with pytest.raises(serving_errors.ServerUnavailable, match="a test's UNAVAILABLE"):
        make_client("label").predict(["a film"])
    assert not server.failures  # after all attempts


@pytest.mark.parametrize("code", ["INTERNAL", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED"])
def test_does_not_try_again_for_other_reasons(make_client, server, code):
    server.failures.extend([code] * 2)
    errors = {"INTERNAL": "ServerFailed", "INVALID_ARGUMENT": "InvalidInput"}
    with pytest.raises(getattr(serving_errors, errors.get(code, "DeadlineExceeded"))):
        make_client("label").predict(["a film"])
    assert len(server.failures) == 1


def test_the_deadline_is_for_all_attempts_and_parts(make_client, server):
    client = make_client("label", deadline=0.4, max_batch_size=1)
    server.delay = 0.15
    started = time.monotonic()
    with pytest.raises(serving_errors.DeadlineExceeded):
        client.predict(TEXTS[:8])
    assert 1 <= len(server.requests) < 4
    server.delay = 0
    assert len(make_client("label").predict(TEXTS)) == 40  # the connection is of use after that
    # A server that never has room is not waited for any longer.
    server.failures.extend(["UNAVAILABLE"] * 99)
    with pytest.raises(serving_errors.ServerUnavailable):
        make_client("label", deadline=0.12).predict(["a film"])
    assert len(server.failures) >= 94
    assert time.monotonic() - started < 60


def test_a_server_that_is_not_there(make_client, request):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        if "rest" in request.node.name:
            client = RestTextClient(f"http://{address}", "label", deadline=0.5)
        else:
            from export.serving.clients.grpc_client import GrpcTextClient

            client = GrpcTextClient(address, "label", deadline=0.5)
        with pytest.raises((serving_errors.ServerUnavailable, serving_errors.DeadlineExceeded)):
            client.predict(["a film"])


def test_what_the_model_does_not_take(make_client, server):
    client = make_client("label")
    with pytest.raises(serving_errors.InvalidInput, match="does not match signature"):
        client.predict(["a film"], ["another"])
    with pytest.raises(serving_errors.InvalidInput, match='"no_such" not found'):
        client._rows("no_such", {"text": [b"a film"]})
    with pytest.raises(serving_errors.InvalidInput, match="larger than maximum"):
        make_client("label", max_batch_size=64).predict(TEXTS)
    asked = len(server.requests)
    for wrong in ("a film", [1], None):
        with pytest.raises(serving_errors.InvalidInput, match="must be a list of str"):
            client.predict(wrong)
    with pytest.raises(serving_errors.InvalidInput, match="Received: 1 texts, 2 second texts"):
        client.predict(["a film"], ["one", "two"])
    assert len(server.requests) == asked


def test_several_threads_share_a_client(make_client, model):
    client, found = make_client("label"), [None] * 6

    def ask(i):
        found[i] = [client.predict([text])[0] for text in TEXTS[i::6]]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = model.predict_text(TEXTS)
    for i in range(6):
        assert_alike(found[i], expected[i::6])


def test_answers_that_are_none_of_a_model_server():
    """A gateway in between may answer anything, or break off."""
    pages = [
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", "ServerFailed", "no JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "ServerFailed", "no JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "ServerFailed", "no named outputs"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", "ServerFailed", "no JSON"),
        (b"", "ServerUnavailable", "does not answer"),
    ]
    for page, error, message in pages:
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer(listener=listener, page=page):
                with contextlib.suppress(OSError):
                    while True:
                        connection = listener.accept()[0]
                        with connection:
                            connection.recv(2**16)
                            connection.sendall(page)

            threading.Thread(target=answer, daemon=True).start()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with pytest.raises(getattr(serving_errors, error), match=message):
                RestTextClient(url, "label", deadline=1.0).predict(["a film"])
    with pytest.raises(ValueError, match="must begin with http"):
        RestTextClient("localhost:8501", "label")
