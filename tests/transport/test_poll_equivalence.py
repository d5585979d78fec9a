"""Whatever a server does, a poll ends the same by ``PooledGet`` and by aiohttp's own request."""

import asyncio
import gzip
import re
import zlib
from typing import TYPE_CHECKING, Literal

import pytest

from foxapi_async import errors
from foxapi_async._clock import ManualClock, settle
from foxapi_async._transport import Account, HTTPResponse, Transport
from foxapi_async.config import Limits
from tests.transport.conftest import TASK, response, sending

if TYPE_CHECKING:
    from tests.transport.conftest import Server

MIB = 1 << 20
PATH = "/v1/tasks/task-llm-1-aaaaaaaa"
HEAD = b"HTTP/1.1 200 OK\r\n"


def sized(length: object, body: bytes = b"{}", extra: bytes = b"") -> bytes:
    """Return a 2xx that announces a length."""
    return HEAD + extra + f"Content-Length: {length}\r\n\r\n".encode() + body


def chunked(body: bytes, extra: bytes = b"") -> bytes:
    """Return a 2xx with chunked coding; ``body`` is the coded bytes."""
    return HEAD + extra + b"Transfer-Encoding: chunked\r\n\r\n" + body


CHUNK = b"%x\r\n%b\r\n" % (len(TASK), TASK)
GZIPPED = gzip.compress(TASK)
DEFLATED = zlib.compress(TASK)[2:-4]

Then = Literal["keep", "close", "reset"]

