"""A scripted server on raw TCP: it answers each request, or breaks it, as the test has arranged.

``sent`` makes a call of the scripted server by the path that the product uses, `Transport.fetch`.
"""

import asyncio
import json
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest

from foxapi_async._clock import ManualClock
from foxapi_async._protocol.retry import Effect
from foxapi_async._transport import Account, RequestSpec, Transport, _aiohttp_private
from foxapi_async._wire.task import Task, task_decoder
from foxapi_async.config import RetryPolicy
from foxapi_async.hooks import Event, RetryScheduled

KEY = "sk-0123456789abcdef"
ONCE = RetryPolicy(attempts=1)
PROMPT = "a prompt that must not be shown"
TASK = b'{"id":"task-llm-1-aaaaaaaa","status":"pending"}'
# The headers of a stream that goes on.
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


@dataclass(frozen=True)
class Request:
    """A request as it arrived; the names of its headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Peer:
    """One connection, as the server sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.ended = asyncio.Event()

    async def head(self) -> bytes:
        """Wait for the headers of the next request and return them."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> Request:
        """Wait for the next whole request."""
        first, *lines = (await self.head()).decode().rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        method, target, _ = first.split(" ")
        return Request(method, target, headers, body)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)

    def close(self) -> None:
        """Close the connection after the bytes that were sent."""
        self.writer.close()

    def reset(self) -> None:
        """Reset the connection: bytes that are not read yet are lost."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def closed_by_client(self) -> None:
        """Wait until the client has closed the connection."""
        while await self.reader.read(65536):
            pass


Sent = Callable[..., Awaitable[Task]]
Step = Callable[[Peer], Awaitable[object]]


@dataclass
class Server:
    """Runs one step of ``script`` for each request; without one, answers with a pending task.

    One step of ``at_connect`` runs for each connection, before anything is read from it.
    """

    scheme: str = "http"
    port: int = 0
    script: deque[Step] = field(default_factory=deque)
    at_connect: deque[Step] = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    arrivals: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def posts(self) -> int:
        """How many complete POSTs have arrived."""
        return sum(request.method == "POST" for request in self.requests)

    async def seen(self, requests: int) -> None:
        """Wait until so many complete requests have arrived."""
        async with self.arrivals:
            await self.arrivals.wait_for(lambda: len(self.requests) >= requests)

    async def connected(self, connections: int) -> None:
        """Wait until so many connections are open."""
        async with self.arrivals:
            await self.arrivals.wait_for(lambda: len(self.peers) >= connections)

    def answers(
        self,
        status: int = 200,
        body: bytes | Mapping[str, object] = TASK,
        headers: Mapping[str, str] | None = None,
        *,
        times: int = 1,
    ) -> None:
        """Answer the next request, or the next few, and keep the connection."""
        for _ in range(times):
            self.sends(response(status, body, headers), then="keep")

    def sends(self, data: bytes, *, then: Literal["keep", "close", "reset"] = "close") -> None:
        """Answer the next request with these bytes, then keep or end the connection."""
        self.script.append(sending(data, then))

    def stays_silent(self) -> None:
        """Read the next request and answer nothing until the client gives up."""
        self.script.append(Peer.closed_by_client)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the client or a step ends it."""
        peer = Peer(reader, writer)
        self.peers.append(peer)
        await self._notify()
        try:
            if self.at_connect:
                await self.at_connect.popleft()(peer)
            while not writer.is_closing():
                self.requests.append(await peer.request())
                await self._notify()
                step = self.script.popleft() if self.script else sending(response(), "keep")
                await step(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            # The client has closed the connection.
            pass
        finally:
            writer.close()
            peer.ended.set()

    async def _notify(self) -> None:
        async with self.arrivals:
            self.arrivals.notify_all()


def response(
    status: int = 200,
    body: bytes | Mapping[str, object] = TASK,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Return an HTTP response; ``body`` is bytes, or an object to send as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Length": str(len(data)), **(headers or {})}
    lines = (f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} So\r\n{''.join(lines)}\r\n".encode() + data


def sending(data: bytes, then: Literal["keep", "close", "reset"]) -> Step:
    """Return a step that sends bytes, then keeps or ends the connection."""

    async def step(peer: Peer) -> None:
        peer.send(data)
        await peer.writer.drain()
        if then == "close":
            peer.close()
        elif then == "reset":
            peer.reset()

    return step


class Retries(list[tuple[int, float, str]]):
    """An ``emit`` that records each ``RetryScheduled`` and advances the clock by its delay."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock = clock
        self.jumps: set[asyncio.Task[None]] = set()

    def __call__(self, event: Event) -> None:
        """Record a retry and let its delay pass."""
        if not isinstance(event, RetryScheduled):
            return
        self.append((event.attempt, event.delay, event.reason))
        jump = asyncio.get_running_loop().create_task(self.clock.advance(event.delay))
        self.jumps.add(jump)
        jump.add_done_callback(self.jumps.discard)

    @property
    def delays(self) -> list[float]:
        """The delay of each retry."""
        return [delay for _, delay, _ in self]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Return a scripted server on plain TCP."""
    async for running in _running(None):
        yield running


@pytest.fixture
async def tls_server(certificate: Path) -> AsyncIterator[Server]:
    """Return a scripted server that speaks TLS with an untrusted certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async for running in _running(context):
        yield running


