"""Laws of ``fox.files`` on the gateway."""

import asyncio
import os
import pickle
import random
from pathlib import Path

import pytest
from msgspec import Raw
from msgspec.json import encode

from foxapi_async import FoxSession, Limits, MediaResults, TransferProgress
from foxapi_async._client.downloads import Downloads
from foxapi_async._wire.media_results import bind_results, decode_media
from foxapi_async.errors import (
    APITimeoutError,
    ConfigError,
    DownloadError,
    LinkExpiredError,
    PermissionDeniedError,
)
from foxapi_async.gateway import Gateway
from foxapi_async.testing import Close, FaultProxy, ManualClock, Stall

KEY = "sk-secret-0123456789abcdef"
CONTENT = random.Random(3).randbytes(2_000_000)  # noqa: S311 no secret


async def test_a_file_comes_back_as_it_was(fox: FoxSession, tmp_path: Path) -> None:
    """What is uploaded and downloaded again is the same file under the same name."""
    uploaded = await fox.files.upload(CONTENT, filename="noise.bin")
    assert uploaded.size == len(CONTENT)
    assert uploaded.id.startswith("file-")
    path = await fox.files.download(uploaded, f"{tmp_path}/new/")
    assert path == tmp_path / "new" / "noise.bin"
    assert await asyncio.to_thread(path.read_bytes) == CONTENT


async def test_a_stream_of_bytes_survives_cuts(gateway: Gateway) -> None:
    """``iter_bytes`` gives each byte once, across cuts."""
    async with FaultProxy(gateway.url) as proxy, FoxSession(KEY, base_url=proxy.url) as fox:
        uploaded = await fox.files.upload(CONTENT, filename="noise.bin")
        link = uploaded.url.replace(gateway.url, proxy.url)
        proxy.script(*[Close(body=200_000)] * 3)
        async with fox.files.iter_bytes(link) as stream:
            received = b"".join([chunk async for chunk in stream])
        assert received == CONTENT
        assert stream.size == len(CONTENT)


async def test_a_stream_of_a_file_that_changes_is_an_error(gateway: Gateway) -> None:
    """After bytes were delivered, a file that has changed raises instead of mixing the two."""
    async with FaultProxy(gateway.url) as proxy, FoxSession(KEY, base_url=proxy.url) as fox:
        uploaded = await fox.files.upload(CONTENT, filename="noise.bin")
        link = uploaded.url.replace(gateway.url, proxy.url)
        other = await fox.files.upload(CONTENT[::-1], filename="other.bin")
        stream = fox.files.iter_bytes(link)
        first = await anext(stream)
        stream._reader.close()
        stream._reader._url = other.url
        with pytest.raises(DownloadError, match="has changed"):
            await anext(stream)
        assert first


async def test_links_end_by_the_clock_of_the_gateway(tmp_path: Path) -> None:
    """A link that has ended is named as such."""
    clock = ManualClock()
    async with Gateway(clock=clock) as gateway, FoxSession(KEY, base_url=gateway.url) as fox:
        uploaded = await fox.files.upload(b"content", filename="a.txt")
        await clock.advance(72 * 3600 + 1)
        with pytest.raises(LinkExpiredError, match="expired"):
            await fox.files.download(uploaded, tmp_path)


async def test_a_full_storage_refuses_only_if_nothing_may_be_deleted() -> None:
    """With ``auto_cleanup=False`` a full storage is an error, otherwise the oldest file goes."""
    async with (
        Gateway(storage_limit=1000) as gateway,
        FoxSession(KEY, base_url=gateway.url) as fox,
    ):
        await fox.files.upload(b"x" * 900, filename="a.txt")
        with pytest.raises(PermissionDeniedError):
            await fox.files.upload(b"y" * 900, filename="b.txt", auto_cleanup=False)
        await fox.files.upload(b"y" * 900, filename="b.txt")


async def test_few_transfers_are_under_way(gateway: Gateway, tmp_path: Path) -> None:
    """No more than ``Limits.transfers`` downloads are under way at a time."""
    limits = Limits(transfers=2)
    async with FoxSession(KEY, base_url=gateway.url, limits=limits) as fox:
        uploaded = await fox.files.upload(CONTENT, filename="noise.bin")
        most = 0

        def watch(_: TransferProgress) -> None:
            nonlocal most
            most = max(most, 2 - fox._service.runtime.transfers._value)

        paths = await asyncio.gather(
            *(fox.files.download(uploaded, tmp_path, progress=watch) for _ in range(6))
        )
        assert len(set(paths)) == 6
        assert most == 2


