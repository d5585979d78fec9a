"""The endpoint that serves stored files. No key is needed: the link is the secret."""

from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Final, Protocol

from aiohttp import hdrs, web

from foxapi_async._clock import Clock
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.files.byte_range import Conditions, Selection, http_date, select
from foxapi_async.gateway.files.file_name import content_disposition
from foxapi_async.gateway.files.file_storage import FileStorage
from foxapi_async.gateway.files.stored_file import StoredFile, has_expired, token_of
from foxapi_async.gateway.stats import GatewayStats

_PATH: Final = "/files/{token}/{name}"
_PIECE: Final = 256 * 1024
# A browser shows these. It runs no script of them, whatever they say.
_SHOWN: Final = ("image/", "audio/", "video/", "text/plain", "application/pdf")

ReadBytes = Callable[[int, int], Awaitable[bytes]]
"""Returns the bytes of a file from one position up to another."""


class BodySender(Protocol):
    """Sends the body of one download."""

    def select_conditions(self, conditions: Conditions) -> Conditions:
        """Return the conditions to obey."""
        ...

    def etag(self, etag: str) -> str:
        """Return the entity tag to show."""
        ...

    async def send(self, response: web.StreamResponse, read: ReadBytes, part: Selection) -> None:
        """Write the bytes of ``part``; the response is prepared."""
        ...


BODY_SENDER: Final = web.RequestKey[BodySender]("body_sender")
"""Set by a middleware: sends the body in place of ``DownloadRoutes``."""


class DownloadRoutes:
    """The handler of links."""

    def __init__(self, *, storage: FileStorage, stats: GatewayStats, clock: Clock) -> None:
        self._storage = storage
        self._stats = stats
        self._clock = clock

    def table(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get(_PATH, self.download, name="download", allow_head=True)]

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Send a file, or the part of it that the headers ask for."""
        file = await self._find(request)
        sender = request.get(BODY_SENDER) or _PlainSender()
        # A stored file never changes, and no two have the same token.
        etag = sender.etag(f'"{file.token}"')
        conditions = sender.select_conditions(_conditions(request))
        part = select(conditions, size=file.size, etag=etag, modified=file.created)
        if part.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise web.HTTPRequestRangeNotSatisfiable(
                headers={hdrs.CONTENT_RANGE: f"bytes */{file.size}"},
                reason=f"the file has {file.size} bytes",
            )
        response = web.StreamResponse(status=part.status, headers=_headers(file, etag))
        if part.status == HTTPStatus.NOT_MODIFIED:
            del response.headers[hdrs.CONTENT_TYPE]
            return response
        if part.status == HTTPStatus.PARTIAL_CONTENT:
            content_range = f"bytes {part.start}-{part.stop - 1}/{file.size}"
            response.headers[hdrs.CONTENT_RANGE] = content_range
        response.content_length = part.stop - part.start
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            self._stats.downloads += 1
            await sender.send(response, partial(self._storage.read, file), part)
        return response

    async def _find(self, request: web.Request) -> StoredFile:
        token = token_of(request.rel_url.raw_path)
        file = await self._storage.find(token) if token is not None else None
        if file is not None and file.name == request.match_info["name"]:
            return file
        if token is not None and has_expired(token, self._clock.unix()):
            raise APIError(410, "the link has expired and the file is deleted")
        raise APIError(404, "there is no file at this link")


class _PlainSender:
    """Sends the whole body."""

    def select_conditions(self, conditions: Conditions) -> Conditions:
        return conditions

    def etag(self, etag: str) -> str:
        return etag

    async def send(self, response: web.StreamResponse, read: ReadBytes, part: Selection) -> None:
        await send_pieces(response, read, part)
        await response.write_eof()


async def send_pieces(response: web.StreamResponse, read: ReadBytes, part: Selection) -> None:
    """Write the bytes of ``part``.

    Raises:
        ConnectionResetError: The file was deleted meanwhile, so the body cannot be completed.
    """
    for start in range(part.start, part.stop, _PIECE):
        stop = min(start + _PIECE, part.stop)
        piece = await read(start, stop)
        if len(piece) < stop - start:
            raise ConnectionResetError("the file was deleted while it was sent")
        await response.write(piece)


def _conditions(request: web.Request) -> Conditions:
    headers = request.headers
    return Conditions(
        range=headers.get(hdrs.RANGE),
        if_range=headers.get(hdrs.IF_RANGE),
        if_none_match=headers.get(hdrs.IF_NONE_MATCH),
        if_modified_since=headers.get(hdrs.IF_MODIFIED_SINCE),
    )


def _headers(file: StoredFile, etag: str) -> dict[str, str]:
    is_shown = file.content_type.startswith(_SHOWN)
    return {
        hdrs.CONTENT_TYPE: file.content_type,
        hdrs.CONTENT_DISPOSITION: content_disposition(file.name, is_shown=is_shown),
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.ETAG: etag,
        hdrs.LAST_MODIFIED: http_date(file.created),
        hdrs.CACHE_CONTROL: "private, max-age=0, must-revalidate",
        # A client chose the bytes: nothing of them may run as a page of this address.
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
