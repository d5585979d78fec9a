"""The service under test: a gateway, or the service that FOXAPI_CONFORMANCE_URL names.

``FOXAPI_CONFORMANCE_URL`` and ``FOXAPI_CONFORMANCE_KEY`` select another service, and
``FOXAPI_CONFORMANCE_SECONDS`` is the timeout of one task there (120). That service bills every
accepted submit; the suite makes about eighty small ones and an image. The suite speaks plain HTTP,
does not use this package, and tests nothing that the contract does not say. Where the contract
leaves a choice, the suite accepts each.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple

import aiohttp
import pytest

from foxapi_async.gateway import Gateway

SUBMIT = "/v1/llm/generations"
URL = os.environ.get("FOXAPI_CONFORMANCE_URL", "").rstrip("/")
KEY = os.environ.get("FOXAPI_CONFORMANCE_KEY", "sk-conformance-key")
TASK_TIMEOUT = float(os.environ.get("FOXAPI_CONFORMANCE_SECONDS", "120"))
# A gateway is polled without pauses, a remote service at the interval of contract §4.4.
POLL_INTERVAL = 5.0 if URL else 0.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests of a remote service a longer timeout."""
    for item in items:
        if URL and "conformance" in item.nodeid:
            item.add_marker(pytest.mark.timeout(4 * TASK_TIMEOUT))


class Reply(NamedTuple):
    """One response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """The error of the envelope (contract §8.1)."""
        error = self.json["error"]
        assert isinstance(error["message"], str)
        assert error["message"]
        return error


class Event(NamedTuple):
    """One event of a stream, comments and unknown names left out."""

    name: str
    data: Any


class Target:
    """The service under test."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url

    async def call(self, method: str, path: str, *, key: str | None = KEY, **options: Any) -> Reply:
        """Send one request and read the whole response."""
        headers = {"User-Agent": "foxapi-conformance/1"} | dict(options.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        async with self.http.request(method, self.url + path, headers=headers, **options) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def post(self, **members: Any) -> Reply:
        """Submit a request with these members."""
        return await self.call("POST", SUBMIT, json=members)

    async def submit(self, prompt: str = "count 1 to 3", **members: Any) -> Any:
        """Submit a valid prompt and return the task."""
        asked = {"model": "gpt-5.5", "messages": [{"role": "user", "content": prompt}]}
        reply = await self.post(**(asked | members))
        assert reply.status == 200, reply
        return reply.json

    async def query(self, task_id: str) -> Any:
        """Query an existing task."""
        reply = await self.call("GET", f"/v1/tasks/{task_id}")
        assert reply.status == 200, reply
        return reply.json

    async def snapshots(self, task_id: str) -> list[Any]:
        """Query a task until it has ended with its results; return each different snapshot."""
        seen: list[Any] = []
        async with asyncio.timeout(TASK_TIMEOUT):
            while True:
                task = await self.query(task_id)
                if not seen or seen[-1] != task:
                    seen.append(task)
                if task["status"] == "failed" or (
                    task["status"] == "completed" and task["results"]
                ):
                    return seen
                await asyncio.sleep(POLL_INTERVAL)

    async def stream(self, task_id: str, query: str = "") -> Reply:
        """Read a stream to its end."""
        async with asyncio.timeout(TASK_TIMEOUT):
            return await self.call("GET", f"{SUBMIT}/{task_id}/stream{query}")


def read_events(body: bytes) -> list[Event]:
    """Parse an event stream as browsers do, in any framing."""
    found: list[Event] = []
    text = body.decode().replace("\r\n", "\n").replace("\r", "\n")
    for block in text.split("\n\n"):
        name, data = "chunk", []
        for line in block.split("\n"):
            field, _, value = line.partition(":")
            if field == "event":
                name = value.removeprefix(" ")
            elif field == "data":
                data.append(value.removeprefix(" "))
        if data and name in {"chunk", "done", "error"}:
            found.append(Event(name, json.loads("\n".join(data))))
    return found


@pytest.fixture
def events() -> Callable[[bytes], list[Event]]:
    """Return a parser of event streams."""
    return read_events


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    """Return the service under test."""
    async with aiohttp.ClientSession() as http:
        if URL:
            yield Target(http, URL)
            return
        # Slow enough to observe tasks while they run, and fast enough for a test.
        async with Gateway(api_keys=[KEY], queue_delay=0.01, token_delay=0.001) as gateway:
            yield Target(http, gateway.url)
