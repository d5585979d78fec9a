"""Laws of downloads: whole files or none, whatever happens to the connection."""

import asyncio
import hashlib
import os
import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from foxapi_async._clock import ManualClock, settle
from foxapi_async._transfer.download import Target, download, fetch, place
from foxapi_async._transfer.link_reader import LinkReader
from foxapi_async._transfer.part_file import PartFile
from foxapi_async._transport import Transport
from foxapi_async._wire.transfer_progress import TransferProgress
from foxapi_async.config import RetryPolicy
from foxapi_async.errors import DownloadError, LinkExpiredError
from foxapi_async.testing import Close, FaultProxy, Reset, Stall
from tests.transfer.conftest import FileServer, ReaderFactory, StoredFile, answer, header

CONTENT = random.Random(7).randbytes(3_000_000)  # noqa: S311 no secret


async def save(reader: LinkReader, path: Path | str, **options: object) -> Path:
    """Download a link to a path."""
    chosen = {"filename": None, "overwrite": False, "progress": None, **options}
    return await download(reader, path, **chosen)  # type: ignore[arg-type]


async def whole(reader: LinkReader) -> bytes:
    """Read all that a reader gives, in the order of its pieces."""
    content = bytearray()
    while (piece := await reader.read()) is not None:
        content[piece.offset :] = piece.data
    return bytes(content)


async def files_in(folder: Path) -> list[str]:
    """Return the names of all files in a folder, hidden ones too."""
    return sorted(await asyncio.to_thread(os.listdir, folder))


async def read(path: Path) -> bytes:
    """Return the content of a file."""
    return await asyncio.to_thread(path.read_bytes)


async def write(path: Path, content: bytes) -> None:
    """Write a file."""
    await asyncio.to_thread(path.write_bytes, content)


async def test_a_download_is_byte_identical_after_two_hundred_cuts(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path
) -> None:
    """A file whose connection is cut at 200 random bytes arrives whole, each byte once."""
    content = random.Random(1).randbytes(4_000_000)  # noqa: S311 no secret
    file_server.files["/out.bin"] = StoredFile(content)
    cuts = random.Random(2)  # noqa: S311 no secret
    async with FaultProxy(file_server.url) as proxy:
        for _ in range(200):
            fault = cuts.choice((Reset, Close))
            proxy.script(fault(body=cuts.randrange(1, 40_000)))
        path = await save(new_reader(f"{proxy.url}/out.bin"), tmp_path)
    assert len(file_server.requests) == 201
    assert sum(map(bool, file_server.ranges())) > 100
    assert hashlib.sha256(await read(path)).digest() == hashlib.sha256(content).digest()
    assert await files_in(tmp_path) == ["out.bin"]


async def test_cuts_before_the_headers_are_retried(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path
) -> None:
    """A connection that ends before or within the headers costs one attempt each."""
    file_server.files["/out.bin"] = StoredFile(CONTENT)
    async with FaultProxy(file_server.url) as proxy:
        proxy.script(Reset(request=0), Close(response=0), Reset(response=20))
        path = await save(new_reader(f"{proxy.url}/out.bin"), tmp_path)
    assert await read(path) == CONTENT


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"v1"'},
        {"ETag": 'W/"v1"'},
        {"Last-Modified": "Fri, 01 Jan 2027 10:00:00 GMT"},
        {},
    ],
    ids=["strong", "weak", "date", "none"],
)
@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("honours_range", [False, True])
async def test_a_cut_is_survived_with_any_validator(
    file_server: FileServer,
    new_reader: ReaderFactory,
    tmp_path: Path,
    headers: dict[str, str],
    is_chunked: bool,
    honours_range: bool,
) -> None:
    """A cut file goes on where it was if a validator proves that it is the same, else anew."""
    file_server.files["/out.bin"] = StoredFile(
        CONTENT, headers, honours_range=honours_range, is_chunked=is_chunked
    )
    async with FaultProxy(file_server.url) as proxy:
        proxy.script((Stall(body=500_000), Close(body=500_001)))
        reader = new_reader(f"{proxy.url}/out.bin")
        saving = asyncio.ensure_future(save(reader, tmp_path))
        while reader.received < 499_000:
            await asyncio.sleep(0)
        proxy.release()
        path = await saving
    assert await read(path) == CONTENT
    can_resume = headers.get("ETag") == '"v1"' or "Last-Modified" in headers
    assert file_server.ranges()[0] == ""
    assert bool(file_server.ranges()[1]) is can_resume


