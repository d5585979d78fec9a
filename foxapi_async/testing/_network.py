"""State that all connections of a proxy share: the script, the rules and the records."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from fnmatch import fnmatchcase

from foxapi_async.testing._exchange import Exchange
from foxapi_async.testing._sockets import prepare
from foxapi_async.testing.faults import CannedResponse, Fault, RefuseConnection, Trickle


class ProxyState:
    """The address of the server, the faults to come, and the exchanges and faults so far."""

    def __init__(self, host: str, port: int) -> None:
        self.connections = 0
        self.exchanges: list[Exchange] = []
        self.fired: list[Fault | RefuseConnection] = []
        self.held: set[asyncio.Future[bool]] = set()
        self.failures: list[Exception] = []
        self.steps: deque[RefuseConnection | tuple[Fault, ...]] = deque()
        self.rules: list[Rule] = []
        self._host = host
        self._port = port
        self._family = socket.AF_INET
        self._address: tuple[object, ...] = ()
        self._waiters: set[asyncio.Future[None]] = set()

    async def resolve(self) -> None:
        """Resolve the address of the server."""
        found = await asyncio.get_running_loop().getaddrinfo(
            self._host, self._port, type=socket.SOCK_STREAM
        )
        self._family, _, _, _, self._address = found[0]

    async def connect(self) -> socket.socket:
        """Connect to the server."""
        server = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            prepare(server)
            await asyncio.get_running_loop().sock_connect(server, self._address)
        except BaseException:
            server.close()
            raise
        return server

    def take_refusal(self) -> RefuseConnection | None:
        """Remove and return the next step of the script if it is ``RefuseConnection``."""
        if not self.steps or not isinstance(refuse := self.steps[0], RefuseConnection):
            return None
        self.steps.popleft()
        self.fired.append(refuse)
        return refuse

    def begin(self, exchange: Exchange) -> tuple[Fault, ...]:
        """Record an exchange that begins, and return its faults."""
        self.exchanges.append(exchange)
        self.notify()
        if self.steps and not isinstance(step := self.steps[0], RefuseConnection):
            self.steps.popleft()
            return step
        for rule in self.rules:
            if rule.left != 0 and rule.matches(exchange):
                if rule.left is not None:
                    rule.left -= 1
                return rule.faults
        return ()

    def fire(self, exchange: Exchange, fault: Fault) -> None:
        """Record a fault that acts now."""
        exchange.fired.append(fault)
        self.fired.append(fault)
        self.notify()

    def notify(self) -> None:
        """Wake all calls of ``wait_for_change``."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_for_change(self) -> None:
        """Wait for the next ``notify``."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)


class Rule:
    """Faults for matching exchanges, ``left`` times more, or always if it is ``None``."""

    __slots__ = ("faults", "left", "matches")

    def __init__(
        self, matches: Callable[[Exchange], bool], faults: tuple[Fault, ...], times: int | None
    ) -> None:
        self.matches = matches
        self.faults = faults
        self.left = times


def combine(faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
    """Return the faults of one exchange; ``ValueError`` if they exclude each other."""
    for kind in (CannedResponse, Trickle):
        if sum(isinstance(fault, kind) for fault in faults) > 1:
            raise ValueError(f"one exchange takes one {kind.__name__} at most")
    if any(isinstance(fault, RefuseConnection) for fault in faults):
        raise ValueError("a refused connection has no exchange: pass RefuseConnection as a step")
    return faults


def is_match(exchange: Exchange, method: str, path: str) -> bool:
    """Return whether a request has this method and path. Segments are compared one by one."""
    if method not in ("*", exchange.method):
        return False
    if path == "*":
        return True
    wanted, segments = path.split("/"), exchange.path.split("/")
    return len(wanted) == len(segments) and all(map(fnmatchcase, segments, wanted))
