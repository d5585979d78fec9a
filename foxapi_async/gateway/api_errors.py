"""Requests that are refused, and the envelope in which that is told (contract §8.1)."""

from http import HTTPStatus
from typing import Final

from aiohttp import web

from foxapi_async._wire.error_body import ErrorBody, encode_error
from foxapi_async._wire.violation import Violation

_LONGEST_PATH: Final = 200
_LONGEST_MESSAGE: Final = 2000
_LONGEST_METHOD: Final = 32
_LONGEST_PARAM: Final = 200
_TYPES: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.PAYMENT_REQUIRED: "insufficient_quota",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "file_too_large_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "service_unavailable",
    HTTPStatus.FORBIDDEN: "permission_error",
}


class APIError(Exception):
    """An answer that is an error of the service, raised wherever it is found."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: ErrorBody = ErrorBody(
            message=shown(message, _LONGEST_MESSAGE),
            type=error_type(status),
            code=code,
            param=None if param is None else shown(param, _LONGEST_PARAM),
        )

    @classmethod
    def from_violation(cls, violation: Violation) -> "APIError":
        """Refuse a request for what is wrong with it."""
        return cls(422, violation.message, code=violation.code, param=violation.param)

    @classmethod
    def invalid(cls, param: str, message: str) -> "APIError":
        """Refuse a value that no rule of the catalog speaks of."""
        return cls(422, message, code="invalid_param", param=param)


def error_type(status: int) -> str:
    """Return the service's word for a status (contract §8.2)."""
    server = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return _TYPES.get(status, "server_error" if server else "invalid_request_error")


def shown(text: str, longest: int) -> str:
    """Return what an answer or a log may repeat of ``text``, which a client may have written.

    Bytes of a header or a path that are no UTF-8 are in it as surrogates, which nothing can encode.
    """
    short = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return short.encode("utf-8", "backslashreplace").decode()


def envelope(status: int, body: ErrorBody) -> web.Response:
    """Return the answer that tells of an error."""
    return web.Response(status=status, body=encode_error(body), content_type="application/json")


def from_http_exception(error: web.HTTPException, request: web.BaseRequest) -> web.Response:
    """Put what aiohttp itself refuses into the envelope: routes, methods, large bodies."""
    body = ErrorBody(message=_reason(error, request), type=error_type(error.status))
    answer = envelope(error.status, body)
    if "Allow" in error.headers:
        answer.headers["Allow"] = error.headers["Allow"]
    return answer


def _reason(error: web.HTTPException, request: web.BaseRequest) -> str:
    """Say what is wrong in more words than the status has."""
    path = shown(request.rel_url.raw_path, _LONGEST_PATH)
    if error.status == HTTPStatus.NOT_FOUND:
        return f"there is nothing at {path}"
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return (
            f"{path} takes {error.headers['Allow']}, not {shown(request.method, _LONGEST_METHOD)}"
        )
    if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return f"the body is larger than {request.client_max_size} bytes"
    return shown(error.reason, _LONGEST_MESSAGE)
