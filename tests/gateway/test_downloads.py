"""The links of files: ranges, conditions, names and faults."""

import asyncio
from email.utils import parsedate_to_datetime
from io import BytesIO
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._clock import ManualClock
from foxapi_async.gateway.files.byte_range import Conditions, http_date, select
from foxapi_async.gateway.files.file_name import content_disposition, safe_name, served_type
from foxapi_async.gateway.files.remote_file import is_public

if TYPE_CHECKING:
    from tests.gateway.conftest import Reply, Serve, Service

DATA = bytes(range(256)) * 40
TAG = '"tag"'


async def store(service: "Service", data: bytes = DATA, name: str = "a.bin") -> str:
    """Upload a file and return the path of its link."""
    form = aiohttp.FormData()
    form.add_field("file", BytesIO(data), filename=name)
    reply = await service.call("POST", "/v1/files/upload/stream", data=form)
    assert reply.status == 200, reply
    url: str = reply.json["url"]
    return url.removeprefix(service.gateway.url)


async def get(service: "Service", path: str, method: str = "GET", **headers: str) -> "Reply":
    """Request a link without a key; underscores in the names of headers are hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.call(method, path, key=None, headers=named)


async def test_a_link_has_the_whole_file(serve: "Serve") -> None:
    """GET has the bytes and what a client resumes by; HEAD has the same head and no bytes."""
    clock = ManualClock()
    service = await serve(clock=clock)
    path = await store(service)
    whole = await get(service, path)
    head = await get(service, path, "HEAD")
    assert (whole.status, whole.body) == (200, DATA)
    assert (head.status, head.body) == (200, b"")
    for reply in (whole, head):
        assert reply.headers["Content-Length"] == str(len(DATA))
        assert reply.headers["Accept-Ranges"] == "bytes"
        assert reply.headers["ETag"].startswith('"')
        modified = parsedate_to_datetime(reply.headers["Last-Modified"]).timestamp()
        assert modified == int(clock.unix())
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in reply.headers["Content-Security-Policy"]
    assert whole.headers["ETag"] == head.headers["ETag"]


@given(st.integers(0, len(DATA) + 5), st.integers(0, len(DATA) + 5))
def test_a_range_has_its_bytes(first: int, last: int) -> None:
    """Any range has exactly its bytes; one beyond the end is a 416; a reversed one is ignored."""
    size = len(DATA)
    part = select(Conditions(range=f"bytes={first}-{last}"), size=size, etag=TAG, modified=0)
    if first > last:
        assert part == (200, 0, size)
    elif first >= size:
        assert part.status == 416
    else:
        assert part == (206, first, min(last + 1, size))
    tail = select(Conditions(range=f"bytes=-{last}"), size=size, etag=TAG, modified=0)
    assert tail == ((206, max(0, size - last), size) if last else (416, 0, 0))


@given(st.text(max_size=30))
def test_a_malformed_header_is_ignored(text: str) -> None:
    """No text of a header raises; what is not understood gives the whole file."""
    for conditions in (
        Conditions(range=text),
        Conditions(range="bytes=0-1", if_range=text),
        Conditions(if_none_match=text),
        Conditions(if_modified_since=text),
    ):
        assert select(conditions, size=9, etag=TAG, modified=1e9).status in {200, 206, 304, 416}


@pytest.mark.parametrize("ranges", ["bytes=0-1,4-5", "items=0-1", "bytes=x-1", "bytes=", "0-1"])
def test_a_range_of_another_kind_is_ignored(ranges: str) -> None:
    """Several ranges, and other units, give the whole file."""
    assert select(Conditions(range=ranges), size=9, etag=TAG, modified=0) == (200, 0, 9)


@pytest.mark.parametrize(
    ("if_range", "status"),
    [(TAG, 206), ('"other"', 200), (f"W/{TAG}", 200), (http_date(1e9), 206), (http_date(9), 200)],
)
def test_a_range_of_another_file_gives_the_whole(if_range: str, status: int) -> None:
    """``If-Range`` with another tag or date gives the whole file."""
    conditions = Conditions(range="bytes=3-", if_range=if_range)
    assert select(conditions, size=9, etag=TAG, modified=1e9).status == status


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        (Conditions(if_none_match=TAG), 304),
        (Conditions(if_none_match=f'W/"x", W/{TAG}'), 304),
        (Conditions(if_none_match="*"), 304),
        (Conditions(if_none_match='"x"', if_modified_since=http_date(2e9)), 200),
        (Conditions(if_modified_since=http_date(1e9)), 304),
        (Conditions(if_modified_since=http_date(9e8)), 200),
    ],
)
def test_a_file_that_is_known_is_not_sent(conditions: Conditions, status: int) -> None:
    """A tag or a date that is up to date is a 304."""
    assert select(conditions, size=9, etag=TAG, modified=1e9).status == status


async def test_a_download_resumes(service: "Service") -> None:
    """A range by the tag of the first response goes on where that one ended."""
    path = await store(service)
    first = await get(service, path, Range="bytes=0-99")
    assert (first.status, first.body) == (206, DATA[:100])
    assert first.headers["Content-Range"] == f"bytes 0-99/{len(DATA)}"
    rest = await get(service, path, Range="bytes=100-", If_Range=first.headers["ETag"])
    assert (rest.status, rest.body) == (206, DATA[100:])
    beyond = await get(service, path, Range=f"bytes={len(DATA)}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(DATA)}")
    known = await get(service, path, If_None_Match=first.headers["ETag"])
    assert (known.status, known.body) == (304, b"")
    assert service.gateway.stats.downloads == 2


async def test_an_empty_file_has_a_link(service: "Service") -> None:
    """A file without bytes is stored and served; no range of it exists."""
    path = await store(service, b"")
    assert (await get(service, path)).body == b""
    assert (await get(service, path, Range="bytes=0-")).status == 416


@pytest.mark.parametrize(
    "path",
    [
        "/files/",
        "/files/x",
        "/files/../healthz",
        "/files/1-a/b",
        "/files/..%2f..%2fetc%2fpasswd/x",
        "/files/1999999999-aaaaaaaaaaaaaaaaaaaaaa/..%2f..%2fetc%2fpasswd",
        "/files/1999999999-aaaaaaaaaaaaaaaaaaaaaa/a/../../x",
    ],
)
async def test_no_other_path_leads_to_a_file(service: "Service", path: str) -> None:
    """What is no link of a stored file is a 404, whatever folder it tries to name."""
    status, body = await service.send_bytes(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    )
    assert status == 404, body


async def test_a_link_works_with_its_own_name_only(service: "Service") -> None:
    """The name in the path is that of the file: another one leads nowhere."""
    path = await store(service, name="a.png")
    assert (await get(service, f"{path}.html")).status == 404


@given(st.text(max_size=300))
def test_any_name_becomes_a_safe_one(name: str) -> None:
    """A safe name has no folder, no control character, a bounded length, and is stable."""
    safe = safe_name(name)
    assert safe
    assert len(safe.encode()) <= 121
    assert not set(safe) & set('/\\:*?"<>|%\0\r\n')
    assert safe.strip(" .") == safe or safe == "upload.bin"
    assert safe_name(safe) == safe
    header = content_disposition(safe, is_shown=True)
    assert header.isascii()
    assert header.isprintable()


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\windows\\evil.exe", "evil.exe"),
        ("con.txt", "_con.txt"),
        ("..", "upload.bin"),
        ("a\r\nSet-Cookie: x.png", "aSet-Cookie_ x.png"),
        ("\u202egnp.exe", "gnp.exe"),
        ("Zoë 猫.png", "Zoë 猫.png"),
        ("x" * 500 + ".png", "x" * 116 + ".png"),
    ],
)
def test_a_hostile_name_loses_its_harm(name: str, safe: str) -> None:
    """Folders, drives, line ends and marks of direction go, and words of any language stay."""
    assert safe_name(name) == safe


@pytest.mark.parametrize(
    ("head", "name", "content_type"),
    [
        (b"\x89PNG\r\n\x1a\n", "evil.html", "image/png"),
        (b"<html>", "a.html", "application/octet-stream"),
        (b"<svg", "a.svg", "application/octet-stream"),
        (b"alert(1)", "a.js", "application/octet-stream"),
        (b"# Title", "a.md", "text/markdown"),
        (b"PK\3\4", "a.zip", "application/zip"),
        (b"PK\3\4", "a", "application/zip"),
        (b"PK\3\4", "a.html", "application/octet-stream"),
        (b"?", "a", "application/octet-stream"),
    ],
)
def test_no_type_runs_in_a_browser(head: bytes, name: str, content_type: str) -> None:
    """The bytes decide the type, and what a browser could run is a download of bytes."""
    assert served_type(head, name) == content_type


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        *((address, False) for address in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0")),
        *((address, False) for address in ("::1", "fe80::1", "fd00::1", "224.0.0.1", "ff02::1")),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("100.64.0.1", False),
    ],
)
def test_which_addresses_are_public(address: str, *, expected: bool) -> None:
    """Loopback, private, shared, local and multicast addresses are not, in any notation."""
    assert is_public(ip_address(address)) is expected


async def test_truncated(serve: "Serve") -> None:
    """A truncated download announces all and sends a part; the rest can be resumed."""
    service = await serve(faults=["download:truncated:size=1000,nth=1"])
    path = await store(service)
    url = service.gateway.url + path
    async with service.http.get(url) as response:
        assert response.content_length == len(DATA)
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    rest = await get(service, path, Range="bytes=1000-")
    assert rest.body == DATA[1000:]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("ignore-range", (200, DATA)),
        ("slow:seconds=0,size=100", (206, DATA[5:])),
        ("stall:seconds=0,size=7", (206, DATA[5:])),
        ("changed", (206, bytes(255 - byte for byte in DATA[5:]))),
        ("503", (503, None)),
        ("html", (200, None)),
        ("empty:status=204", (204, b"")),
        ("expired", (410, None)),
    ],
)
async def test_faults(serve: "Serve", rule: str, expected: tuple[int, bytes | None]) -> None:
    """Each fault of a download does what its description says."""
    service = await serve(faults=[f"download:{rule}"])
    path = await store(service)
    reply = await get(service, path, Range="bytes=5-")
    assert reply.status == expected[0]
    if expected[1] is not None:
        assert reply.body == expected[1]


async def test_a_changed_file_has_another_tag(serve: "Serve") -> None:
    """A client that resumes by the tag notices that the file has changed."""
    service = await serve(faults=["download:changed:nth=2"])
    path = await store(service)
    tag = (await get(service, path, Range="bytes=0-9")).headers["ETag"]
    changed = await get(service, path, Range="bytes=10-", If_Range=tag)
    assert changed.status == 200
    assert changed.headers["ETag"] != tag


async def test_a_stall_sends_half_and_waits(serve: "Serve") -> None:
    """A stalled download sends half of its bytes, and no more until the client leaves."""
    service = await serve(faults=["download:stall"])
    path = await store(service)
    async with service.http.get(service.gateway.url + path) as response:
        half = await response.content.readexactly(len(DATA) // 2)
        assert half == DATA[: len(DATA) // 2]
        pending = asyncio.ensure_future(response.content.read(1))
        done, _ = await asyncio.wait({pending}, timeout=0.05)
        assert not done
        pending.cancel()


async def test_a_reset_is_a_connection_error(serve: "Serve") -> None:
    """A reset closes the connection before any byte."""
    service = await serve(faults=["download:reset"])
    path = await store(service)
    with pytest.raises(aiohttp.ClientError):
        await get(service, path)


@pytest.mark.parametrize("data", ["memory", "file"])
async def test_a_file_that_is_deleted_cuts_its_downloads(
    serve: "Serve", tmp_path: Any, data: str
) -> None:
    """A download of a file that makes room for another one is cut, never completed wrongly."""
    options: dict[str, Any] = {"data": tmp_path / "foxapi.db"} if data == "file" else {}
    service = await serve(storage_limit=20_000_000, **options)
    path = await store(service, bytes(15_000_000))
    async with service.http.get(service.gateway.url + path) as response:
        await response.content.readexactly(1000)
        await store(service, bytes(15_000_000))
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_page_shows_a_link_and_reads_none(service: "Service") -> None:
    """A page may show the image of a link, and a script of a page gets a 403."""
    path = await store(service)
    shown = await get(service, path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")
    assert shown.status == 200
    read = await get(service, path, Origin="https://page.example")
    assert read.status == 403
