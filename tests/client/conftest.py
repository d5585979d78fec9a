"""Sessions that talk to the gateway, and one that says what a test wants it to."""

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.typedefs import Handler

from foxapi_async import FoxSession, PollPolicy
from foxapi_async._protocol.sse import encode_event
from foxapi_async.gateway import Gateway
from foxapi_async.testing import FaultProxy, ManualClock

KEY = "sk-secret-0123456789abcdef"


@pytest.fixture
async def fox(gateway: Gateway, fast_polling: PollPolicy) -> AsyncIterator[FoxSession]:
    """Open a session to the gateway."""
    async with FoxSession(KEY, base_url=gateway.url, polling=fast_polling) as fox:
        yield fox


class Resolver(AbstractResolver):
    """A name server that knows no name, or never answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.knows_nobody = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Fail, or stall as one does that has gone."""
        del port, family
        self.asked.set()
        if self.knows_nobody:
            raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {host}")
        await asyncio.Event().wait()
        return []

    async def close(self) -> None:
        """Hold nothing."""


@pytest.fixture
def resolver() -> Resolver:
    """Have a name server that does not answer."""
    return Resolver()


@pytest.fixture
async def cut_fox(fault_proxy: FaultProxy, fast_polling: PollPolicy) -> AsyncIterator[FoxSession]:
    """Open a session to the gateway through the proxy."""
    async with FoxSession(KEY, base_url=fault_proxy.url, polling=fast_polling) as fox:
        yield fox


Connection = Callable[[web.StreamResponse, int], Awaitable[object]]


class Play:
    """What a gateway says of its tasks' streams and results, in the words of a test.

    Each stream that is opened takes one step of ``script``, called with the response and the offset
    that was asked for. After the last it gets ``chunks`` from the offset on, and ``total``.
    ``stored`` is ``results[0]``; without it the task is running.
    """

    def __init__(self, *texts: str) -> None:
        self.chunks: list[bytes] = [self.said(text) for text in texts]
        self.total: int | None = None
        self.script: deque[Connection | int] = deque()
        self.honours_offset = True
        self.stream_status = 200
        self.retry_after: int | None = None
        self.holds_headers = False
        self.stored: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.progress = 50
        self.looks: deque[int] = deque()
        self.opened: list[int] = []
        self.asked = 0
        self.serving = 0

    def store(self, text: str | None, **message: Any) -> None:
        """Complete the task with this text."""
        whole = {"role": "assistant", "content": text, **message}
        self.stored = {
            "id": "stored",
            "choices": [{"index": 0, "message": whole, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        }

    @web.middleware
    async def perform(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer in the place of the gateway, but for what is submitted."""
        if request.method != "GET":
            return await handler(request)
        if request.path.endswith("/stream"):
            self.serving += 1
            try:
                return await self._stream(request)
            finally:
                self.serving -= 1
        self.asked += 1
        if self.looks and (status := self.looks.popleft()) != 200:
            return web.json_response({"error": {"message": "no"}}, status=status)
        return web.json_response(self._task(request.path.rpartition("/")[2]))

    def _task(self, task_id: str) -> dict[str, Any]:
        task = {"id": task_id, "model": "gpt-5.5", "progress": self.progress}
        if self.error is not None:
            return task | {"status": "failed", "error": self.error}
        if self.stored is not None:
            return task | {"status": "completed", "results": [self.stored]}
        return task | {"status": "processing"}

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        offset = int(request.query.get("offset", "0"))
        self.opened.append(offset)
        step = self.script.popleft() if self.script else self.stream_status
        if isinstance(step, int) and step != 200:
            asked = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
            return web.json_response({"error": {"message": "no"}}, status=step, headers=asked)
        if self.holds_headers:
            await asyncio.Event().wait()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            if isinstance(step, int):
                await self.say_all(response, offset)
            else:
                await step(response, offset)
        except ConnectionResetError:
            pass
        return response

    async def say_all(self, response: web.StreamResponse, offset: int) -> None:
        """Send the chunks and the end."""
        await self.send(response, *self.chunks[offset if self.honours_offset else 0 :])
        await self.finish(response, len(self.chunks) if self.total is None else self.total)

    async def send(self, response: web.StreamResponse, *chunks: bytes | str) -> None:
        """Send chunks, or texts as chunks, in one write."""
        payloads = [chunk if isinstance(chunk, bytes) else self.said(chunk) for chunk in chunks]
        await response.write(b"".join(encode_event("chunk", payload) for payload in payloads))

    async def finish(self, response: web.StreamResponse, total: int) -> None:
        """Send the normal end, which does not count for a negative ``total``."""
        data = b'{"total_chunks":%d}' % total if total >= 0 else b"{}"
        await response.write(encode_event("done", data))

    @staticmethod
    def said(text: str = "", **message: Any) -> bytes:
        """Encode a chunk that says this."""
        delta = message | ({"content": text} if text else {})
        return json.dumps({"id": "c", "choices": [{"index": 0, "delta": delta}]}).encode()

    async def hang(self, response: web.StreamResponse, offset: int) -> None:
        """Send nothing more until the client has gone."""
        del response, offset
        await asyncio.Event().wait()

    def cut(self, *texts: str) -> Connection:
        """Return a connection that sends these texts and then ends without ``done``."""

        async def connection(response: web.StreamResponse, offset: int) -> None:
            del offset
            await self.send(response, *texts)

        return connection

    async def until(
        self, holds: Callable[[], bool], clock: ManualClock | None = None, pace: float = 0.25
    ) -> None:
        """Turn the loop over, and the clock on at this pace, until it is so."""
        for turn in range(20_000):
            if holds():
                return
            await asyncio.sleep(0)
            if clock is not None and turn % 50 == 49:
                await clock.advance(pace)
        raise AssertionError("it never came to be so")


@pytest.fixture
def play() -> Play:
    """Write an answer of a few words."""
    return Play("one", " two", " three", " four")


@pytest.fixture
async def stage(play: Play) -> AsyncIterator[Gateway]:
    """Run a gateway that says what the play says."""
    gateway = Gateway()
    gateway.app.middlewares.append(play.perform)
    async with gateway:
        yield gateway
        # Every reader has gone, and the server has noticed: nobody held a connection open.
        await play.until(lambda: not play.serving)


@pytest.fixture
def clock() -> ManualClock:
    """Stop the time."""
    return ManualClock()


@pytest.fixture
async def staged(
    stage: Gateway, clock: ManualClock, fast_polling: PollPolicy
) -> AsyncIterator[FoxSession]:
    """Open a session to the stage, whose time stands still."""
    async with FoxSession(KEY, base_url=stage.url, polling=fast_polling, clock=clock) as fox:
        yield fox
