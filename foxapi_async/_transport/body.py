"""The body of an answer, read to its end or to its bound."""

from typing import TYPE_CHECKING, Final

import aiohttp
from multidict import istr

from foxapi_async._clock import Clock
from foxapi_async._protocol.retry import parse_retry_after
from foxapi_async._protocol.status_errors import is_success
from foxapi_async._transport.response import HTTPResponse, invalid_response
from foxapi_async._transport.shortcut import RawResponse

if TYPE_CHECKING:
    from foxapi_async._transport.account import Account

# An error is kept by its head alone, so more of it is not worth waiting for.
_REFUSAL: Final = 64 * 1024
_REQUEST_ID: Final = 200
_RETRY_AFTER: Final = istr("Retry-After")
_RETRY_AFTER_MS: Final = istr("retry-after-ms")

Response = aiohttp.ClientResponse | RawResponse


def read_if_complete(account: "Account", response: Response, limit: int) -> HTTPResponse | None:
    """Return a success that is here already, as nearly every one is that came with its headers.

    ``None`` for any other answer, which ``read_bounded`` reads. A poll needs no coroutine and
    almost no header this way.
    """
    content, status = response.content, response.status
    if (
        is_success(status)
        and _RETRY_AFTER not in response.headers
        and _RETRY_AFTER_MS not in response.headers
        and content.is_eof()
        and content.total_bytes <= limit
    ):
        return HTTPResponse(account, status, content.read_nowait())
    return None


async def read_bounded(
    account: "Account",
    response: Response,
    limit: int,
    clock: Clock,
    pieces: list[bytes] | None = None,
) -> HTTPResponse:
    """Read the answer and let go of its connection; what came of a cut one is in ``pieces``.

    Raises ``InvalidResponseError`` as soon as a success is known to exceed ``limit`` bytes, which
    are counted unpacked. A refusal that does is cut.
    """
    status, headers = response.status, response.headers
    pieces = [] if pieces is None else pieces
    success = is_success(status)
    try:
        if not success:
            body, whole = await _read(response, min(limit, _REFUSAL), pieces)
        elif (response.content_length or 0) > limit:
            body, whole = b"", False
        else:
            body, whole = await _read(response, limit, pieces)
    finally:
        # What is whole has let go of its connection already, unless that speaks another language.
        response.close()
    request_id = headers.get("x-request-id")
    if request_id is not None:
        request_id = account.mask.name(request_id)[:_REQUEST_ID]
    # A success may ask for patience too: a poll that does slows the polls of all.
    wait = parse_retry_after(headers.get(_RETRY_AFTER), headers.get(_RETRY_AFTER_MS), clock.unix())
    answer = HTTPResponse(account, status, body, request_id, wait)
    if success and not whole:
        raise invalid_response(
            answer, f"answered {status} with more than limits.max_response_bytes = {limit} bytes"
        )
    return answer


async def _read(response: Response, limit: int, pieces: list[bytes]) -> tuple[bytes, bool]:
    """Return the body, and whether that is all of it; stop once ``limit`` bytes are exceeded."""
    content = response.content
    room = limit
    # aiohttp unpacks no more than its buffer holds, so no bomb goes off inside one piece.
    while piece := await content.readany():
        pieces.append(piece)
        room -= len(piece)
        if room < 0:
            return b"".join(pieces)[:limit], False
    return b"".join(pieces), True
