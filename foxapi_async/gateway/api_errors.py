"""Error responses in the envelope of contract §8.1."""

from http import HTTPStatus
from typing import Final

from aiohttp import web

from foxapi_async._wire.error_body import ErrorBody, encode_error
from foxapi_async._wire.violation import Violation
from foxapi_async.gateway.json_response import json_response

_MAX_PATH: Final = 200
_MAX_MESSAGE: Final = 2000
_MAX_METHOD: Final = 32
_MAX_PARAM: Final = 200
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
    """An error that the gateway answers with. ``ErrorMiddleware`` turns it into a response.

    Long texts are shortened: the message to 2,000 characters, the parameter to 200.
    """

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: ErrorBody = ErrorBody(
            message=printable(message, _MAX_MESSAGE),
            type=error_type(status),
            code=code,
            param=None if param is None else printable(param, _MAX_PARAM),
        )

    @classmethod
    def from_violation(cls, violation: Violation) -> "APIError":
        """Return the 422 for a request that breaks a rule of the catalog."""
        return cls(422, violation.message, code=violation.code, param=violation.param)

    @classmethod
    def invalid(cls, param: str, message: str) -> "APIError":
        """Return the 422 for a parameter that no rule of the catalog covers."""
        return cls(422, message, code="invalid_param", param=param)


def error_type(status: int) -> str:
    """Return the ``error.type`` that belongs to an HTTP status (contract §8.2)."""
    is_server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return _TYPES.get(status, "server_error" if is_server_error else "invalid_request_error")


def printable(text: str, max_length: int) -> str:
    """Return ``text`` shortened and encodable, for a response or a log line.

    The text may come from a client: bytes of a header or a path that are not UTF-8 are surrogates
    in it, and UTF-8 cannot encode those.
    """
    short = text if len(text) <= max_length else f"{text[: max_length - 1]}…"
    return short.encode("utf-8", "backslashreplace").decode()


def error_response(status: int, body: ErrorBody) -> web.Response:
    """Build the response that carries an error."""
    return json_response(encode_error(body), status=status)


def from_http_exception(error: web.HTTPException, request: web.BaseRequest) -> web.Response:
    """Convert an error of aiohttp (unknown path, wrong method, large body) into the envelope."""
    body = ErrorBody(message=_message(error, request), type=error_type(error.status))
    response = error_response(error.status, body)
    for name in ("Allow", "Content-Range"):
        if name in error.headers:
            response.headers[name] = error.headers[name]
    return response


def _message(error: web.HTTPException, request: web.BaseRequest) -> str:
    path = printable(request.rel_url.raw_path, _MAX_PATH)
    if error.status == HTTPStatus.NOT_FOUND:
        return f"there is nothing at {path}"
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        method = printable(request.method, _MAX_METHOD)
        return f"{path} allows {error.headers['Allow']}, not {method}"
    if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return f"the body is larger than {request.client_max_size} bytes"
    return printable(error.reason, _MAX_MESSAGE)
