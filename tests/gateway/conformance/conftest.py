"""Whom the conformance suite judges: a gateway of its own, or what FOXAPI_CONFORMANCE_URL names.

``FOXAPI_CONFORMANCE_URL`` and ``FOXAPI_CONFORMANCE_KEY`` name another service, and
``FOXAPI_CONFORMANCE_SECONDS`` how long one of its tasks may take (120). Every accepted submit is
billed there; the suite makes some sixty small ones. It speaks plain HTTP, knows nothing of this
package, and asks for nothing that CONTRACT does not name; what CONTRACT leaves open it accepts in
each of its readings.
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
PATIENCE = float(os.environ.get("FOXAPI_CONFORMANCE_SECONDS", "120"))
# A gateway of our own is asked again at once, another service as calmly as contract §4.4 wants it.
PAUSE = 5.0 if URL else 0.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a service that takes its time more of it than the other tests have."""
    for item in items:
        if URL and "conformance" in item.nodeid:
            item.add_marker(pytest.mark.timeout(4 * PATIENCE))


class Reply(NamedTuple):
    """One answer."""

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
    """The service under judgement."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url

    async def call(self, method: str, path: str, *, key: str | None = KEY, **options: Any) -> Reply:
        """Send one request and read its answer whole."""
        headers = {"User-Agent": "foxapi-conformance/1"} | dict(options.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        async with self.http.request(method, self.url + path, headers=headers, **options) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def post(self, **members: Any) -> Reply:
        """Submit these members."""
        return await self.call("POST", SUBMIT, json=members)

    async def submit(self, prompt: str = "count 1 to 3", **members: Any) -> Any:
        """Submit a prompt that is accepted and return the task."""
        asked = {"model": "gpt-5.5", "messages": [{"role": "user", "content": prompt}]}
        reply = await self.post(**(asked | members))
        assert reply.status == 200, reply
        return reply.json

    async def query(self, task_id: str) -> Any:
        """Query a task that is there."""
        reply = await self.call("GET", f"/v1/tasks/{task_id}")
        assert reply.status == 200, reply
        return reply.json

    async def snapshots(self, task_id: str) -> list[Any]:
        """Query a task until it has ended, its results included; return each that differed."""
        seen: list[Any] = []
        async with asyncio.timeout(PATIENCE):
            while True:
                task = await self.query(task_id)
                if not seen or seen[-1] != task:
                    seen.append(task)
                if task["status"] == "failed" or (
                    task["status"] == "completed" and task["results"]
                ):
                    return seen
                await asyncio.sleep(PAUSE)

    async def stream(self, task_id: str, query: str = "") -> Reply:
        """Read a stream to its end."""
        async with asyncio.timeout(PATIENCE):
            return await self.call("GET", f"{SUBMIT}/{task_id}/stream{query}")


def read_events(body: bytes) -> list[Event]:
    """Read an event stream as browsers do, in any framing."""
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
    """Return a reader of event streams."""
    return read_events


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    """Return the service under judgement."""
    async with aiohttp.ClientSession() as http:
        if URL:
            yield Target(http, URL)
            return
        # Slow enough to be caught at work, quick enough for a test.
        async with Gateway(api_keys=[KEY], queue_delay=0.01, token_delay=0.001) as gateway:
            yield Target(http, gateway.url)
