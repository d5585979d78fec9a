"""The HTTP client of one upstream."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from io import BytesIO
from ssl import SSLError
from typing import Final, NamedTuple

import aiohttp
from aiohttp import hdrs
from aiohttp.tracing import Trace

from foxapi_async._clock import Clock
from foxapi_async._protocol.retry import parse_retry_after
from foxapi_async._version import __version__
from foxapi_async.gateway.models.model import ModelError
from foxapi_async.gateway.models.upstream.upstream_errors import (
    BUSY,
    no_response,
    no_stream,
    no_tls,
    refused,
    unreachable,
    wrong_certificate,
)

_CONNECT_TIMEOUT: Final = 10.0
# What is known of a refusal is its status. Its body is worth a short wait.
_BODY_TIMEOUT: Final = 2.0
_MAX_BODY: Final = 64 * 1024
_SUCCESS: Final = range(200, 300)
_EVENT_STREAM: Final = "text/event-stream"
_BLANK: Final = b" \t\r\n\xef\xbb\xbf"
# What JSON and HTML begin with, and no line of an event stream that has a meaning.
_NO_STREAM: Final = frozenset({b"{", b"[", b"<"})

OnConnected = Callable[[], Awaitable[None]]
_on_connected: ContextVar[OnConnected] = ContextVar("_on_connected")


class BusyError(Exception):
    """The upstream has not begun to answer, so that another attempt is billed once.

    Args:
        failure: The error of the task if there is no other attempt.
        retry_after: The seconds that the upstream asks to wait.
    """

    def __init__(self, failure: ModelError, retry_after: float | None = None) -> None:
        super().__init__(failure.message)
        self.failure: ModelError = failure
        """The error of the task if there is no other attempt."""
        self.retry_after: float | None = retry_after
        """The seconds that the upstream asks to wait."""


class OpenAnswer(NamedTuple):
    """The response of an upstream that has begun to answer."""

    response: aiohttp.ClientResponse
    head: bytes
    """The bytes of the body that are read already."""

    def no_stream(self, base_url: str) -> ModelError | None:
        """Return the error for an answer without events, unless it says that it is a stream."""
        content_type = _content_type(self.response)
        if content_type == _EVENT_STREAM:
            return None
        return no_stream(self.response.status, content_type, b"", base_url)


class _Connector(aiohttp.TCPConnector):
    """Awaits ``_on_connected`` when there is a connection, before the request is sent on it."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        """Return a connection for the request."""
        connection = await super().connect(req, traces, timeout)
        try:
            await _on_connected.get()()
        except BaseException:
            connection.close()
            raise
        return connection


class ChatClient:
    """Sends requests to one upstream.

    Args:
        key: The API key, or ``None``.
        clock: Gives the time for dates in ``Retry-After``.
    """

    def __init__(self, key: str | None, clock: Clock) -> None:
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._has_responded = False
        self._headers = {
            hdrs.ACCEPT: _EVENT_STREAM,
            hdrs.ACCEPT_ENCODING: "identity",
            hdrs.CONTENT_TYPE: "application/json",
            hdrs.USER_AGENT: f"foxapi-async/{__version__}",
        }
        if key is not None:
            self._headers[hdrs.AUTHORIZATION] = f"Bearer {key}"

    async def open(self) -> None:
        """Create the session. The upstream need not be up yet."""
        self._session = aiohttp.ClientSession(
            # Servers promise `keep-alive` and close the connection. Of a request on a connection
            # that is being closed it is unknown whether it was read.
            connector=_Connector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
        )

    async def aclose(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def ask(
        self, base_url: str, body: bytes, *, silence: asyncio.Timeout, on_connected: OnConnected
    ) -> AsyncGenerator[OpenAnswer]:
        """Send one request and hold its response, a success, while the context is open.

        Args:
            base_url: The base URL of the upstream.
            body: The body of the request.
            silence: Is stopped when the status is that of an error.
            on_connected: Is awaited when there is a connection, before the request is sent.

        Raises:
            BusyError: The upstream cannot be reached, or answers 429 or 503.
            ModelError: The upstream refuses the request, or no response came.
        """
        response = await self._post(base_url, body, on_connected)
        async with response:
            if response.status not in _SUCCESS:
                silence.reschedule(None)
                raise await self._refusal(response, base_url)
            head = await _read_head(response)
            text = head.strip(_BLANK)
            if text[:1] in _NO_STREAM or not (text or response.content_type == _EVENT_STREAM):
                silence.reschedule(None)
                text += await _read_body(response)
                raise no_stream(response.status, _content_type(response), text, base_url)
            yield OpenAnswer(response, head)

    async def _post(
        self, base_url: str, body: bytes, on_connected: OnConnected
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("the client is not open")
        _on_connected.set(on_connected)
        try:
            response = await self._session.post(
                f"{base_url}/chat/completions",
                # aiohttp would write bytes at once, and it warns of more than a megabyte.
                data=BytesIO(body),
                headers=self._headers,
                # A redirect could send the key to another host, and the request twice.
                allow_redirects=False,
            )
        except aiohttp.ClientConnectorCertificateError as error:
            raise wrong_certificate(error.certificate_error) from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, SSLError):
                raise no_tls(error.os_error) from None
            raise BusyError(unreachable(error.os_error, base_url)) from None
        except aiohttp.ConnectionTimeoutError:
            late = TimeoutError(f"no connection within {_CONNECT_TIMEOUT:g} seconds")
            raise BusyError(unreachable(late, base_url)) from None
        except aiohttp.ClientError as error:
            # Of an upstream that has responded before, the scheme of the URL is right.
            url = None if self._has_responded else base_url
            raise no_response(str(error), url) from None
        self._has_responded = True
        return response

    async def _refusal(
        self, response: aiohttp.ClientResponse, base_url: str
    ) -> ModelError | BusyError:
        """Return the error of a response that is no success."""
        failure = refused(response.status, await _read_body(response), base_url)
        if response.status not in BUSY:
            return failure
        headers = response.headers
        return BusyError(
            failure,
            parse_retry_after(
                headers.get(hdrs.RETRY_AFTER),
                headers.get("retry-after-ms"),
                self._clock.unix(),
            ),
        )


async def _read_head(response: aiohttp.ClientResponse) -> bytes:
    """Return the beginning of the body of a success, up to the first text."""
    head = b""
    try:
        while not head.strip(_BLANK) and len(head) < _MAX_BODY:
            if not (data := await response.content.readany()):
                break
            head += data
    except aiohttp.ClientError:
        # Whether the answer is whole decides what a lost connection means.
        pass
    return head


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    """Return the beginning of a body. A cut body, or one that stalls, still has its status."""
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_TIMEOUT):
            async for data in response.content.iter_any():
                body += data
                if len(body) >= _MAX_BODY:
                    break
    except (aiohttp.ClientError, TimeoutError):
        pass
    return bytes(body[:_MAX_BODY])


def _content_type(response: aiohttp.ClientResponse) -> str | None:
    return response.content_type if hdrs.CONTENT_TYPE in response.headers else None
