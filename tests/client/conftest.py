"""Sessions on the gateway, on the gateway behind a proxy, and on a scripted gateway."""

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import tqdm.auto
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


@pytest.fixture
def tqdm_is_ready() -> None:
    """Let tqdm import all that its first bar needs, which would block the loop."""
    tqdm.auto.tqdm.get_lock()


class Resolver(AbstractResolver):
    """A resolver that fails for every name, or never answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.fails = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Fail, or never return."""
        del port, family
        self.asked.set()
        if self.fails:
            raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {host}")
        await asyncio.Event().wait()
        return []

    async def close(self) -> None:
        """Hold nothing."""


@pytest.fixture
def resolver() -> Resolver:
    """Return a resolver that does not answer."""
    return Resolver()


@pytest.fixture
async def session_via_proxy(
    fault_proxy: FaultProxy, fast_polling: PollPolicy
) -> AsyncIterator[FoxSession]:
    """Open a session to the gateway through the fault proxy."""
    async with FoxSession(KEY, base_url=fault_proxy.url, polling=fast_polling) as fox:
        yield fox


Connection = Callable[[web.StreamResponse, int], Awaitable[object]]


class ScriptedService:
    """Answers every GET of a gateway in place of its tasks, as a test tells it.

    Each stream request takes the next step of ``script``: a status, or a function that is called
    with the response and the requested offset. Without a step it gets ``chunks`` from the offset on
    and ``total`` at the end. ``stored`` is ``results[0]`` of the task; without it the task runs.
    ``offsets`` has the requested offset of each stream request, ``polls`` the number of GETs of the
    task.
    """

    def __init__(self, *texts: str) -> None:
        self.chunks: list[bytes] = [self.chunk(text) for text in texts]
        self.total: int | None = None
        self.script: deque[Connection | int] = deque()
        self.honours_offset = True
        self.stream_status = 200
        self.retry_after: int | None = None
        self.holds_headers = False
        self.stored: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.progress = 50
        self.poll_statuses: deque[int] = deque()
        self.offsets: list[int] = []
        self.polls = 0
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
    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer every GET; pass a submission on to the gateway."""
        if request.method != "GET":
            return await handler(request)
        if request.path.endswith("/stream"):
            self.serving += 1
            try:
                return await self._stream(request)
            finally:
                self.serving -= 1
        self.polls += 1
        if self.poll_statuses and (status := self.poll_statuses.popleft()) != 200:
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
        self.offsets.append(offset)
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
                await self.send_all(response, offset)
            else:
                await step(response, offset)
        except ConnectionResetError:
            pass
        return response

    async def send_all(self, response: web.StreamResponse, offset: int) -> None:
        """Send the chunks and the end."""
        await self.send(response, *self.chunks[offset if self.honours_offset else 0 :])
        await self.finish(response, len(self.chunks) if self.total is None else self.total)

    async def send(self, response: web.StreamResponse, *chunks: bytes | str) -> None:
        """Send chunks, or texts as chunks, in one write."""
        payloads = [chunk if isinstance(chunk, bytes) else self.chunk(chunk) for chunk in chunks]
        await response.write(b"".join(encode_event("chunk", payload) for payload in payloads))

    async def finish(self, response: web.StreamResponse, total: int) -> None:
        """Send ``done`` with ``total``, or without a count if ``total`` is negative."""
        data = b'{"total_chunks":%d}' % total if total >= 0 else b"{}"
        await response.write(encode_event("done", data))

    @staticmethod
    def chunk(text: str = "", **message: Any) -> bytes:
        """Encode a chunk with this text and these members of its message."""
        delta = message | ({"content": text} if text else {})
        return json.dumps({"id": "c", "choices": [{"index": 0, "delta": delta}]}).encode()

    async def hang(self, response: web.StreamResponse, offset: int) -> None:
        """Send nothing more until the client closes the connection."""
        del response, offset
        await asyncio.Event().wait()

    def cut_after(self, *texts: str) -> Connection:
        """Return a step that sends these texts and then ends without ``done``."""

        async def connection(response: web.StreamResponse, offset: int) -> None:
            del offset
            await self.send(response, *texts)

        return connection

    async def wait_until(
        self, holds: Callable[[], bool], clock: ManualClock | None = None, pace: float = 0.25
    ) -> None:
        """Run the loop, and advance the clock by ``pace`` in between, until ``holds`` is true."""
        for turn in range(20_000):
            if holds():
                return
            await asyncio.sleep(0)
            if clock is not None and turn % 50 == 49:
                await clock.advance(pace)
        raise AssertionError("the condition never held")


@pytest.fixture
def scripted_service() -> ScriptedService:
    """Return a scripted service whose stream has four chunks."""
    return ScriptedService("one", " two", " three", " four")


@pytest.fixture
async def scripted_gateway(scripted_service: ScriptedService) -> AsyncIterator[Gateway]:
    """Run a gateway whose GETs the scripted service answers."""
    gateway = Gateway()
    gateway.app.middlewares.append(scripted_service.handle)
    async with gateway:
        yield gateway
        # No reader has left a connection open.
        await scripted_service.wait_until(lambda: not scripted_service.serving)


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that stands still until it is advanced."""
    return ManualClock()


@pytest.fixture
async def session_on_scripted(
    scripted_gateway: Gateway, clock: ManualClock, fast_polling: PollPolicy
) -> AsyncIterator[FoxSession]:
    """Open a session to the scripted gateway, on the manual clock."""
    async with FoxSession(
        KEY, base_url=scripted_gateway.url, polling=fast_polling, clock=clock
    ) as fox:
        yield fox
