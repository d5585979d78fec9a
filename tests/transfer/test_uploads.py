"""Laws of uploads: one POST, streamed from disk, and the same file sent once."""

import asyncio
import io
import json
import os
import random
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest

from foxapi_async import FoxSession, RetryPolicy, TransferProgress, UploadedFile
from foxapi_async._clock import ManualClock, settle
from foxapi_async.errors import (
    APIConnectionError,
    ConfigError,
    ContentTooLargeError,
    FoxAPIError,
    PermissionDeniedError,
    RateLimitError,
    UploadOutcomeUnknownError,
)
from foxapi_async.testing import CannedResponse, Close, FaultProxy, Reset

KEY = "sk-0123456789abcdef"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 10


@dataclass
class Upload:
    """An upload as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def parts(self) -> dict[str, Any]:
        """The parts of the form, by name."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        message = BytesParser().parsebytes(head + self.body)
        assert message.is_multipart()
        assert not message.defects
        parts: list[Any] = list(message.walk())[1:]
        return {part.get_param("name", header="content-disposition"): part for part in parts}

    def text(self, name: str) -> str:
        """Return a field of the form."""
        return self._content(name).decode()

    @property
    def file(self) -> bytes:
        """The file of the form."""
        return self._content("file")

    def _content(self, name: str) -> bytes:
        content: bytes = self.parts[name].get_payload(decode=True)
        return content


@dataclass
class UploadServer:
    """Stores uploads. A step of ``script`` answers one request in its place."""

    uploads: list[Upload] = field(default_factory=list)
    script: deque[tuple[int, object]] = field(default_factory=deque)
    port: int = 0
    open_connections: int = 0
    reads_body: bool = True
    holds_body: asyncio.Event | None = None
    posts: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the client ends it."""
        self.open_connections += 1
        try:
            while True:
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {
                    name.lower(): value for name, _, value in (x.partition(": ") for x in lines)
                }
                self.posts += 1
                if self.holds_body is not None:
                    await self.holds_body.wait()
                body = await read_body(reader, headers) if self.reads_body else b""
                self.uploads.append(Upload(first.split(" ")[1], headers, body))
                writer.write(self._answer())
                await writer.drain()
                if not self.reads_body:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open_connections -= 1
            writer.close()

    def _answer(self) -> bytes:
        number = len(self.uploads)
        stored = {
            "id": f"file-1776874565-{number:06}",
            "url": f"https://files.example/{number}.png",
            "filename": "cat.png",
            "size": 1,
            "created": 1_776_874_565,
        }
        status, body = self.script.popleft() if self.script else (200, stored)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return f"HTTP/1.1 {status} So\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """Read the body of a request, of known length or in chunks."""
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    assert headers["transfer-encoding"] == "chunked"
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


@pytest.fixture
async def server() -> AsyncIterator[UploadServer]:
    """Return a server of uploads."""
    running, tasks = UploadServer(), []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.ensure_future(running.serve(reader, writer)))

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    running.port = listening.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that stands still until it is advanced."""
    return ManualClock()


@pytest.fixture
async def fox(server: UploadServer, clock: ManualClock) -> AsyncIterator[FoxSession]:
    """Return a session of the server."""
    async with FoxSession(KEY, base_url=server.url, clock=clock) as fox:
        yield fox


@pytest.fixture
async def picture(tmp_path: Path) -> Path:
    """Return the path of a picture."""
    path = tmp_path / "cat.png"
    await asyncio.to_thread(path.write_bytes, PNG)
    return path


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    """Yield pieces."""
    for piece in pieces:
        yield piece


def source_of(kind: str, path: Path) -> Any:
    """Return the picture as one of the sources."""
    return {
        "path": path,
        "bytes": PNG,
        "memoryview": memoryview(bytearray(PNG)),
        "file": io.BytesIO(PNG),
        "iterator": pieces_of(b"", PNG[:5], PNG[5:]),
    }[kind]


@pytest.mark.parametrize("kind", ["path", "bytes", "memoryview", "file", "iterator"])
async def test_every_source_arrives_whole(
    server: UploadServer, fox: FoxSession, picture: Path, kind: str
) -> None:
    """Whatever the file comes from, its bytes, its name and its media type arrive."""
    uploaded = await fox.files.upload(source_of(kind, picture))
    (upload,) = server.uploads
    assert upload.path == "/v1/files/upload/stream"
    assert upload.file == PNG
    assert upload.parts["file"].get_content_type() == "image/png"
    name = "cat.png" if kind == "path" else "upload.png"
    assert upload.parts["file"].get_filename() == upload.text("file_name") == name
    assert upload.text("auto_cleanup") == "true"
    assert ("content-length" in upload.headers) is (kind != "iterator")
    assert uploaded.url == "https://files.example/1.png"
    assert uploaded.expires_at == 1_776_874_565 + 72 * 3600


