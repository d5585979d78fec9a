"""The body of a request, which knows whether it has left and leaves at most once."""

from typing import Final

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

_PIECE: Final = 64 * 1024


class SingleUsePayload(Payload):
    """JSON bytes that are written to a socket once, or not at all.

    ``started`` is set before the first byte is handed over: while it is ``False``, the service has
    not seen the body. A second write is refused, so no layer below, be it a middleware of a lent
    session, can send a billed body twice.
    """

    _value: bytes
    # Bytes hold no resource, so aiohttp need not be told when to close them.
    _autoclose = True

    def __init__(self, body: bytes) -> None:
        super().__init__(body, content_type="application/json")
        self._size = len(body)
        self.started = False

    @property
    def consumed(self) -> bool:
        """Tell aiohttp that a body which was begun cannot be sent again."""
        return self.started

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as text, as aiohttp asks of a payload."""
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the whole body; aiohttp sends the headers together with its first bytes."""
        if self.started:
            raise RuntimeError("a body is written once: sending it again could be billed twice")
        transport = getattr(writer, "transport", None)
        if transport is None or transport.is_closing() or _is_spoilt(writer):
            # A keep-alive connection died before a byte was written: proof that nothing left.
            raise ConnectionResetError("the connection ended before the request was sent")
        self.started = True
        if len(self._value) <= _PIECE:
            await writer.write(self._value)
            return
        # In one piece, a body of many megabytes would hold up the event loop.
        view = memoryview(self._value)
        for start in range(0, len(view), _PIECE):
            await writer.write(view[start : start + _PIECE])

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write the whole body: the length that aiohttp announces is this payload's own."""
        del content_length
        await self.write(writer)


def _is_spoilt(writer: AbstractStreamWriter) -> bool:
    """Tell whether something lies unread on the connection: it would be taken for our answer."""
    protocol = getattr(writer, "protocol", None)
    return bool(getattr(protocol, "should_close", False))
