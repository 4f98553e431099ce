"""What a model server refuses, as exceptions, which are named as the statuses of gRPC are."""
# ruff: noqa: N818


class ServingError(Exception):
    """Base of all: a request that got no answer.

    Attributes:
        code: str, the status as gRPC names it, such as "UNAVAILABLE".
    """

    def __init__(self, code, message):
        super().__init__(f"{message} ({code})")
        self.code = code


class InvalidInput(ServingError, ValueError):
    """The model does not take what it was sent, or has no such signature."""


class ModelNotFound(ServingError, LookupError):
    """The server has no model of this name, or not this version of it."""


class DeadlineExceeded(ServingError, TimeoutError):
    """The time was over before the answer was there."""


class ServerUnavailable(ServingError, ConnectionError):
    """The server is not there, or its queue is full, and it stayed so in all attempts."""


class ServerFailed(ServingError):
    """Whatever else went wrong behind the server's door."""


_ERRORS = {
    "INVALID_ARGUMENT": InvalidInput,
    "FAILED_PRECONDITION": InvalidInput,
    "OUT_OF_RANGE": InvalidInput,
    "NOT_FOUND": ModelNotFound,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "UNAVAILABLE": ServerUnavailable,
    "RESOURCE_EXHAUSTED": ServerUnavailable,
}


def error_of(code, message):
    """Returns the exception for a status: its code as gRPC names it, and its message."""
    return _ERRORS.get(code, ServerFailed)(code, message)
