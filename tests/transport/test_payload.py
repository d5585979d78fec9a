"""The body that knows whether it has left."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp.abc import AbstractStreamWriter

from foxapi_async._transport.payload import SingleUsePayload


class Wire:
    """Stands in for aiohttp's writer: takes note of what it is given."""

    def __init__(self, *, closing: bool = False, spoilt: bool = False) -> None:
        self.transport = SimpleNamespace(is_closing=lambda: closing)
        self.protocol = SimpleNamespace(should_close=spoilt)
        self.written: list[bytes] = []
        self.started: list[bool] = []
        self.payload: SingleUsePayload | None = None

    async def write(self, data: bytes | memoryview) -> None:
        """Take a piece, noting whether the payload counts as started by then."""
        assert self.payload is not None
        self.started.append(self.payload.started)
        self.written.append(bytes(data))


async def write(wire: Any, payload: SingleUsePayload) -> None:
    """Write ``payload`` as aiohttp does."""
    wire.payload = payload
    await payload.write_with_length(cast("AbstractStreamWriter", wire), payload.size)


async def test_it_is_started_before_its_first_byte() -> None:
    """The flag is up before a byte is handed over, so that no byte can be unaccounted for."""
    wire, payload = Wire(), SingleUsePayload(b"{}")
    assert not payload.started
    await write(wire, payload)
    assert wire.started == [True]
    assert wire.written == [b"{}"]


async def test_it_is_written_once() -> None:
    """A second write is refused, and aiohttp is told that it would be."""
    wire, payload = Wire(), SingleUsePayload(b"{}")
    before = payload.consumed
    await write(wire, payload)
    assert (before, payload.consumed) == (False, True)
    with pytest.raises(RuntimeError, match="once"):
        await write(wire, payload)
    assert wire.written == [b"{}"]


@pytest.mark.parametrize(
    "wire",
    [Wire(closing=True), Wire(spoilt=True), SimpleNamespace(), SimpleNamespace(transport=None)],
)
async def test_a_dead_connection_gets_nothing(wire: Any) -> None:
    """On a connection that ended, or holds something unread, the body is not started."""
    payload = SingleUsePayload(b"{}")
    with pytest.raises(ConnectionResetError):
        await write(wire, payload)
    assert not payload.started


async def test_a_large_body_goes_in_pieces() -> None:
    """A large body gives the loop a turn between its pieces, and arrives whole."""
    body = bytes(range(256)) * 4000
    wire, payload = Wire(), SingleUsePayload(body)
    await write(wire, payload)
    assert b"".join(wire.written) == body
    assert max(map(len, wire.written)) <= 65536


async def test_a_writer_that_was_cancelled_before_it_ran_sent_nothing() -> None:
    """The flag stays down when aiohttp cancels its writer before the first step."""
    wire, payload = Wire(), SingleUsePayload(b"{}")
    task = asyncio.ensure_future(write(wire, payload))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not payload.started
    assert payload.decode() == "{}"
