"""A client of TensorFlow Serving's REST API, of Python's standard library alone."""

import base64
import http.client
import json
import threading
import time
from urllib.parse import quote, urlsplit

from .serving_errors import error_of
from .text_client import TextClient

_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class RestTextClient(TextClient):
    """Asks a model on a server for answers, by HTTP.

    It uses `http.client`: so there is nothing to install, and connections stay open between
    requests (`urllib.request` opens one for each). It may be used from several threads; each has a
    connection of its own.

    Args:
        url: str, such as "http://localhost:8501", or that of a gateway, with a path before `/v1`.
        model: see `TextClient`.
        headers: dict of str or None, sent with each request, such as "Authorization".
        **options: see `TextClient`.

    Example:
        ```python
        client = RestTextClient("http://localhost:8501", "my-model")
        client.predict(["a fine film"])  # [{"label": "pos", "score": 0.98}]
        ```
    """

    def __init__(self, url, model, headers=None, **options):
        super().__init__(model, **options)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"`url` must begin with http:// or https://. Received: {url!r}")
        self._is_secure = parts.scheme == "https"
        self._host = parts.netloc
        self._path = f"{parts.path.rstrip('/')}/v1/models/{quote(model, safe='')}"
        if self.version is not None:
            kind = "versions" if isinstance(self.version, int) else "labels"
            self._path += f"/{kind}/{quote(str(self.version), safe='')}"
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._threads = threading.local()

    def _predict(self, signature, inputs, timeout):
        inputs = {name: [_as_json(x) for x in column] for name, column in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
        outputs = self._request("POST", f"{self._path}:predict", body, timeout).get("outputs")
        if not isinstance(outputs, dict):  # as for a model with one output
            raise error_of("INTERNAL", f"The server's answer has no named outputs: {outputs!r:.80}")
        return outputs

    def _status(self, timeout):
        versions = self._request("GET", self._path, None, timeout)["model_version_status"]
        return [
            {
                "version": int(version["version"]),
                "state": version["state"],
                "error": version.get("status", {}).get("error_message", ""),
            }
            for version in versions
        ]

    def _request(self, method, path, body, timeout):
        """Returns the JSON object that the server answers."""
        end = time.monotonic() + timeout
        connection = self._connection(timeout)
        try:
            connection.request(method, path, body, self._headers)
            response = connection.getresponse()
            # A socket's timeout is for each read; all of them together have to be in time.
            content = bytearray()
            while part := response.read1(2**16):
                content += part
                if connection.sock is not None:
                    connection.sock.settimeout(max(end - time.monotonic(), 1e-3))
            response.close()  # which leaves the connection open
        except TimeoutError as error:
            connection.close()
            raise error_of("DEADLINE_EXCEEDED", f"{self._host} gave no answer in time.") from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()  # it may have been idle too long: the next attempt opens another
            what = f"{self._host} does not answer: {error or type(error).__name__}."
            raise error_of("UNAVAILABLE", what) from error
        except BaseException:  # an answer that nobody read would be taken for the next one's
            connection.close()
            raise
        try:
            answer = json.loads(content)
        except ValueError:
            answer = {"error": f"{self._host} answers no JSON: {bytes(content[:80])!r}."}
            if response.status == 200:
                raise error_of("INTERNAL", answer["error"]) from None
        if response.status != 200:
            message = answer.get("error") if isinstance(answer, dict) else None
            raise error_of(_CODES.get(response.status, "UNKNOWN"), message or response.reason)
        return answer

    def _connection(self, timeout):
        """This thread's connection to the server, with a new timeout."""
        connection = getattr(self._threads, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._is_secure else http.client.HTTPConnection
            connection = self._threads.connection = kind(self._host)
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        return connection


def _as_json(text):
    """A text as the REST API takes it: what is not UTF-8 goes as base64."""
    if isinstance(text, list):
        return [_as_json(choice) for choice in text]
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(text).decode()}
