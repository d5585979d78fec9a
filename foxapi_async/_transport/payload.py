"""The body of a request, which knows whether it has left and leaves at most once."""

from typing import Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

_PIECE: Final = 64 * 1024


class SingleUsePayload(Payload):
    """JSON bytes that are written to a socket once, or not at all.

    Nobody gets at the bytes without leaving a trace: ``started`` is set before the first one is
    written, ``copied`` when somebody reads them, ``replaced`` when the request goes out with
    another body. A second write is refused, so no layer below, be it a middleware of a lent
    session, can send a billed body twice.
    """

    # Bytes hold no resource, so aiohttp need not be told when to close them.
    _autoclose = True

    def __init__(self, body: bytes) -> None:
        self._body = body
        super().__init__(body, content_type="application/json")
        self._size = len(body)
        self._withdrawn = False
        self.started = False
        self.copied = False
        self.replaced = False
        self.refused = False
        """Whether the last attempt to write it met a connection that had ended."""

    @property
    def _value(self) -> bytes:
        """The bytes, as aiohttp's payloads name them."""
        self._refuse_if_withdrawn()
        self.copied = True
        return self._body

    @_value.setter
    def _value(self, body: bytes) -> None:
        self._body = body

    @property
    def consumed(self) -> bool:
        """Tell aiohttp that a body which was begun cannot be sent again."""
        return self.started

    def withdraw(self) -> bool:
        """Let nothing leave from now on; return whether it is proved that nothing has."""
        self._withdrawn = True
        return not (self.started or self.copied or self.replaced)

    async def watch(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Look at the request that is sent in the end: the innermost middleware of its session.

        A request of another kind may do anything with its body, and the headers of one that says
        ``Expect`` leave first.
        """
        self._refuse_if_withdrawn()
        self.refused = False
        if (
            request.body is not self
            or type(request) is not aiohttp.ClientRequest
            or "Expect" in request.headers
        ):
            self.replaced = True
        return await handler(request)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as text, as aiohttp asks of a payload."""
        return self._value.decode(encoding, errors)

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return the body, as middlewares that sign or log ask of a payload."""
        del encoding, errors
        return self._value

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the whole body; aiohttp sends the headers together with its first bytes."""
        self._refuse_if_withdrawn()
        if self.started:
            raise RuntimeError("a body is written once: sending it again could be billed twice")
        transport = getattr(writer, "transport", None)
        if transport is None or transport.is_closing() or _has_unread_data(writer):
            # A keep-alive connection died before a byte was written: proof that nothing left.
            self.refused = True
            raise ConnectionResetError("the connection ended before the request was sent")
        self.started = True
        body = self._body
        if len(body) <= _PIECE:
            await writer.write(body)
            return
        # In one piece, a body of many megabytes would hold up the event loop.
        view = memoryview(body)
        for start in range(0, len(view), _PIECE):
            await writer.write(view[start : start + _PIECE])

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write the whole body: the length that aiohttp announces is this payload's own."""
        del content_length
        await self.write(writer)

    def _refuse_if_withdrawn(self) -> None:
        if self._withdrawn:
            raise RuntimeError("the request was given up, and another may go out in its place")


def _has_unread_data(writer: AbstractStreamWriter) -> bool:
    """Tell whether something lies unread on the connection: it would be taken for our answer."""
    protocol = getattr(writer, "protocol", None)
    return bool(getattr(protocol, "should_close", False))
