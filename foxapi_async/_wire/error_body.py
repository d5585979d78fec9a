"""The error object of HTTP errors and failed tasks (contract §8.1)."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, DecodeError
from msgspec.structs import replace

from foxapi_async._wire.base import (
    Decoder,
    ResponseStruct,
    coerces,
    decode_json,
    is_list,
    is_object,
)

EXCERPT_LENGTH: Final = 400
"""How many characters of a response an error quotes."""

# The members that have the reason: in the contract, in frameworks, in New-API gateways.
_REASON_MEMBERS: Final = (
    "error",
    "errors",
    "message",
    "msg",
    "detail",
    "details",
    "error_description",
    "error_message",
    "fail_reason",
    "failure_reason",
    "reason",
    "title",
)
_MAX_DEPTH: Final = 6
_MAX_ITEMS: Final = 20


class ErrorBody(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """The error of a request or a task, as the service describes it."""

    message: str | None = None
    """What happened, in the words of the service."""
    type: str | None = None
    """The kind of error, such as ``invalid_request_error``."""
    code: str | None = None
    """The code of the error; new codes may appear at any time."""
    param: str | None = None
    """The path of the wrong member of the request."""


@coerces(ErrorBody)
def _coerce_error(name: str, value: Any) -> Any:
    """Convert a numeric code, a ``param`` as a list, or a ``message`` that is an object."""
    if value is None:
        return UNSET
    if name == "message" and (body := extract_error(value)) is not None:
        return body.message
    if is_list(value):
        return ".".join(map(str, value))
    return UNSET if is_object(value) else str(value)


_bodies = Decoder(ErrorBody)


def extract_error(value: Any, depth: int = 0) -> ErrorBody | None:
    """Return the error in a JSON value; ``None`` if the value has no reason.

    A text is the message. The errors of a list are joined. An object is searched for the members
    that are known to have a reason; all reasons are kept.
    """
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, str):
        return ErrorBody(message=value.strip()) if value.strip() else None
    if is_list(value):
        return _join([extract_error(item, depth + 1) for item in value[:_MAX_ITEMS]])
    return _object_error(value, depth) if is_object(value) else None


def extract_error_or_json(value: Any) -> ErrorBody | None:
    """Return the error in a JSON value; a value without a reason becomes the message as JSON."""
    if (body := extract_error(value)) is not None or not value:
        return body
    return ErrorBody(message=msgspec.json.encode(value).decode())


def _object_error(value: Mapping[str, Any], depth: int) -> ErrorBody | None:
    body = _bodies.build({name: item for name, item in value.items() if name != "message"})
    place = value.get("loc")
    if is_list(place):
        body = replace(body, param=body.param or ".".join(map(str, place)))
    inner = _join(
        [extract_error(value[name], depth + 1) for name in _REASON_MEMBERS if name in value]
    )
    if inner is None:
        return body if body.code or body.type else None
    return replace(
        body,
        message=f"{body.param}: {inner.message}" if place and inner.message else inner.message,
        type=body.type or inner.type,
        code=body.code or inner.code,
        param=body.param or inner.param,
    )


def _join(bodies: list[ErrorBody | None]) -> ErrorBody | None:
    """Merge errors: join the messages, and keep the first of each other member."""
    found = [body for body in bodies if body is not None]
    if not found:
        return None
    messages = dict.fromkeys(body.message for body in found if body.message)
    return ErrorBody(
        message="; ".join(messages) or None,
        type=next((body.type for body in found if body.type), None),
        code=next((body.code for body in found if body.code), None),
        param=next((body.param for body in found if body.param), None),
    )


def decode_error(data: bytes) -> tuple[ErrorBody | None, bool]:
    """Return the error in a response body, and whether it has the envelope of the service.

    Never raises: proxies send HTML, plain text or nothing (contract Q6).
    """
    try:
        value = decode_json(data)
    except DecodeError:
        return None, False
    error = value.get("error") if is_object(value) else None
    if is_object(error) and error:
        return extract_error_or_json(error), True
    return extract_error(value) or extract_error_or_json(error), False


def encode_error(body: ErrorBody) -> bytes:
    """Encode the envelope without unset members."""
    members = {name: value for name, value in msgspec.structs.asdict(body).items() if value}
    return msgspec.json.encode({"error": members})
