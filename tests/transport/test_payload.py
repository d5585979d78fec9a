"""A ``SingleUsePayload`` is written once and knows whether it was."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp.abc import AbstractStreamWriter

from foxapi_async._transport.payload import SingleUsePayload


class Wire:
    """A writer in place of aiohttp's that records its chunks."""

    def __init__(self, *, closing: bool = False, has_unread_data: bool = False) -> None:
        self.transport = SimpleNamespace(is_closing=lambda: closing)
        self.protocol = SimpleNamespace(should_close=has_unread_data)
        self.written: list[bytes] = []
        self.started: list[bool] = []
        self.payload: SingleUsePayload | None = None

    async def write(self, data: bytes | memoryview) -> None:
        """Record a chunk and whether the payload was ``started`` before it."""
        assert self.payload is not None
        self.started.append(self.payload.started)
        self.written.append(bytes(data))


async def write(wire: Any, payload: SingleUsePayload) -> None:
    """Write ``payload`` as aiohttp does."""
    wire.payload = payload
    await payload.write_with_length(cast("AbstractStreamWriter", wire), payload.size)


async def test_it_is_started_before_its_first_byte() -> None:
    """``started`` is set before the first byte is written."""
    wire, payload = Wire(), SingleUsePayload(b"{}")
    assert not payload.started
    await write(wire, payload)
    assert wire.started == [True]
    assert wire.written == [b"{}"]


async def test_it_is_written_once() -> None:
    """A second write is refused, and ``consumed`` says so to aiohttp."""
    wire, payload = Wire(), SingleUsePayload(b"{}")
    before = payload.consumed
    await write(wire, payload)
    assert (before, payload.consumed) == (False, True)
    with pytest.raises(RuntimeError, match="once"):
        await write(wire, payload)
    assert wire.written == [b"{}"]


@pytest.mark.parametrize(
    "wire",
    [
        Wire(closing=True),
        Wire(has_unread_data=True),
        SimpleNamespace(),
        SimpleNamespace(transport=None),
    ],
)
async def test_a_dead_connection_gets_nothing(wire: Any) -> None:
    """On a connection that has ended, or has unread bytes, nothing is written."""
    payload = SingleUsePayload(b"{}")
    with pytest.raises(ConnectionResetError):
        await write(wire, payload)
    assert not payload.started


async def test_a_large_body_goes_in_pieces() -> None:
    """A large body is written in chunks, with a turn of the event loop between them."""
    body = bytes(range(256)) * 4000
    wire, payload = Wire(), SingleUsePayload(body)
    await write(wire, payload)
    assert b"".join(wire.written) == body
    assert max(map(len, wire.written)) <= 65536


async def test_a_writer_that_was_cancelled_before_it_ran_sent_nothing() -> None:
    """``started`` stays unset if aiohttp cancels its writer task before its first step."""
    wire, payload = Wire(), SingleUsePayload(b"{}")
    task = asyncio.ensure_future(write(wire, payload))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not payload.started
    assert payload.decode() == "{}"
