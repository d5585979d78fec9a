"""A response of the service: reading its body, decoding it, and the error that it stands for."""

import re
from typing import TYPE_CHECKING, Final, TypeVar

import aiohttp
from msgspec import DecodeError, Struct
from multidict import istr

from foxapi_async._clock import Clock
from foxapi_async._protocol.retry import parse_retry_after
from foxapi_async._protocol.status_errors import error_class_for, is_success
from foxapi_async._transport._aiohttp_private import RawResponse
from foxapi_async._wire.base import Decoder, WireStruct
from foxapi_async._wire.error_body import EXCERPT_LENGTH, decode_error
from foxapi_async._wire.task import Task, set_request_id
from foxapi_async.errors import APIStatusError, InvalidResponseError

if TYPE_CHECKING:
    from foxapi_async._transport.account import Account

_MAX_MESSAGE: Final = 1000
# Only an excerpt of an error body is kept, so reading more of it is not worth the wait.
_MAX_ERROR_BODY: Final = 64 * 1024
_MAX_REQUEST_ID: Final = 200
_REQUEST_ID: Final = istr("x-request-id")
_RETRY_AFTER: Final = istr("Retry-After")
_RETRY_AFTER_MS: Final = istr("retry-after-ms")
_NO_MESSAGE: Final = "the service sent this code without a message; see .body"
_REQUEST_ID_IN_TEXT: Final = re.compile(r"request_id:\s*([\w-]+)")

OpenResponse = aiohttp.ClientResponse | RawResponse
"""A response whose headers have arrived."""

S = TypeVar("S", bound=WireStruct)


class HTTPResponse(Struct, frozen=True):
    """A complete HTTP response."""

    account: "Account"
    """The account of the request; it masks its key in errors."""
    status: int
    body: bytes
    request_id: str | None = None
    retry_after: float | None = None
    """Seconds that the service asks to wait."""

    @property
    def is_success(self) -> bool:
        """Whether the status is a 2xx; every 2xx counts (contract §1)."""
        return is_success(self.status)

    def __repr__(self) -> str:
        # The body may hold a completion, which must not reach a log.
        return f"<HTTPResponse {self.status}, {len(self.body)} bytes>"


def read_if_complete(account: "Account", response: OpenResponse, limit: int) -> HTTPResponse | None:
    """Return a 2xx response whose whole body is buffered, as that of nearly every poll is.

    This needs no coroutine and reads almost no header. ``None`` for any other response:
    ``read_bounded`` reads that.
    """
    content, status, headers = response.content, response.status, response.headers
    if (
        is_success(status)
        and _RETRY_AFTER not in headers
        and _RETRY_AFTER_MS not in headers
        and content.is_eof()
        and content.total_bytes <= limit
    ):
        body, request_id = content.read_nowait(), headers.get(_REQUEST_ID)
        return HTTPResponse(account, status, body, request_id and _masked_id(account, request_id))
    return None


def _masked_id(account: "Account", request_id: str) -> str:
    return account.mask.name(request_id)[:_MAX_REQUEST_ID]


async def read_bounded(
    account: "Account",
    response: OpenResponse,
    limit: int,
    clock: Clock,
    chunks: list[bytes] | None = None,
) -> HTTPResponse:
    """Read the body and release the connection.

    Args:
        account: The account of the request.
        response: The response, whose headers have arrived.
        limit: The most bytes of a body, counted after decompression. The body of an error is cut.
        clock: The clock for a ``Retry-After`` that is a date.
        chunks: Gets the bytes as they arrive, for the case that the connection is cut.

    Raises:
        InvalidResponseError: A 2xx body is longer than ``limit``; raised as soon as that is known.
    """
    status, headers = response.status, response.headers
    chunks = [] if chunks is None else chunks
    succeeded = is_success(status)
    try:
        if not succeeded:
            body, is_complete = await _read(response, min(limit, _MAX_ERROR_BODY), chunks)
        elif (response.content_length or 0) > limit:
            body, is_complete = b"", False
        else:
            body, is_complete = await _read(response, limit, chunks)
    finally:
        # A complete body has released its connection, unless the protocol was switched.
        response.close()
    request_id = headers.get(_REQUEST_ID)
    request_id = request_id and _masked_id(account, request_id)
    # A 2xx may have it too: it slows down the polls of every task.
    retry_after = parse_retry_after(
        headers.get(_RETRY_AFTER), headers.get(_RETRY_AFTER_MS), clock.unix()
    )
    result = HTTPResponse(account, status, body, request_id, retry_after)
    if succeeded and not is_complete:
        raise invalid_response(
            result, f"answered {status} with more than limits.max_response_bytes = {limit} bytes"
        )
    return result