async def _running(context: ssl.SSLContext | None) -> AsyncIterator[Server]:
    scripted = Server(scheme="https" if context else "http")
    tasks: list[asyncio.Task[None]] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.ensure_future(scripted.serve(reader, writer)))

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    scripted.port = listening.sockets[0].getsockname()[1]
    try:
        yield scripted
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def certificate() -> Path:
    """Return the file of a key and its self-signed certificate for 127.0.0.1."""
    return Path(__file__).parent / "loopback.pem"


@pytest.fixture
def account(server: Server) -> Account:
    """Return an account at the scripted server."""
    return Account.resolve(KEY, server.url)


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that a test advances."""
    return ManualClock()


@pytest.fixture
async def transport(clock: ManualClock) -> AsyncIterator[Transport]:
    """Return a transport on the manual clock, with the longest jitter."""
    opened = Transport(clock=clock, rand=lambda: 1.0)
    yield opened
    await opened.aclose()


@pytest.fixture
async def transport_without_fast_path(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Transport]:
    """Return a transport that uses nothing but aiohttp's public API."""
    with monkeypatch.context() as patch:
        patch.setenv("FOXAPI_FAST_PATH", "0")
        opened = Transport(clock=clock)
    yield opened
    await opened.aclose()


@pytest.fixture
def fresh_probe() -> Iterator[None]:
    """Run the probes of aiohttp anew in the test and after it, and warn anew."""
    probes = (
        _aiohttp_private._pooled_get_works,
        _aiohttp_private._raw_stream_works,
        _aiohttp_private._warn_once,
    )
    for cached in probes:
        cached.cache_clear()
    yield
    for cached in probes:
        cached.cache_clear()


async def fetch(
    transport: Transport,
    account: Account,
    spec: RequestSpec,
    *,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 frozen
    **options: Any,
) -> Task:
    """Make a call, and return the task that the response names."""
    return await transport.fetch(account, spec, task_decoder, retry=retry, **options)


@pytest.fixture
def sent(transport: Transport, account: Account) -> Sent:
    """Return a function that makes a call of the scripted server."""

    async def call(spec: RequestSpec, **options: Any) -> Task:
        return await fetch(transport, account, spec, **options)

    return call


@pytest.fixture
async def borrowed() -> AsyncIterator[aiohttp.ClientSession]:
    """Return an aiohttp session that the transport does not own."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def retries(clock: ManualClock) -> AsyncIterator[Retries]:
    """Return an ``emit`` that records retries and lets their delays pass at once."""
    recorded = Retries(clock)
    yield recorded
    await asyncio.gather(*recorded.jumps)


@pytest.fixture
def post() -> RequestSpec:
    """Return a billed call."""
    body = json.dumps({"prompt": PROMPT}).encode()
    return RequestSpec(effect=Effect.BILLED, method="POST", path="/v1/llm/generations", body=body)


@pytest.fixture
def read() -> RequestSpec:
    """Return a call that is not billed."""
    return RequestSpec(effect=Effect.READ, method="GET", path="/v1/tasks/1")


@pytest.fixture
def secrets() -> tuple[str, str]:
    """Return the texts that no error may contain: the key and the prompt."""
    return KEY, PROMPT
