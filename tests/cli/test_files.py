"""Laws of ``foxapi upload`` and ``foxapi download``."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from foxapi_async import FoxSession
from foxapi_async.gateway import Gateway


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Return a file."""
    path = tmp_path / "report.txt"
    path.write_bytes(b"report " * 1000)
    return path


async def test_a_file_goes_and_comes_back(
    gateway: Gateway, foxapi: Any, report: Path, tmp_path: Path
) -> None:
    """Upload prints the link of each file, download the path of each link."""
    sent = await foxapi("upload", str(report), "--json")
    [uploaded] = sent.records
    assert (sent.code, sent.err) == (0, "")
    assert uploaded["url"].startswith(gateway.url)
    assert uploaded["size"] == 7000
    folder = tmp_path / "out"
    done = await foxapi("download", uploaded["url"], "-o", str(folder))
    [saved] = done.records
    assert saved["path"] == str(folder / "report.txt")
    assert saved["size"] == 7000
    again = await foxapi("download", uploaded["url"], "-o", str(folder))
    assert again.records[0]["path"] == str(folder / "report-2.txt")
    over = await foxapi("download", uploaded["url"], "-o", str(folder), "--overwrite")
    assert over.records[0]["path"] == str(folder / "report.txt")
    assert await asyncio.to_thread((folder / "report.txt").read_bytes) == b"report " * 1000


@pytest.mark.usefixtures("gateway")
async def test_a_journal_keeps_the_link(foxapi: Any, report: Path, tmp_path: Path) -> None:
    """With ``--journal`` a file is sent once, with ``--again`` in any case."""
    options = ("upload", str(report), "--journal", str(tmp_path / "tasks.db"))
    first, second = [(await foxapi(*options)).records for _ in range(2)]
    assert first == second
    third = (await foxapi(*options, "--again")).records
    assert third[0]["id"] != first[0]["id"]


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("upload", "/nowhere/a.png"), 2, "No such file"),
        (("upload", "EMPTY"), 2, "is empty"),
        (("download", "GATEWAY/files/0123456789abcdef0123456789abcdef/a.png"), 2, "expired"),
        (("download", "https://user:pw@a.example/x"), 2, "not followed"),
        (("download", "http://169.254.169.254/x"), 2, "not followed"),
        (("download", "task-unified-1-aaaaaaaa"), 2, "check the id"),
        (("download", "no task"), 2, "not a task id"),
    ],
)
async def test_what_cannot_be_is_an_exit_code(
    gateway: Gateway, foxapi: Any, tmp_path: Path, arguments: tuple[str, ...], code: int, word: str
) -> None:
    """An error is one line on stderr and an exit code."""
    empty = tmp_path / "empty.txt"
    await asyncio.to_thread(empty.write_bytes, b"")
    replaced = [
        argument.replace("GATEWAY", gateway.url).replace("EMPTY", str(empty))
        for argument in arguments
    ]
    options = ("-o", str(tmp_path / "out")) if arguments[0] == "download" else ()
    done = await foxapi(*replaced, *options)
    assert done.code == code
    assert word in done.err
    assert done.out == ""


async def test_the_files_of_a_task_are_downloaded(
    gateway: Gateway, foxapi: Any, tmp_path: Path
) -> None:
    """The id of a finished task is enough."""
    async with FoxSession("sk-0123456789abcdef", base_url=gateway.url) as fox:
        handle = await fox.images.submit(model="gpt-image-2", prompt="a red fox")
        await handle
    done = await foxapi("download", handle.id, "-o", str(tmp_path))
    [saved] = done.records
    assert done.code == 0
    assert saved["source"] == handle.id
    assert saved["path"].endswith(".png")


@pytest.mark.usefixtures("gateway")
async def test_a_text_is_no_file(foxapi: Any, tmp_path: Path) -> None:
    """The task of a language model has nothing to download."""
    submitted = await foxapi("submit", "gpt-5.5", "count 1 to 3")
    done = await foxapi("download", submitted.records[0]["id"], "-o", str(tmp_path))
    assert done.code == 2
    assert "has a text and no file" in done.err


@pytest.mark.usefixtures("gateway")
async def test_one_wrong_file_does_not_stop_the_others(foxapi: Any, report: Path) -> None:
    """The other files are uploaded, and the exit code is that of the error."""
    done = await foxapi("upload", "/nowhere/a.png", str(report))
    assert done.code == 2
    assert len(done.records) == 1


@pytest.mark.usefixtures("gateway")
async def test_a_folder_that_cannot_be_written_is_an_exit_code(foxapi: Any, report: Path) -> None:
    """A folder that is a file is an error of the disk, with its path."""
    uploaded = (await foxapi("upload", str(report))).records[0]
    done = await foxapi("download", uploaded["url"], "-o", str(report))
    assert done.code == 74
    assert str(report) in done.err