async def _read(response: OpenResponse, limit: int, chunks: list[bytes]) -> tuple[bytes, bool]:
    """Return the body and whether it is complete; stop reading after ``limit`` bytes."""
    content = response.content
    left = limit
    # aiohttp decompresses no more than its buffer holds, so one chunk of a bomb is small.
    while chunk := await content.readany():
        chunks.append(chunk)
        left -= len(chunk)
        if left < 0:
            return b"".join(chunks)[:limit], False
    return b"".join(chunks), True


def decode(decoder: Decoder[S], response: HTTPResponse) -> S:
    """Decode the body.

    If the body repeats the API key, the key is masked in every text of the result: these texts end
    up in errors, events and logs. Raw JSON, such as the results of a task, is not changed.

    Raises:
        InvalidResponseError: The body has not the form that the contract defines.
    """
    try:
        decoded = decoder.decode(response.body)
    except DecodeError as error:
        reason = str(error)
    else:
        decoded = response.account.mask.struct(decoded, response.body)
        if response.request_id is not None and isinstance(decoded, Task):
            set_request_id(decoded, response.request_id)
        return decoded
    # Raised out here: the decoder's error may quote the body, so it must not be the context.
    what = "an empty body" if not response.body else _describe(response.body)
    if (said := _reason_in(response.body)) is not None:
        reason = f"{reason}; it says: {said}"
    reason = response.account.redact(reason)[:EXCERPT_LENGTH]
    raise invalid_response(response, f"answered {response.status} with {what}: {reason}")


def _reason_in(body: bytes) -> str | None:
    """Return the error in a body that should not have one, or ``None``."""
    error, _ = decode_error(body)
    return None if error is None else error.message or error.code


def excerpt(account: "Account", body: bytes) -> str:
    """Return the beginning of ``body``, with the key masked."""
    # Masked before it is cut: half a key at the edge would not be recognised.
    return account.redact(body[: 16 * EXCERPT_LENGTH].decode(errors="replace"))[:EXCERPT_LENGTH]


def invalid_response(response: HTTPResponse, what: str) -> InvalidResponseError:
    """Build the error for a response that breaks the contract."""
    return InvalidResponseError(
        f"{response.account.origin} {what}",
        status=response.status,
        body=excerpt(response.account, response.body),
    )


def status_error(response: HTTPResponse) -> APIStatusError:
    """Build the error for a response that is not a 2xx. Unknown codes are kept as they are."""
    body, enveloped = decode_error(response.body)
    account, status = response.account, response.status
    texts = (body.message, body.code, body.type, body.param) if body else (None,) * 4
    message = texts[0] and account.redact(texts[0])[:_MAX_MESSAGE]
    code, kind, param = (name and account.mask.name(name)[:_MAX_MESSAGE] for name in texts[1:])
    word = next((word for word in (code, kind) if word and word != str(status)), "")
    wait = "" if response.retry_after is None else f" (it asks to wait {response.retry_after:g} s)"
    return error_class_for(status, code)(
        f"{status} {word}".rstrip()
        + ": "
        + (message or (_hint(account, status) if body is None else _NO_MESSAGE))
        + wait,
        status=status,
        code=code,
        type=kind,
        param=param,
        request_id=response.request_id or _request_id(message or ""),
        body=excerpt(account, response.body),
        retry_after=response.retry_after,
        enveloped=enveloped,
    )


def _hint(account: "Account", status: int) -> str:
    if 300 <= status < 400:  # noqa: PLR2004
        return f"{account.origin} redirects, which is not followed with the key; check the base URL"
    if status in {404, 405}:
        return f"{account.origin} has no such path; check the base URL, and see .body"
    return f"{account.origin} sent no error object (it may come from a proxy); see .body"


def _request_id(message: str) -> str | None:
    """Find the request id in the text of the error, where the service puts it (contract Q5)."""
    found = _REQUEST_ID_IN_TEXT.search(message)
    return found[1] if found else None


def _describe(body: bytes) -> str:
    start = body[:64].lstrip()[:1]
    return "HTML" if start == b"<" else "an unexpected body"
