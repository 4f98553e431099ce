"""A client of TensorFlow Serving's gRPC API: pip install tensorflow-serving-api."""

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from .serving_errors import error_of
from .text_client import TextClient

# The answers for a batch of long texts may be more than gRPC's 4 MB.
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class GrpcTextClient(TextClient):
    """Asks a model on a server for answers, by gRPC.

    It may be used from several threads. Close it, or use it in a `with` statement.

    Args:
        target: str, such as "localhost:8500".
        model: see `TextClient`.
        credentials: `grpc.ChannelCredentials`, for TLS, or None.
        **options: see `TextClient`.

    Example:
        ```python
        with GrpcTextClient("localhost:8500", "my-model") as client:
            client.predict(["a fine film"])  # [{"label": "pos", "score": 0.98}]
        ```
    """

    def __init__(self, target, model, credentials=None, **options):
        super().__init__(model, **options)
        if credentials is None:
            self._channel = grpc.insecure_channel(target, _OPTIONS)
        else:
            self._channel = grpc.secure_channel(target, credentials, _OPTIONS)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def close(self):
        """Closes the connection."""
        self._channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _predict(self, signature, inputs, timeout):
        request = predict_pb2.PredictRequest()
        self._name_model(request.model_spec)
        request.model_spec.signature_name = signature
        for name, column in inputs.items():
            shape = [len(column), len(column[0])] if isinstance(column[0], list) else [len(column)]
            values = tf.make_tensor_proto(column, tf.string, shape)
            request.inputs[name].CopyFrom(values)
        response = _call(self._predictions.Predict, request, timeout)
        return {
            name: _decoded(tf.make_ndarray(tensor).tolist())
            for name, tensor in response.outputs.items()
        }

    def _status(self, timeout):
        request = get_model_status_pb2.GetModelStatusRequest()
        self._name_model(request.model_spec)
        states = get_model_status_pb2.ModelVersionStatus.State
        return [
            {
                "version": version.version,
                "state": states.Name(version.state),
                "error": version.status.error_message,
            }
            for version in _call(self._models.GetModelStatus, request, timeout).model_version_status
        ]

    def _name_model(self, model_spec):
        model_spec.name = self.model
        if isinstance(self.version, int):
            model_spec.version.value = self.version
        elif self.version is not None:
            model_spec.version_label = self.version


def _call(method, request, timeout):
    """Returns the response, or raises an error of `serving_errors`."""
    try:
        return method(request, timeout=timeout)
    except grpc.RpcError as error:
        raise error_of(error.code().name, error.details()) from error


def _decoded(values):
    """Makes the strings in nested lists str."""
    if isinstance(values, list):
        return [_decoded(x) for x in values]
    return values.decode("utf-8", "replace") if isinstance(values, bytes) else values