STATUSES = {
    "a success": response(),
    "an empty success": response(200, b""),
    "201": response(201),
    "204": b"HTTP/1.1 204 No\r\n\r\n",
    "204 with a length": b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n",
    "204 with a body": b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n{}",
    "205": response(205, b""),
    "304": b"HTTP/1.1 304 Same\r\nContent-Length: 50\r\n\r\n",
    "301": response(301, b"", {"Location": "/elsewhere"}),
    "302": response(302, b"<html>", {"Location": "http://127.0.0.1:1/"}),
    "307": response(307, b"", {"Location": "/"}),
    "300 without a place": response(300, b""),
    "400": response(400, {"error": {"message": "no", "type": "invalid_request_error"}}),
    "401": response(401),
    "404": response(404),
    "408": response(408, b"", {"Connection": "close"}),
    "429": response(429, b"", {"Retry-After": "7"}),
    "500": response(500, b"<html>"),
    "503 without a length": b"HTTP/1.1 503 No\r\n\r\n<html>",
    "an unknown status": response(799),
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\n{}",
    "status zero": b"HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\n{}",
    "retry-after": response(200, TASK, {"Retry-After": "3"}),
    "retry-after of hours": response(200, TASK, {"retry-after-ms": "1e9"}),
    "a request id": response(500, b"", {"x-request-id": "abc"}),
}
HEADS_BEFORE = {
    "100": b"HTTP/1.1 100 Continue\r\n\r\n" + response(),
    "103s": b"HTTP/1.1 103 Early\r\nLink: </>\r\n\r\n" * 500 + response(),
    "102 with a length": b"HTTP/1.1 102 P\r\nContent-Length: 2\r\n\r\n" + response(),
    "199": b"HTTP/1.1 199 X\r\n\r\n" + response(),
    "101": b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "101 and more": b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nmore",
    "101 without a protocol": b"HTTP/1.1 101 S\r\n\r\n",
    "200 with an upgrade": response(headers={"Upgrade": "h2c", "Connection": "upgrade"}),
    "only a 103": b"HTTP/1.1 103 Early\r\n\r\n",
}
LENGTHS = {
    "a length too long": sized(50),
    "a length too short": sized(1),
    "no length": HEAD + b"\r\n{}",
    "no length, empty": HEAD + b"\r\n",
    "a length below zero": sized(-2),
    "a length with a plus": sized("+2"),
    "a length in blanks": sized("  2  "),
    "a length that is no number": sized("two"),
    "a length in digits of another script": sized("²"),
    "an empty length": sized(""),
    "a length beyond the limit": sized(2 * MIB),
    "a length beyond 64 bits": sized(1 << 64),
    "a length of 5000 digits": sized("9" * 5000),
    "a length with zeros": sized("0002"),
    "two lengths": sized(2, extra=b"Content-Length: 3\r\n"),
    "two equal lengths": sized(2, extra=b"Content-Length: 2\r\n"),
    "two lengths in one": sized("2, 2"),
    "a length of zero and a body": sized(0),
    "a length and chunks": sized(2, CHUNK + b"0\r\n\r\n", b"Transfer-Encoding: chunked\r\n"),
}
CHUNKS = {
    "chunks": chunked(CHUNK + b"0\r\n\r\n"),
    "chunks with trailers": chunked(CHUNK + b"0\r\nX-Sum: 1\r\n\r\n"),
    "chunks with a trailer too long": chunked(CHUNK + b"0\r\nX: " + b"y" * 20_000 + b"\r\n\r\n"),
    "chunks with many trailers": chunked(CHUNK + b"0\r\n" + b"X: y\r\n" * 200 + b"\r\n"),
    "chunks with extensions": chunked(b"2;a=b\r\n{}\r\n0\r\n\r\n"),
    "chunks without an end": chunked(CHUNK),
    "a chunk cut": chunked(CHUNK[:20]),
    "a chunk too long": chunked(b"2\r\n{}{}\r\n0\r\n\r\n"),
    "a chunk of no size": chunked(b"x\r\n{}\r\n0\r\n\r\n"),
    "a chunk of a size below zero": chunked(b"-2\r\n{}\r\n0\r\n\r\n"),
    "a chunk of an enormous size": chunked(b"f" * 20 + b"\r\n{}\r\n0\r\n\r\n"),
    "many chunks": chunked(b"1\r\n{\r\n" * 2000 + b"0\r\n\r\n"),
    "an unknown transfer": HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + CHUNK + b"0\r\n\r\n",
}
CODINGS = {
    "gzip": response(200, GZIPPED, {"Content-Encoding": "gzip"}),
    "x-gzip": response(200, GZIPPED, {"Content-Encoding": "x-gzip"}),
    "gzip in chunks": chunked(
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(GZIPPED), GZIPPED), b"Content-Encoding: gzip\r\n"
    ),
    "gzip cut": response(200, GZIPPED[:20], {"Content-Encoding": "gzip"}),
    "gzip of nothing": response(200, b"", {"Content-Encoding": "gzip"}),
    "gzip and more": response(200, GZIPPED + b"more", {"Content-Encoding": "gzip"}),
    "gzip twice": response(200, GZIPPED * 2, {"Content-Encoding": "gzip"}),
    "no gzip": response(200, b"nothing of the kind", {"Content-Encoding": "gzip"}),
    "gzip with a bad sum": response(200, GZIPPED[:-8] + b"\0" * 8, {"Content-Encoding": "gzip"}),
    "deflate": response(200, zlib.compress(TASK), {"Content-Encoding": "deflate"}),
    "raw deflate": response(200, DEFLATED, {"Content-Encoding": "deflate"}),
    "no deflate": response(200, b"\xff" * 20, {"Content-Encoding": "deflate"}),
    "brotli": response(200, b"\0\1\2", {"Content-Encoding": "br"}),
    "an unknown coding": response(200, TASK, {"Content-Encoding": "rot13"}),
    "two codings": response(200, GZIPPED, {"Content-Encoding": "gzip, gzip"}),
    "a bomb": response(200, gzip.compress(bytes(8 * MIB), 1), {"Content-Encoding": "gzip"}),
    "a bomb that refuses": response(
        500, gzip.compress(bytes(8 * MIB), 1), {"Content-Encoding": "gzip"}
    ),
    "a packed refusal": response(500, GZIPPED, {"Content-Encoding": "gzip"}),
    "a refusal packed badly": response(500, b"no gzip", {"Content-Encoding": "gzip"}),
}
SIZES = {
    "a body at the limit": response(200, b"x" * MIB),
    "a body beyond the limit": response(200, b"x" * (MIB + 1)),
    "a body beyond the limit without a length": HEAD + b"\r\n" + b"x" * (2 * MIB),
    "a refusal beyond its bound": response(500, b"x" * (MIB + 1)),
    "a long line": HEAD + b"X: " + b"x" * 20_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    "a line at the bound": HEAD + b"X: " + b"x" * 8100 + b"\r\nContent-Length: 2\r\n\r\n{}",
    "a long name": HEAD + b"x" * 20_000 + b": 1\r\nContent-Length: 2\r\n\r\n{}",
    "a long reason": b"HTTP/1.1 200 " + b"O" * 20_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    "many headers": HEAD + b"X: y\r\n" * 1000 + b"Content-Length: 2\r\n\r\n{}",
    "as many headers as may be": HEAD + b"X: y\r\n" * 126 + b"Content-Length: 2\r\n\r\n{}",
    "headers without an end": HEAD + b"X: y\r\n" * 20,
}
HEADS = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9\r\n",
    "half a head": b"HTTP/1.1 200 O",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/1.0 kept": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/0.9": TASK,
    "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "frames of HTTP/2": b"\0\0\x12\4\0\0\0\0\0",
    "a bad version": b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}",
    "lines that end in newlines": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "a null": HEAD + b"X: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    "a name with a blank": HEAD + b"X : a\r\nContent-Length: 2\r\n\r\n{}",
    "a folded line": HEAD + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    "no name": HEAD + b": a\r\nContent-Length: 2\r\n\r\n{}",
    "a line without a colon": HEAD + b"nothing\r\nContent-Length: 2\r\n\r\n{}",
    "bytes beyond ASCII": HEAD + b"X: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}",
    "lines before": b"\r\n\r\n" + response(),
    "cookies": response(headers={"Set-Cookie": "a=b; Path=/"}),
}
ENDS = {
    "two answers": response() + response(200, b"another"),
    "an answer and half a one": response() + response(200, b"another")[:30],
    "an answer and junk": response() + b"junk\r\n\r\n",
    "an answer and a newline": response() + b"\r\n",
    "a close header": response(headers={"Connection": "close"}),
    "a close header with another value": response(headers={"Connection": "close, keep-alive"}),
    "a keep-alive header": response(headers={"Connection": "keep-alive", "Keep-Alive": "max=1"}),
}


