"""The gateway on a port of its own."""

import asyncio
import logging
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self, Unpack

from aiohttp import web

from foxapi_async._wire.error_body import ErrorBody
from foxapi_async.config import is_loopback
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.api_errors import error_response, error_type, from_http_exception
from foxapi_async.gateway.app import FAULTS, REPLIES, REQUESTS, STATS, make_app
from foxapi_async.gateway.faults.plan import Faults
from foxapi_async.gateway.models import Replies
from foxapi_async.gateway.settings import GatewayOptions
from foxapi_async.gateway.stats import GatewayStats

_BACKLOG: Final = 1024
# At shutdown, streams are ended and other responses take milliseconds. Only a fault rule can make a
# response last longer than this.
_SHUTDOWN_TIMEOUT: Final = 2.0
# Disables aiohttp's access log: a logger that is not enabled for INFO costs nothing.
_NO_ACCESS_LOG: Final = logging.getLogger("foxapi_async.gateway.silent")
_NO_ACCESS_LOG.setLevel(logging.CRITICAL)


class Gateway:
    """A gateway that listens while its context is open.

    Leaving the context stops running tasks and ends open streams.

    Args:
        host: The address to listen at. An address that other machines can reach needs ``api_keys``.
        port: The port to listen at; 0 takes a free one.
        **options: The fields of ``GatewaySettings``.

    Raises:
        ConfigError: A setting has a wrong value, or ``host`` needs ``api_keys``.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, **options: Unpack[GatewayOptions]
    ) -> None:
        if not is_loopback(host) and not options.get("api_keys"):
            raise ConfigError(
                f"Gateway.host {host!r} can be reached by other machines: set api_keys as well"
            )
        hosts = options.get("hosts", ())
        # The settings reject a text. The address of all interfaces is not a host name.
        if not isinstance(hosts, str) and host not in {"", "0.0.0.0", "::"}:  # noqa: S104 see above
            options["hosts"] = (*hosts, host)
        self.host: str = host
        """The address that it listens at."""
        self.app: web.Application = make_app(**options)
        """The aiohttp application. Add middlewares before the context is entered."""
        self._requested_port = port
        self._port: int | None = None
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that it listens at, also after the context was left."""
        if self._port is None:
            raise RuntimeError("the gateway has no port yet: use `async with Gateway(...)`")
        return self._port

    @property
    def url(self) -> str:
        """The URL for ``FoxSession(base_url=...)``, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def stats(self) -> GatewayStats:
        """The counters since the start."""
        return self.app[STATS]

    @property
    def faults(self) -> Faults:
        """The fault rules. Add and clear them at any time."""
        return self.app[FAULTS]

    @property
    def replies(self) -> Replies:
        """The scripted answers. Add and clear them at any time."""
        return self.app[REPLIES]

    @property
    def requests(self) -> list[Any]:
        """The JSON bodies of the submits so far, the oldest first.

        Submits that were refused are among them, if their body was JSON. At most 10,000 bodies and
        64 MiB are kept, in memory only.
        """
        return self.app[REQUESTS].decoded()

    async def __aenter__(self) -> Self:
        """Start to listen.

        Raises:
            OSError: The port is taken, or the address is not of this machine.
        """
        if self._runner is not None:
            raise RuntimeError("a gateway can be started once: create another one")
        self._runner = web.AppRunner(
            self.app,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=_SHUTDOWN_TIMEOUT,
        )
        try:
            await self._runner.setup()
            self._server = await _listen(self._runner, self.host, self._requested_port)
        except BaseException:
            await self._runner.cleanup()
            raise
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening, end open streams and close all connections."""
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()


class _ConnectionHandler(web.RequestHandler):
    """One connection. Requests that never reach the application get the envelope as well."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer bytes that are not HTTP, or a head that is too large, and close the connection."""
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the response has been sent already")
        # The parser's message may repeat what it read, an API key included.
        reason = "the request is not valid HTTP, or its path or a header is too long"
        if isinstance(exc, UnicodeEncodeError):
            # aiohttp repeats an unknown `Expect` in its response and fails if it is not UTF-8.
            status = HTTPStatus.EXPECTATION_FAILED
            reason = "the header `Expect` may be `100-continue` only"
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.logger.error("a request crashed", exc_info=exc)
            reason = "the gateway crashed"
        response = error_response(status, ErrorBody(message=reason, type=error_type(status)))
        response.force_close()
        return response

    def log_exception(self, *args: Any, **options: Any) -> None:
        """Log a crash. An unreadable body is not one: its client has got a 400."""
        if not isinstance(options.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **options)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Convert errors that aiohttp raises before any handler, such as for ``Expect``."""
        if isinstance(resp, web.HTTPException):
            resp = from_http_exception(resp, request)
        return await super().finish_response(request, resp, start_time)


async def _listen(runner: web.AppRunner, host: str, port: int) -> asyncio.Server:
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: _ConnectionHandler(server, loop=loop, access_log=_NO_ACCESS_LOG),
        host,
        port,
        backlog=_BACKLOG,
    )
