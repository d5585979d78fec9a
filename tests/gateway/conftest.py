"""A gateway on loopback, and somebody who speaks plain HTTP to it: the server is under test."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, NamedTuple, Unpack

import aiohttp
import pytest

from foxapi_async.gateway import Gateway
from foxapi_async.gateway.settings import GatewayOptions

KEY = "sk-local-test-key"
SUBMIT = "/v1/llm/generations"


class Reply(NamedTuple):
    """One answer of the gateway."""

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
    """A gateway that is listening, and a connection to it."""

    def __init__(self, gateway: Gateway, http: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.http = http

    async def call(self, method: str, path: str, *, key: str | None = KEY, **options: Any) -> Reply:
        """Send one request and read its answer whole."""
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        headers |= options.pop("headers", {})
        url = self.gateway.url + path
        async with self.http.request(method, url, headers=headers, **options) as response:
            return Reply(response.status, response.headers, await response.read())

    async def post(self, key: str | None = KEY, **members: Any) -> Reply:
        """Submit a request of these members."""
        return await self.call("POST", SUBMIT, key=key, json=members)

    async def submit(self, prompt: str = "count 1 to 3", **members: Any) -> Any:
        """Submit a prompt that is accepted and return the task."""
        members = {"model": "gpt-5.5", "messages": [user(prompt)]} | members
        reply = await self.post(**members)
        assert reply.status == 200, reply
        return reply.json

    async def task(self, task_id: str) -> Any:
        """Query a task that is there."""
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


Serve = Callable[..., Awaitable[Service]]


def user(content: Any) -> dict[str, Any]:
    """Build a message."""
    return {"role": "user", "content": content}


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start gateways with settings of the test's choice; quick ones unless it says otherwise."""
    async with AsyncExitStack() as stack:

        async def start(**options: Unpack[GatewayOptions]) -> Service:
            options.setdefault("queue_delay", 0)
            options.setdefault("token_delay", 0)
            gateway = await stack.enter_async_context(Gateway(**options))
            connector = aiohttp.TCPConnector(limit=0)
            http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            return Service(gateway, http)

        yield start


@pytest.fixture
async def service(serve: Serve) -> Service:
    """Return a gateway that takes no time."""
    return await serve()


@pytest.fixture
def events() -> Callable[[bytes], list[Event]]:
    """Return a reader of event streams that knows nothing but the framing of contract §6."""

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
