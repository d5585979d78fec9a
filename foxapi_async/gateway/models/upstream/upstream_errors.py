"""The errors of tasks whose upstream refuses or fails (contract §8.3)."""

import os
import re
from http import HTTPStatus
from socket import gaierror
from ssl import SSLError
from typing import Any, Final
from urllib.parse import urlsplit

from foxapi_async._wire.base import decode_json, is_object
from foxapi_async._wire.error_body import (
    EXCERPT_LENGTH,
    ErrorBody,
    decode_error,
    extract_error_or_json,
)
from foxapi_async.gateway.models.model import ModelError

_TITLE: Final = re.compile(r"<title[^>]*>(.{1,200}?)</title", re.IGNORECASE | re.DOTALL)
# The beginning of a TLS record, as aiohttp quotes a response that is not HTTP.
_TLS_RECORD: Final = re.compile(r"x1[56]\\+x03")
_MODERATION: Final = re.compile(
    r"content[ _-]?(?:policy|filter|management)|moderation|flagged", re.IGNORECASE
)
_CODES: Final = {
    401: "model_unavailable",
    402: "model_unavailable",
    403: "model_unavailable",
    404: "model_unavailable",
    405: "model_unavailable",
    408: "timeout",
    429: "service_unavailable",
    504: "timeout",
}

_NOT_FOUND: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})
_PLAIN_HINT: Final = "if the upstream serves plain HTTP, its URL must begin with http://"

BUSY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
"""Statuses of an upstream that refuses a request for now."""


def refused(status: int, body: bytes, base_url: str) -> ModelError:
    """Return the error for a response that is not a success, in the words of the upstream."""
    if status < HTTPStatus.BAD_REQUEST:
        return ModelError(
            "model_unavailable",
            f"the upstream answered {status}: it redirects; the gateway needs the final URL",
        )
    error = decode_error(body)[0] or ErrorBody(message=_plain_text(body))
    words = _words(error)
    if status in _NOT_FOUND and (not words or _is_html(body)):
        words = f"{words}; {_check_url(base_url)}".removeprefix("; ")
    default = (
        "service_unavailable" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "generation_failed"
    )
    code = "content_policy_violation" if _is_moderation(error) else _CODES.get(status, default)
    return ModelError(code, f"the upstream answered {status}" + (f": {words}" if words else ""))


def no_stream(status: int, content_type: str | None, body: bytes, base_url: str) -> ModelError:
    """Return the error for a success that is no event stream.

    Args:
        status: The status.
        content_type: The type that the response names, if it names one.
        body: The beginning of the body, empty if it has nothing to quote.
        base_url: The base URL of the upstream.
    """
    answered = f"the upstream answered {status} with"
    try:
        value = decode_json(body)
    except ValueError:
        value = None
    if is_object(value) and value.get("error"):
        return failed(value["error"])
    if body[:1] in {b"{", b"["}:
        return ModelError(
            "service_unavailable",
            f"{answered} JSON in place of an event stream; it may not support `stream`",
        )
    if _is_html(body):
        title = _plain_text(body)
        found = f"the web page {title!r}" if title else "a web page"
    elif content_type is None:
        found = "no Content-Type and no event"
    else:
        found = f"{content_type} and no event"
    return ModelError(
        "model_unavailable",
        f"{answered} {found} in place of an event stream; {_check_url(base_url)}",
    )


def unreachable(error: OSError, base_url: str) -> ModelError:
    """Return the error for a connection that could not be opened."""
    hint = ""
    if isinstance(error, ConnectionResetError) and _has_tls(base_url):
        hint = f"; {_PLAIN_HINT}"
    return ModelError(
        "model_unavailable", f"the upstream cannot be reached: {_reason(error)}{hint}"
    )


def wrong_certificate(error: Exception) -> ModelError:
    """Return the error for a certificate that is not valid."""
    reason = getattr(error, "verify_message", None) or type(error).__name__
    return ModelError("model_unavailable", f"the upstream has no valid TLS certificate: {reason}")


def no_tls(error: SSLError) -> ModelError:
    """Return the error for a server that does not answer by TLS."""
    reason = error.reason or type(error).__name__
    return ModelError(
        "model_unavailable",
        f"the upstream does not speak TLS: {reason.replace('_', ' ').lower()}; {_PLAIN_HINT}",
    )


def no_response(reason: str, base_url: str | None) -> ModelError:
    """Return the error for a connection that ended without a response.

    Args:
        reason: The error of the HTTP client.
        base_url: The base URL of the upstream, unless it has responded before.
    """
    if _TLS_RECORD.search(reason):
        return ModelError(
            "model_unavailable",
            "the upstream speaks TLS at this port; its URL must begin with https://",
        )
    hint = ""
    if base_url is not None and not _has_tls(base_url):
        hint = "; if the upstream expects TLS, its URL must begin with https://"
    return ModelError(
        "service_unavailable",
        "the upstream closed the connection without a valid response; the request is not sent "
        f"again, because the upstream may have accepted it{hint}",
    )


def failed(value: Any) -> ModelError:
    """Return the error for an event of a stream, or a body, that has an error in place of chunks.

    Args:
        value: The JSON value of the error.
    """
    error = extract_error_or_json(value) or ErrorBody()
    words = _words(error)
    code = "content_policy_violation" if _is_moderation(error) else "service_unavailable"
    return ModelError(code, f"the upstream failed: {words or 'it gives no reason'}")


def _words(error: ErrorBody) -> str:
    return (error.message or error.code or error.type or "")[:EXCERPT_LENGTH]


def _is_moderation(error: ErrorBody) -> bool:
    texts = (error.code, error.type, error.message)
    return any(text and _MODERATION.search(text) for text in texts)


def _is_html(body: bytes) -> bool:
    return body.lstrip()[:1] == b"<"


def _plain_text(body: bytes) -> str:
    """Return a body that is not JSON, or the title of a page, which has little else to say."""
    text = body.decode("utf-8", "replace")
    if _is_html(body):
        title = _TITLE.search(text)
        text = title[1] if title else ""
    return " ".join(text.split())


def _check_url(base_url: str) -> str:
    path = urlsplit(base_url).path
    return "check the URL of the upstream" + (
        "" if path.endswith("/v1") else ", which may lack /v1"
    )


def _has_tls(base_url: str) -> bool:
    return base_url.lower().startswith("https:")


def _reason(error: OSError) -> str:
    """Return why a connection failed, in the words of the system and without addresses."""
    if error.errno and not isinstance(error, gaierror):
        return os.strerror(error.errno)
    if isinstance(error, ConnectionResetError):
        return "the connection was closed"
    return error.strerror or str(error) or type(error).__name__