async def test_a_download_ends_by_its_timeout(gateway: Gateway, tmp_path: Path) -> None:
    """A download that takes longer than its timeout raises, and leaves nothing."""
    clock = ManualClock()
    async with FoxSession(KEY, base_url=gateway.url, clock=clock) as fox:
        uploaded = await fox.files.upload(CONTENT, filename="noise.bin")
        async with FaultProxy(gateway.url) as proxy:
            proxy.script(Stall(body=1000))
            link = uploaded.url.replace(gateway.url, proxy.url)
            saving = asyncio.ensure_future(fox.files.download(link, tmp_path, timeout=20))
            while not saving.done():
                await clock.advance(5)
            with pytest.raises(APITimeoutError, match="timeout, 20 s"):
                await saving


async def test_a_wrong_timeout_is_refused(fox: FoxSession) -> None:
    """A timeout that is no number of seconds is refused before anything is sent."""
    with pytest.raises(ConfigError, match="timeout="):
        await fox.files.download("https://a.example/x", timeout=-1)


def results_of(fox: FoxSession, *members: dict[str, object]) -> MediaResults:
    """Return the results of a media task of the session."""
    results = decode_media([Raw(encode(one)) for one in members])
    return bind_results(results, Downloads(fox._service))


async def test_all_files_of_a_task_are_saved(fox: FoxSession, tmp_path: Path) -> None:
    """``save`` stores every file of the results, under their names and in their order."""
    links = [await fox.files.upload(bytes([65 + n]) * 10, filename=f"{n}.png") for n in range(3)]
    results = results_of(
        fox,
        {"url": links[0].url, "filename": "cat.png"},
        {"url": links[1].url, "filename": "CAT.png"},
        {"voice_id": "a voice without a file"},
        {"url": links[2].url, "filename": "../../evil.png", "image_url": links[0].url},
    )
    for paths in (
        await results.save(tmp_path / "one"),
        await fox.files.save(results, tmp_path / "two"),
    ):
        assert [path.name for path in paths] == ["cat.png", "CAT-2.png", "evil.png", "0.png"]
        contents = [await asyncio.to_thread(path.read_bytes) for path in paths]
        assert [content[:1] for content in contents] == [b"A", b"B", b"C", b"A"]


async def test_a_file_that_fails_does_not_lose_the_others(
    fox: FoxSession, gateway: Gateway, tmp_path: Path
) -> None:
    """The other files are stored before the error of one is raised."""
    uploaded = await fox.files.upload(b"content", filename="a.txt")
    gone = f"{gateway.url}/files/{'0' * 32}/gone.txt"
    with pytest.raises(LinkExpiredError):
        await fox.files.save([uploaded, gone, uploaded], tmp_path)
    names = await asyncio.to_thread(os.listdir, tmp_path)
    assert sorted(names) == ["a-2.txt", "a.txt"]


async def test_a_cancelled_save_leaves_whole_files_only(fox: FoxSession, tmp_path: Path) -> None:
    """A save that is cancelled leaves no part of a file."""
    uploaded = await fox.files.upload(CONTENT, filename="noise.bin")
    for turns in (1, 5, 20, 80, 200):
        saving = asyncio.ensure_future(fox.files.save([uploaded] * 4, tmp_path))
        for _ in range(turns):
            await asyncio.sleep(0)
        saving.cancel()
        await asyncio.wait([saving])
        names = await asyncio.to_thread(os.listdir, tmp_path)
        assert not [name for name in names if name.startswith(".")]


async def test_a_result_downloads_itself(fox: FoxSession, tmp_path: Path) -> None:
    """A result is stored or read by the session that it came from; a pickle has none."""
    uploaded = await fox.files.upload(CONTENT, filename="noise.bin")
    results = results_of(fox, {"url": uploaded.url, "filename": "a", "content_type": "image/png"})
    (result,) = results
    path = await result.download(tmp_path)
    assert path == tmp_path / "a.png"
    assert b"".join([chunk async for chunk in result.iter_bytes()]) == CONTENT
    assert (await fox.files.download(result, tmp_path)).name == "a-2.png"
    copied = pickle.loads(pickle.dumps(results))
    with pytest.raises(RuntimeError, match=r"fox\.files"):
        copied.save(tmp_path)
    with pytest.raises(RuntimeError, match=r"fox\.files"):
        copied[0].download(tmp_path)
    with pytest.raises(ValueError, match="no file"):
        results_of(fox, {"voice_id": "v"})[0].iter_bytes()


async def test_the_results_of_a_task_are_saved(fox: FoxSession, tmp_path: Path) -> None:
    """The images of a task of the gateway become files with the names of their type."""
    results = await fox.images.generate(model="gpt-image-2", prompt="a red fox", num_outputs=2)
    paths = await results.save(tmp_path)
    assert len(paths) == 2
    for path in paths:
        assert path.suffix == ".png"
        assert (await asyncio.to_thread(path.read_bytes)).startswith(b"\x89PNG")