async def test_an_open_file_is_read_from_its_start(server: UploadServer, fox: FoxSession) -> None:
    """A file that was just written stands at its end, and is uploaded whole."""
    opened = io.BytesIO()
    opened.write(PNG)
    await fox.files.upload(opened, filename="a.png")
    assert server.uploads[0].file == PNG
    assert not opened.closed


async def test_a_file_that_cannot_be_rewound_is_sent_in_chunks(
    server: UploadServer, fox: FoxSession
) -> None:
    """The output of a program has no length, and is sent all the same."""

    class Pipe:
        """Gives bytes once."""

        def __init__(self) -> None:
            self._left = [PNG[:100], PNG[100:]]

        def read(self, size: int = -1, /) -> bytes:
            """Return the next bytes."""
            del size
            return self._left.pop(0) if self._left else b""

    await fox.files.upload(Pipe(), filename="a.png")
    assert server.uploads[0].file == PNG
    assert server.uploads[0].headers["transfer-encoding"] == "chunked"


@pytest.mark.parametrize("auto_cleanup", [True, False])
async def test_the_json_routes_say_the_same(
    server: UploadServer, fox: FoxSession, picture: Path, auto_cleanup: bool
) -> None:
    """A file can go as base64, and a URL is fetched by the service."""
    await fox.files.upload(picture, via="base64", auto_cleanup=auto_cleanup)
    await fox.files.upload("https://a.example/x.png", filename="y.png", auto_cleanup=auto_cleanup)
    by_base64, by_url = server.uploads
    assert by_base64.path == "/v1/files/upload/base64"
    sent = json.loads(by_base64.body)
    assert sent["file_name"] == "cat.png"
    assert sent["auto_cleanup"] is auto_cleanup
    assert sent["file_data"].startswith("data:image/png;base64,iVBORw0KGgo")
    assert by_url.path == "/v1/files/upload/url"
    assert json.loads(by_url.body) == {
        "url": "https://a.example/x.png",
        "file_name": "y.png",
        "auto_cleanup": auto_cleanup,
    }


async def test_a_large_file_goes_in_pieces(
    server: UploadServer, fox: FoxSession, tmp_path: Path
) -> None:
    """A file of many megabytes arrives whole, and the progress counts its bytes."""
    content = random.Random(5).randbytes(5_500_000)  # noqa: S311 no secret
    path = tmp_path / "large.bin"
    await asyncio.to_thread(path.write_bytes, content)
    seen: list[TransferProgress] = []
    await fox.files.upload(path, progress=seen.append)
    assert server.uploads[0].file == content
    done = [event.done for event in seen]
    assert done == sorted(set(done))
    assert len(done) == 6
    assert done[-1] == len(content)
    assert {(event.name, event.total) for event in seen} == {("large.bin", len(content))}


@pytest.mark.parametrize("kind", ["path", "bytes", "file"])
async def test_the_same_file_is_sent_once(
    server: UploadServer, fox: FoxSession, picture: Path, clock: ManualClock, kind: str
) -> None:
    """Equal content under an equal name gives the link of the first upload while it is valid."""

    async def send() -> UploadedFile:
        return await fox.files.upload(source_of(kind, picture), filename="cat.png")

    first = await send()
    await clock.advance(65 * 3600)
    assert await send() == first
    assert len(server.uploads) == 1
    await clock.advance(1.1 * 3600)
    again = await send()
    assert len(server.uploads) == 2
    assert again.expires_at > first.expires_at
    assert await fox.files.upload(PNG, filename="dog.png") != again
    assert await fox.files.upload(PNG + b"x", filename="cat.png") != again
    assert len(server.uploads) == 4


async def test_a_file_that_differs_at_its_end_is_another(
    server: UploadServer, fox: FoxSession
) -> None:
    """Files of one name, size and beginning are distinguished by all of their bytes."""
    one, other = PNG + bytes(100_000) + b"1", PNG + bytes(100_000) + b"2"
    links = [await fox.files.upload(data, filename="a.png") for data in (one, other, one, other)]
    assert len(server.uploads) == 2
    assert links[0] == links[2]
    assert links[1] == links[3]


async def test_uploads_at_the_same_time_are_one(
    server: UploadServer, fox: FoxSession, picture: Path
) -> None:
    """Of many uploads of one file at once, one is sent; if it is cancelled, another one is."""
    uploads = [asyncio.ensure_future(fox.files.upload(picture)) for _ in range(20)]
    for _ in range(3):
        await asyncio.sleep(0)
    uploads[0].cancel()
    links = await asyncio.gather(*uploads, return_exceptions=True)
    assert isinstance(links[0], asyncio.CancelledError)
    assert len({link.url for link in links[1:] if isinstance(link, UploadedFile)}) == 1
    assert len(server.uploads) == 1


