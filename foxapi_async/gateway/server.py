"""The gateway on a port of its own."""

import asyncio
from types import TracebackType
from typing import Final, Self, Unpack

from aiohttp import web

from foxapi_async.config import is_loopback
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.app import FAULTS, STATS, make_app
from foxapi_async.gateway.faults.plan import Faults
from foxapi_async.gateway.listener import listen
from foxapi_async.gateway.settings import GatewayOptions
from foxapi_async.gateway.stats import Stats

# Streams are ended and other answers take no time, so that only a fault could last longer.
_SHUTDOWN_TIMEOUT: Final = 2.0


class Gateway:
    """Listens while its context is open.

    ``port=0`` takes a free one; ``url`` tells which. ``app`` is the application: a test may add
    middlewares to it before the context is entered. Further keywords are the members of
    ``GatewaySettings``. Leaving the context stops running tasks and ends open streams.

    Another ``host`` than this machine's own needs ``api_keys``, or raises ``ConfigError``.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, **options: Unpack[GatewayOptions]
    ) -> None:
        if not is_loopback(host) and not options.get("api_keys"):
            raise ConfigError(
                f"Gateway.host {host!r} lets other machines in: give api_keys as well"
            )
        hosts = options.get("hosts", ())
        # A text is a mistake that the settings tell of. The address of all interfaces names none.
        if not isinstance(hosts, str) and host not in {"", "0.0.0.0", "::"}:  # noqa: S104 see above
            options["hosts"] = (*hosts, host)
        self.host: str = host
        """The address to listen at."""
        self.app: web.Application = make_app(**options)
        """The aiohttp application."""
        self._wanted_port = port
        self._port: int | None = None
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that it listens on, or did."""
        if self._port is None:
            raise RuntimeError("the gateway does not listen: use `async with`")
        return self._port

    @property
    def url(self) -> str:
        """The address for ``FoxSession(base_url=...)``, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def stats(self) -> Stats:
        """What it has done so far."""
        return self.app[STATS]

    @property
    def faults(self) -> Faults:
        """What goes wrong on purpose; rules can be added and cleared at any time."""
        return self.app[FAULTS]

    async def __aenter__(self) -> Self:
        """Listen. ``OSError`` when the port is taken."""
        if self._runner is not None:
            raise RuntimeError("a gateway listens once: build another one")
        self._runner = web.AppRunner(
            self.app,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=_SHUTDOWN_TIMEOUT,
        )
        try:
            await self._runner.setup()
            self._listening = await listen(self._runner, self.host, self._wanted_port)
        except BaseException:
            await self._runner.cleanup()
            raise
        self._port = self._listening.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening, end what is open, and leave nothing behind."""
        if self._listening is not None:
            self._listening.close()
        if self._runner is not None:
            await self._runner.cleanup()
