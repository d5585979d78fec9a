"""The three endpoints that store files (contract §11)."""

import asyncio
import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from foxapi_async._clock import ManualClock

if TYPE_CHECKING:
    from tests.gateway.conftest import Reply, Serve, Service

STREAM = "/v1/files/upload/stream"
BASE64 = "/v1/files/upload/base64"
URL = "/v1/files/upload/url"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
HOUR = 3600
ENCODED = (
    b'--x\r\nContent-Disposition: form-data; name="file"\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--x--\r\n"
)


@pytest.fixture(params=["memory", "file"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Return the setting of the storage: both kinds obey the same laws."""
    return {"data": tmp_path / "foxapi.db"} if request.param == "file" else {}


def form(*fields: tuple[str, Any], filename: str | None = "a.png") -> aiohttp.FormData:
    """Build a form; a field of bytes is a file."""
    built = aiohttp.FormData()
    for name, value in fields:
        built.add_field(name, value, filename=filename if isinstance(value, bytes) else None)
    return built


async def upload(service: "Service", *fields: tuple[str, Any], **options: Any) -> "Reply":
    """Send a form."""
    filename = options.pop("filename", "a.png")
    return await service.call("POST", STREAM, data=form(*fields, filename=filename), **options)


async def get(service: "Service", url: str, **options: Any) -> "Reply":
    """Fetch a link without a key."""
    assert url.startswith(service.gateway.url)
    path = url.removeprefix(service.gateway.url)
    return await service.call("GET", path, key=None, **options)


@pytest.mark.parametrize("first", ["file", "auto_cleanup"])
async def test_a_form_stores_its_file(serve: "Serve", storage: dict[str, Any], first: str) -> None:
    """The answer has the five members, and the link has the bytes, whatever field comes first."""
    clock = ManualClock()
    service = await serve(clock=clock, **storage)
    fields = [("file", PNG), ("auto_cleanup", "false"), ("file_name", "cat.png")]
    reply = await upload(service, *(fields if first == "file" else fields[1:] + fields[:1]))
    assert reply.status == 200, reply
    answer = reply.json
    assert set(answer) == {"id", "filename", "url", "size", "created"}
    assert answer["id"].startswith(f"file-{answer['created']}-")
    assert (answer["filename"], answer["size"]) == ("cat.png", len(PNG))
    assert answer["created"] == int(clock.unix())
    found = await get(service, answer["url"])
    assert (found.status, found.body) == (200, PNG)
    assert found.headers["Content-Type"] == "image/png"


@pytest.mark.parametrize(
    ("data", "name", "filename"),
    [
        (base64.b64encode(PNG).decode(), None, "upload.bin"),
        (f"data:image/png;base64,{base64.b64encode(PNG).decode()}", None, "upload.png"),
        (f"data:image/png;base64,{base64.b64encode(PNG).decode()}", "b.png", "b.png"),
    ],
)
@pytest.mark.parametrize("cleanup", [{}, {"auto_cleanup": False}, {"auto_cleanup": "true"}])
async def test_base64_is_stored(
    service: "Service", data: str, name: str | None, filename: str, cleanup: dict[str, Any]
) -> None:
    """Plain base64 and data URLs are stored, with the name of the request or of the type."""
    named = {} if name is None else {"file_name": name}
    reply = await service.call("POST", BASE64, json={"file_data": data} | named | cleanup)
    assert (reply.status, reply.json["filename"]) == (200, filename)
    assert (await get(service, reply.json["url"])).body == PNG


async def test_a_url_is_fetched_and_stored(serve: "Serve") -> None:
    """The file of a URL is stored under the last part of its path."""
    other = await serve()
    source = (await upload(other, ("file", PNG), filename="dog.png")).json["url"]
    service = await serve()
    reply = await service.call("POST", URL, json={"url": source})
    assert (reply.status, reply.json["filename"], reply.json["size"]) == (200, "dog.png", len(PNG))
    assert (await get(service, reply.json["url"])).body == PNG
    # A link of its own is copied without a request.
    again = await service.call("POST", URL, json={"url": reply.json["url"], "file_name": "e.png"})
    assert (await get(service, again.json["url"])).body == PNG
    assert (service.gateway.stats.uploads, service.gateway.stats.downloads) == (2, 2)
    assert other.gateway.stats.downloads == 1


@pytest.mark.parametrize("path", [STREAM, BASE64, URL])
@pytest.mark.parametrize("key", [None, "sk-other"])
async def test_an_upload_needs_its_key(serve: "Serve", path: str, key: str | None) -> None:
    """The key is checked before the body is read."""
    service = await serve(api_keys=["sk-right"])
    reply = await service.call("POST", path, key=key, data=b"nonsense")
    assert (reply.status, reply.json["error"]["type"]) == (401, "authentication_error")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (BASE64, {}),
        (BASE64, {"file_data": "no base64!"}),
        (BASE64, {"file_data": "data:image/png,plain"}),
        (BASE64, {"file_data": 5}),
        (BASE64, {"file_data": "aaaa", "auto_cleanup": "perhaps"}),
        (BASE64, []),
        (URL, {}),
        (URL, {"url": "ftp://example.com/a"}),
        (URL, {"url": "http://user:secret@example.com/a"}),
        (URL, {"url": "http://[::1"}),
        (URL, {"url": "file:///etc/passwd"}),
        (URL, {"url": "http://127.0.0.1:1/nothing"}),
    ],
)
async def test_a_wrong_body_is_a_400(service: "Service", path: str, body: Any) -> None:
    """What cannot be stored is a 400 in the envelope, and nothing is stored."""
    reply = await service.call("POST", path, json=body)
    assert (reply.status, reply.json["error"]["type"]) == (400, "invalid_request_error")
    assert service.gateway.stats.uploads == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--x",
        b"--x\r\n\r\n",
        b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nhalf',
        b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y--\r\n--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\nA\r\n--x--\r\n',
        ENCODED,
    ],
)
async def test_a_form_that_is_none_is_a_400(service: "Service", body: bytes) -> None:
    """A form that is cut, empty, nested, encoded or without a file is a 400."""
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    reply = await service.call("POST", STREAM, data=body, headers=headers)
    assert (reply.status, reply.json["error"]["type"]) == (400, "invalid_request_error"), reply
    assert service.gateway.stats.uploads == 0


async def test_a_large_file_is_a_413(serve: "Serve", storage: dict[str, Any]) -> None:
    """A file above ``file_limit`` is refused on each route; one at the limit is stored."""
    service = await serve(file_limit=1000, **storage)
    for data, status in ((bytes(1000), 200), (bytes(1001), 413)):
        encoded = base64.b64encode(data).decode()
        for reply in (
            await upload(service, ("file", data)),
            await service.call("POST", BASE64, json={"file_data": encoded}),
        ):
            assert reply.status == status
    assert reply.json["error"]["type"] == "file_too_large_error"
    if storage:
        assert len(await stored_names(storage)) == 4


async def stored_names(storage: dict[str, Any]) -> list[str]:
    """List the folder of files."""
    return await asyncio.to_thread(os.listdir, f"{storage['data']}.files")


async def test_a_full_storage_makes_room_or_refuses(
    serve: "Serve", storage: dict[str, Any]
) -> None:
    """The oldest uploads of the key make room; with ``auto_cleanup=false`` it is a 403."""
    service = await serve(storage_limit=1000, api_keys=["sk-one", "sk-two"], **storage)

    async def store(size: int, key: str = "sk-one", cleanup: str = "true") -> "Reply":
        return await upload(service, ("file", bytes(size)), ("auto_cleanup", cleanup), key=key)

    other = (await store(900, "sk-two")).json["url"]
    urls = [(await store(400)).json["url"] for _ in range(2)]
    refused = await store(400, cleanup="false")
    assert refused.status == 403
    assert "storage is full" in refused.json["error"]["message"]
    urls.append((await store(400)).json["url"])
    assert [(await get(service, url)).status for url in urls] == [404, 200, 200]
    assert (await get(service, other)).status == 200
    assert (await store(1001)).status == 413


async def test_a_link_expires_after_72_hours(serve: "Serve", storage: dict[str, Any]) -> None:
    """The link works for 72 hours by the clock of the gateway, and is a 410 after that."""
    clock = ManualClock()
    service = await serve(clock=clock, **storage)
    url = (await upload(service, ("file", PNG))).json["url"]
    await clock.advance(72 * HOUR - 1)
    assert (await get(service, url)).status == 200
    await clock.advance(2)
    assert (await get(service, url)).status == 410
    assert (await service.call("POST", URL, json={"url": url})).status == 400
    assert (
        await get(service, f"{service.gateway.url}/files/9999999999-{'x' * 22}/a")
    ).status == 404


async def test_files_survive_a_restart(serve: "Serve", tmp_path: Path) -> None:
    """With a data file, links work in the next run of the gateway, and their space counts."""
    options: dict[str, Any] = {"data": tmp_path / "foxapi.db", "storage_limit": 1000}
    first = await serve(**options)
    url = (await upload(first, ("file", PNG))).json["url"]
    await first.gateway.__aexit__(None, None, None)
    folder = tmp_path / "foxapi.db.files"
    names = {"unfinished.part": b"half", "orphan.bin": b"no facts", "damaged.json": b"{}"}
    for name, data in names.items():
        await asyncio.to_thread((folder / name).write_bytes, data)
    second = await serve(**options)
    moved = url.replace(first.gateway.url, second.gateway.url)
    assert (await get(second, moved)).body == PNG
    left = await stored_names(options)
    assert "damaged.json" in left
    assert names.keys().isdisjoint(set(left) - {"damaged.json"})
    assert (await asyncio.to_thread(folder.stat)).st_mode & 0o777 == 0o700
    full = await upload(second, ("file", bytes(900)), ("auto_cleanup", "false"))
    assert full.status == 403


async def test_a_client_that_leaves_stores_nothing(serve: "Serve", storage: dict[str, Any]) -> None:
    """An upload whose connection ends early leaves neither a file nor a part of one."""
    service = await serve(**storage)
    head = (
        f"POST {STREAM} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer sk\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9000000\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    )
    _, writer = await asyncio.open_connection("127.0.0.1", service.gateway.port)
    writer.write(head.encode() + bytes(3_000_000))
    await writer.drain()
    writer.transport.abort()
    reply = await upload(service, ("file", PNG))
    assert reply.status == 200
    assert service.gateway.stats.uploads == 1
    # The part is deleted when the gateway has noticed the end of the connection.
    while storage and len(await stored_names(storage)) != 2:
        pass


async def test_links_begin_with_the_public_url(serve: "Serve") -> None:
    """With ``public_url``, links begin with it, and uploads by URL reach public addresses only."""
    service = await serve(public_url="https://gateway.example/")
    url = (await upload(service, ("file", PNG))).json["url"]
    assert url.startswith("https://gateway.example/files/")
    path = url.removeprefix("https://gateway.example")
    assert (await service.call("GET", path, key=None)).body == PNG
    proxied = await service.call("GET", path, key=None, headers={"Host": "gateway.example"})
    assert proxied.status == 200
    copied = await service.call("POST", URL, json={"url": url})
    assert copied.status == 200
    refused = await service.call("POST", URL, json={"url": f"{service.gateway.url}/healthz"})
    assert refused.status == 400
    assert "not public" in refused.json["error"]["message"]


@pytest.mark.parametrize("fault", ["503", "reset", "html", "empty", "truncated"])
async def test_each_fault_stores_at_most_one_file(serve: "Serve", fault: str) -> None:
    """A fault acts on one upload, and the next one is stored."""
    service = await serve(faults=[f"upload:{fault}:nth=1"])
    try:
        reply = await upload(service, ("file", PNG))
        assert reply.status != 200 or not reply.body.startswith(b"{")
    except aiohttp.ClientError:
        assert fault in {"reset", "truncated"}
    assert (await upload(service, ("file", PNG))).status == 200
    assert service.gateway.stats.faults == 1
    assert service.gateway.stats.uploads == (2 if fault == "truncated" else 1)
