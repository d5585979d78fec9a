"""What a request carries, which connection it uses, and when connections end."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from foxapi_async import errors
from foxapi_async._clock import settle
from foxapi_async._protocol.retry import Effect
from foxapi_async._transport import Account, RequestSpec, Transport
from foxapi_async._version import __version__
from tests.transport.conftest import ONCE, fetch

if TYPE_CHECKING:
    from tests.transport.conftest import Sent, Server


# Requests


async def test_requests_name_the_sdk_and_the_account(
    server: "Server",
    post: RequestSpec,
    read: RequestSpec,
    sent: "Sent",
) -> None:
    """Each request has the key, the user agent and ``Accept``; no cookie and no ``Expect``."""
    server.answers(200, headers={"Set-Cookie": "a=b"})
    await sent(post, retry=ONCE)
    await sent(read, retry=ONCE)
    for request in server.requests:
        assert request.headers["authorization"] == "Bearer sk-0123456789abcdef"
        assert request.headers["user-agent"].startswith(f"foxapi-async/{__version__} python/3.")
        assert f" aiohttp/{aiohttp.__version__}" in request.headers["user-agent"]
        assert request.headers["accept"] == "application/json"
        assert "cookie" not in request.headers
        assert "expect" not in request.headers
    assert server.requests[0].headers["content-type"] == "application/json"
    assert server.requests[0].body == post.body


async def test_the_base_path_is_kept(
    server: "Server", transport: Transport, read: RequestSpec
) -> None:
    """A base URL with a path keeps it; a query is encoded."""
    account = Account.resolve("sk-local", f"{server.url}/proxy/fox/")
    call = RequestSpec(effect=Effect.READ, method="GET", path="/v1/x")
    await fetch(transport, account, call, retry=ONCE)
    await transport.poll(account, read.path, {"a": "b c&d"})
    assert [request.target for request in server.requests] == [
        "/proxy/fox/v1/x",
        "/proxy/fox/v1/tasks/1?a=b%20c%26d",
    ]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(
    *,
    server: "Server",
    tls_server: "Server",
    read: RequestSpec,
    status: int,
    sent: "Sent",
) -> None:
    """The key never follows a redirect, not even of a read."""
    server.answers(status, b"", {"Location": f"{tls_server.url}/v1/tasks/1"})
    with pytest.raises(errors.APIStatusError, match="redirects") as failed:
        await sent(read)
    assert failed.value.status == status
    assert len(server.requests) == 1
    assert tls_server.requests == []


# Opening, borrowing and closing


async def test_nothing_is_opened_before_the_first_call() -> None:
    """A transport opens nothing before its first call."""
    await Transport().aclose()


async def test_closed_transports_send_nothing(
    server: "Server", account: Account, transport: Transport, read: RequestSpec, sent: "Sent"
) -> None:
    """After ``aclose``, which may be repeated, every call raises ``SessionClosedError``."""
    await sent(read, retry=ONCE)
    await transport.aclose()
    await transport.aclose()
    for call in (
        sent(read, retry=ONCE),
        transport.poll(account, read.path),
        transport.open_stream(account, read.path),
    ):
        with pytest.raises(errors.SessionClosedError):
            await call
    assert len(server.requests) == 1


@pytest.mark.parametrize("way", ["poll", "attempt", "open_stream"])
@pytest.mark.parametrize(
    "begun", [b"", b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{"]
)
async def test_closing_ends_what_is_in_flight(
    *,
    server: "Server",
    account: Account,
    transport: Transport,
    read: RequestSpec,
    begun: bytes,
    way: str,
    sent: "Sent",
) -> None:
    """Closing the transport ends a call in flight at once, and it is not retried."""
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "poll": lambda: transport.poll(account, read.path),
        "attempt": lambda: sent(read, retry=ONCE),
        "open_stream": lambda: transport.open_stream(account, read.path),
    }
    server.sends(begun, then="keep")
    call = asyncio.ensure_future(calls[way]())
    await server.seen(1)
    await settle()
    await transport.aclose()
    with pytest.raises(errors.APIConnectionError, match="closed"):
        await call
    await settle()
    assert len(server.peers) == 1


async def test_a_borrowed_session_stays_open(
    server: "Server", account: Account, borrowed: aiohttp.ClientSession, post: RequestSpec
) -> None:
    """A borrowed session carries all calls and stays open."""
    transport = Transport(http=borrowed)
    await fetch(transport, account, post, retry=ONCE)
    await transport.poll(account, "/v1/tasks/1")
    await transport.aclose()
    assert not borrowed.closed
    assert len(server.peers) == 1


async def test_a_borrowed_session_that_is_closed(
    account: Account, borrowed: aiohttp.ClientSession, read: RequestSpec
) -> None:
    """The error of a closed borrowed session names ``http=``."""
    await borrowed.close()
    with pytest.raises(errors.SessionClosedError, match="http="):
        await fetch(Transport(http=borrowed), account, read, retry=ONCE)


async def test_a_borrowed_session_raises_no_errors_of_its_own(
    server: "Server", account: Account, read: RequestSpec
) -> None:
    """``raise_for_status`` of a borrowed session does not replace our errors."""
    server.answers(404, {"error": {"message": "no", "type": "not_found"}})
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        with pytest.raises(errors.NotFoundError):
            await fetch(Transport(http=session), account, read, retry=ONCE)


async def test_a_second_authorisation_is_a_setting_to_fix() -> None:
    """A borrowed session with ``auth`` is refused, and the error says why."""
    with pytest.warns(DeprecationWarning, match="auth"):
        session = aiohttp.ClientSession(auth=aiohttp.BasicAuth("user"))
    async with session:
        with pytest.raises(errors.ConfigError, match="auth"):
            Transport(http=session)


async def test_tls_with_the_users_context(
    tls_server: "Server", certificate: Path, post: RequestSpec
) -> None:
    """The certificates of ``ssl=`` are trusted."""
    context = ssl.create_default_context(cafile=certificate)
    transport = Transport(ssl=context)
    account = Account.resolve("sk-local", tls_server.url)
    task = await fetch(transport, account, post)
    assert task.status == "pending"
    await transport.aclose()