async def test_reuse_can_be_refused(server: UploadServer, fox: FoxSession, picture: Path) -> None:
    """With ``reuse=False`` a file is sent, whatever was sent before."""
    await fox.files.upload(picture)
    await fox.files.upload(picture, reuse=False)
    assert len(server.uploads) == 2


async def test_a_journal_remembers_an_upload(
    server: UploadServer, picture: Path, tmp_path: Path, clock: ManualClock
) -> None:
    """Sessions with one journal send a file once, until six hours before its link ends."""
    journal = tmp_path / "tasks.db"
    links = []
    for hours in (0, 60, 7):
        await clock.advance(hours * 3600)
        async with FoxSession(KEY, base_url=server.url, journal=journal, clock=clock) as fox:
            links.append(await fox.files.upload(picture))
    assert len(server.uploads) == 2
    assert links[0] == links[1] != links[2]
    async with FoxSession(KEY, base_url=f"{server.url}/other", journal=journal, clock=clock) as fox:
        await fox.files.upload(picture)
    assert len(server.uploads) == 3


FAULTS = [
    (Reset(request=0), UploadOutcomeUnknownError),
    (Close(request=0), UploadOutcomeUnknownError),
    (Reset(request=200), UploadOutcomeUnknownError),
    (Close(request=100), UploadOutcomeUnknownError),
    (Reset(response=0), UploadOutcomeUnknownError),
    (Close(response=0), UploadOutcomeUnknownError),
    (Reset(response=30), UploadOutcomeUnknownError),
    (Close(body=10), UploadOutcomeUnknownError),
    (
        CannedResponse(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", forward=True),
        UploadOutcomeUnknownError,
    ),
    (
        CannedResponse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", forward=True),
        UploadOutcomeUnknownError,
    ),
    (
        CannedResponse(b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"url":"x"}', forward=True),
        UploadOutcomeUnknownError,
    ),
    (
        CannedResponse(b"HTTP/1.1 500 So\r\nContent-Length: 0\r\n\r\n", forward=True),
        UploadOutcomeUnknownError,
    ),
    (
        CannedResponse(b"HTTP/1.1 503 So\r\nContent-Length: 0\r\n\r\n", forward=True),
        UploadOutcomeUnknownError,
    ),
    (CannedResponse(b"HTTP/1.1 429 So\r\nContent-Length: 0\r\n\r\n"), RateLimitError),
    (CannedResponse(b"HTTP/1.1 413 So\r\nContent-Length: 0\r\n\r\n"), ContentTooLargeError),
    (CannedResponse(b"HTTP/1.1 403 So\r\nContent-Length: 0\r\n\r\n"), PermissionDeniedError),
]


@pytest.mark.parametrize("via", ["stream", "base64", "url"])
@pytest.mark.parametrize(("fault", "error"), FAULTS, ids=lambda value: str(value)[:40])
async def test_an_upload_is_sent_once_under_every_fault(
    server: UploadServer,
    picture: Path,
    clock: ManualClock,
    fault: Any,
    error: type[FoxAPIError],
    via: Any,
) -> None:
    """Whatever happens to an upload, the service gets at most one POST of it."""
    source = "https://a.example/x.png" if via == "url" else picture
    policy = RetryPolicy(initial=0, resubmit_on_429="always")
    async with FaultProxy(server.url) as proxy:
        proxy.script(fault)
        async with FoxSession(KEY, base_url=proxy.url, clock=clock, retry=policy) as fox:
            with pytest.raises(error) as caught:
                await fox.files.upload(source, via=via)
        assert KEY not in str(caught.value)
        assert len(proxy.requests) == 1
        assert server.posts <= 1


async def test_what_provably_never_left_is_sent_again(server: UploadServer, picture: Path) -> None:
    """A refused connection is tried again, and the file arrives once and whole."""
    async with FaultProxy(server.url) as proxy:
        retry = RetryPolicy(attempts=1000, initial=0.001, max_delay=0.001)
        async with FoxSession(KEY, base_url=proxy.url, retry=retry) as fox:
            async with proxy.unreachable():
                sending = asyncio.ensure_future(fox.files.upload(picture))
                for _ in range(300):
                    await asyncio.sleep(0)
                assert not sending.done()
            await sending
    assert [upload.file for upload in server.uploads] == [PNG]


async def test_an_unreachable_service_is_an_error(server: UploadServer, picture: Path) -> None:
    """A service that is never reached is an error that says that nothing was sent."""
    async with (
        FaultProxy(server.url) as proxy,
        FoxSession(KEY, base_url=proxy.url, retry=RetryPolicy(attempts=2, initial=0)) as fox,
        proxy.unreachable(),
    ):
        with pytest.raises(APIConnectionError) as caught:
            await fox.files.upload(picture)
        assert not caught.value.sent


async def test_an_early_refusal_ends_the_upload(
    server: UploadServer, fox: FoxSession, tmp_path: Path
) -> None:
    """A service that refuses a file before it has read it is understood, or its outcome unknown."""
    path = tmp_path / "large.bin"
    await asyncio.to_thread(path.write_bytes, bytes(30_000_000))
    server.reads_body = False
    server.script.append((413, {"error": {"message": "too large", "type": "file_too_large_error"}}))
    with pytest.raises((ContentTooLargeError, UploadOutcomeUnknownError)):
        await fox.files.upload(path)
    assert server.posts == 1


@pytest.mark.parametrize("turns", [0, 1, 2, 4, 8, 16, 32, 64, 128])
async def test_a_cancelled_upload_leaves_nothing(
    server: UploadServer, fox: FoxSession, tmp_path: Path, turns: int
) -> None:
    """An upload cancelled at any moment leaves no connection, no thread and no open file."""
    path = tmp_path / "large.bin"
    await asyncio.to_thread(path.write_bytes, bytes(8_000_000))
    sending = asyncio.ensure_future(fox.files.upload(path))
    for _ in range(turns):
        await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])
    await settle()
    assert server.posts <= 1
    assert fox._service.runtime.uploads == {}


