"""One request through the cutter, and what became of it."""

from collections.abc import Iterator
from itertools import cycle

from foxapi_async.testing._http1 import Course, MessageReader, Placed
from foxapi_async.testing.faults import Answer, Close, Fault, Reset, Stall, Trickle


class Exchange:
    """One request and its response, as the cutter saw them.

    ``target`` is what the client asked for, with its query, ``head`` the request line and headers
    as they came, ``connection`` counts the client's connections from 1. ``answered`` turns true
    when the server has begun to answer, ``finished`` when its whole answer was delivered.
    ``bytes_up`` counts what the server was sent, ``bytes_down`` what the client was. ``fired``
    holds the faults that happened.
    """

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
        self.head: bytes = head
        method, target, _ = head.decode("latin-1").split(maxsplit=2)
        self.method: str = method
        self.target: str = target
        self.answered: bool = False
        self.finished: bool = False
        self.bytes_up: int = 0
        self.bytes_down: int = 0
        self.fired: list[Fault] = []

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What follows the question mark of the target."""
        return self.target.partition("?")[2]

    def __repr__(self) -> str:
        return f"<Exchange {self.connection}: {self.method} {self.target}>"


class Turn:
    """An exchange on its way, with the state of its faults."""

    __slots__ = ("answer", "down", "exchange", "sizes", "up")

    def __init__(self, exchange: Exchange, faults: tuple[Fault, ...]) -> None:
        placed: list[Placed] = [f for f in faults if isinstance(f, Reset | Close | Stall)]
        self.exchange = exchange
        self.up = Course(MessageReader(), (f for f in placed if f.request is not None))
        self.down = Course(
            MessageReader(response_to=exchange.method), (f for f in placed if f.request is None)
        )
        self.answer = next((f for f in faults if isinstance(f, Answer)), None)
        trickle = next((f for f in faults if isinstance(f, Trickle)), None)
        self.sizes: Iterator[int] | None = cycle(trickle.sizes) if trickle else None
