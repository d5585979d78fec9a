"""Everything that depends on how aiohttp works inside.

``PooledGet`` sends a GET over a connection of aiohttp's pool. ``RawStream`` reads a body without
the coroutines of aiohttp's ``StreamReader``. Each is probed once a process, from end to end and
without a network. If a probe fails, the piece is not used, one warning says so, and aiohttp's
public API does the same work with more CPU. ``FOXAPI_FAST_PATH=0`` turns both off.
"""
# pyright: reportPrivateUsage=false

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import cache
from typing import Any, Final, TypeVar, final

import aiohttp
import yarl
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy

_log = logging.getLogger("foxapi_async")

T = TypeVar("T")

_REQUEST: Final = getattr(aiohttp.ClientSession, "_request", None)
_RESPONSE_PARAMS: Final[dict[str, Any]] = {"read_until_eof": True, "auto_decompress": True}
_NETWORK_ERRORS: Final = (aiohttp.ClientError, HttpProcessingError, aiohttp.EofStream, OSError)
_SWITCHING_PROTOCOLS: Final = 101


def is_patched() -> bool:
    """Whether a test tool, such as aioresponses, replaces the requests of aiohttp."""
    return getattr(aiohttp.ClientSession, "_request", None) is not _REQUEST


def middlewares_of(
    session: aiohttp.ClientSession,
) -> Sequence[aiohttp.ClientMiddlewareType] | None:
    """Return the middlewares of ``session``, ``None`` if this aiohttp keeps them elsewhere."""
    return getattr(session, "_middlewares", None)


def has_unread_data(writer: AbstractStreamWriter) -> bool:
    """Whether bytes lie unread on the connection: they would be taken for the response."""
    protocol = getattr(writer, "protocol", None)
    return bool(getattr(protocol, "should_close", False))


class RawResponse:
    """A response whose headers have arrived: the part of aiohttp's that reading a body needs."""

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
        # Called at once if the body is complete: the connection takes the next request.
        content.on_eof(connection.release)

    @property
    def content_length(self) -> int | None:
        """The length of the body as its headers announce it."""
        length = self.headers.get("Content-Length", "")
        return int(length) if length.isascii() and length.isdigit() else None

    def close(self) -> None:
        """Close the connection, unless it is back in the pool."""
        self._connection.close()


class PooledGet:
    """GETs of one account over the connections of aiohttp's pool.

    A poll needs no redirect, cookie, proxy or tracing, and building aiohttp's request costs more
    CPU than the rest of a poll. The pool, TLS and the parser are aiohttp's own. The bytes of the
    request are built here; only the path differs from one GET to the next.
    """

    __slots__ = ("_connector", "_head", "_template")

    def __init__(
        self,
        connector: aiohttp.BaseConnector | None,
        url: yarl.URL,
        headers: CIMultiDictProxy[str],
    ) -> None:
        if connector is None:
            raise RuntimeError("the aiohttp session is closed")
        self._connector = connector
        # The pool reads the host, the port and the TLS settings from it.
        self._template = aiohttp.ClientRequest(
            "GET", url, headers=headers, loop=asyncio.get_running_loop()
        )
        lines = (f"{name}: {value}\r\n" for name, value in self._template.headers.items())
        self._head = f" HTTP/1.1\r\n{''.join(lines)}\r\n"

    @classmethod
    def create(
        cls, session: aiohttp.ClientSession, url: yarl.URL, headers: CIMultiDictProxy[str]
    ) -> "PooledGet | None":
        """Return a ``PooledGet`` for the origin of ``url``, ``None`` if this aiohttp has no way."""
        if not _pooled_get_works():
            return None
        try:
            return cls(session.connector, url, headers)
        except Exception as error:  # noqa: BLE001 any difference inside aiohttp means: use its API
            _warn(cls.__name__, error)
            return None

    async def get(self, target: str, timeout: aiohttp.ClientTimeout) -> RawResponse | None:
        """Send a GET for ``target``, a path with its query; return once the headers are there.

        ``timeout.connect`` bounds making a connection; the caller bounds the rest. Cancelling
        closes the connection.

        Returns:
            The response, or ``None`` if this aiohttp works in another way than expected: the
            caller sends the GET again by aiohttp's API.

        Raises:
            ValueError: ``target`` holds a control character.
            aiohttp.ClientError: As aiohttp's own request raises it; other network errors too.
        """
        if not target.isprintable():
            # After a line break, the rest of the path would be a header.
            raise ValueError("a control character in a path")
        request = f"GET {target}{self._head}".encode()
        try:
            try:
                return await self._send(request, timeout)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
                # An idle connection may have died unnoticed: a GET may be sent again.
                pass
            return await self._send(request, timeout)
        except _NETWORK_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 any difference inside aiohttp means: use its API
            _warn(type(self).__name__, error)
            return None

    async def _send(self, request: bytes, timeout: aiohttp.ClientTimeout) -> RawResponse:
        try:
            connection = await self._connector.connect(self._template, [], timeout)
        except TimeoutError:
            raise aiohttp.ConnectionTimeoutError(f"to {self._template.host}") from None
        try:
            return await _exchange(connection, request)
        except BaseException:
            connection.close()
            raise

    def __repr__(self) -> str:
        # The headers hold the key.
        return f"<PooledGet {self._template.host}>"


