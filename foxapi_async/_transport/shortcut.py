"""GETs straight over a connection of aiohttp's pool, past all that its requests are built of."""

import asyncio
from functools import cache
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDictProxy

from foxapi_async._transport.account import Account
from foxapi_async._transport.trial import probe, warn

_HOW: Final[dict[str, Any]] = {"read_until_eof": True, "auto_decompress": True}
_CANNED: Final = b"HTTP/1.1 200 OK\r\nX-Is: here\r\nContent-Length: 2\r\n\r\nok"
_EXPECTED: Final = (200, "here", b"ok", False)
_SWITCHING: Final = 101
_OF_THE_NETWORK: Final = (aiohttp.ClientError, HttpProcessingError, aiohttp.EofStream, OSError)


class RawResponse:
    """An answer whose head has come: as much of aiohttp's response as reading a body needs."""

    __slots__ = ("_connection", "content", "headers", "status")

    def __init__(
        self,
        connection: Connection,
        message: RawResponseMessage,
        content: aiohttp.StreamReader,
    ) -> None:
        self._connection = connection
        self.status: int = message.code
        self.headers: CIMultiDictProxy[str] = message.headers
        self.content: aiohttp.StreamReader = content
        # At once if all has come; the connection takes the next request.
        content.on_eof(connection.release)

    @property
    def content_length(self) -> int | None:
        """How long the body says it is."""
        length = self.headers.get("Content-Length", "")
        return int(length) if length.isascii() and length.isdigit() else None

    def close(self) -> None:
        """Close the connection, unless it was let go of already."""
        self._connection.close()


class PooledGet:
    """The way of polls, which are most of what a session sends: half the CPU of ``get``.

    A request of aiohttp's session costs as much as its system calls, its pool, its TLS and
    its parser together. Those are used here as its own requests use them; the bytes of the request
    are ours, and alike but for the path. What goes without saying for a poll is left out: no
    redirect, cookie, proxy, tracing.
    """

    __slots__ = ("_connector", "_head", "_template")

    def __init__(self, session: aiohttp.ClientSession, account: Account) -> None:
        connector = session.connector
        if connector is None:
            raise RuntimeError("a session that is closed has no connections")
        self._connector = connector
        # What aiohttp's pool wants to know: where to, and by which TLS.
        self._template = aiohttp.ClientRequest(
            "GET",
            account.url("/"),
            headers=account.headers,
            loop=asyncio.get_running_loop(),
            session=session,
        )
        lines = (f"{name}: {value}\r\n" for name, value in self._template.headers.items())
        self._head = f" HTTP/1.1\r\n{''.join(lines)}\r\n"

    @classmethod
    def through(cls, session: aiohttp.ClientSession, account: Account) -> "PooledGet | None":
        """Return a shortcut to the account, ``None`` where this aiohttp has no place for it."""
        if not _is_possible():
            return None
        try:
            return cls(session, account)
        except Exception as surprise:  # noqa: BLE001 whatever is missing, there is another way
            warn("shortcut", surprise)
            return None

    async def get(self, target: str, timeout: aiohttp.ClientTimeout) -> RawResponse | None:
        """Ask for ``target``, a path with its query, and return the answer as it begins.

        ``None`` if this aiohttp turns out to be made otherwise: a GET may be repeated. Raises what
        aiohttp raises. ``timeout.connect`` bounds making a connection, nothing here bounds the
        rest. Cancelling closes the connection.
        """
        if not target.isprintable():
            # The next line of a request is a header.
            raise ValueError("a control character in a path")
        request = f"GET {target}{self._head}".encode()
        try:
            return await self._twice(request, timeout)
        except _OF_THE_NETWORK:
            raise
        except Exception as surprise:  # noqa: BLE001 the other way raises what is not aiohttp's
            warn("shortcut", surprise)
            return None

    async def _twice(self, request: bytes, timeout: aiohttp.ClientTimeout) -> RawResponse:
        try:
            return await self._exchange(request, timeout)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                raise
        # A connection that had been idle may have died unnoticed: a read may be made again.
        return await self._exchange(request, timeout)

    async def _exchange(self, request: bytes, timeout: aiohttp.ClientTimeout) -> RawResponse:
        try:
            connection = await self._connector.connect(self._template, [], timeout)
        except TimeoutError:
            raise aiohttp.ConnectionTimeoutError(f"to {self._template.host}") from None
        try:
            return await _answered(connection, request)
        except BaseException:
            connection.close()
            raise

    def __repr__(self) -> str:
        # The head holds the key.
        return f"<Shortcut to {self._template.host}>"


async def _answered(connection: Connection, request: bytes) -> RawResponse:
    protocol, transport = connection.protocol, connection.transport
    # What lies unread on a connection that was idle would be taken for our answer.
    if protocol is None or transport is None or protocol.should_close:
        raise aiohttp.ServerDisconnectedError
    protocol.set_response_params(**_HOW)
    transport.write(request)
    while True:
        message, content = await protocol.read()
        # A server may send any number of heads that only say that the answer will come.
        if not 100 <= message.code < 200 or message.code == _SWITCHING:  # noqa: PLR2004
            return RawResponse(connection, message, content)


@cache
def _is_possible() -> bool:
    return probe("shortcut", _tried, _EXPECTED)


def _tried() -> object:
    protocol = ResponseHandler(asyncio.get_running_loop())
    protocol.connection_made(asyncio.Transport())
    try:
        protocol.set_response_params(**_HOW)
        protocol.data_received(_CANNED)
        try:
            protocol.read().send(None)
        except StopIteration as done:
            message, content = done.value
            body = content.read_nowait() if content.is_eof() else None
            return message.code, message.headers["x-is"], body, protocol.should_close
        return "a whole answer has to be waited for"
    finally:
        protocol.connection_lost(None)
