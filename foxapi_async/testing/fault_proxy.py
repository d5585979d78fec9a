"""A network that fails on purpose: a TCP proxy with faults at chosen bytes of chosen requests."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from foxapi_async.testing._connection import Connection
from foxapi_async.testing._exchange import Exchange
from foxapi_async.testing._network import ProxyState, Rule, fits, together
from foxapi_async.testing._sockets import LOOPBACK, bind, prepare, reset
from foxapi_async.testing.faults import Fault, RefuseConnection, Step

__all__ = ["Exchange", "FaultProxy"]


class FaultProxy:
    """Stand between a client and a real HTTP/1.1 server, and break what the script says.

    Everything that is not told to fail passes untouched. What fails is chosen in this order: the
    next step of ``script``, else the first rule of ``on`` or ``when`` that matches and has not been
    used up. Where it fails is chosen by bytes, never by time, so a run is the same each time.

    Connections are copied as they come, bytes that are not HTTP too (TLS, for one), which no script
    touches. The proxy listens on a free loopback port while it is entered. Leaving it cuts what is
    open, and raises what went wrong in the proxy itself; peers that vanish are no such thing.

    ``url`` is the server's, base path included, with the proxy's address; ``port`` its port.
    """

    def __init__(self, url: str) -> None:
        """Stand before the server at ``url``, which is plain HTTP."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"the proxy needs an http:// URL, got {url!r}")
        self._network = ProxyState(parts.hostname, parts.port or 80)
        self._base_path = parts.path
        self._port = 0
        self._open = False
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._stopping = False
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that the proxy listens on."""
        if not self._port:
            raise RuntimeError("the proxy listens inside `async with` only")
        return self._port

    @property
    def url(self) -> str:
        """Where clients find the server through the proxy."""
        return f"http://{LOOPBACK}:{self.port}{self._base_path}"

    # What fails.

    def script(self, *steps: Step) -> None:
        """Add steps: the next request uses one up, ``RefuseConnection`` the next connection.

        A tuple puts several faults on one exchange. While ``RefuseConnection`` is next, requests on
        connections that are open already pass it by. After the last step the rules decide.
        """
        for step in steps:
            if isinstance(step, RefuseConnection):
                self._network.steps.append(step)
            else:
                self._network.steps.append(together(step if isinstance(step, tuple) else (step,)))

    def on(self, method: str, path: str, *faults: Fault, times: int | None = None) -> None:
        """Put faults on each request of this method and path, or on the next ``times`` ones.

        In the path, ``*`` stands for anything inside one segment: ``/v1/tasks/*`` is not
        ``/v1/tasks/1/stream``. A lone ``*`` is any method, or any path. The query plays no part.
        """
        self.when(lambda exchange: fits(exchange, method, path), *faults, times=times)

    def when(
        self, matches: Callable[[Exchange], bool], *faults: Fault, times: int | None = None
    ) -> None:
        """Put faults on each request that ``matches``, or on the next ``times`` ones."""
        self._network.rules.append(Rule(matches, together(faults), times))

    def clear(self) -> None:
        """Forget every step and rule; faults of exchanges that have begun stay."""
        self._network.steps.clear()
        self._network.rules.clear()

    def release(self) -> None:
        """Let go on what ``Stall`` holds at this moment."""
        for held in self._network.held:
            if not held.done():
                held.set_result(True)

    @asynccontextmanager
    async def unreachable(self) -> AsyncGenerator[None, None]:
        """Refuse new connections inside the block; open connections stay."""
        port = self.port
        await self._stop_accepting()
        # A bound socket that does not listen refuses connections, and keeps the port.
        listener = bind(port)
        try:
            yield
        finally:
            self._start_accepting(listener)

    # What happened.

    @property
    def connections(self) -> int:
        """How many connections were accepted, those included that met ``RefuseConnection``."""
        return self._network.connections

    @property
    def exchanges(self) -> list[Exchange]:
        """Every request, in the order in which their headers were complete."""
        return list(self._network.exchanges)

    @property
    def fired(self) -> list[Fault | RefuseConnection]:
        """Every fault that happened; one whose place no message reached is missing here."""
        return list(self._network.fired)

    @property
    def requests(self) -> list[str]:
        """Method and target of every request, as in ``GET /v1/tasks/1?offset=3``."""
        return [f"{exchange.method} {exchange.target}" for exchange in self._network.exchanges]

    def count(self, method: str = "*", path: str = "*") -> int:
        """Return how many requests came; the arguments are those of ``on``."""
        return sum(fits(exchange, method, path) for exchange in self._network.exchanges)

    @property
    def open_connections(self) -> int:
        """How many connections are still there; one that was closed ends when its client goes."""
        return len(self._connections)

    @property
    def stalled(self) -> int:
        """How many exchanges wait for ``release``."""
        return sum(not held.done() for held in self._network.held)

    @property
    def bytes_up(self) -> int:
        """How many bytes of requests were sent to the server."""
        return sum(exchange.bytes_up for exchange in self._network.exchanges)

    @property
    def bytes_down(self) -> int:
        """How many bytes of responses were sent to clients."""
        return sum(exchange.bytes_down for exchange in self._network.exchanges)

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait until ``holds`` says yes; it is asked again whenever something happens here.

        Raises ``RuntimeError`` when the proxy is left, or has failed, before.
        """
        while not holds():
            if self._network.failures:
                raise RuntimeError("the proxy failed") from self._network.failures[0]
            if not self._open:
                raise RuntimeError("the proxy listens inside `async with` only")
            await self._network.change()

    async def wait_for_requests(self, number: int, method: str = "*", path: str = "*") -> None:
        """Wait until so many requests have come; the arguments are those of ``on``."""
        await self.wait_until(lambda: self.count(method, path) >= number)

    async def wait_for_stalls(self, number: int = 1) -> None:
        """Wait until so many exchanges are held by ``Stall``."""
        await self.wait_until(lambda: self.stalled >= number)

    # Coming and going.

    async def __aenter__(self) -> Self:
        if self._port:
            raise RuntimeError("a proxy is entered once")
        await self._network.resolve()
        listener = bind(0)
        self._port = listener.getsockname()[1]
        self._open = True
        self._start_accepting(listener)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open = False
        try:
            await self._stop_accepting()
        finally:
            for task in self._connections:
                task.cancel()
            if self._connections:
                await asyncio.wait(self._connections)
            self._network.changed()
        failures = self._network.failures
        if exc is not None and failures:
            exc.add_note(f"the proxy failed too: {failures!r}")
        elif len(failures) > 1:
            raise ExceptionGroup("the proxy failed", failures)
        elif failures:
            raise failures[0]

    def _start_accepting(self, listener: socket.socket) -> None:
        listener.listen()
        self._listener = listener
        self._stopping = False
        self._accepting = asyncio.create_task(self._accept(listener), name="proxy accept")

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listener)
            if self._stopping:
                client.close()
                return
            self._network.connections += 1
            if self._network.refusal() is not None:
                reset(client)
            else:
                prepare(client)
                self._serve(Connection(self._network, self.connections, client))
            self._network.changed()

    def _serve(self, connection: Connection) -> None:
        task = asyncio.create_task(connection.run(), name=f"proxy connection {self.connections}")
        self._connections.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._connections.discard(task)
            # A task that is cancelled before its first turn runs no `finally` of its own.
            connection.close()
            failure = None if task.cancelled() else task.exception()
            if isinstance(failure, Exception):
                self._network.failures.append(failure)
            self._network.changed()

        task.add_done_callback(ended)

    async def _stop_accepting(self) -> None:
        listener, accepting = self._listener, self._accepting
        self._listener = self._accepting = None
        if listener is None or accepting is None:
            return
        self._stopping = True
        # A connection of our own ends the accepting: cancelled, it could drop one that it has made.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as wake:
            prepare(wake)
            wake.connect_ex((LOOPBACK, self._port))
            try:
                await accepting
            finally:
                listener.close()