async def _exchange(connection: Connection, request: bytes) -> RawResponse:
    protocol, transport = connection.protocol, connection.transport
    # Bytes that lie unread on an idle connection would be taken for the response.
    if protocol is None or transport is None or protocol.should_close:
        raise aiohttp.ServerDisconnectedError
    protocol.set_response_params(**_RESPONSE_PARAMS)
    transport.write(request)
    while True:
        message, content = await protocol.read()
        # A server may send any number of 1xx responses before the final one.
        if not 100 <= message.code < 200 or message.code == _SWITCHING_PROTOCOLS:  # noqa: PLR2004
            return RawResponse(connection, message, content)


@final
class RawStream:
    """Reads a body chunk by chunk, without a coroutine for each read.

    ``StreamReader.readany`` is two coroutines a read, which costs as much CPU as decoding a short
    chunk. Here the caller awaits the future that aiohttp resolves, then calls `read_nowait`.
    """

    __slots__ = ("_content", "_new_future")

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content
        self._new_future = asyncio.get_running_loop().create_future

    @classmethod
    def create(cls, content: aiohttp.StreamReader) -> "RawStream | None":
        """Return a ``RawStream`` over ``content``, ``None`` if this aiohttp has no way for it."""
        return cls(content) if _raw_stream_works() else None

    def wait_future(self) -> "asyncio.Future[None] | None":
        """Return the future to await for the next bytes, ``None`` if there is nothing to wait for.

        It is ``None`` when bytes are buffered, the body has ended, or the connection is closed:
        aiohttp would not wake a waiter then. One waiter at a time. Cancelling the wait loses no
        byte; a waiter that leaves without awaiting the future to its end calls `detach`.
        """
        content = self._content
        if (
            content._buffer  # noqa: SLF001
            or content._eof  # noqa: SLF001
            or content._exception is not None  # noqa: SLF001
            or content._protocol.transport is None  # noqa: SLF001
        ):
            return None
        future = content._waiter = self._new_future()  # noqa: SLF001
        return future

    def detach(self) -> None:
        """Forget the future: asyncio would log an error that it gets and that is never awaited."""
        self._content._waiter = None  # noqa: SLF001

    def read_nowait(self) -> bytes:
        """Return all bytes that are buffered; raise the error of the connection, as aiohttp does.

        ``b""`` at the end of the body, after a wait that the end of an HTTP chunk ended, and when
        the connection is closed: `StreamBody.read` tells these apart.
        """
        content = self._content
        if len(content._buffer) == 1:  # noqa: SLF001
            return content._read_nowait_chunk(-1)  # noqa: SLF001
        return content.read_nowait(-1)


def probe(piece: str, run: Callable[[], object], expected: object) -> bool:
    """Return whether ``run()`` returns what is expected; warn that ``piece`` is off if not."""
    try:
        result = run()
    except Exception as error:  # noqa: BLE001 any difference inside aiohttp means: use its API
        result = error
    if result != expected:
        _warn(piece, result)
    return result == expected


def _warn(piece: str, reason: object) -> None:
    """Warn once a process that ``piece`` is off; log the reason at DEBUG each time."""
    _warn_once(piece)
    _log.debug("%s is off with aiohttp %s: %r", piece, aiohttp.__version__, reason)


@cache
def _warn_once(piece: str) -> None:
    _log.warning(
        "aiohttp %s works in another way than foxapi-async expects: %s is off. Requests work and "
        "cost more CPU",
        aiohttp.__version__,
        piece,
    )