@pytest.mark.parametrize("new", [b"", b"short", CONTENT[::-1], CONTENT + b"more"])
async def test_a_file_that_changes_is_read_again_from_its_start(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path, new: bytes
) -> None:
    """A file that has changed after a cut is stored as the new one alone."""
    file_server.files["/out.bin"] = StoredFile(CONTENT)
    async with FaultProxy(file_server.url) as proxy:
        proxy.script(Reset(body=2_000_000))
        reader = new_reader(f"{proxy.url}/out.bin")
        await reader.open()
        first = await reader.read()
        assert first is not None
        file_server.files["/out.bin"] = StoredFile(new, {"ETag": '"v2"'})
        path = await save(reader, tmp_path / "out.bin")
    assert await read(path) == new


async def test_progress_counts_the_bytes(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path
) -> None:
    """The progress grows to the size of the file."""
    file_server.files["/out.bin"] = StoredFile(CONTENT)
    seen: list[TransferProgress] = []
    await save(new_reader(f"{file_server.url}/out.bin"), tmp_path, progress=seen.append)
    done = [event.done for event in seen]
    assert done == sorted(done)
    assert done[-1] == len(CONTENT)
    assert {(event.total, event.name) for event in seen} == {(len(CONTENT), "out.bin")}


@pytest.mark.parametrize("content", [b"", b"x"])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_small_files_are_files(
    file_server: FileServer,
    new_reader: ReaderFactory,
    tmp_path: Path,
    content: bytes,
    is_chunked: bool,
) -> None:
    """An empty file is stored as an empty file."""
    file_server.files["/e.txt"] = StoredFile(content, is_chunked=is_chunked)
    path = await save(new_reader(f"{file_server.url}/e.txt"), tmp_path)
    assert await read(path) == content


async def test_no_file_is_overwritten(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path
) -> None:
    """In a folder a file that exists is kept, and the new one gets a number."""
    file_server.files["/cat.png"] = StoredFile(b"new")
    await write(tmp_path / "CAT.PNG", b"old")
    paths = [await save(new_reader(f"{file_server.url}/cat.png"), tmp_path) for _ in range(2)]
    assert [path.name for path in paths] == ["cat-2.png", "cat-3.png"]
    assert await read(tmp_path / "CAT.PNG") == b"old"


async def test_a_path_that_exists_is_refused_before_anything_is_sent(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path
) -> None:
    """A path in use is an error at once, and replaced with ``overwrite=True`` only."""
    file_server.files["/cat.png"] = StoredFile(b"new")
    path = tmp_path / "mine.png"
    await write(path, b"old")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        await save(new_reader(f"{file_server.url}/cat.png"), path)
    assert not file_server.requests
    assert await read(path) == b"old"
    await save(new_reader(f"{file_server.url}/cat.png"), path, overwrite=True)
    assert await read(path) == b"new"
    assert await files_in(tmp_path) == ["mine.png"]


async def test_a_name_that_is_taken_meanwhile_is_not_overwritten(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path
) -> None:
    """A file that another program makes during a download stays as it is."""
    file_server.files["/cat.png"] = StoredFile(b"new")
    reader = new_reader(f"{file_server.url}/cat.png")
    fetched = await fetch(reader, Target(folder=tmp_path, name="cat.png"), None, None)
    await write(tmp_path / "cat.png", b"theirs")
    with pytest.raises(FileExistsError):
        await place(fetched)
    assert await files_in(tmp_path) == ["cat.png"]
    assert await read(tmp_path / "cat.png") == b"theirs"


