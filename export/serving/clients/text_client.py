"""What a client of a model server does, whichever way its requests take."""

import random
import time
from pathlib import Path

from .answers import decode
from .serving_errors import InvalidInput, ServerUnavailable, error_of

_ATTEMPTS = 5
_FIRST_WAIT = 0.1  # seconds; doubled for each further attempt, up to
_LONGEST_WAIT = 2.0


class TextClient:
    """Base of the clients of TensorFlow Serving; see `RestTextClient` and `GrpcTextClient`.

    A request is tried again where the server says that it is not there or has no room: those
    requests were not computed, and the same request has the same answer anyway. Between attempts
    it waits twice as long each time, less a random part, so that clients do not come back together.

    Args:
        model: str, the model's name on the server.
        version: int, or a version's label (str); None for the newest.
        deadline: float, seconds that a call of a method may take, all its requests and all their
            attempts together.
        max_batch_size: int, most texts of a request: no more than the server's `max_batch_size`.
            Longer lists are sent in parts.
        assets: path of the model's `assets.extra` or None: its `labels.txt` and `vocab.txt` name
            what outputs give as numbers, which are the labels of a multi-label model, and pieces.
    """

    def __init__(self, model, version=None, deadline=10.0, max_batch_size=32, assets=None):
        self.model = model
        self.version = version
        self.deadline = deadline
        self.max_batch_size = max_batch_size
        self.labels, self.vocabulary = (
            _read_lines(assets, name) for name in ("labels.txt", "vocab.txt")
        )

    def predict(self, texts, text_pairs=None):
        """Answers texts.

        Args:
            texts: list of str, or of bytes, which need not be UTF-8.
            text_pairs: None, or the second texts, a list alike; for multiple choice a list of
                lists, the choices of each text.

        Returns:
            List, for each text what `predict_text` of the model gives; of an embedder lists of
            floats. Places in texts are in characters.

        Raises:
            ServingError: see `serving_errors`.
        """
        columns = _columns(texts, text_pairs)
        rows = self._rows("serving_default", columns)
        pairs = columns.get("text_pair", [None] * len(rows))
        return [
            decode(row, text, pair, self.labels, self.vocabulary)
            for row, text, pair in zip(rows, columns["text"], pairs)
        ]

    def tokenize(self, texts, text_pairs=None):
        """Returns what the model's tokenizer makes of texts.

        Args:
            texts: see `predict`.
            text_pairs: see `predict`.

        Returns:
            List of dicts, one a text (for multiple choice lists of them, one a choice): lists
            `token_ids`, `segment_ids`, and what else the signature gives for each token, without
            padding; and `truncated`, int.

        Raises:
            ServingError: see `serving_errors`.
        """
        return [
            _without_padding(row) for row in self._rows("tokenize", _columns(texts, text_pairs))
        ]

    def status(self):
        """Returns the versions that the server knows of.

        Returns:
            List of dicts with `version`, int, `state`, such as "AVAILABLE", and `error`, str.

        Raises:
            ServingError: see `serving_errors`.
        """
        return self._retried(self._status, time.monotonic() + self.deadline)

    def _rows(self, signature, columns):
        """Returns a dict of output name to values for each text, computed in batches."""
        end = time.monotonic() + self.deadline
        rows = [None] * len(columns["text"])
        for batch in self._batches(columns):
            inputs = {name: [column[i] for i in batch] for name, column in columns.items()}
            outputs = self._retried(lambda left: self._predict(signature, inputs, left), end)  # noqa: B023
            for name, values in outputs.items():
                if len(values) != len(batch):
                    raise error_of(
                        "INTERNAL", f"`{name}` has {len(values)} rows for {len(batch)} texts."
                    )
            for k, i in enumerate(batch):
                rows[i] = {name: values[k] for name, values in outputs.items()}
        return rows

    def _batches(self, columns):
        """Yields lists of indices. The texts of a request have equally many choices each."""
        groups = {}
        for i, pair in enumerate(columns.get("text_pair", columns["text"])):
            groups.setdefault(len(pair) if isinstance(pair, list) else 0, []).append(i)
        for group in groups.values():
            for start in range(0, len(group), self.max_batch_size):
                yield group[start : start + self.max_batch_size]

    def _retried(self, request, end):
        """Returns what `request` does; it is called with the seconds that are left."""
        wait = _FIRST_WAIT
        for attempt in range(1, _ATTEMPTS + 1):
            left = end - time.monotonic()
            if left <= 0:
                raise error_of("DEADLINE_EXCEEDED", f"No answer in {self.deadline:g} s.")
            try:
                return request(left)
            except ServerUnavailable:
                pause = random.uniform(wait / 2, wait)
                wait = min(2 * wait, _LONGEST_WAIT)
                if attempt == _ATTEMPTS or time.monotonic() + pause >= end:
                    raise
            time.sleep(pause)
        raise AssertionError("The last attempt returns or raises.")

    def _predict(self, signature, inputs, timeout):
        """Sends one request.

        Args:
            signature: str.
            inputs: dict of input name to list of bytes, or of lists of bytes.
            timeout: float, seconds.

        Returns:
            Dict of output name to nested lists of numbers and strings, the batch outermost.

        Raises:
            ServingError: by `error_of`.
        """
        raise NotImplementedError

    def _status(self, timeout):
        """Asks for what `status` returns."""
        raise NotImplementedError


def _columns(texts, text_pairs):
    """Returns the inputs of a signature, dict of name to list of bytes (or of lists of them)."""
    columns = {"text": _encoded(texts, "texts")}
    if text_pairs is not None:
        if isinstance(text_pairs, (list, tuple)) and any(
            isinstance(pair, (list, tuple)) for pair in text_pairs
        ):
            pairs = [_encoded(row, f"text_pairs[{i}]") for i, row in enumerate(text_pairs)]
        else:
            pairs = _encoded(text_pairs, "text_pairs")
        if len(pairs) != len(columns["text"]):
            raise InvalidInput(
                "INVALID_ARGUMENT",
                "There must be a second text for each text. "
                f"Received: {len(columns['text'])} texts, {len(pairs)} second texts",
            )
        columns["text_pair"] = pairs
    return columns


def _encoded(texts, name):
    is_list = isinstance(texts, (list, tuple))
    if not is_list or not all(isinstance(text, (str, bytes)) for text in texts):
        raise InvalidInput(
            "INVALID_ARGUMENT", f"`{name}` must be a list of str or bytes. Received: {texts!r:.80}"
        )
    # Half of a surrogate pair is no text, but may stand in a str.
    return [
        text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass") for text in texts
    ]


def _without_padding(row):
    """Drops the places of padding, which a server's batch may have made more than a request's."""
    mask = row["padding_mask"]
    if mask and isinstance(mask[0], list):  # choices
        per_choice = {name: x for name, x in row.items() if isinstance(x, list)}
        return [
            _without_padding({**row, **{name: x[i] for name, x in per_choice.items()}})
            for i in range(len(mask))
        ]
    return {
        name: x[: sum(mask)] if isinstance(x, list) else x
        for name, x in row.items()
        if name != "padding_mask"
    }


def _read_lines(directory, name):
    if directory is None or not (path := Path(directory, name)).is_file():
        return None
    return path.read_text("utf-8").removesuffix("\n").split("\n")
