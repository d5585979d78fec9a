"""An inlet brings what aiohttp's own reads bring, and is done without where there is none."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async import FoxSession
from foxapi_async._clock import settle
from foxapi_async._transport import Account, RawStream, StreamBody, Transport, inlet
from foxapi_async.gateway import Gateway
from tests.transport.conftest import CHUNKED

if TYPE_CHECKING:
    from tests.transport.conftest import Server


@pytest.fixture
def untried() -> Iterator[None]:
    """Let the next stream try anew whether an inlet is possible."""
    inlet._is_possible.cache_clear()
    yield
    inlet._is_possible.cache_clear()


@pytest.fixture
async def body(
    server: "Server", account: Account, transport: Transport
) -> AsyncIterator[StreamBody]:
    """Open a stream that goes on."""
    server.sends(CHUNKED, then="keep")
    opened = await transport.open_stream(account, "/s")
    yield opened
    opened.close()


async def read(opened: RawStream) -> bytes:
    """Read as the reader of a stream does."""
    if (arrival := opened.wait_future()) is not None:
        await arrival
    return opened.read_nowait()


async def brought(reads: list[list[bytes]]) -> None:
    """Feed two contents alike, and read each in its way between the reads."""
    loop = asyncio.get_running_loop()
    protocol = ResponseHandler(loop)
    protocol.connection_made(asyncio.Transport())
    contents = [aiohttp.StreamReader(protocol, 2**16, loop=loop) for _ in range(2)]
    found = RawStream.of(contents[1])
    assert found is not None
    for pieces in reads:
        reading = [asyncio.ensure_future(contents[0].readany()), asyncio.ensure_future(read(found))]
        await asyncio.sleep(0)
        for content in contents:
            for piece in pieces:
                content.feed_data(piece)
        if not pieces:
            for content in contents:
                content.feed_eof()
        expected, got = await asyncio.gather(*reading)
        assert got == expected == b"".join(pieces)
    protocol.connection_lost(None)


PIECES = st.lists(st.binary(min_size=1, max_size=5), min_size=1, max_size=4)


@given(st.lists(PIECES, max_size=5), st.booleans())
def test_it_brings_what_readany_brings(reads: list[list[bytes]], ends: bool) -> None:
    """In whatever pieces bytes arrive, a read returns all that are there, and none at the end."""
    asyncio.run(brought([*reads, []] if ends else reads))


async def test_bytes_before_a_cut_are_not_lost(server: "Server", body: StreamBody) -> None:
    """What had arrived when the line broke is taken, then the error of the cut is raised."""
    assert body.raw_stream is not None
    arrival = body.raw_stream.wait_future()
    assert arrival is not None
    server.peers[0].send(b"2\r\nhi\r\n")
    await arrival
    server.peers[0].reset()
    await server.peers[0].ended.wait()
    await settle()
    assert body.raw_stream.read_nowait() == b"hi"
    assert body.raw_stream.wait_future() is None
    with pytest.raises(aiohttp.ClientError):
        body.raw_stream.read_nowait()


@pytest.mark.parametrize("how", ["close", "cut"])
async def test_one_who_waits_is_told(server: "Server", body: StreamBody, how: str) -> None:
    """A wait ends when the line breaks, and when the body is closed from here."""
    assert body.raw_stream is not None
    arrival = body.raw_stream.wait_future()
    assert arrival is not None
    body.close() if how == "close" else server.peers[0].reset()
    with pytest.raises(aiohttp.ClientError):
        await arrival


async def test_a_cancelled_wait_loses_nothing(server: "Server", body: StreamBody) -> None:
    """The wait after a cancelled one is woken like the first."""
    assert body.raw_stream is not None
    reading = asyncio.ensure_future(read(body.raw_stream))
    await settle()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    server.peers[0].send(b"2\r\nhi\r\n")
    assert await read(body.raw_stream) == b"hi"


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("name", ["_read_nowait_chunk", "feed_data"])
async def test_another_aiohttp(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An aiohttp that is made otherwise inside costs time and nothing else."""
    spoilt = type("Spoilt", (aiohttp.StreamReader,), {name: lambda *_: None})
    monkeypatch.setattr(aiohttp, "StreamReader", spoilt)
    async with (
        Gateway(queue_delay=0, token_delay=0) as gateway,
        FoxSession(api_key="sk-of-the-test-0123456789", base_url=gateway.url) as fox,
    ):
        handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 30", stream=True)
        text = "".join([delta.text async for delta in handle.stream()])
    assert not inlet._is_possible()
    assert text == ", ".join(map(str, range(1, 31)))
