"""The faults of ``FaultProxy``: immutable values that say what goes wrong, and where.

An exchange is one request and its response. A ``Position`` counts bytes as they are transmitted,
chunk framing included, in one of three parts:

``request=``   the request from its first byte, as the proxy forwards it to the server
``response=``  the response from its first byte, as the proxy delivers it to the client
``body=``      the response from the first byte after its headers

An exchange can have several faults. They act in the order of their positions. Faults at the same
position act in the given order, so ``Stall(body=9), Reset(body=9)`` is a reset that waits for
``proxy.release()``.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

__all__ = [
    "HALF",
    "WHOLE",
    "CannedResponse",
    "Close",
    "Fault",
    "Fraction",
    "Pass",
    "Position",
    "RefuseConnection",
    "Reset",
    "Stall",
    "Step",
    "StripQuery",
    "Trickle",
]


@dataclass(frozen=True, slots=True)
class Fraction:
    """A position as a fraction of the request or of the body.

    Fractions other than ``WHOLE`` need a length in the headers: a chunked body has none, and such
    a fraction of it is an error.
    """

    part: float
    """The fraction, from 0.0 to 1.0."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.part <= 1.0:
            raise ValueError(f"a fraction is between 0.0 and 1.0, got {self.part!r}")


HALF = Fraction(0.5)
"""The position after half of a part."""
WHOLE = Fraction(1.0)
"""The position after the last byte of a part."""

Position = int | bytes | Fraction
"""After this number of bytes, after the first occurrence of these bytes, or after a fraction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    request: Position | None = None
    """The position in the request."""
    response: Position | None = None
    """The position in the response."""
    body: Position | None = None
    """The position in the body of the response."""

    def __post_init__(self) -> None:
        given = [at for at in (self.request, self.response, self.body) if at is not None]
        if len(given) != 1:
            raise ValueError(
                f"{type(self).__name__} needs exactly one of request=, response=, body="
            )
        if given[0] == b"" or (isinstance(given[0], int) and given[0] < 0):
            raise ValueError(f"{given[0]!r} is not a position in a message")
        # Parts of the head may be delivered before the length of the response is known.
        if isinstance(self.response, Fraction) and self.response != WHOLE:
            raise ValueError("response= takes no Fraction except WHOLE; use body=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(_Placed):
    """Reset the connection (TCP RST).

    The bytes before the position arrive first: the reset waits until the client has read them.
    With ``request=0`` the server receives nothing. With ``request=WHOLE`` the server receives the
    whole request, and can begin its response before its connection is reset. With ``response=0``
    the server has begun its response, and the client receives nothing of it.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Close(_Placed):
    """Close the connection cleanly (TCP FIN). The positions mean the same as in ``Reset``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall(_Placed):
    """Hold back all further bytes until ``proxy.release()``, or until the client disconnects.

    With ``until``, only the event ends the stall. If it is set already, nothing is held back.
    """

    until: asyncio.Event | None = None
    """The event that ends the stall; with ``None``, ``proxy.release()`` does."""


@dataclass(frozen=True, slots=True, init=False)
class Trickle:
    """Deliver the response in pieces of these sizes, each for a separate read of the client.

    The client must run in the event loop of the proxy, and must read without pauses. Otherwise one
    read may return several pieces.
    """

    sizes: tuple[int, ...]
    """The sizes of the pieces in bytes, repeated until the response ends."""

    def __init__(self, *sizes: int) -> None:
        if not sizes or min(sizes) < 1:
            raise ValueError(f"a piece needs at least one byte, got {sizes!r}")
        object.__setattr__(self, "sizes", sizes)


@dataclass(frozen=True, slots=True)
class CannedResponse:
    """Send these bytes instead of the response of the server, then close the connection.

    Without ``forward`` the server does not receive the request. With ``forward`` it receives the
    whole request, and the bytes are sent once it begins its response, which is discarded.
    """

    data: bytes
    """The bytes of the whole response, headers included."""
    forward: bool = False
    """Whether the server receives the request first."""

    @classmethod
    def http(
        cls,
        status: int,
        body: bytes = b"",
        *,
        content_type: str = "text/html",
        headers: Mapping[str, str] | None = None,
        forward: bool = False,
    ) -> Self:
        """Build a valid HTTP response with ``Connection: close``."""
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = "Unknown"
        fields = {
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
            "Connection": "close",
            **(headers or {}),
        }
        head = f"HTTP/1.1 {status} {reason}\r\n" + "".join(
            f"{k}: {v}\r\n" for k, v in fields.items()
        )
        return cls(head.encode("latin-1") + b"\r\n" + body, forward)


@dataclass(frozen=True, slots=True)
class StripQuery:
    """Remove this query parameter from the request, as if the server ignored it."""

    name: str
    """The name of the query parameter."""


@dataclass(frozen=True, slots=True)
class RefuseConnection:
    """Reset the next connection as soon as it is accepted. The server receives nothing."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Change nothing in the exchange."""


Fault = Reset | Close | Stall | Trickle | CannedResponse | StripQuery | Pass
"""A fault of one exchange."""

Step = Fault | RefuseConnection | tuple[Fault, ...]
"""One step of a script: ``RefuseConnection`` acts on a connection, the others on an exchange."""
