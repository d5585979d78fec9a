"""A hostile response is bounded in its body, its headers and its time."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from foxapi_async import errors
from foxapi_async._clock import ManualClock
from foxapi_async._transport import Account, OutcomeUnknown, RequestSpec, Transport
from foxapi_async.config import Limits, RetryPolicy
from tests.transport.conftest import fetch

if TYPE_CHECKING:
    from tests.transport.conftest import Sent, Server

RETRY = RetryPolicy(attempts=1)
MIB = 2**20
LIMIT = MIB
ZEROS = bytes(64 * MIB)


def deflated(window: int) -> bytes:
    """Compress the zeros with zlib: window 15 with its header, -15 without."""
    packer = zlib.compressobj(1, zlib.DEFLATED, window)
    return packer.compress(ZEROS) + packer.flush()


BOMBS = {
    "gzip": ("gzip", gzip.compress(ZEROS, 1)),
    "gzip-members": ("gzip", gzip.compress(bytes(MIB), 1) * 64),
    "deflate": ("deflate", deflated(15)),
    "raw-deflate": ("deflate", deflated(-15)),
}


@pytest.fixture
async def small_transport(clock: ManualClock) -> AsyncIterator[Transport]:
    """Return a transport with a bound of one MiB."""
    opened = Transport(clock=clock, limits=Limits(max_response_bytes=LIMIT))
    yield opened
    await opened.aclose()


# Decompression bombs


@pytest.mark.parametrize("bomb", BOMBS)
async def test_bomb_a_read(
    server: "Server", account: Account, small_transport: Transport, read: RequestSpec, bomb: str
) -> None:
    """A bomb is decompressed no further than the bound and a few buffers of aiohttp."""
    encoding, body = BOMBS[bomb]
    server.answers(200, body, {"Content-Encoding": encoding})
    tracemalloc.start()
    try:
        with pytest.raises(errors.InvalidResponseError, match=r"limits\.max_response_bytes"):
            await fetch(small_transport, account, read, retry=RETRY)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 * MIB


@pytest.mark.parametrize("bomb", BOMBS)
async def test_bomb_a_refusal(
    server: "Server", account: Account, small_transport: Transport, read: RequestSpec, bomb: str
) -> None:
    """An error response with a bomb raises its status error, with the start of the body."""
    encoding, body = BOMBS[bomb]
    server.answers(403, body, {"Content-Encoding": encoding})
    with pytest.raises(errors.PermissionDeniedError) as refused:
        await fetch(small_transport, account, read, retry=RETRY)
    assert len(refused.value.body) == 400


async def test_bomb_a_submission(
    server: "Server", account: Account, small_transport: Transport, post: RequestSpec
) -> None:
    """A bomb in answer to a billed call leaves the outcome unknown."""
    encoding, body = BOMBS["gzip"]
    server.answers(200, body, {"Content-Encoding": encoding})
    with pytest.raises(OutcomeUnknown):
        await fetch(small_transport, account, post, retry=RETRY)
    assert server.posts == 1


async def test_bomb_a_stream(
    server: "Server", account: Account, small_transport: Transport
) -> None:
    """A compressed stream arrives in reads of bounded size."""
    encoding, body = BOMBS["gzip"]
    server.answers(200, body, {"Content-Encoding": encoding, "Content-Type": "text/event-stream"})
    stream = await small_transport.open_stream(account, "/s")
    sizes = [len(await stream.read()) for _ in range(8)]
    stream.close()
    assert 0 < max(sizes) <= 4 * MIB


@pytest.mark.parametrize("encoding", ["br", "zstd"])
async def test_encodings_that_were_not_requested(
    server: "Server", account: Account, small_transport: Transport, read: RequestSpec, encoding: str
) -> None:
    """A body that claims to be brotli or zstandard is an error of the connection."""
    server.answers(200, b"\x00\x01\x02 not packed at all", {"Content-Encoding": encoding})
    with pytest.raises(errors.APIConnectionError):
        await fetch(small_transport, account, read, retry=RETRY)
    assert encoding not in server.requests[0].headers["accept-encoding"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_bomb_packed_garbage(
    server: "Server", account: Account, small_transport: Transport, read: RequestSpec, encoding: str
) -> None:
    """A body that cannot be decompressed is an error of the connection."""
    server.answers(200, b"\x78\x9c nothing of the kind", {"Content-Encoding": encoding})
    with pytest.raises(errors.APIConnectionError):
        await fetch(small_transport, account, read, retry=RETRY)


HEADERS = {
    "one line": b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * MIB + b"\r\n\r\n",
    "one name": b"HTTP/1.1 200 OK\r\n" + b"x" * MIB + b": 1\r\n\r\n",
    "a status line": b"HTTP/1.1 200 " + b"O" * MIB + b"\r\n\r\n",
    "many lines": b"HTTP/1.1 200 OK\r\n" + b"X-Many: y\r\n" * 100_000 + b"\r\n",
    "no end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200_000,
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
    "a null": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("headers", HEADERS)
async def test_headers_are_bounded(
    server: "Server",
    post: RequestSpec,
    read: RequestSpec,
    headers: str,
    sent: "Sent",
) -> None:
    """Endless or broken headers are an error, and leave a billed call's outcome unknown."""
    server.sends(HEADERS[headers])
    with pytest.raises(errors.APIConnectionError):
        await sent(read, retry=RETRY)
    server.sends(HEADERS[headers])
    with pytest.raises(OutcomeUnknown):
        await sent(post, retry=RETRY)


# One byte a second


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"HTTP/1.1 503 No\r\nContent-Length: 5000\r\n\r\n",
        b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5000\r\n\r\n",
    ],
    ids=["nothing", "headers", "refusal", "chunked refusal", "no stream"],
)
@pytest.mark.parametrize("way", ["get", "request", "open_stream"])
async def test_every_way_of_reading_ends(
    *,
    server: "Server",
    account: Account,
    transport: Transport,
    clock: ManualClock,
    read: RequestSpec,
    begin: bytes,
    way: str,
    sent: "Sent",
) -> None:
    """Headers and bodies that arrive byte by byte end with ``Timeouts.read``."""
    server.sends(begin, then="keep")
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "get": lambda: transport.poll(account, read.path),
        "request": lambda: sent(read, retry=RETRY),
        "open_stream": lambda: transport.open_stream(account, read.path),
    }
    call = asyncio.ensure_future(calls[way]())
    await server.seen(1)
    for _ in range(29):
        server.peers[0].send(b"x" if begin else b"")
        await clock.advance(1)
    assert not call.done()
    await clock.advance(1)
    with pytest.raises(errors.APITimeoutError, match=r"Timeouts\.read, 30 s"):
        await call


async def test_a_refusal_of_a_submission(
    *,
    server: "Server",
    clock: ManualClock,
    post: RequestSpec,
    sent: "Sent",
) -> None:
    """An error response that never ends leaves a billed call's outcome unknown."""
    server.sends(b"HTTP/1.1 422 No\r\nContent-Length: 5000\r\n\r\n", then="keep")
    call = asyncio.ensure_future(sent(post, retry=RETRY))
    await server.seen(1)
    for _ in range(120):
        server.peers[0].send(b"x")
        await clock.advance(1)
    with pytest.raises(OutcomeUnknown, match=r"Timeouts\.submit, 120 s"):
        await call
    assert server.posts == 1