async def test_a_silent_service_is_given_up(
    server: UploadServer, fox: FoxSession, tmp_path: Path, clock: ManualClock
) -> None:
    """An upload ends when nothing was sent or answered for ``Timeouts.submit``."""
    path = tmp_path / "large.bin"
    await asyncio.to_thread(path.write_bytes, bytes(1_000_000))

    async def never(*_: object) -> bytes:
        return await asyncio.Event().wait() and b""

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "read_body", never)
        sending = asyncio.ensure_future(fox.files.upload(path))
        while not server.posts:
            await asyncio.sleep(0)
        await clock.advance(119)
        assert not sending.done()
        while not sending.done():
            await clock.advance(60)
    with pytest.raises(UploadOutcomeUnknownError, match=r"Timeouts\.submit"):
        await sending


async def test_a_file_that_changes_meanwhile_is_an_error(
    server: UploadServer, fox: FoxSession, tmp_path: Path
) -> None:
    """A file that becomes shorter while it is sent is not uploaded, and the error says why."""
    path = tmp_path / "log.bin"
    await asyncio.to_thread(path.write_bytes, bytes(40_000_000))

    async def shorten() -> None:
        while not server.posts:
            await asyncio.sleep(0)
        await asyncio.to_thread(os.truncate, path, 1_500_000)

    held = server.holds_body = asyncio.Event()
    shortening = asyncio.ensure_future(shorten())
    shortening.add_done_callback(lambda _: held.set())
    with pytest.raises(ValueError, match="another size now"):
        await fox.files.upload(path)
    await shortening
    assert not server.uploads


@pytest.mark.parametrize(
    ("source", "options", "error"),
    [
        (b"", {}, ValueError),
        (io.BytesIO(), {}, ValueError),
        ("cat.png", {}, ValueError),
        ("data:image/png;base64,AAAA", {}, ValueError),
        (io.StringIO("text"), {}, TypeError),
        (5, {}, TypeError),
        (None, {}, TypeError),
        (Path("/nowhere/at/all.png"), {}, FileNotFoundError),
        (b"x", {"via": "url"}, ConfigError),
        ("https://a.example/x", {"via": "stream"}, ConfigError),
        (b"x", {"via": "pigeon"}, ConfigError),
        (b"x", {"timeout": -1}, ConfigError),
    ],
)
async def test_what_is_no_file_is_refused(
    server: UploadServer, fox: FoxSession, source: Any, options: Any, error: type[Exception]
) -> None:
    """What cannot be uploaded is refused before anything is sent."""
    with pytest.raises(error):
        await fox.files.upload(source, **options)
    assert not server.posts


async def test_a_name_cannot_inject_a_field(server: UploadServer, fox: FoxSession) -> None:
    """Quotes and line breaks in a name stay in the name."""
    await fox.files.upload(PNG, filename='a"; name="auto_cleanup"\r\nX: 1\r\n\r\n.png')
    (upload,) = server.uploads
    assert set(upload.parts) == {"auto_cleanup", "file_name", "file"}
    assert upload.file == PNG


@pytest.mark.parametrize("name", ["naïve.png", "图片.png", "a b.png"])
async def test_a_name_of_any_language_arrives(
    server: UploadServer, fox: FoxSession, name: str
) -> None:
    """A name is sent in UTF-8."""
    await fox.files.upload(PNG, filename=name)
    assert f'filename="{name}"'.encode() in server.uploads[0].body