SCRIPTS = {
    "statuses": STATUSES,
    "heads before": HEADS_BEFORE,
    "lengths": LENGTHS,
    "chunks": CHUNKS,
    "codings": CODINGS,
    "sizes": SIZES,
    "heads": HEADS,
    "ends": ENDS,
}
# Responses that are incomplete as long as their connection is open.
ENDLESS = {
    "503 without a length",
    "a chunk cut",
    "a length too long",
    "an unknown transfer",
    "chunks without an end",
    "half a head",
    "headers without an end",
    "no length",
    "no length, empty",
    "nothing",
    "only a 103",
}
PARTIAL = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 O",
    "another head": b"HTTP/1.1 103 Early\r\n\r\n",
    "a head": sized(50, b""),
    "half a body": sized(50),
    "half a refusal": b"HTTP/1.1 500 No\r\nContent-Length: 50\r\n\r\n{",
    "a chunk": chunked(CHUNK),
    "a body without a length": HEAD + b"\r\n{",
    "a body that is too much for now": sized(MIB, b"x" * (MIB - 1)),
}
# The text of aiohttp's error may differ; the rest of the translated one may not.
FOREIGN = re.compile(r": \w+Error\b.*")


async def ended(poll: "asyncio.Future[HTTPResponse]") -> tuple[object, ...]:
    """Return the response of a poll, or the class, text and attributes of its error."""
    try:
        return (await poll,)
    except asyncio.CancelledError:
        return (asyncio.CancelledError,)
    except errors.FoxAPIError as error:
        return type(error), FOREIGN.sub("", str(error)), vars(error)


