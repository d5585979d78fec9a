"""A ``RawStream`` returns what aiohttp's reads return, and is not used if its probe fails."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async import FoxSession
from foxapi_async._clock import settle
from foxapi_async._transport import Account, RawStream, StreamBody, Transport, _aiohttp_private
from foxapi_async.gateway import Gateway
from tests.transport.conftest import CHUNKED

if TYPE_CHECKING:
    from tests.transport.conftest import Server


@pytest.fixture
async def body(
    server: "Server", account: Account, transport: Transport
) -> AsyncIterator[StreamBody]:
    """Open a stream that goes on."""
    server.sends(CHUNKED, then="keep")
    opened = await transport.open_stream(account, "/s")
    yield opened
    opened.close()


async def read(stream: RawStream) -> bytes:
    """Read as ``DeltaReader`` does."""
    if (future := stream.wait_future()) is not None:
        await future
    return stream.read_nowait()


async def check_reads(reads: list[list[bytes]]) -> None:
    """Feed two bodies the same pieces; read one by ``readany`` and one by ``RawStream``."""
    loop = asyncio.get_running_loop()
    protocol = ResponseHandler(loop)
    protocol.connection_made(asyncio.Transport())
    contents = [aiohttp.StreamReader(protocol, 2**16, loop=loop) for _ in range(2)]
    found = RawStream.create(contents[1])
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
def test_it_returns_what_readany_returns(reads: list[list[bytes]], ends: bool) -> None:
    """However the bytes arrive, a read returns all that are buffered, and ``b""`` at the end."""
    asyncio.run(check_reads([*reads, []] if ends else reads))


async def test_bytes_before_a_cut_are_not_lost(server: "Server", body: StreamBody) -> None:
    """Bytes that arrived before a cut are returned; then the error of the cut is raised."""
    assert body.raw_stream is not None
    future = body.raw_stream.wait_future()
    assert future is not None
    server.peers[0].send(b"2\r\nhi\r\n")
    await future
    server.peers[0].reset()
    await server.peers[0].ended.wait()
    await settle()
    assert body.raw_stream.read_nowait() == b"hi"
    assert body.raw_stream.wait_future() is None
    with pytest.raises(aiohttp.ClientError):
        body.raw_stream.read_nowait()


@pytest.mark.parametrize("how", ["close", "cut"])
async def test_a_wait_ends_with_its_connection(
    server: "Server", body: StreamBody, how: str
) -> None:
    """A wait ends when the connection is cut, and when the body is closed by this side."""
    assert body.raw_stream is not None
    future = body.raw_stream.wait_future()
    assert future is not None
    body.close() if how == "close" else server.peers[0].reset()
    with pytest.raises(aiohttp.ClientError):
        await future


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


@pytest.mark.usefixtures("fresh_probe")
@pytest.mark.parametrize("name", ["_read_nowait_chunk", "feed_data", "set_exception"])
async def test_another_aiohttp(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """With an aiohttp that works in another way inside, streams work by its public API."""
    changed = type("Changed", (aiohttp.StreamReader,), {name: lambda *_: None})
    monkeypatch.setattr(aiohttp, "StreamReader", changed)
    async with (
        Gateway(queue_delay=0, token_delay=0) as gateway,
        FoxSession(api_key="sk-of-the-test-0123456789", base_url=gateway.url) as fox,
    ):
        handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 30", stream=True)
        text = "".join([delta.text async for delta in handle.stream()])
    assert not _aiohttp_private._raw_stream_works()
    assert text == ", ".join(map(str, range(1, 31)))
