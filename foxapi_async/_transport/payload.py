"""A request body that can be written once. It records whether writing has begun."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, Protocol

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from foxapi_async._transport._aiohttp_private import has_unread_data

_CHUNK: Final = 64 * 1024
_STREAMED_CHUNK: Final = 256 * 1024


class SingleUsePayload(Payload):
    """JSON bytes that are written to a socket once, or not at all.

    Every access to the bytes is recorded: ``started`` is set before the first byte is written,
    ``copied`` when other code reads them, ``replaced`` when the request is sent with another body.
    A second write is refused. So no layer below, such as a middleware of a borrowed session, can
    send a billed body twice.
    """

    # aiohttp does not close it: bytes hold no resource.
    _autoclose = True

    def __init__(self, body: bytes, content_type: str = "application/json") -> None:
        self._body = body
        super().__init__(body, content_type=content_type)
        self._size: int | None = len(body)
        self._withdrawn = False
        self.started = False
        self.copied = False
        self.replaced = False
        self.connection_had_ended = False
        """Whether the connection had ended before the body was written."""

    @property
    def _value(self) -> bytes:
        """The bytes, under the name that aiohttp's payloads have for them."""
        self._raise_if_withdrawn()
        self.copied = True
        return self._body

    @_value.setter
    def _value(self, body: bytes) -> None:
        self._body = body

    @property
    def consumed(self) -> bool:
        """Whether writing has begun: aiohttp does not send such a body again."""
        return self.started

    def withdraw(self) -> bool:
        """Refuse every later write; return whether it is proved that no byte has left."""
        self._withdrawn = True
        return not (self.started or self.copied or self.replaced)

    async def check_request(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Check the request as it is sent; this is the innermost middleware of its session.

        A request of another class may do anything with its body. With an ``Expect`` header, the
        headers leave before the body.
        """
        self._raise_if_withdrawn()
        self.connection_had_ended = False
        if (
            request.body is not self
            or type(request) is not aiohttp.ClientRequest
            or "Expect" in request.headers
        ):
            self.replaced = True
        return await handler(request)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as text."""
        return self._value.decode(encoding, errors)

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return the body to a middleware that signs or logs it."""
        del encoding, errors
        return self._value

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the body; aiohttp sends the headers together with its first bytes."""
        self._raise_if_withdrawn()
        if self.started:
            raise RuntimeError("a body is written once: sending it again could be billed twice")
        transport = getattr(writer, "transport", None)
        if transport is None or transport.is_closing() or has_unread_data(writer):
            # The idle connection ended before a byte was written: proof that nothing has left.
            self.connection_had_ended = True
            raise ConnectionResetError("the connection ended before the request was sent")
        self.started = True
        await self._write_body(writer)

    async def _write_body(self, writer: AbstractStreamWriter) -> None:
        body = self._body
        if len(body) <= _CHUNK:
            await writer.write(body)
            return
        # Written at once, a body of many megabytes would block the event loop.
        view = memoryview(body)
        for start in range(0, len(view), _CHUNK):
            await writer.write(view[start : start + _CHUNK])

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write the body; ``content_length`` is this payload's own size."""
        del content_length
        await self.write(writer)

    def _raise_if_withdrawn(self) -> None:
        if self._withdrawn:
            raise RuntimeError("the request was given up, and another may be sent in its place")


class StreamedBody(Protocol):
    """A body that is read while it is sent."""

    @property
    def content_type(self) -> str:
        """The value of ``Content-Type``."""
        ...

    @property
    def size(self) -> int | None:
        """Its length in bytes; ``None`` if that is not known, and it is sent in chunks."""
        ...

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Read it. This is called once, when the first byte is about to be sent."""
        ...


class StreamedPayload(SingleUsePayload):
    """A body that is read while it is sent, so that little of it is in memory.

    Args:
        body: The body.
        on_progress: Called after each chunk.
    """

    def __init__(self, body: StreamedBody, on_progress: Callable[[], object]) -> None:
        super().__init__(b"", body.content_type)
        self._size = body.size
        self._source = body
        self._on_progress = on_progress

    @property
    def _value(self) -> bytes:
        """Refuse to hand out the bytes: they can be read once."""
        raise TypeError("the body of an upload is read while it is sent: do not sign or log it")

    @_value.setter
    def _value(self, body: bytes) -> None:
        del body

    async def _write_body(self, writer: AbstractStreamWriter) -> None:
        async with aclosing(self._source.chunks()) as chunks:
            async for chunk in chunks:
                view = memoryview(chunk)
                for start in range(0, len(view), _STREAMED_CHUNK):
                    await writer.write(view[start : start + _STREAMED_CHUNK])
                    self._on_progress()
