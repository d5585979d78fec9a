"""``PooledGet`` sends polls as aiohttp does, and is not used if its probe or a GET fails."""

import asyncio
import gzip
import zlib
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler

from foxapi_async import errors
from foxapi_async._clock import settle
from foxapi_async._transport import Account, RequestSpec, Transport, _aiohttp_private
from foxapi_async._transport._aiohttp_private import PooledGet
from tests.transport.conftest import CHUNKED, KEY, ONCE, TASK, response, sending

if TYPE_CHECKING:
    from tests.transport.conftest import Sent, Server

PATH = "/v1/tasks/task-llm-1-aaaaaaaa"


# A poll has the same result with and without the fast path.


async def test_same_requests(
    server: "Server",
    account: Account,
    transport: Transport,
    transport_without_fast_path: Transport,
) -> None:
    """The service gets the same request, header by header, with and without the fast path."""
    await transport_without_fast_path.poll(account, PATH, {"sync_upstream": "true"})
    await transport.poll(account, PATH, {"sync_upstream": "true"})
    slow, fast = server.requests
    assert slow == fast
    assert fast.target == f"{PATH}?sync_upstream=true"
    assert list(slow.headers) == list(fast.headers)


@pytest.mark.parametrize("coding", ["identity", "gzip", "deflate"])
async def test_same_codings(
    server: "Server", account: Account, transport: Transport, coding: str
) -> None:
    """A compressed body is decompressed."""
    packed = {"identity": TASK, "gzip": gzip.compress(TASK), "deflate": zlib.compress(TASK)}
    server.answers(200, packed[coding], {"Content-Encoding": coding})
    assert (await transport.poll(account, PATH)).body == TASK


async def test_same_bodies_in_pieces(
    server: "Server", account: Account, transport: Transport
) -> None:
    """A body that arrives after its headers is waited for, and the connection is kept."""
    whole = response()
    server.sends(whole[:-20], then="keep")
    poll = asyncio.ensure_future(transport.poll(account, PATH))
    await server.seen(1)
    await settle()
    assert not poll.done()
    server.peers[0].send(whole[-20:])
    assert (await poll).body == TASK
    await transport.poll(account, PATH)
    assert len(server.peers) == 1


async def test_same_chunked_bodies(
    server: "Server", account: Account, transport: Transport
) -> None:
    """A chunked body ends with its last chunk, and the connection is kept."""
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (TASK[:9], TASK[9:]))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.sends(head + pieces + b"0\r\n\r\n", then="keep")
    assert (await transport.poll(account, PATH)).body == TASK
    await transport.poll(account, PATH)
    assert len(server.peers) == 1


async def test_bodies_up_to_the_end(
    server: "Server", account: Account, transport: Transport
) -> None:
    """A body without a length ends with its connection."""
    server.sends(b"HTTP/1.0 200 OK\r\n\r\n" + TASK)
    assert (await transport.poll(account, PATH)).body == TASK


