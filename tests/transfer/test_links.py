"""Laws of where a download goes, and of what it sends there."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from foxapi_async._protocol.address import AddressClass
from foxapi_async._transfer.link_reader import LinkReader
from foxapi_async._transport import Account, links
from foxapi_async._transport.links import CheckedResolver, RefusedAddressError
from foxapi_async.errors import FoxAPIError, LinkRefusedError
from tests.transfer.conftest import (
    KEY,
    FileServer,
    ReaderFactory,
    StoredFile,
    answer,
    header,
    running_file_server,
)

PUBLIC = Account.resolve(KEY, "https://api.example")


class NamedAddresses(AbstractResolver):
    """Resolves every name to the addresses that a test sets, one list for each question."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.questions: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the next list of addresses; the last one stays."""
        self.questions.append(host)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in found
        ]

    async def close(self) -> None:
        """Hold nothing."""


@pytest.fixture
async def other_server() -> AsyncIterator[FileServer]:
    """Return a second server of files."""
    async for server in running_file_server():
        yield server


async def content_of(reader: LinkReader) -> bytes:
    """Read a link to its end."""
    content = b""
    while (piece := await reader.read()) is not None:
        content += piece.data
    return content


async def test_a_download_carries_no_secret(
    file_server: FileServer, other_server: FileServer, new_reader: ReaderFactory
) -> None:
    """No request of a link has the key, a cookie or a referrer, also after a redirect."""
    other_server.files["/out.bin"] = StoredFile(b"content")
    file_server.script.append(
        answer(302, Location=f"{other_server.url}/out.bin", Set_Cookie="a=b; Path=/")
    )
    file_server.files["/again.bin"] = StoredFile(b"more")
    assert await content_of(new_reader(f"{file_server.url}/out.bin")) == b"content"
    assert await content_of(new_reader(f"{file_server.url}/again.bin")) == b"more"
    requests = file_server.requests + other_server.requests
    assert len(requests) == 3
    for request in requests:
        assert KEY not in request
        for name in ("authorization", "cookie", "referer"):
            assert not header(request, name)


async def test_five_redirects_are_followed_and_six_are_not(
    file_server: FileServer, new_reader: ReaderFactory
) -> None:
    """A link may redirect five times; relative URLs are understood."""
    file_server.files["/end/out.bin"] = StoredFile(b"content")
    hops = [answer(301 + number % 2, Location=f"/hop{number}") for number in range(4)]
    file_server.script.extend([*hops, answer(307, Location="end/out.bin")])
    assert await content_of(new_reader(f"{file_server.url}/start")) == b"content"
    file_server.script.extend([answer(302, Location="/again")] * 6)
    with pytest.raises(LinkRefusedError, match="more than 5 times"):
        await content_of(new_reader(f"{file_server.url}/start"))


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://user:password@127.0.0.1/",
        "http://[::ffff:169.254.169.254]/",
        "http://127.1:9/",
        "http://2852039166/",
        "",
        "http://[bad/",
        "http://127.0.0.1:99999/",
    ],
)
async def test_a_redirect_to_a_wrong_place_is_not_followed(
    file_server: FileServer, new_reader: ReaderFactory, location: str
) -> None:
    """A redirect to a metadata service, another scheme or no URL is an error that says so."""
    file_server.script.append(answer(302, Location=location))
    with pytest.raises(FoxAPIError, match="not followed") as caught:
        await content_of(new_reader(f"{file_server.url}/out.bin"))
    assert isinstance(caught.value, LinkRefusedError)
    assert "password" not in str(caught.value).partition("user name or a password")[0]


