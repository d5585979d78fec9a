"""The relays to a browser that the documentation shows, and their page."""

import asyncio
import importlib.util
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import aiohttp
import pytest
import uvicorn
from aiohttp import web

from foxapi_async.gateway import Gateway

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
BROWSER = Path(__file__).with_name("browser.mjs")
NODE = shutil.which("node")
COUNTED = ", ".join(map(str, range(1, 51)))
UNKNOWN = "/events/task-llm-1-abcdefgh"

needs_node = pytest.mark.skipif(NODE is None, reason="node runs the page's script")


class Event(NamedTuple):
    """One event of a relay."""

    name: str
    id: str
    data: Any


class Visitor:
    """A client of the relay that reads its events on demand."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url

    async def ask(self, prompt: str) -> str:
        """Ask, and return where the answer is."""
        async with self.http.post(f"{self.url}/ask", json={"prompt": prompt}) as answer:
            path: str = (await answer.json())["events"]
        return path

    async def status(self, path: str, last: str | None = None) -> int:
        """Return the status of the relay's answer."""
        headers = {"Last-Event-ID": last} if last else {}
        async with self.http.get(self.url + path, headers=headers) as answer:
            return answer.status

    async def read(self, path: str, last: str | None = None, most: int = 10_000) -> list[Event]:
        """Read events, and leave after ``most`` of them."""
        headers = {"Last-Event-ID": last} if last else {}
        found: list[Event] = []
        async with self.http.get(self.url + path, headers=headers) as answer:
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
            while len(found) < most and (name := await answer.content.readline()):
                number, data = await answer.content.readline(), await answer.content.readline()
                assert await answer.content.readline() == b"\n"
                kind, cursor = (line.decode().strip().partition(": ")[2] for line in (name, number))
                found.append(Event(kind, cursor, json.loads(data.removeprefix(b"data: "))))
        return found


def load(name: str) -> ModuleType:
    """Import an example without running it."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def run_aiohttp() -> AsyncIterator[str]:
    """Run the aiohttp example, and give its address."""
    app: web.Application = load("streaming_web").make_app()
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def run_starlette() -> AsyncIterator[str]:
    """Run the Starlette example, and give its address."""
    app = load("streaming_web_starlette").make_app()
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        assert not serving.done()
        await asyncio.sleep(0)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.fixture(params=[run_aiohttp, run_starlette], ids=["aiohttp", "starlette"])
async def visitor(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Visitor]:
    """Return a visitor of either relay, behind which a gateway answers."""
    async with (
        Gateway(queue_delay=0, token_delay=0.001) as gateway,
        aiohttp.ClientSession() as http,
    ):
        monkeypatch.setenv("FOXAPI_BASE_URL", gateway.url)
        monkeypatch.setenv("FOXAPI_API_KEY", "sk-secret-0123456789abcdef")
        async for url in request.param():
            yield Visitor(http, url)


async def test_a_relay_goes_on_from_each_cursor(visitor: Visitor) -> None:
    """A browser that reconnects after any event reads the rest, each chunk once."""
    path = await visitor.ask("count 1 to 50")
    events = await visitor.read(path)
    assert "".join(event.data["text"] for event in events[:-1]) == COUNTED
    assert [event.name for event in events] == ["message"] * (len(events) - 1) + ["end"]
    for number in range(0, len(events) - 1, 7):
        cursor = events[number].id
        assert await visitor.read(path, cursor) == events[number + 1 :]
        assert await visitor.read(f"{path}?cursor={cursor}") == events[number + 1 :]
        # The URL still has the cursor of the reload when the browser reconnects later.
        assert await visitor.read(f"{path}?cursor={events[0].id}", cursor) == events[number + 1 :]


async def test_a_relay_says_that_it_is_over(visitor: Visitor) -> None:
    """After its last event, an error or not, a relay answers 204, which ends an EventSource."""
    for prompt, name in (("count 1 to 3", "end"), ("[[fail:timeout:2]]", "error")):
        path = await visitor.ask(prompt)
        last = (await visitor.read(path))[-1]
        assert last.name == name
        assert ("timeout" in last.data.get("message", "")) == (name == "error")
        assert await visitor.status(path, last.id) == 204


async def test_a_relay_refuses_before_its_head(visitor: Visitor) -> None:
    """What is known to be wrong has a status of its own, which no EventSource comes back from."""
    assert await visitor.status(UNKNOWN) == 404
    assert await visitor.status("/events/no%20id") == 404
    path = await visitor.ask("count 1 to 3")
    assert await visitor.status(path, "no cursor") == 400


async def test_a_visitor_that_disconnects_disturbs_no_other(visitor: Visitor) -> None:
    """A relay whose reader leaves in the middle ends quietly, and serves the next one."""
    path = await visitor.ask("count 1 to 50")
    for most in (1, 2, 9):
        assert len(await visitor.read(path, most=most)) == most
    assert (await visitor.read(path))[-1].name == "end"


@needs_node
@pytest.mark.parametrize(
    ("wanted", "text", "state", "opened"),
    [
        ({"prompt": "count 1 to 50"}, COUNTED, "Done.", 1),
        ({"prompt": "count 1 to 50", "reload": 20}, COUNTED, "Done.", 2),
        ({"prompt": "count 1 to 50", "lossy": True}, COUNTED, "Done.", None),
        ({"prompt": "count 1 to 50", "lossy": True, "reload": 24}, COUNTED, "Done.", None),
        ({"prompt": "[[fail:timeout:0]]"}, "", "The answer broke off: timeout", 1),
        ({"events": UNKNOWN}, "", "The answer is not there.", 1),
    ],
    ids=["whole", "reloaded", "lossy", "lossy and reloaded", "failed", "unknown"],
)
async def test_the_page_shows_each_chunk_once(
    visitor: Visitor, wanted: dict[str, Any], text: str, state: str, opened: int | None
) -> None:
    """The page shows the whole answer, whatever is lost or reloaded, and reconnects no more."""
    process = await asyncio.create_subprocess_exec(
        *(str(NODE), str(BROWSER), visitor.url, json.dumps(wanted)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    shown = json.loads(out)
    assert (shown["text"], shown["state"], shown["open"]) == (text, state, 0)
    assert opened is None or shown["opened"] == opened
