"""A TCP proxy that injects faults at chosen bytes of chosen requests."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from foxapi_async.testing._connection import Connection
from foxapi_async.testing._exchange import Exchange
from foxapi_async.testing._network import ProxyState, Rule, combine, is_match
from foxapi_async.testing._sockets import LOOPBACK, bind, prepare, reset
from foxapi_async.testing.faults import Fault, RefuseConnection, Step

__all__ = ["Exchange", "FaultProxy"]


class FaultProxy:
    """A TCP proxy between a client and an HTTP/1.1 server, which injects faults on purpose.

    An exchange gets the faults of the next step of ``script``. After the last step it gets those of
    the first rule of ``on`` or ``when`` that matches and is not used up. Other exchanges pass
    unchanged. Positions are counted in bytes, not in time, so each run is the same.

    The proxy listens on a free loopback port inside ``async with``. At the end it closes all
    connections and raises the errors of the proxy itself. A connection that a peer breaks is no
    error. Bytes that are not HTTP, such as TLS, are copied without faults.
    """

    def __init__(self, url: str) -> None:
        """Set the server: ``url`` begins with ``http://`` and may have a base path."""
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
        """The port of the proxy."""
        if not self._port:
            raise RuntimeError("the proxy listens only inside `async with`")
        return self._port

    @property
    def url(self) -> str:
        """The URL of the proxy, with the base path of the server."""
        return f"http://{LOOPBACK}:{self.port}{self._base_path}"

    # Faults.

    def script(self, *steps: Step) -> None:
        """Add steps. Each request uses one step up.

        ``RefuseConnection`` is used up by the next connection instead; until then, requests on open
        connections get the faults of the rules. A tuple puts several faults on one exchange.

        Raises:
            ValueError: A tuple has faults that exclude each other.
        """
        for step in steps:
            if isinstance(step, RefuseConnection):
                self._network.steps.append(step)
            else:
                self._network.steps.append(combine(step if isinstance(step, tuple) else (step,)))

    def on(self, method: str, path: str, *faults: Fault, times: int | None = None) -> None:
        """Put faults on the requests with this method and path.

        Args:
            method: The method, or ``*`` for any.
            path: The path without its query, or ``*`` for any. Inside a segment ``*`` stands for
                any text: ``/v1/tasks/*`` does not match ``/v1/tasks/1/stream``.
            *faults: The faults of each matching exchange.
            times: The maximum number of requests; all by default.

        Raises:
            ValueError: The faults exclude each other.
        """
        self.when(lambda exchange: is_match(exchange, method, path), *faults, times=times)

    def when(
        self, matches: Callable[[Exchange], bool], *faults: Fault, times: int | None = None
    ) -> None:
        """Put faults on the requests for which ``matches`` returns true.

        Args:
            matches: It is called once for each exchange that has no step in the script.
            *faults: The faults of each matching exchange.
            times: The maximum number of requests; all by default.

        Raises:
            ValueError: The faults exclude each other.
        """
        self._network.rules.append(Rule(matches, combine(faults), times))

    def clear(self) -> None:
        """Remove all steps and rules. Exchanges that have begun keep their faults."""
        self._network.steps.clear()
        self._network.rules.clear()

    def release(self) -> None:
        """End all current stalls except those with ``until``."""
        for held in self._network.held:
            if not held.done():
                held.set_result(True)

    @asynccontextmanager
    async def unreachable(self) -> AsyncGenerator[None, None]:
        """Refuse new connections inside ``async with``, as a port without a listener does.

        Open connections are not affected.
        """
        port = self.port
        await self._stop_accepting()
        # A bound socket that does not listen refuses connections and reserves the port.
        listener = bind(port)
        try:
            yield
        finally:
            self._start_accepting(listener)

    # Records.

    @property
    def connections(self) -> int:
        """The number of accepted connections, including those that ``RefuseConnection`` reset."""
        return self._network.connections

    @property
    def exchanges(self) -> list[Exchange]:
        """The exchanges, in the order in which the headers of their requests were complete."""
        return list(self._network.exchanges)

    @property
    def fired(self) -> list[Fault | RefuseConnection]:
        """The faults that have acted. A fault whose position was not reached is not among them."""
        return list(self._network.fired)

    @property
    def requests(self) -> list[str]:
        """The method and the target of each request, such as ``GET /v1/tasks/1?offset=3``."""
        return [f"{exchange.method} {exchange.target}" for exchange in self._network.exchanges]

    def count(self, method: str = "*", path: str = "*") -> int:
        """Return the number of requests with this method and path; both are as in ``on``."""
        return sum(is_match(exchange, method, path) for exchange in self._network.exchanges)

    @property
    def open_connections(self) -> int:
        """The number of connections; one that a fault has closed counts until the client ends."""
        return len(self._connections)

    @property
    def stalled(self) -> int:
        """The number of exchanges that wait for ``release``."""
        return sum(not held.done() for held in self._network.held)

    @property
    def bytes_up(self) -> int:
        """The number of request bytes sent to the server."""
        return sum(exchange.bytes_up for exchange in self._network.exchanges)

    @property
    def bytes_down(self) -> int:
        """The number of response bytes sent to clients."""
        return sum(exchange.bytes_down for exchange in self._network.exchanges)

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait until ``holds()`` is true. It is called after each change of the records.

        Raises:
            RuntimeError: The proxy was closed, or has failed.
        """
        while not holds():
            if self._network.failures:
                raise RuntimeError("the proxy failed") from self._network.failures[0]
            if not self._open:
                raise RuntimeError("the proxy listens only inside `async with`")
            await self._network.wait_for_change()

    async def wait_for_requests(self, number: int, method: str = "*", path: str = "*") -> None:
        """Wait for this number of requests; ``method`` and ``path`` are as in ``on``."""
        await self.wait_until(lambda: self.count(method, path) >= number)

    async def wait_for_stalls(self, number: int = 1) -> None:
        """Wait until this number of exchanges waits for ``release``."""
        await self.wait_until(lambda: self.stalled >= number)

    # Opening and closing.

    async def __aenter__(self) -> Self:
        if self._port:
            raise RuntimeError("a FaultProxy can be entered only once")
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
            self._network.notify()
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
            if self._network.take_refusal() is not None:
                reset(client)
            else:
                prepare(client)
                self._serve(Connection(self._network, self.connections, client))
            self._network.notify()

    def _serve(self, connection: Connection) -> None:
        task = asyncio.create_task(connection.run(), name=f"proxy connection {self.connections}")
        self._connections.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._connections.discard(task)
            # A task that is cancelled before it starts does not run its `finally`.
            connection.close()
            failure = None if task.cancelled() else task.exception()
            if isinstance(failure, Exception):
                self._network.failures.append(failure)
            self._network.notify()

        task.add_done_callback(ended)

    async def _stop_accepting(self) -> None:
        listener, accepting = self._listener, self._accepting
        self._listener = self._accepting = None
        if listener is None or accepting is None:
            return
        self._stopping = True
        # A connection of our own ends `_accept`: cancelling could lose an accepted connection.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as wake:
            prepare(wake)
            wake.connect_ex((LOOPBACK, self._port))
            try:
                await accepting
            finally:
                listener.close()
