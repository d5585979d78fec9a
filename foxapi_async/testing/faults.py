"""The faults of a TCP proxy: frozen values that say what goes wrong in an exchange, and where.

An exchange is one request and its response. A place in it is a ``Position`` in one of three parts,
counted in bytes as they go over the wire, chunk framing included:

``request=``   the request from its first byte, as it is forwarded to the server
``response=``  the response from its first byte, as it is delivered to the client
``body=``      the response from the first byte after its headers

Several faults may be put on one exchange. Those with a place act in the order of their places, and
in the order given where the places are equal, so ``Stall(body=9), Reset(body=9)`` is a reset that
waits for ``proxy.release()``.
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
    """A place told as a share of the request or the body, from 0.0 to 1.0.

    All but ``WHOLE`` need a length that the headers tell: a share of a chunked body is an error.
    """

    part: float
    """The share, from 0.0 to 1.0."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.part <= 1.0:
            raise ValueError(f"a share lies between 0.0 and 1.0, got {self.part!r}")


HALF = Fraction(0.5)
"""The place after half of a part."""
WHOLE = Fraction(1.0)
"""The place after the last byte of a part."""

Position = int | bytes | Fraction
"""After so many bytes; right after the first occurrence of these bytes; or after a share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    request: Position | None = None
    """Where it happens in the request."""
    response: Position | None = None
    """Where it happens in the response."""
    body: Position | None = None
    """Where it happens in the body of the response."""

    def __post_init__(self) -> None:
        given = [at for at in (self.request, self.response, self.body) if at is not None]
        if len(given) != 1:
            raise ValueError(f"{type(self).__name__} needs one of request=, response=, body=")
        if given[0] == b"" or (isinstance(given[0], int) and given[0] < 0):
            raise ValueError(f"{given[0]!r} is no place in a message")
        # Its head may come in pieces, and is gone before its length is known.
        if isinstance(self.response, Fraction) and self.response != WHOLE:
            raise ValueError("a response has no share but WHOLE; a body has")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(_Placed):
    """Break the connection with a TCP reset.

    What lies before the place arrives first: the reset waits for a client that reads slowly.
    ``request=0`` resets before the server saw a byte. ``request=WHOLE`` resets when the server has
    the whole request, and still lets it begin its answer before its side is cut. ``response=0``
    resets when the server has begun to answer, and none of the answer arrives.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Close(_Placed):
    """Close the connection cleanly (TCP FIN); the places are those of ``Reset``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall(_Placed):
    """Hold back all further bytes until ``proxy.release()``, or until the client goes.

    With ``until``, the event alone lets the bytes go on; set beforehand, it holds nothing.
    """

    until: asyncio.Event | None = None
    """The event that lets the bytes go on; ``None``: ``proxy.release()`` does."""


@dataclass(frozen=True, slots=True, init=False)
class Trickle:
    """Deliver the response in pieces of these sizes, over and over, each in a read of its own.

    The client's reads are cut as said when it reads in the proxy's own event loop and reads on
    without a pause.
    """

    sizes: tuple[int, ...]
    """The sizes of the pieces in bytes, over and over."""

    def __init__(self, *sizes: int) -> None:
        if not sizes or min(sizes) < 1:
            raise ValueError(f"pieces have at least one byte, got {sizes!r}")
        object.__setattr__(self, "sizes", sizes)


@dataclass(frozen=True, slots=True)
class CannedResponse:
    """Answer with these bytes instead of the server's, then close the connection.

    Without ``forward`` the server never hears of the request. With ``forward`` it gets the request
    whole, and the bytes are sent when it has begun to answer: it accepted, and its answer is lost.
    """

    data: bytes
    """The bytes of the whole response, headers included."""
    forward: bool = False
    """Whether the server gets the request before the bytes are sent."""

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
        """Build a well-formed HTTP response that also says that the connection ends with it."""
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
    """Forward the request without this query parameter, as if the server ignored it."""

    name: str
    """The name of the query parameter."""


@dataclass(frozen=True, slots=True)
class RefuseConnection:
    """Reset the next connection as soon as it is accepted; the server never hears of it."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Let the exchange pass untouched."""


Fault = Reset | Close | Stall | Trickle | CannedResponse | StripQuery | Pass
"""What can happen to one exchange."""

Step = Fault | RefuseConnection | tuple[Fault, ...]
"""One step of a script: ``RefuseConnection`` is for a connection, the others for an exchange."""
