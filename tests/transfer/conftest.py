"""A raw server of files, and readers of its links."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from foxapi_async._clock import ManualClock
from foxapi_async._transfer.link_reader import LinkReader, LinkSettings
from foxapi_async._transport import Account, Transport
from foxapi_async.config import RetryPolicy, Timeouts

KEY = "sk-0123456789abcdef"
DATE = "Fri, 01 Jan 2027 12:00:00 GMT"


@dataclass
class StoredFile:
    """A file of the server."""

    content: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"v1"'})
    honours_range: bool = True
    is_chunked: bool = False


@dataclass
class FileServer:
    """Serves files with ranges. A step of ``script`` answers one request in their place."""

    files: dict[str, StoredFile] = field(default_factory=dict)
    script: deque[bytes] = field(default_factory=deque)
    requests: list[str] = field(default_factory=list)
    port: int = 0
    open_connections: int = 0
    stalls_after: int | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def ranges(self) -> list[str]:
        """Return the ``Range`` of each request, ``""`` without one."""
        return [header(request, "range") for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the client ends it."""
        self.open_connections += 1
        try:
            while not writer.is_closing():
                request = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.requests.append(request)
                if self.script:
                    step = self.script.popleft()
                    writer.write(step)
                    if b"Content-Length" not in step.partition(b"\r\n\r\n")[0]:
                        break
                else:
                    await self._answer(request, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open_connections -= 1
            writer.close()

    async def _answer(self, request: str, writer: asyncio.StreamWriter) -> None:
        stored = self.files.get(request.split(" ")[1].partition("?")[0])
        if stored is None:
            writer.write(answer(404, b"gone"))
            return
        head, body = respond(stored, request)
        if self.stalls_after is not None:
            writer.write(head + body[: self.stalls_after])
            self.stalls_after = None
            await asyncio.Event().wait()
        if stored.is_chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        writer.write(head + body)


def respond(stored: StoredFile, request: str) -> tuple[bytes, bytes]:
    """Return the headers and the body for a request of a file."""
    content, status = stored.content, 200
    headers = {"Date": DATE, **stored.headers}
    wanted, proof = header(request, "range"), header(request, "if-range")
    known = {headers.get("ETag"), headers.get("Last-Modified")}
    if wanted and stored.honours_range and (not proof or proof in known):
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            status, headers["Content-Range"] = 416, f"bytes */{len(content)}"
            body = b""
        else:
            status, body = 206, content[start:]
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    else:
        body = content
    if stored.is_chunked:
        headers["Transfer-Encoding"] = "chunked"
    else:
        headers["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} So\r\n{lines}\r\n".encode(), body


def header(request: str, name: str) -> str:
    """Return a header of a request, ``""`` without it."""
    for line in request.split("\r\n")[1:]:
        found, _, value = line.partition(": ")
        if found.lower() == name:
            return value
    return ""


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Return a whole response; an underscore in the name of a header is a dash."""
    fields = {"Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} So\r\n{lines}\r\n".encode() + body


@pytest.fixture
async def file_server() -> AsyncIterator[FileServer]:
    """Return a server of files."""
    async for server in running_file_server():
        yield server


async def running_file_server() -> AsyncIterator[FileServer]:
    """Run a server of files on a free port."""
    server, tasks = FileServer(), []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.ensure_future(server.serve(reader, writer)))

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that a test advances."""
    return ManualClock()


@pytest.fixture
async def transport(clock: ManualClock) -> AsyncIterator[Transport]:
    """Return a transport on the manual clock."""
    opened = Transport(clock=clock)
    yield opened
    await opened.aclose()


@pytest.fixture
def account(file_server: FileServer) -> Account:
    """Return an account of a service on this machine."""
    return Account.resolve(KEY, file_server.url)


ReaderFactory = Callable[..., LinkReader]


@pytest.fixture
def new_reader(transport: Transport, account: Account, clock: ManualClock) -> ReaderFactory:
    """Return a function that makes a reader of a link; retries wait for no time."""

    def make(
        url: str, *, account: Account = account, retry: RetryPolicy | None = None, **settings: Any
    ) -> LinkReader:
        chosen = {"timeouts": Timeouts(), "idle_timeout": 60.0, "max_bytes": 1 << 30, **settings}
        retry = retry or RetryPolicy(attempts=4, initial=0, max_delay=0)
        return LinkReader(transport.links, account, url, LinkSettings(retry=retry, **chosen), clock)

    return make
