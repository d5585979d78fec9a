"""A gateway on loopback and a plain HTTP client."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, NamedTuple, Unpack

import aiohttp
import pytest

from foxapi_async.gateway import Gateway
from foxapi_async.gateway.settings import GatewayOptions
from tests.gateway.scripted_upstream import StartUpstream, scripted_upstream

KEY = "sk-local-test-key"
SUBMIT = "/v1/llm/generations"


class Reply(NamedTuple):
    """One response of the gateway."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Event(NamedTuple):
    """One event of a stream."""

    name: str
    data: Any


class Service:
    """A running gateway and its HTTP client."""

    def __init__(self, gateway: Gateway, http: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.http = http

    async def call(self, method: str, path: str, *, key: str | None = KEY, **options: Any) -> Reply:
        """Send one request and read the whole response."""
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        headers |= options.pop("headers", {})
        url = self.gateway.url + path
        async with self.http.request(method, url, headers=headers, **options) as response:
            return Reply(response.status, response.headers, await response.read())

    async def post(self, key: str | None = KEY, **members: Any) -> Reply:
        """Submit a request with these members."""
        return await self.call("POST", SUBMIT, key=key, json=members)

    async def submit(self, prompt: str = "count 1 to 3", **members: Any) -> Any:
        """Submit a valid prompt and return the task."""
        members = {"model": "gpt-5.5", "messages": [user(prompt)]} | members
        reply = await self.post(**members)
        assert reply.status == 200, reply
        return reply.json

    async def task(self, task_id: str) -> Any:
        """Query an existing task."""
        reply = await self.call("GET", f"/v1/tasks/{task_id}")
        assert reply.status == 200, reply
        return reply.json

    async def finished(self, task_id: str) -> Any:
        """Query a task until it has ended."""
        while True:
            task = await self.task(task_id)
            if task["status"] in {"completed", "failed"}:
                return task

    async def stream(self, task_id: str, query: str = "") -> Reply:
        """Read a stream to its end."""
        return await self.call("GET", f"{SUBMIT}/{task_id}/stream{query}")

    async def open_stream(self, task_id: str, query: str = "") -> aiohttp.ClientResponse:
        """Open a stream and read nothing of it."""
        response = await self.http.get(
            f"{self.gateway.url}{SUBMIT}/{task_id}/stream{query}",
            headers={"Authorization": f"Bearer {KEY}"},
        )
        assert response.status == 200
        return response

    async def send_bytes(self, data: bytes) -> tuple[int, bytes]:
        """Send bytes as they are, and return the status and the body of the first response."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        try:
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ")[1])
            lines = head.lower().split(b"\r\n")
            length = next(int(line[15:]) for line in lines if line.startswith(b"content-le"))
            return status, await reader.readexactly(length)
        finally:
            writer.close()
            await writer.wait_closed()


Serve = Callable[..., Awaitable[Service]]


def user(content: Any) -> dict[str, Any]:
    """Build a message."""
    return {"role": "user", "content": content}


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Return a function that starts a gateway; without delays by default."""
    async with AsyncExitStack() as stack:

        async def start(**options: Unpack[GatewayOptions]) -> Service:
            options.setdefault("queue_delay", 0)
            options.setdefault("token_delay", 0)
            options.setdefault("media_delay", 0)
            gateway = await stack.enter_async_context(Gateway(**options))
            connector = aiohttp.TCPConnector(limit=0)
            http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            return Service(gateway, http)

        yield start


@pytest.fixture
async def service(serve: Serve) -> Service:
    """Return a gateway without delays, and its client."""
    return await serve()


@pytest.fixture
def events() -> Callable[[bytes], list[Event]]:
    """Return a parser of event streams that knows only the framing of contract §6."""

    def read(body: bytes) -> list[Event]:
        assert body.endswith(b"\n\n") or not body
        found: list[Event] = []
        for block in body.decode().split("\n\n")[:-1]:
            name, data = block.split("\n")
            assert name.startswith("event: ")
            assert data.startswith("data: ")
            found.append(Event(name[7:], json.loads(data[6:])))
        return found

    return read


@pytest.fixture
async def upstream() -> AsyncIterator[StartUpstream]:
    """Return a function that starts a scripted upstream."""
    async with AsyncExitStack() as stack:
        yield lambda script: stack.enter_async_context(scripted_upstream(script))