_PROBE_URL: Final = yarl.URL("http://probe.invalid/")
_PROBE_HEADERS: Final = CIMultiDictProxy(CIMultiDict({"X-Probe": "1"}))
_PROBE_RESPONSES: Final = (
    b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nX-Is: here\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX-Is: here\r\nContent-Length: 3\r\n\r\nend",
)
_PROBE_RESULTS: Final = [(True, 200, "here", b"ok"), False, (True, 200, "here", b"end"), True]


class _ProbeConnector(aiohttp.BaseConnector):
    """A pool with one connection, which opens no socket."""

    def __init__(self) -> None:
        super().__init__(limit=0)
        self.requests: list[bytes] = []
        self.protocol = ResponseHandler(asyncio.get_running_loop())
        self.protocol.connection_made(_ProbeTransport(self.protocol, self.requests))

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        del req, traces, timeout
        if self.requests:
            raise RuntimeError("the connection was not taken from the pool")
        return self.protocol


class _ProbeTransport(asyncio.Transport):
    """A connection without a network: each written request gets the next canned response."""

    def __init__(self, protocol: ResponseHandler, requests: list[bytes]) -> None:
        super().__init__()
        self._protocol = protocol
        self._requests = requests
        self._closed = False

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        self._protocol.data_received(_PROBE_RESPONSES[len(self._requests)])
        self._requests.append(bytes(data))

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._protocol.connection_lost(None)


@cache
def _pooled_get_works() -> bool:
    return probe(PooledGet.__name__, _try_pooled_get, _PROBE_RESULTS)


def _try_pooled_get() -> object:
    """Send two GETs over one pooled connection, which then gets bytes that belong to no request."""
    connector = _ProbeConnector()
    try:
        pooled = PooledGet(connector, _PROBE_URL, _PROBE_HEADERS)
        results: list[object] = []
        for start in ("GET /1", "GET /2"):
            request = f"{start}{pooled._head}".encode()  # noqa: SLF001
            timeout = aiohttp.ClientTimeout(total=None)
            response = _run_without_waiting(pooled._send(request, timeout))  # noqa: SLF001
            is_whole = (
                request.startswith(f"{start} HTTP/1.1\r\n".encode())
                and all(line in request for line in (b"\r\nHost: probe.invalid", b"\r\nX-Probe: 1"))
                and request.endswith(b"\r\n\r\n")
                and connector.requests[-1:] == [request]
            )
            body = response.content.read_nowait() if response.content.is_eof() else None
            results.append((is_whole, response.status, response.headers["x-is"], body))
            if start == "GET /2":
                # Bytes that no request has asked for.
                connector.protocol.data_received(b"HTTP/1.1 408 Late\r\n\r\n")
            results.append(connector.protocol.should_close)
        return results
    finally:
        connector.protocol.close()
        connector._close()  # noqa: SLF001 unlike `close`, it starts no task


def _run_without_waiting(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError("a response that is complete had to be waited for")


_RAW_STREAM_RESULTS: Final = [
    (True, None, b"one"),
    (True, None, b"two"),
    (False, None, b"three"),
    (True, None, b""),
    "cut",
    None,
]


@cache
def _raw_stream_works() -> bool:
    return probe(RawStream.__name__, _try_raw_stream, _RAW_STREAM_RESULTS)


def _try_raw_stream() -> object:
    """Read bytes, the end, an error and a closed connection."""
    loop = asyncio.get_running_loop()
    protocol = ResponseHandler(loop)
    protocol.connection_made(asyncio.Transport())

    def new_content() -> aiohttp.StreamReader:
        return aiohttp.StreamReader(protocol, 2**16, loop=loop)

    content = new_content()
    stream = RawStream(content)
    results: list[object] = []
    try:
        for pieces in ([b"one"], [b"t", b"wo"], [b"three"], []):
            future = stream.wait_future()
            if pieces == [b"three"]:
                stream.detach()
            for piece in pieces:
                content.feed_data(piece)
            if not pieces:
                content.feed_eof()
            woken = future is not None and future.done()
            results.append((woken, stream.wait_future(), stream.read_nowait()))
        content = new_content()
        content.set_exception(ConnectionError("cut"))
        stream = RawStream(content)
        if stream.wait_future() is None:
            try:
                stream.read_nowait()
            except ConnectionError as error:
                results.append(str(error))
        content = new_content()
    finally:
        protocol.connection_lost(None)
    results.append(RawStream(content).wait_future())
    return results
