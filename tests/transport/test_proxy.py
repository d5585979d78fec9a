"""The environment's proxies are used with ``trust_env`` alone; a tunnel never sees the key."""

import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from foxapi_async._clock import ManualClock
from foxapi_async._transport import Account, RequestSpec, Transport
from foxapi_async.errors import APIConnectionError
from tests.transport.conftest import ONCE, fetch

if TYPE_CHECKING:
    from tests.transport.conftest import Peer, Server

KEY = "sk-0123456789abcdef"


@pytest.fixture
async def trusting(clock: ManualClock) -> AsyncIterator[Transport]:
    """Return a transport with ``trust_env``."""
    opened = Transport(clock=clock, trust_env=True)
    yield opened
    await opened.aclose()


@pytest.fixture
def proxied(server: "Server", monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the scripted server as the proxy of all URLs."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


@pytest.mark.usefixtures("proxied")
async def test_the_environment_is_not_heeded_unasked(
    server: "Server", transport: Transport, read: RequestSpec
) -> None:
    """Without ``trust_env`` a proxy in the environment sees nothing."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        account = Account.resolve(KEY, f"http://127.0.0.1:{deaf.getsockname()[1]}")
        with pytest.raises(APIConnectionError):
            await fetch(transport, account, read, retry=ONCE)
    assert not server.peers


@pytest.mark.usefixtures("proxied")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_what_stays_on_this_machine_goes_to_no_proxy(
    server: "Server",
    trusting: Transport,
    read: RequestSpec,
    post: RequestSpec,
    host: str,
    scheme: str,
) -> None:
    """With ``trust_env`` too, no proxy sees a request for loopback, nor the key in it."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        account = Account.resolve(KEY, f"{scheme}://{host}:{deaf.getsockname()[1]}")
        for call in (read, post):
            with pytest.raises(APIConnectionError):
                await fetch(trusting, account, call, retry=ONCE)
    assert not server.peers


@pytest.mark.usefixtures("proxied")
async def test_plain_http_goes_through_the_proxy(
    server: "Server", trusting: Transport, read: RequestSpec
) -> None:
    """With ``trust_env``, the proxy forwards plain http."""
    account = Account.resolve(KEY, "http://fox.example", allow_http=True)
    await fetch(trusting, account, read, retry=ONCE)
    assert server.requests[0].target == "http://fox.example/v1/tasks/1"


@pytest.mark.usefixtures("proxied")
async def test_the_proxy_of_a_tunnel_never_sees_the_key(
    server: "Server", trusting: Transport, post: RequestSpec
) -> None:
    """The CONNECT request has no key; if it is refused, nothing was sent."""
    heads: list[bytes] = []

    async def refuse(peer: "Peer") -> None:
        heads.append(await peer.head())
        peer.send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        peer.close()

    server.at_connect.append(refuse)
    account = Account.resolve(KEY, "https://fox.example")
    with pytest.raises(APIConnectionError) as failed:
        await fetch(trusting, account, post, retry=ONCE)
    assert not failed.value.sent
    assert KEY not in str(failed.value)
    assert heads[0].startswith(b"CONNECT fox.example:443 ")
    assert KEY.encode() not in heads[0]
    assert b"authorization" not in heads[0].lower()
