"""The HTTP client of one upstream."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Final

import aiohttp
from aiohttp import hdrs

from foxapi_async._clock import Clock
from foxapi_async._protocol.retry import parse_retry_after
from foxapi_async._version import __version__
from foxapi_async._wire.base import decode_json, is_object
from foxapi_async.gateway.models.model import ModelError
from foxapi_async.gateway.models.upstream.upstream_errors import BUSY, failed, refused

_CONNECT_TIMEOUT: Final = 10.0
_MAX_BODY: Final = 64 * 1024
_SUCCESS: Final = range(200, 300)


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


class ChatClient:
    """Sends requests to one upstream.

    Args:
        key: The API key, or ``None``.
        clock: Gives the time for dates in ``Retry-After``.
    """

    def __init__(self, key: str | None, clock: Clock) -> None:
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._headers = {
            hdrs.ACCEPT: "text/event-stream",
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
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
        )

    async def aclose(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def ask(self, base_url: str, body: bytes) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Send one request and hold its response, a success, while the context is open.

        Raises:
            BusyError: The upstream cannot be reached, or answers 429 or 503.
            ModelError: The upstream refuses the request, or no response came.
        """
        if self._session is None:
            raise RuntimeError("the client is not open")
        try:
            response = await self._session.post(
                f"{base_url}/chat/completions",
                # aiohttp would write bytes at once, and it warns of more than a megabyte.
                data=BytesIO(body),
                headers=self._headers,
                # A redirect could send the key to another host, and the request twice.
                allow_redirects=False,
            )
        except aiohttp.ClientSSLError:
            raise ModelError(
                "model_unavailable", "the upstream has no valid TLS certificate"
            ) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise BusyError(
                ModelError("model_unavailable", "the upstream cannot be reached")
            ) from None
        except aiohttp.ClientError:
            raise ModelError(
                "service_unavailable",
                "the upstream closed the connection without a valid response; the request is not "
                "sent again, because the upstream may have accepted it",
            ) from None
        async with response:
            await self._check(response)
            yield response

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        """Raise the error of a response that is no stream."""
        if response.status not in _SUCCESS:
            failure = refused(response.status, await _read_body(response))
            if response.status not in BUSY:
                raise failure
            headers = response.headers
            raise BusyError(
                failure,
                parse_retry_after(
                    headers.get(hdrs.RETRY_AFTER),
                    headers.get("retry-after-ms"),
                    self._clock.unix(),
                ),
            )
        if response.content_type == "application/json":
            raise _no_stream(await _read_body(response))


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    """Return the beginning of a body. A cut body still has its status."""
    body = bytearray()
    try:
        async for data in response.content.iter_any():
            body += data
            if len(body) >= _MAX_BODY:
                break
    except aiohttp.ClientError:
        pass
    return bytes(body[:_MAX_BODY])


def _no_stream(body: bytes) -> ModelError:
    """Return the error for a success that is JSON: some servers send their errors so."""
    try:
        value = decode_json(body)
    except ValueError:
        value = None
    if is_object(value) and value.get("error"):
        return failed(value["error"])
    return ModelError(
        "service_unavailable", "the upstream answered with JSON in place of an event stream"
    )