async def test_heads_before_the_answer(
    server: "Server", account: Account, transport: Transport
) -> None:
    """1xx responses before the final one are skipped."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    server.sends(hints + response(), then="keep")
    assert (await transport.poll(account, PATH)).body == TASK


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\0"])
async def test_paths_that_are_none(
    server: "Server", account: Account, transport: Transport, end: str
) -> None:
    """A path with a line break, which would begin a header, is not sent."""
    with pytest.raises(errors.ConfigError, match="control character"):
        await transport.poll(account, f"/v1/tasks/1 HTTP/1.1{end}X-Evil: 1{end}X:")
    assert server.requests == []


async def test_a_change_of_protocol(
    server: "Server", account: Account, transport: Transport
) -> None:
    """A 101 is an error, and its connection is closed."""
    server.sends(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    with pytest.raises(errors.APIStatusError) as refused:
        await transport.poll(account, PATH)
    assert refused.value.status == 101
    await server.peers[0].ended.wait()


# Connections


async def test_connection_they_are_shared(
    server: "Server", account: Account, transport: Transport, read: RequestSpec, sent: "Sent"
) -> None:
    """Sequential polls and other reads share one connection."""
    for _ in range(3):
        await transport.poll(account, PATH)
        await sent(read, retry=ONCE)
    assert len(server.peers) == 1


async def test_one_that_the_server_will_close(
    server: "Server", account: Account, transport: Transport
) -> None:
    """A connection that the server will close gets no further request."""
    server.answers(headers={"Connection": "close"})
    await transport.poll(account, PATH)
    await transport.poll(account, PATH)
    assert len(server.peers) == 2


async def test_one_that_died_idle(server: "Server", account: Account, transport: Transport) -> None:
    """A poll whose connection ends before any response is sent once more, and not twice."""
    await transport.poll(account, PATH)
    server.sends(b"", then="reset")
    await transport.poll(account, PATH)
    assert len(server.requests) == 3
    server.script.extend([sending(b"", "reset")] * 2)
    with pytest.raises(errors.APIConnectionError):
        await transport.poll(account, PATH)
    assert len(server.requests) == 5


async def test_one_that_answers_unasked(
    server: "Server", account: Account, transport: Transport
) -> None:
    """Bytes that arrive on an idle connection are not taken for the next response."""
    await transport.poll(account, PATH)
    server.peers[0].send(response(200, b'{"id":"another","status":"failed"}'))
    await settle(20)
    assert (await transport.poll(account, PATH)).body == TASK
    assert len(server.peers) == 2


async def test_connection_cancelling(
    server: "Server", account: Account, transport: Transport
) -> None:
    """A cancelled poll closes its connection."""
    server.stays_silent()
    poll = asyncio.ensure_future(transport.poll(account, PATH))
    await server.seen(1)
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    await server.peers[0].ended.wait()


async def test_connection_closing(server: "Server", account: Account, transport: Transport) -> None:
    """Closing the transport ends a poll at once; later polls raise ``SessionClosedError``."""
    server.stays_silent()
    poll = asyncio.ensure_future(transport.poll(account, PATH))
    await server.seen(1)
    await transport.aclose()
    with pytest.raises(errors.APIConnectionError):
        await poll
    with pytest.raises(errors.SessionClosedError):
        await transport.poll(account, PATH)


async def test_making_one_takes_no_longer_than_allowed(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``Timeouts.connect`` bounds making a connection, and the error names it."""

    async def hang(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", hang)
    transport = Transport()
    with pytest.raises(errors.APITimeoutError, match=r"Timeouts\.connect") as failed:
        await transport.poll(account, PATH)
    assert failed.value.sent is False
    await transport.aclose()


# aiohttp sends the polls that PooledGet cannot send.


@pytest.mark.usefixtures("fresh_probe")
@pytest.mark.parametrize("name", ["set_response_params", "read", "should_close", "connect"])
async def test_fallback_another_aiohttp(
    *,
    server: "Server",
    account: Account,
    transport: Transport,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """With an aiohttp that works in another way inside, polls work by its public API."""
    if name == "connect":
        monkeypatch.setattr(_aiohttp_private._ProbeConnector, name, None)
    else:
        changed = type("Other", (Handler,), {name: None})
        monkeypatch.setattr(_aiohttp_private, "ResponseHandler", changed)
    assert (await transport.poll(account, PATH)).body == TASK
    assert not _aiohttp_private._pooled_get_works()
    assert transport._connections.pooled_get(account) is None
    assert len(server.requests) == 1


async def test_the_probe_passes_with_this_aiohttp() -> None:
    """The supported aiohttp passes the probe, so that polls take the fast path."""
    assert _aiohttp_private._pooled_get_works()
    assert _aiohttp_private._raw_stream_works()


@pytest.mark.usefixtures("fresh_probe")
@pytest.mark.parametrize("where", ["request", "connect", "parser"])
async def test_an_aiohttp_that_fails_on_the_way(
    *,
    server: "Server",
    account: Account,
    transport: Transport,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
) -> None:
    """If a GET fails inside aiohttp in any other way, each poll is answered, with one warning."""

    def fail(*_: object, **__: object) -> None:
        raise TypeError("changed")

    assert _aiohttp_private._pooled_get_works()
    with monkeypatch.context() as patch:
        patch.setattr(*STEPS[where], fail)
        for _ in range(3):
            assert (await transport.poll(account, PATH)).body == TASK
    assert (await transport.poll(account, PATH)).body == TASK
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
    assert "PooledGet is off" in caplog.text
    assert len(server.requests) == 4


async def test_the_fast_path_can_be_switched_off(
    server: "Server", account: Account, transport_without_fast_path: Transport
) -> None:
    """``FOXAPI_FAST_PATH=0`` turns off both pieces; polls and streams work all the same."""
    transport = transport_without_fast_path
    assert (await transport.poll(account, PATH)).body == TASK
    assert transport._connections.pooled_get(account) is None
    server.sends(CHUNKED + b"2\r\nhi\r\n0\r\n\r\n", then="keep")
    body = await transport.open_stream(account, "/s")
    assert body.raw_stream is None
    assert await body.read() == b"hi"
    assert await body.read() == b""


def test_a_bad_switch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """``FOXAPI_FAST_PATH`` is 1 or 0, and its error names it."""
    monkeypatch.setenv("FOXAPI_FAST_PATH", "fast")
    with pytest.raises(errors.ConfigError, match="FOXAPI_FAST_PATH must be 1 or 0"):
        Transport()


async def test_fallback_borrowed_sessions(server: "Server", account: Account) -> None:
    """A borrowed session sees every poll: its middlewares may act on them."""
    seen: list[str] = []

    async def note(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        seen.append(request.url.path)
        return await handler(request)

    async with aiohttp.ClientSession(middlewares=(note,)) as borrowed:
        await Transport(http=borrowed).poll(account, PATH)
    assert seen == [PATH]
    assert len(server.requests) == 1


async def test_accounts_have_their_own(
    server: "Server", account: Account, transport: Transport
) -> None:
    """Each account's polls carry its own key, over shared connections."""
    other = account.replace(api_key="sk-other-0123456789")
    for asked in (account, other, account):
        await transport.poll(asked, PATH)
    keys = [request.headers["authorization"] for request in server.requests]
    assert keys == [f"Bearer {KEY}", "Bearer sk-other-0123456789", f"Bearer {KEY}"]
    assert len(server.peers) == 1


async def test_reprs_show_no_key(account: Account, borrowed: aiohttp.ClientSession) -> None:
    """The repr of a ``PooledGet``, which holds the key, does not show it."""
    found = PooledGet.create(borrowed, account.url("/"), account.headers)
    assert found is not None
    assert KEY not in repr(found)


STEPS: dict[str, tuple[object, str]] = {
    "request": (aiohttp, "ClientRequest"),
    "connect": (PooledGet, "_send"),
    "parser": (_aiohttp_private, "_exchange"),
}


class Handler(ResponseHandler):
    """aiohttp's own, to be changed."""
