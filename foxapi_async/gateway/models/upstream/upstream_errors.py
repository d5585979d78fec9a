"""The errors of tasks whose upstream refuses or fails (contract §8.3)."""

import re
from http import HTTPStatus
from typing import Any, Final

from foxapi_async._wire.error_body import (
    EXCERPT_LENGTH,
    ErrorBody,
    decode_error,
    extract_error_or_json,
)
from foxapi_async.gateway.models.model import ModelError

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

BUSY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
"""Statuses of an upstream that refuses a request for now."""


def refused(status: int, body: bytes) -> ModelError:
    """Return the error for a response that is not a success, in the words of the upstream."""
    if status < HTTPStatus.BAD_REQUEST:
        return ModelError(
            "model_unavailable",
            f"the upstream answered {status}: it redirects; the gateway needs the final URL",
        )
    error = decode_error(body)[0] or ErrorBody(message=_plain_text(body))
    words = _words(error)
    default = (
        "service_unavailable" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "generation_failed"
    )
    code = "content_policy_violation" if _is_moderation(error) else _CODES.get(status, default)
    return ModelError(code, f"the upstream answered {status}" + (f": {words}" if words else ""))


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


def _plain_text(body: bytes) -> str:
    """Return a body that is not JSON. The page of a proxy says less than its status."""
    text = " ".join(body.decode("utf-8", "replace").split())
    return "" if text.startswith("<") else text