@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.1:1/x",
        "https://localhost/x",
        "https://10.0.0.1/x",
        "https://[::1]/x",
        "https://169.254.169.254/x",
        "https://user:secret@cdn.example/x",
        "data:text/plain,x",
        "not a link",
        "",
    ],
)
async def test_a_public_session_follows_no_private_link(
    new_reader: ReaderFactory, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    """A session of a public service sends nothing to this machine or a private network."""
    monkeypatch.setattr(links, "DefaultResolver", lambda: NamedAddresses(["127.0.0.1"]))
    with pytest.raises(LinkRefusedError, match="not followed"):
        await content_of(new_reader(link, account=PUBLIC))


async def test_a_name_of_a_private_address_is_refused(
    file_server: FileServer, new_reader: ReaderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public name that resolves to a private address is refused when the connection is made."""
    names = NamedAddresses(["127.0.0.1"])
    monkeypatch.setattr(links, "DefaultResolver", lambda: names)
    link = f"http://cdn.example:{file_server.port}/out.bin"
    with pytest.raises(LinkRefusedError, match=r"cdn\.example has no public address"):
        await content_of(new_reader(link, account=PUBLIC))
    assert not file_server.requests


async def test_a_name_that_changes_its_address_gains_nothing() -> None:
    """Each answer of the resolver is checked, and only the addresses that pass are used."""
    names = NamedAddresses(["8.8.8.8"], ["8.8.8.8", "127.0.0.1"], ["10.0.0.1"])
    resolver = CheckedResolver(AddressClass.PUBLIC, loopback_only=False, inner=names)
    for _ in range(2):
        assert [one["host"] for one in await resolver.resolve("cdn.example")] == ["8.8.8.8"]
    with pytest.raises(RefusedAddressError):
        await resolver.resolve("cdn.example")


async def test_the_host_of_the_session_may_have_any_address(
    file_server: FileServer, new_reader: ReaderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links to the host that gets the key are followed, also if its name is a private one."""
    monkeypatch.setattr(links, "DefaultResolver", lambda: NamedAddresses(["127.0.0.1"]))
    file_server.files["/out.bin"] = StoredFile(b"content")
    account = Account.resolve(KEY, "https://gateway.internal")
    link = f"http://gateway.internal:{file_server.port}/out.bin"
    assert await content_of(new_reader(link, account=account)) == b"content"


async def test_a_forbidden_network_is_not_reached(
    new_reader: ReaderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With FOXAPI_FORBID_NETWORK=1 a link leads to this machine only."""
    monkeypatch.setenv("FOXAPI_FORBID_NETWORK", "1")
    with pytest.raises(LinkRefusedError, match="FOXAPI_FORBID_NETWORK"):
        await content_of(new_reader("https://cdn.example/out.bin"))


async def test_a_signature_is_sent_as_it_is(
    file_server: FileServer, new_reader: ReaderFactory
) -> None:
    """A link is sent with the characters that it has, because a signature covers them."""
    file_server.files["/a%2Fb"] = StoredFile(b"content")
    await content_of(new_reader(f"{file_server.url}/a%2Fb?X-Sig=a%2Bb%3D&c=+%20#part"))
    assert file_server.requests[0].startswith("GET /a%2Fb?X-Sig=a%2Bb%3D&c=+%20 HTTP/1.1")


async def test_a_link_cannot_inject_a_header(
    file_server: FileServer, new_reader: ReaderFactory
) -> None:
    """Line breaks in a link are no line breaks of the request."""
    file_server.files["/x"] = StoredFile(b"content")
    reader = new_reader(f"{file_server.url}/x\r\nX-Evil: 1\r\n\r\n")
    with pytest.raises(FoxAPIError):
        await content_of(reader)
    assert all("\r\nX-Evil" not in request for request in file_server.requests)


async def test_closing_ends_a_connection(
    file_server: FileServer, new_reader: ReaderFactory
) -> None:
    """A reader that is closed early leaves no connection open."""
    file_server.files["/out.bin"] = StoredFile(b"x" * 5_000_000)
    reader = new_reader(f"{file_server.url}/out.bin")
    await reader.read()
    reader.close()
    while file_server.open_connections:
        await asyncio.sleep(0)
