"""An upstream whose responses a test scripts byte by byte."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, NamedTuple

from foxapi_async.gateway import Upstream

if TYPE_CHECKING:
    from tests.gateway.conftest import Service

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
DONE = b"data: [DONE]\n\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


class Asked(NamedTuple):
    """One request that the upstream got."""

    path: str
    headers: Mapping[str, str]
    body: Any


class ScriptedUpstream:
    """A server that runs one script for each request and then closes the connection."""

    def __init__(self, script: "Script") -> None:
        self.script = script
        self.requests: list[Asked] = []
        self.errors: list[BaseException] = []
        self.port = 0

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request and answer it."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            request, *lines = head.split("\r\n")[:-2]
            headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
            body = await reader.readexactly(int(headers["content-length"]))
            self.requests.append(Asked(request.split(" ")[1], headers, json.loads(body)))
            await self.script(len(self.requests), writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


Script = Callable[[int, asyncio.StreamWriter], Awaitable[None]]
StartUpstream = Callable[[Script], Awaitable[ScriptedUpstream]]


@asynccontextmanager
async def scripted_upstream(
    script: Script, tls: SSLContext | None = None
) -> AsyncGenerator[ScriptedUpstream]:
    """Run an upstream with this script."""
    upstream = ScriptedUpstream(script)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, ssl=tls)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()


def chunk(
    content: str | None = None, finish: str | None = None, index: int = 0, **members: Any
) -> bytes:
    """Encode a chunk with one choice."""
    delta = members.pop("delta", {} if content is None else {"content": content})
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return event({"object": "chat.completion.chunk", "choices": [choice], **members})


def event(value: Any) -> bytes:
    """Encode an event."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def response(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Encode a response that is no stream."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{lines}Connection: close\r\n\r\n"
    return head.encode() + body


def sends(*parts: bytes, head: bytes = STREAM_HEAD) -> Script:
    """Return a script that answers each request with the same stream."""

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        del number
        writer.write(head + b"".join(parts))

    return script


def responds(*responses: bytes) -> Script:
    """Return a script that answers request N with response N, and later ones with the last."""

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(responses[min(number, len(responses)) - 1])

    return script


ANSWER = (chunk("Hello"), chunk(" world"), chunk(finish="stop"), DONE)


def settings(upstream: ScriptedUpstream, **options: Any) -> list[Upstream]:
    """Return the setting for one upstream with two models."""
    options.setdefault("models", {"gpt-5.5": "qwen3:8b", "plain": ""})
    options.setdefault("patience", 0)
    return [Upstream(url=upstream.url, **options)]


async def ask(service: "Service", **members: Any) -> Any:
    """Submit a request and return the task that has ended."""
    return await service.finished((await service.submit(**members))["id"])


def message(task: Any) -> Any:
    """Return the message of the stored completion."""
    assert task["status"] == "completed", task["error"]
    return task["results"][0]["choices"][0]["message"]
