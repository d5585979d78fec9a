"""Laws of the commands that make media, and of the files that they save."""

import asyncio
import io
import stat
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from foxapi_async.gateway import Gateway

PROMPT = "a fox in the snow"
PDF = ("--param", 'pdf_url="https://example.com/a.pdf"', "--param", "page_count=1")
IMAGE = ("image", "gpt-image-2", PROMPT)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Return a small PNG."""
    path = tmp_path / "cat.png"
    written = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(written, "PNG")
    path.write_bytes(written.getvalue())
    return path


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program for the desktop's files first on the PATH; return the list that it writes."""
    found = tmp_path / "opened"
    program = tmp_path / "bin" / "xdg-open"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$1" >> {found}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return found


def check_images(files: list[str], folder: Path) -> None:
    """Hold each file against another program's reader."""
    for file in map(Path, files):
        assert file.parent == folder
        with Image.open(file) as image:
            image.load()


def count_files(folder: Path) -> int:
    """Return how many files a folder has."""
    return len(list(folder.iterdir()))


async def test_images_are_saved(gateway: Gateway, foxapi: Any, tmp_path: Path) -> None:
    """``-o`` saves whole files, which other programs open, and the record names them."""
    done = await foxapi(*IMAGE, "--param", "num_outputs=2", "-o", str(tmp_path / "out"))
    assert done.code == 0, done.err
    [record] = done.records
    assert record["status"] == "completed"
    assert len(record["files"]) == len(record["urls"]) == 2
    await asyncio.to_thread(check_images, record["files"], tmp_path / "out")
    assert gateway.stats.tasks == 1


async def test_without_a_folder_there_are_links(gateway: Gateway, foxapi: Any) -> None:
    """Nothing is saved that was not asked for."""
    done = await foxapi(*IMAGE)
    [record] = done.records
    assert done.code == 0
    assert all(url.startswith(gateway.url) for url in record["urls"])
    assert "files" not in record
    shown = await foxapi(*IMAGE, "--text")
    assert shown.out.startswith(gateway.url)


async def test_a_task_is_saved_later(gateway: Gateway, foxapi: Any, tmp_path: Path) -> None:
    """``--no-wait`` shows the id, and ``foxapi wait -o`` saves the files of the task."""
    submitted = await foxapi(*IMAGE, "--no-wait", "--text")
    task_id = submitted.out.strip()
    assert f"foxapi wait {task_id}" in submitted.err
    for _ in range(2):
        done = await foxapi("wait", task_id, "-o", str(tmp_path))
        assert done.code == 0, done.err
    # The second file has a number: nothing is overwritten.
    assert await asyncio.to_thread(count_files, tmp_path) == 2
    done = await foxapi("wait", task_id, "-o", str(tmp_path), "--overwrite")
    assert done.code == 0
    assert await asyncio.to_thread(count_files, tmp_path) == 2
    assert gateway.stats.tasks == 1


async def test_uploaded_files_become_parameters(
    gateway: Gateway, foxapi: Any, picture: Path
) -> None:
    """``--upload`` sends the file, and then its link as the parameter, in a list if it is one."""
    uploads = ("--upload", f"image_urls={picture}")
    done = await foxapi(*IMAGE, *uploads)
    assert done.code == 0, done.err
    assert gateway.stats.tasks == 1


async def test_a_key_is_billed_once(gateway: Gateway, foxapi: Any, tmp_path: Path) -> None:
    """With a key and a journal, the same command saves the files of the same task."""
    words = ("--key", "fox-1", "--journal", str(tmp_path / "tasks.db"), "-o", str(tmp_path / "out"))
    for _ in range(2):
        done = await foxapi(*IMAGE, *words)
        assert done.code == 0, done.err
    assert gateway.stats.tasks == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--overwrite",), "--overwrite needs -o"),
        (("--no-wait", "--open"), "--no-wait"),
        (("--param", "seed"), "write NAME=JSON"),
        (("--param", "prompt=1"), "use PROMPT"),
        (("--param", "seed=1", "--param", "seed=2"), "given twice"),
        (("--upload", "image_urls"), "write NAME=PATH"),
        (("--upload", "image_urls=/nowhere/a.png"), "there is no file /nowhere/a.png"),
        (("--retry-failed",), "needs --key"),
        (("-o", __file__), "is a file"),
        (("--param", 'num_outputs="two"'), "num_outputs"),
    ],
)
async def test_wrong_usage_costs_nothing(
    gateway: Gateway, foxapi: Any, words: tuple[str, ...], message: str
) -> None:
    """A mistake is named before anything is sent."""
    done = await foxapi(*IMAGE, *words)
    assert done.code == 2
    assert message in done.err
    assert gateway.stats.submits == 0


async def test_links_outlive_a_folder_that_cannot_be_written(
    gateway: Gateway, foxapi: Any, tmp_path: Path
) -> None:
    """The task is paid for: its links are shown although nothing could be saved."""
    (tmp_path / "file").touch()
    done = await foxapi(*IMAGE, "-o", str(tmp_path / "file" / "below"))
    assert done.code == 74, done.err
    [record] = done.records
    assert record["urls"]
    assert gateway.stats.tasks == 1


async def test_files_or_links_are_opened(
    gateway: Gateway, foxapi: Any, tmp_path: Path, opened: Path
) -> None:
    """``--open`` opens the saved files, or the links of a result that is not saved."""
    saved = await foxapi(*IMAGE, "-o", str(tmp_path / "out"), "--open")
    assert saved.code == 0, saved.err
    [record] = saved.records
    linked = await foxapi(*IMAGE, "--open")
    assert linked.code == 0
    targets = (await asyncio.to_thread(opened.read_text)).split()
    assert targets[: len(record["files"])] == record["files"]
    assert targets[-1].startswith(gateway.url)


@pytest.mark.parametrize(
    ("words", "ending"),
    [
        (("video", "sora-2", PROMPT), ".mp4"),
        (("audio", "gemini-3.1-flash-tts", PROMPT), ".mp3"),
        (("document", "doc2x-v3", *PDF), ".zip"),
    ],
)
async def test_each_kind_has_a_command(
    gateway: Gateway, foxapi: Any, tmp_path: Path, words: tuple[str, ...], ending: str
) -> None:
    """Videos, audio and documents are made and saved as images are."""
    done = await foxapi(*words, "-o", str(tmp_path))
    assert done.code == 0, done.err
    [record] = done.records
    assert [Path(file).suffix for file in record["files"]] == [ending]
    assert gateway.stats.tasks == 1
