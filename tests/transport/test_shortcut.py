"""Polls go past aiohttp's requests: nobody may notice, and there is always another way."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler

from foxapi_async import errors
from foxapi_async._clock import ManualClock, settle
from foxapi_async._transport import Account, RequestSpec, Transport, shortcut, trial
from foxapi_async._transport.shortcut import PooledGet
from tests.transport.conftest import KEY, TASK, response, sending

if TYPE_CHECKING:
    from tests.transport.conftest import Server

PATH = "/v1/tasks/task-llm-1-aaaaaaaa"


@pytest.fixture
async def roundabout(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Transport]:
    """Return a transport that finds no shortcut."""
    monkeypatch.setattr(PooledGet, "through", lambda *_: None)
    opened = Transport(clock=clock)
    yield opened
    await opened.aclose()


@pytest.fixture
def untried() -> Iterator[None]:
    """Let the next transport try anew whether a shortcut is possible."""
    shortcut._is_possible.cache_clear()
    yield
    shortcut._is_possible.cache_clear()


class TestSameness:
    """Nobody can tell which way a poll went."""

    async def test_requests(
        self,
        server: "Server",
        account: Account,
        transport: Transport,
        roundabout: Transport,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The service sees the same request, header by header, whichever way it comes."""
        await roundabout.poll(account, PATH, {"sync_upstream": "true"})
        monkeypatch.undo()
        await transport.poll(account, PATH, {"sync_upstream": "true"})
        around, straight = server.requests
        assert around == straight
        assert straight.target == f"{PATH}?sync_upstream=true"
        assert list(around.headers) == list(straight.headers)

    @pytest.mark.parametrize("coding", ["identity", "gzip", "deflate"])
    async def test_codings(
        self, server: "Server", account: Account, transport: Transport, coding: str
    ) -> None:
        """A body that was packed comes unpacked."""
        packed = {"identity": TASK, "gzip": gzip.compress(TASK), "deflate": zlib.compress(TASK)}
        server.answers(200, packed[coding], {"Content-Encoding": coding})
        assert (await transport.poll(account, PATH)).body == TASK

    async def test_bodies_in_pieces(
        self, server: "Server", account: Account, transport: Transport
    ) -> None:
        """A body that comes after its head is waited for, and the connection kept."""
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

    async def test_chunked_bodies(
        self, server: "Server", account: Account, transport: Transport
    ) -> None:
        """A body without a length ends where it says so, and the connection is kept."""
        pieces = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (TASK[:9], TASK[9:]))
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        server.sends(head + pieces + b"0\r\n\r\n", then="keep")
        assert (await transport.poll(account, PATH)).body == TASK
        await transport.poll(account, PATH)
        assert len(server.peers) == 1

    async def test_bodies_up_to_the_end(
        self, server: "Server", account: Account, transport: Transport
    ) -> None:
        """A body that ends with its connection is whole."""
        server.sends(b"HTTP/1.0 200 OK\r\n\r\n" + TASK)
        assert (await transport.poll(account, PATH)).body == TASK

    async def test_heads_before_the_answer(
        self, server: "Server", account: Account, transport: Transport
    ) -> None:
        """Heads that only announce the answer are passed over."""
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        server.sends(hints + response(), then="keep")
        assert (await transport.poll(account, PATH)).body == TASK

    @pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\0"])
    async def test_paths_that_are_none(
        self, server: "Server", account: Account, transport: Transport, end: str
    ) -> None:
        """A path with a line break, which would begin a header, is not sent."""
        with pytest.raises(errors.ConfigError, match="control character"):
            await transport.poll(account, f"/v1/tasks/1 HTTP/1.1{end}X-Evil: 1{end}X:")
        assert server.requests == []

    async def test_a_change_of_protocol(
        self, server: "Server", account: Account, transport: Transport
    ) -> None:
        """An answer that would speak another language is a refusal, and its connection closed."""
        server.sends(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        with pytest.raises(errors.APIStatusError) as refused:
            await transport.poll(account, PATH)
        assert refused.value.status == 101
        await server.peers[0].ended.wait()


class TestConnections:
    """What becomes of the connections."""

    async def test_they_are_shared(
        self, server: "Server", account: Account, transport: Transport, read: RequestSpec
    ) -> None:
        """One poll after another, and the other reads, need one connection."""
        for _ in range(3):
            await transport.poll(account, PATH)
            await transport.attempt(account, read)
        assert len(server.peers) == 1

    async def test_one_that_the_server_will_close(
        self, server: "Server", account: Account, transport: Transport
    ) -> None:
        """A connection that the server wants closed takes no other request."""
        server.answers(headers={"Connection": "close"})
        await transport.poll(account, PATH)
        await transport.poll(account, PATH)
        assert len(server.peers) == 2

    async def test_one_that_died_idle(
        self, server: "Server", account: Account, transport: Transport
    ) -> None:
        """A poll whose connection ends before any answer is made once more, and not twice."""
        await transport.poll(account, PATH)
        server.sends(b"", then="reset")
        await transport.poll(account, PATH)
        assert len(server.requests) == 3
        server.script.extend([sending(b"", "reset")] * 2)
        with pytest.raises(errors.APIConnectionError):
            await transport.poll(account, PATH)
        assert len(server.requests) == 5

    async def test_one_that_answers_unasked(
        self, server: "Server", account: Account, transport: Transport
    ) -> None:
        """What a server sends on an idle connection is no answer to the next poll."""
        await transport.poll(account, PATH)
        server.peers[0].send(response(200, b'{"id":"another","status":"failed"}'))
        await settle(20)
        assert (await transport.poll(account, PATH)).body == TASK
        assert len(server.peers) == 2

    async def test_cancelling(
        self, server: "Server", account: Account, transport: Transport
    ) -> None:
        """A poll that is cancelled closes its connection, whose answer would be the next one's."""
        server.stays_silent()
        poll = asyncio.ensure_future(transport.poll(account, PATH))
        await server.seen(1)
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll
        await server.peers[0].ended.wait()

    async def test_closing(self, server: "Server", account: Account, transport: Transport) -> None:
        """A poll in flight when the transport closes fails at once; later ones say why."""
        server.stays_silent()
        poll = asyncio.ensure_future(transport.poll(account, PATH))
        await server.seen(1)
        await transport.aclose()
        with pytest.raises(errors.APIConnectionError):
            await poll
        with pytest.raises(errors.SessionClosedError):
            await transport.poll(account, PATH)

    async def test_making_one_takes_no_longer_than_allowed(
        self, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``Timeouts.connect`` bounds it, and its error says so."""

        async def hang(*_: object) -> None:
            raise TimeoutError

        monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", hang)
        transport = Transport()
        with pytest.raises(errors.APITimeoutError, match=r"Timeouts\.connect") as failed:
            await transport.poll(account, PATH)
        assert failed.value.sent is False
        await transport.aclose()


class TestOtherWays:
    """Where there is no shortcut, or none that would be right."""

    @pytest.mark.usefixtures("untried")
    @pytest.mark.parametrize("name", ["set_response_params", "read", "should_close"])
    async def test_another_aiohttp(
        self,
        *,
        server: "Server",
        account: Account,
        transport: Transport,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
    ) -> None:
        """An aiohttp that is made otherwise inside costs time and nothing else."""
        monkeypatch.setattr(shortcut, "ResponseHandler", type("Other", (Handler,), {name: None}))
        assert (await transport.poll(account, PATH)).body == TASK
        assert not shortcut._is_possible()
        assert len(server.requests) == 1

    @pytest.mark.parametrize("where", ["request", "connect", "parser"])
    async def test_an_aiohttp_that_fails_on_the_way(
        self,
        *,
        server: "Server",
        account: Account,
        transport: Transport,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        where: str,
    ) -> None:
        """Whatever is made otherwise, each poll is answered, and one warning says why."""

        def fail(*_: object, **__: object) -> None:
            raise TypeError("made otherwise")

        trial._warn_once.cache_clear()
        # What only the shortcut does can fail alone.
        with monkeypatch.context() as patch:
            if where == "request":
                patch.setattr(shortcut, "aiohttp", SimpleNamespace(ClientRequest=fail))
            else:
                patch.setattr(*STEPS[where], fail)
            for _ in range(3):
                assert (await transport.poll(account, PATH)).body == TASK
        assert (await transport.poll(account, PATH)).body == TASK
        assert [record.levelname for record in caplog.records].count("WARNING") == 1
        assert "shortcut is not used" in caplog.text
        assert len(server.requests) == 4

    async def test_lent_sessions(self, server: "Server", account: Account) -> None:
        """A session that was lent sees every poll: it may have plans for them."""
        seen: list[str] = []

        async def note(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            seen.append(request.url.path)
            return await handler(request)

        async with aiohttp.ClientSession(middlewares=(note,)) as lent:
            await Transport(http=lent).poll(account, PATH)
        assert seen == [PATH]
        assert len(server.requests) == 1

    async def test_accounts_have_their_own(
        self, server: "Server", account: Account, transport: Transport
    ) -> None:
        """Each account's polls carry its own key, over shared connections."""
        other = account.replace(api_key="sk-other-0123456789")
        for asked in (account, other, account):
            await transport.poll(asked, PATH)
        keys = [request.headers["authorization"] for request in server.requests]
        assert keys == [f"Bearer {KEY}", "Bearer sk-other-0123456789", f"Bearer {KEY}"]
        assert len(server.peers) == 1

    async def test_reprs_show_no_key(self, account: Account, lent: aiohttp.ClientSession) -> None:
        """A shortcut, which holds the bytes of the key, does not show them."""
        found = PooledGet.through(lent, account)
        assert found is not None
        assert KEY not in repr(found)


STEPS: dict[str, tuple[object, str]] = {
    "connect": (PooledGet, "_exchange"),
    "parser": (shortcut, "_answered"),
}


class Handler(ResponseHandler):
    """aiohttp's own, to be spoilt."""
