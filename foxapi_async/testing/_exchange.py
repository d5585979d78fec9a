"""One request through the proxy, and its state."""

from collections.abc import Iterator
from itertools import cycle

from foxapi_async.testing._http1 import FaultCursor, MessageReader, Placed
from foxapi_async.testing.faults import CannedResponse, Close, Fault, Reset, Stall, Trickle


class Exchange:
    """One request and its response."""

    __slots__ = (
        "answered",
        "bytes_down",
        "bytes_up",
        "connection",
        "finished",
        "fired",
        "head",
        "method",
        "target",
    )

    def __init__(self, connection: int, head: bytes) -> None:
        self.connection: int = connection
        """The number of the client's connection, from 1."""
        self.head: bytes = head
        """The request line and the headers, as they were received."""
        method, target, _ = head.decode("latin-1").split(maxsplit=2)
        self.method: str = method
        """The HTTP method."""
        self.target: str = target
        """The path of the request, with its query."""
        self.answered: bool = False
        """Whether the server has begun its response."""
        self.finished: bool = False
        """Whether the whole response was delivered."""
        self.bytes_up: int = 0
        """The number of bytes sent to the server."""
        self.bytes_down: int = 0
        """The number of bytes sent to the client."""
        self.fired: list[Fault] = []
        """The faults that have acted."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The part of the target after the question mark."""
        return self.target.partition("?")[2]

    def __repr__(self) -> str:
        return f"<Exchange {self.connection}: {self.method} {self.target}>"


class ExchangeState:
    """An exchange that is under way, with the state of its faults."""

    __slots__ = ("canned", "down", "exchange", "sizes", "up")

    def __init__(self, exchange: Exchange, faults: tuple[Fault, ...]) -> None:
        placed: list[Placed] = [f for f in faults if isinstance(f, Reset | Close | Stall)]
        self.exchange = exchange
        self.up = FaultCursor(MessageReader(), (f for f in placed if f.request is not None))
        self.down = FaultCursor(
            MessageReader(response_to=exchange.method), (f for f in placed if f.request is None)
        )
        self.canned = next((f for f in faults if isinstance(f, CannedResponse)), None)
        trickle = next((f for f in faults if isinstance(f, Trickle)), None)
        self.sizes: Iterator[int] | None = cycle(trickle.sizes) if trickle else None