class Poller:
    """A transport with or without ``PooledGet``."""

    def __init__(self, server: "Server", account: Account, *, pooled: bool) -> None:
        self.server = server
        self.account = account
        self.clock = ManualClock()
        self.transport = Transport(clock=self.clock, limits=Limits(max_response_bytes=MIB))
        if not pooled:
            self.transport._connections.disable_pooled_get(account)
        self.pool = self.transport._connections.reads.connector
        self.requests, self.peers = len(server.requests), len(server.peers)

    async def poll(self) -> "asyncio.Future[HTTPResponse]":
        """Start a poll, and wait until the server has its request."""
        asked = len(self.server.requests) + 1
        poll = asyncio.ensure_future(self.transport.poll(self.account, PATH))
        await self.server.seen(asked)
        return poll

    async def poll_answered_with(self, name: str, data: bytes, then: Then) -> object:
        """Answer a poll with ``data``; return its end, that of the next poll, and the counts."""
        self.server.script.append(sending(data, then))
        ends: list[object] = []
        for waits in (then == "keep" and name in ENDLESS, False):
            poll = await self.poll()
            if waits:
                await self.clock.advance(30)
            ends.append(await ended(poll))
            await self.settle_connections()
        return *ends, self.counts()

    async def break_off(self, data: bytes, how: str) -> object:
        """Cancel a poll or close its transport after ``data``; return its end and the counts."""
        self.server.script.append(sending(data, "keep"))
        poll = await self.poll()
        await settle(100)
        assert not poll.done()
        if how == "cancelled":
            poll.cancel()
        else:
            await self.transport.aclose()
        end = await ended(poll)
        await self.settle_connections()
        return end, self.counts()

    async def settle_connections(self) -> None:
        """Wait until both ends agree on which connections are open."""
        while self.idle() != sum(not x.ended.is_set() for x in self.server.peers[self.peers :]):
            await asyncio.sleep(0)

    def idle(self) -> int:
        """Return the number of open connections in the pool."""
        assert self.pool is not None
        assert not self.pool._acquired
        pooled = [protocol for kept in self.pool._conns.values() for protocol, _ in kept]
        return sum(protocol.is_connected() for protocol in pooled)

    def counts(self) -> str:
        """Return the numbers of requests, of connections and of idle connections."""
        requests = len(self.server.requests) - self.requests
        peers = len(self.server.peers) - self.peers
        return f"{requests} requests over {peers} connections, {self.idle()} of them idle"


@pytest.mark.parametrize("then", ["keep", "close", "reset"])
@pytest.mark.parametrize("kind", SCRIPTS)
async def test_answers(server: "Server", account: Account, kind: str, then: Then) -> None:
    """A response, complete or not, ends a poll the same in both ways; no connection is stuck."""
    ways: list[dict[str, object]] = []
    for pooled in (True, False):
        way = Poller(server, account, pooled=pooled)
        ways.append(
            {
                name: await way.poll_answered_with(name, data, then)
                for name, data in SCRIPTS[kind].items()
            }
        )
        await way.transport.aclose()
    assert ways[0] == ways[1]


@pytest.mark.parametrize("how", ["cancelled", "closed"])
@pytest.mark.parametrize("begun", PARTIAL)
async def test_breaking_off(server: "Server", account: Account, begun: str, how: str) -> None:
    """A poll that is broken off while its answer arrives ends the same in both ways."""
    ways: list[object] = []
    for pooled in (True, False):
        way = Poller(server, account, pooled=pooled)
        ways.append(await way.break_off(PARTIAL[begun], how))
        await way.transport.aclose()
        await server.peers[-1].ended.wait()
    assert ways[0] == ways[1]
