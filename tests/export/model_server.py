"""A model server for tests: what TensorFlow Serving answers, around SavedModels in this process.

Codes and messages are those of TensorFlow Serving's sources. `rest_server` needs nothing;
`grpc_server` is made of tensorflow-serving-api's own services.
"""

import base64
import collections
import contextlib
import json
import re
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import tensorflow as tf

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(:predict)?")


class Refusal(Exception):  # noqa: N818
    """A status that is not OK."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


class ModelServer:
    """Models by name; what goes wrong is up to the test.

    Attributes:
        failures: deque of codes, each of which the next request gets instead of an answer.
        delay: seconds before each answer.
        requests: list of what was asked: the signature, and how many rows.
        labels: dict of (name, version label) to version.
    """

    def __init__(self, directories, max_batch_size=32):
        self.models = {}
        for name, directory in directories.items():
            versions = sorted(directory.glob("[0-9]*"), key=lambda path: int(path.name))
            self.models[name] = {int(x.name): tf.saved_model.load(str(x)) for x in versions}
        self.max_batch_size = max_batch_size
        self.labels = {}
        self.reset()

    def reset(self):
        self.failures, self.requests, self.delay = collections.deque(), [], 0

    def versions(self, name, version=None, label=None):
        if label is not None:
            version = self.labels.get((name, label), -1)
        known = self.models.get(name, {})
        if not known or (version is not None and version not in known):
            raise Refusal("NOT_FOUND", f"Could not find any versions of model {name}")
        return [version] if version is not None else list(known)

    def statuses(self, name, version=None, label=None):
        self._fail()
        return self.versions(name, version, label)

    def predict(self, name, version, label, signature, inputs, unknown_signature):
        """Returns a dict of arrays for a dict of tensors, or raises `Refusal`."""
        self._fail()
        version = max(self.versions(name, version, label))
        signatures = self.models[name][version].signatures
        if signature not in signatures:
            raise Refusal(*unknown_signature)
        function = signatures[signature]
        specs = function.structured_input_signature[1]
        if set(inputs) != set(specs):
            missing = set(specs) - set(inputs)
            message = f"input size does not match signature. Missing but required: {missing}"
            raise Refusal("INVALID_ARGUMENT", message)
        size = len(next(iter(inputs.values())))
        self.requests.append((signature, size))
        if size > self.max_batch_size:
            message = f"Task size {size} is larger than maximum input batch size"
            raise Refusal("INVALID_ARGUMENT", f"{message} {self.max_batch_size}")
        try:
            tensors = {x: tf.constant(inputs[x], specs[x].dtype) for x in specs}
            return {x: output.numpy() for x, output in function(**tensors).items()}
        except (tf.errors.OpError, TypeError, ValueError) as error:
            raise Refusal("INVALID_ARGUMENT", str(error).splitlines()[0]) from error

    def _fail(self):
        time.sleep(self.delay)
        if self.failures:
            code = self.failures.popleft()
            raise Refusal(code, f"a test's {code}")


@contextlib.contextmanager
def rest_server(server):
    """Serves the REST API; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open
        disable_nagle_algorithm = True

        def do_GET(self):
            self._answer(lambda name, version, label: _status(server, name, version, label))

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(lambda *model: _predict(server, body, *model))

        def _answer(self, answer):
            match = PATH.fullmatch(self.path)
            try:
                if not match or bool(match[4]) != (self.command == "POST"):
                    raise Refusal("INVALID_ARGUMENT", f"Malformed request: {self.path}")
                status, content = 200, answer(match[1], match[2] and int(match[2]), match[3])
            except Refusal as refusal:
                status, content = HTTP_STATUS[refusal.code], {"error": refusal.message}
            content = json.dumps(content, indent=4).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    http_server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http_server.daemon_threads = True
    thread = threading.Thread(target=http_server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http_server.server_port}"
    http_server.shutdown()
    http_server.server_close()


def _status(server, *model):
    versions = [
        {
            "version": str(version),
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
        for version in server.statuses(*model)
    ]
    return {"model_version_status": versions}


def _predict(server, body, *model):
    signature = body.get("signature_name", "serving_default")
    message = f'Serving signature name: "{signature}" not found in signature def'
    inputs = {name: _from_json(values) for name, values in body["inputs"].items()}
    outputs = server.predict(*model, signature, inputs, ("INVALID_ARGUMENT", message))
    outputs = {name: _to_json(x.tolist()) for name, x in outputs.items()}
    return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}


def _from_json(value):
    if isinstance(value, list):
        return [_from_json(x) for x in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return value.encode() if isinstance(value, str) else value


def _to_json(value):
    if isinstance(value, list):
        return [_to_json(x) for x in value]
    return value.decode() if isinstance(value, bytes) else value


@contextlib.contextmanager
def grpc_server(server):
    """Serves the gRPC API; gives the address."""
    import grpc
    from tensorflow_serving.apis import (
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    def model_of(spec):
        choice = spec.WhichOneof("version_choice")
        version = spec.version.value if choice == "version" else None
        return spec.name, version, spec.version_label if choice == "version_label" else None

    def answer(context, function):
        try:
            return function()
        except Refusal as refusal:
            context.abort(getattr(grpc.StatusCode, refusal.code), refusal.message)

    class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            spec = request.model_spec
            signature = spec.signature_name or "serving_default"
            unknown = ("FAILED_PRECONDITION", f'Serving signature key "{signature}" not found.')
            inputs = {name: tf.make_ndarray(x) for name, x in request.inputs.items()}
            outputs = answer(
                context, lambda: server.predict(*model_of(spec), signature, inputs, unknown)
            )
            response = predict_pb2.PredictResponse()
            for name, x in outputs.items():
                response.outputs[name].CopyFrom(_proto(x))
            return response

    class Models(model_service_pb2_grpc.ModelServiceServicer):
        def GetModelStatus(self, request, context):
            versions = answer(context, lambda: server.statuses(*model_of(request.model_spec)))
            response = get_model_status_pb2.GetModelStatusResponse()
            for version in versions:
                available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
                response.model_version_status.add(version=version, state=available)
            return response

    made = grpc.server(futures.ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(), made)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Models(), made)
    port = made.add_insecure_port("127.0.0.1:0")
    made.start()
    yield f"127.0.0.1:{port}"
    made.stop(None).wait()


def _proto(x):
    """As the server sends tensors: each value in a field of its type."""
    proto = tf.make_tensor_proto(x)
    if x.dtype != object and x.size:
        field = proto.float_val if x.dtype == np.float32 else proto.int_val
        proto.ClearField("tensor_content")
        del field[:]
        field.extend(x.ravel().tolist())
    return proto