async def test_a_folder_without_hard_links_keeps_its_files(
    file_server: FileServer,
    new_reader: ReaderFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a file system without hard links a file is still neither lost nor overwritten."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    file_server.files["/cat.png"] = StoredFile(b"new")
    await write(tmp_path / "cat.png", b"old")
    path = await save(new_reader(f"{file_server.url}/cat.png"), tmp_path)
    assert await read(path) == b"new"
    assert await files_in(tmp_path) == ["cat-2.png", "cat.png"]


async def test_a_link_behind_the_target_is_replaced_and_not_followed(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path
) -> None:
    """A symbolic link at the path is replaced; the file that it leads to is not touched."""
    file_server.files["/cat.png"] = StoredFile(b"new")
    other = tmp_path / "other.txt"
    await write(other, b"other")
    path = tmp_path / "cat.png"
    await asyncio.to_thread(path.symlink_to, other)
    await save(new_reader(f"{file_server.url}/cat.png"), path, overwrite=True)
    assert await read(other) == b"other"
    assert not await asyncio.to_thread(path.is_symlink)
    assert await read(path) == b"new"


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_an_expired_link_is_named_as_such(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path, status: int
) -> None:
    """A link that the service no longer serves is an error that says so, and no file."""
    file_server.script.append(answer(status, b"secret body"))
    with pytest.raises(LinkExpiredError, match="expired") as caught:
        await save(new_reader(f"{file_server.url}/cat.png?signature=s3cret"), tmp_path)
    assert caught.value.status == status
    assert "s3cret" not in f"{caught.value} {caught.value.__dict__}"
    assert "fox.tasks.get" in caught.value.advice
    assert not await files_in(tmp_path)


async def test_transient_statuses_are_retried(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path
) -> None:
    """429 and 5xx are repeated; a status that stays is an error with that status."""
    file_server.files["/cat.png"] = StoredFile(b"new")
    file_server.script.extend([answer(503), answer(429), answer(500)])
    path = await save(new_reader(f"{file_server.url}/cat.png"), tmp_path)
    assert await read(path) == b"new"
    file_server.script.extend([answer(503)] * 4)
    with pytest.raises(DownloadError, match="503") as caught:
        await save(new_reader(f"{file_server.url}/cat.png"), tmp_path)
    assert caught.value.status == 503


@pytest.mark.parametrize("status", [204, 400, 401, 418])
async def test_other_statuses_are_errors_at_once(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path, status: int
) -> None:
    """Any other status is an error that names it."""
    file_server.script.append(answer(status))
    with pytest.raises(DownloadError, match=str(status)):
        await save(new_reader(f"{file_server.url}/cat.png"), tmp_path)
    assert len(file_server.requests) == 1


async def test_a_retry_after_is_obeyed(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path, clock: ManualClock
) -> None:
    """The delay that the server asks for replaces that of the policy."""
    file_server.files["/cat.png"] = StoredFile(b"new")
    file_server.script.append(answer(503, Retry_After="20"))
    saving = asyncio.ensure_future(save(new_reader(f"{file_server.url}/cat.png"), tmp_path))
    while not clock.timers or len(file_server.requests) < 1:
        await asyncio.sleep(0)
    await clock.advance(19)
    assert len(file_server.requests) == 1
    while not saving.done():
        await clock.advance(1)
    assert await read(await saving) == b"new"


async def test_a_silent_connection_is_given_up(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path, clock: ManualClock
) -> None:
    """A connection without a byte for the idle timeout is closed, and the file read on."""
    file_server.files["/out.bin"] = StoredFile(CONTENT)
    file_server.stalls_after = 100_000
    saving = asyncio.ensure_future(save(new_reader(f"{file_server.url}/out.bin"), tmp_path))
    while not saving.done():
        await clock.advance(30)
    assert await read(await saving) == CONTENT
    assert file_server.ranges() == ["", "bytes=100000-"]


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_file_over_the_limit_is_refused(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path, is_chunked: bool
) -> None:
    """A file that is larger than the limit is not read further, and no part of it is left."""
    file_server.files["/out.bin"] = StoredFile(CONTENT, is_chunked=is_chunked)
    reader = new_reader(f"{file_server.url}/out.bin", max_bytes=1_000_000)
    with pytest.raises(DownloadError, match=r"limits\.max_download_bytes = 1000000"):
        await save(reader, tmp_path)
    assert not await files_in(tmp_path)


async def test_a_full_disk_is_known_before_the_file_is_read(
    file_server: FileServer,
    new_reader: ReaderFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file that does not fit on the disk is refused, with the two sizes."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    file_server.files["/out.bin"] = StoredFile(CONTENT)
    with pytest.raises(DownloadError, match=r"3000000 bytes and .* 1000 free"):
        await save(new_reader(f"{file_server.url}/out.bin"), tmp_path)
    assert not await files_in(tmp_path)


async def test_a_disk_that_cannot_be_written_leaves_no_file(
    file_server: FileServer,
    new_reader: ReaderFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error of the disk is raised as it is, and no part of the file is left."""

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    file_server.files["/out.bin"] = StoredFile(CONTENT)
    monkeypatch.setattr("foxapi_async._transfer.part_file.PartFile.write", fail)
    with pytest.raises(OSError, match="No space left"):
        await save(new_reader(f"{file_server.url}/out.bin"), tmp_path)
    assert not await files_in(tmp_path)


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233])
async def test_a_cancelled_download_leaves_nothing(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path, turns: int
) -> None:
    """A download cancelled at any moment leaves the whole file or none, and no socket."""
    file_server.files["/out.bin"] = StoredFile(CONTENT)
    reader = new_reader(f"{file_server.url}/out.bin")
    saving = asyncio.ensure_future(save(reader, tmp_path))
    for _ in range(turns):
        await asyncio.sleep(0)
    saving.cancel()
    await asyncio.wait([saving])
    left = await files_in(tmp_path)
    assert left in ([], ["out.bin"])
    if left:
        assert await read(tmp_path / "out.bin") == CONTENT
    await settle()


async def test_a_compressed_answer_is_refused(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path
) -> None:
    """Nothing is decompressed: a server that compresses nevertheless is an error."""
    file_server.files["/out.bin"] = StoredFile(b"x" * 100, {"Content-Encoding": "gzip"})
    with pytest.raises(DownloadError, match="gzip"):
        await save(new_reader(f"{file_server.url}/out.bin"), tmp_path)
    assert header(file_server.requests[0], "accept-encoding") == "identity"


async def test_a_server_that_never_sends_the_rest_is_given_up(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path
) -> None:
    """A server that cuts without new bytes again and again is an error after all attempts."""
    file_server.files["/out.bin"] = StoredFile(CONTENT, {})
    async with FaultProxy(file_server.url) as proxy:
        proxy.on("GET", "/out.bin", Reset(body=50_000))
        with pytest.raises(DownloadError, match="not read whole") as caught:
            await save(new_reader(f"{proxy.url}/out.bin"), tmp_path)
    assert caught.value.fault is not None
    assert 4 <= len(file_server.requests) <= 5
    assert not await files_in(tmp_path)


@pytest.mark.parametrize(
    "parts",
    [
        answer(206, b"xyz", ETag='"v1"'),
        answer(206, b"xyz", ETag='"v1"', Content_Range="bytes 7-9/10"),
        answer(206, b"xyz", ETag='"v2"', Content_Range="bytes 4-6/10"),
        answer(206, b"xyz", ETag='"v1"', Content_Range="bytes 4-6/99"),
        answer(416, b"", ETag='"v1"', Content_Range="bytes */3"),
        answer(412, b""),
    ],
)
async def test_a_part_that_does_not_fit_is_thrown_away(
    file_server: FileServer, new_reader: ReaderFactory, parts: bytes
) -> None:
    """A part of another place, version or size is not stored: the file is read from its start."""
    file_server.files["/out.bin"] = StoredFile(b"0123456789")
    async with FaultProxy(file_server.url) as proxy:
        proxy.script(Reset(body=4))
        reader = new_reader(f"{proxy.url}/out.bin")
        first = await reader.read()
        assert first is not None
        file_server.script.append(parts)
        content = first.data + b""
        rest = await whole(reader)
    assert (rest if len(rest) == 10 else content + rest) == b"0123456789"
    assert file_server.ranges() == ["", "bytes=4-", ""]


async def test_a_small_part_is_followed_by_the_next_one(
    file_server: FileServer, new_reader: ReaderFactory
) -> None:
    """A server may send less than was requested: the rest is requested again."""
    file_server.script.extend(
        [
            b'HTTP/1.1 200 So\r\nETag: "v1"\r\nContent-Length: 10\r\n\r\n0123',
            answer(206, b"45", ETag='"v1"', Content_Range="bytes 4-5/10"),
            answer(206, b"6789", ETag='"v1"', Content_Range="bytes 6-9/10"),
        ]
    )
    async with FaultProxy(file_server.url) as proxy:
        proxy.script(Close(body=4))
        assert await whole(new_reader(f"{proxy.url}/out.bin")) == b"0123456789"
    assert file_server.ranges() == ["", "bytes=4-", "bytes=6-"]


async def test_the_memory_is_flat(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path
) -> None:
    """The largest batch in memory does not grow with the file."""
    largest = 0
    write = PartFile.write

    def measured(self: PartFile, offset: int, chunks: list[bytes]) -> None:
        nonlocal largest
        largest = max(largest, sum(map(len, chunks)))
        write(self, offset, chunks)

    file_server.files["/out.bin"] = StoredFile(CONTENT * 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PartFile, "write", measured)
        await save(new_reader(f"{file_server.url}/out.bin"), tmp_path)
    assert 500_000 < largest < 3_000_000


async def test_a_closed_session_ends_its_downloads(
    file_server: FileServer, new_reader: ReaderFactory, tmp_path: Path, transport: Transport
) -> None:
    """A download that is under way when the session is closed raises, and leaves no file."""
    file_server.files["/out.bin"] = StoredFile(CONTENT)
    file_server.stalls_after = 1000
    saving = asyncio.ensure_future(
        save(new_reader(f"{file_server.url}/out.bin", retry=RetryPolicy(attempts=1)), tmp_path)
    )
    while not await files_in(tmp_path):
        await asyncio.sleep(0)
    await settle()
    await transport.aclose()
    with pytest.raises((DownloadError, RuntimeError), match="closed"):
        await saving
    assert not await files_in(tmp_path)
