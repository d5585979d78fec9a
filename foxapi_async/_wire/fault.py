"""The error object, as HTTP errors and failed tasks carry it (CONTRACT §8.1)."""

import msgspec
from msgspec import DecodeError

from foxapi_async._wire.shape import Answer, Reader


class ErrorBody(Answer, frozen=True, kw_only=True, gc=False):
    """Why a request or a task failed. ``code`` is open: an unknown one is data."""

    message: str | None = None
    type: str | None = None
    code: str | None = None
    param: str | None = None


class ErrorEnvelope(Answer, frozen=True, kw_only=True, gc=False):
    """The body of an HTTP error."""

    error: ErrorBody


class _LooseEnvelope(Answer, frozen=True, kw_only=True, gc=False):
    """Other bodies seen in place of the envelope: New-API routes and frameworks."""

    error: ErrorBody | str | None = None
    message: str | None = None
    detail: str | None = None


_envelopes = Reader(ErrorEnvelope)
_loose = Reader(_LooseEnvelope)


def read_error(data: bytes) -> tuple[ErrorBody | None, bool]:
    """Return the error that ``data`` tells of, and whether it came in the service's own envelope.

    Never raises: proxies answer with HTML, plain text or nothing (CONTRACT Q6).
    """
    try:
        return _envelopes.read(data).error, True
    except DecodeError:
        pass
    try:
        loose = _loose.read(data)
    except DecodeError:
        return None, False
    text = loose.error if isinstance(loose.error, str) else loose.message or loose.detail
    return (ErrorBody(message=text), False) if text else (None, False)


def encode_error(body: ErrorBody) -> bytes:
    """Encode the envelope, without the members that are not set."""
    members = {name: value for name, value in msgspec.structs.asdict(body).items() if value}
    return msgspec.json.encode({"error": members})
