"""Calls that cost nothing: retries, clocks, bounds, headers, and whose connections they use."""

import asyncio
import gzip
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from foxapi_async import errors
from foxapi_async._clock import ManualClock, settle
from foxapi_async._protocol.retry import Effect
from foxapi_async._transport import Account, OutcomeUnknown, RequestSpec, Transport, decode
from foxapi_async._version import __version__
from foxapi_async._wire.task import task_decoder
from foxapi_async.config import Limits, RetryPolicy, Timeouts

if TYPE_CHECKING:
    from tests.transport.conftest import Retries, Server

RETRY = RetryPolicy()
ENVELOPE = {"error": {"message": "no", "type": "server_error"}}


class TestRetries:
    """A read is made again after what may pass."""

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 524])
    async def test_transient_statuses(
        self,
        *,
        server: "Server",
        account: Account,
        transport: Transport,
        read: RequestSpec,
        retries: "Retries",
        status: int,
    ) -> None:
        """Transient statuses are tried again until one attempt succeeds."""
        server.answers(status, ENVELOPE, times=3)
        answer = await transport.request(account, read, retry=RETRY, emit=retries)
        assert decode(task_decoder, answer).status == "pending"
        assert retries.delays == [0.5, 1.0, 2.0]
        assert [attempt for attempt, *_ in retries] == [1, 2, 3]

    @pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 409, 413, 422])
    async def test_final_statuses(
        self,
        server: "Server",
        account: Account,
        transport: Transport,
        read: RequestSpec,
        status: int,
    ) -> None:
        """Other refusals are final."""
        server.answers(status, ENVELOPE)
        with pytest.raises(errors.APIStatusError):
            await transport.request(account, read, retry=RETRY)
        assert len(server.requests) == 1

    async def test_the_last_failure_is_raised(
        self,
        server: "Server",
        account: Account,
        transport: Transport,
        read: RequestSpec,
        retries: "Retries",
    ) -> None:
        """When the attempts are used up, the last failure is raised, without a chain of others."""
        for status in (500, 502, 429, 503):
            server.answers(status, ENVELOPE)
        with pytest.raises(errors.ServiceUnavailableError) as failed:
            await transport.request(account, read, retry=RETRY, emit=retries)
        assert len(server.requests) == RETRY.attempts
        assert failed.value.__cause__ is None
        assert failed.value.__context__ is None

    @pytest.mark.parametrize("body", [b"", b"<html>portal</html>", b'{"id":', b"[]", b"{}"])
    async def test_unusable_successes(
        self,
        *,
        server: "Server",
        account: Account,
        transport: Transport,
        read: RequestSpec,
        retries: "Retries",
        body: bytes,
    ) -> None:
        """A success that cannot be read is a failed attempt too (contract Q6, Q10)."""
        server.answers(200, body)
        task = await transport.fetch(account, read, task_decoder, retry=RETRY, emit=retries)
        assert task.status == "pending"
        assert [reason for *_, reason in retries] == ["InvalidResponseError"]

    @pytest.mark.parametrize("then", ["close", "reset"])
    @pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", b"?"])
    async def test_cut_answers(
        self,
        *,
        server: "Server",
        account: Account,
        transport: Transport,
        read: RequestSpec,
        retries: "Retries",
        data: bytes,
        then: str,
    ) -> None:
        """A cut answer is a failed attempt."""
        server.sends(data, then="reset" if then == "reset" else "close")
        await transport.request(account, read, retry=RETRY, emit=retries)
        assert [reason for *_, reason in retries] == ["APIConnectionError"]

    @pytest.mark.parametrize(
        ("headers", "delay"),
        [
            ({"Retry-After": "0"}, 0.0),
            ({"Retry-After": "3"}, 3.0),
            ({"Retry-After": "1.5"}, 1.5),
            ({"Retry-After": "60"}, 60.0),
            ({"retry-after-ms": "250"}, 0.25),
            ({"retry-after-ms": "250", "Retry-After": "9"}, 0.25),
            ({"Retry-After": "Wed, 22 Apr 2026 16:16:15 GMT"}, 10.0),
            ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
            ({"Retry-After": "nan"}, 0.5),
            ({"Retry-After": "-3"}, 0.5),
            ({"Retry-After": "inf"}, 0.5),
            ({"Retry-After": "soon"}, 0.5),
        ],
    )
    async def test_retry_after(
        self,
        *,
        server: "Server",
        account: Account,
        transport: Transport,
        read: RequestSpec,
        retries: "Retries",
        headers: dict[str, str],
        delay: float,
    ) -> None:
        """The service's wait wins when it is a number or a date; anything else is ignored."""
        server.answers(429, ENVELOPE, headers)
        retry = RetryPolicy(max_elapsed=1000)
        await transport.request(account, read, retry=retry, emit=retries)
        assert retries.delays == [delay]

    async def test_retry_after_over_the_cap(
        self, server: "Server", account: Account, transport: Transport, read: RequestSpec
    ) -> None:
        """A wait over the cap is raised with its number."""
        server.answers(503, ENVELOPE, {"Retry-After": "3600"})
        with pytest.raises(errors.ServiceUnavailableError) as failed:
            await transport.request(account, read, retry=RETRY)
        assert failed.value.retry_after == 3600

    @pytest.mark.parametrize(
        ("headers", "wait"),
        [({}, None), ({"Retry-After": "7"}, 7.0), ({"retry-after-ms": "250"}, 0.25)],
    )
    async def test_successes_may_ask_for_patience(
        self,
        *,
        server: "Server",
        account: Account,
        transport: Transport,
        headers: dict[str, str],
        wait: float | None,
    ) -> None:
        """An answer tells how long it asks to wait, a success like any other."""
        server.answers(headers=headers)
        assert (await transport.poll(account, "/v1/tasks/1")).retry_after == wait

    async def test_single_attempts_are_single(
        self, server: "Server", account: Account, transport: Transport, read: RequestSpec
    ) -> None:
        """Polls and single attempts raise the first failure: others own their retries."""
        server.answers(503, ENVELOPE, times=2)
        with pytest.raises(errors.ServiceUnavailableError):
            await transport.attempt(account, read)
        with pytest.raises(errors.ServiceUnavailableError):
            await transport.poll(account, read.path)
        assert len(server.requests) == 2


class TestClocks:
    """One attempt, and one call with its attempts, end in time."""

    async def test_read(
        self,
        server: "Server",
        account: Account,
        transport: Transport,
        clock: ManualClock,
        read: RequestSpec,
    ) -> None:
        """An attempt that is not answered within ``Timeouts.read`` times out."""
        server.stays_silent()
        call = asyncio.ensure_future(transport.poll(account, read.path))
        await server.seen(1)
        assert clock.timers == 1
        await clock.advance(30)
        with pytest.raises(errors.APITimeoutError, match=r"Timeouts\.read, 30 s") as failed:
            await call
        assert failed.value.sent
        assert clock.timers == 0

    async def test_a_drip_of_bytes_does_not_help(
        self,
        server: "Server",
        account: Account,
        transport: Transport,
        clock: ManualClock,
        read: RequestSpec,
    ) -> None:
        """The clock runs to the last byte of the answer, not from byte to byte."""
        server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", then="keep")
        call = asyncio.ensure_future(transport.attempt(account, read))
        await server.seen(1)
        for _ in range(30):
            server.peers[0].send(b"{")
            await clock.advance(1)
        with pytest.raises(errors.APITimeoutError):
            await call

    async def test_call(
        self,
        *,
        server: "Server",
        account: Account,
        transport: Transport,
        clock: ManualClock,
        read: RequestSpec,
        retries: "Retries",
    ) -> None:
        """``Timeouts.call`` ends an attempt in its middle."""
        server.answers(503, ENVELOPE)
        server.stays_silent()
        timeouts = Timeouts(call=5)
        call = asyncio.ensure_future(
            transport.request(account, read, retry=RETRY, timeouts=timeouts, emit=retries)
        )
        await server.seen(2)
        await clock.advance(4.5)
        with pytest.raises(errors.APITimeoutError, match=r"Timeouts\.call"):
            await call
        assert len(server.requests) == 2

    @pytest.mark.parametrize("billed", [False, True])
    async def test_no_drip_outlives_the_call(
        self,
        *,
        server: "Server",
        account: Account,
        transport: Transport,
        clock: ManualClock,
        read: RequestSpec,
        post: RequestSpec,
        billed: bool,
    ) -> None:
        """A byte now and then keeps no attempt alive beyond ``Timeouts.call``."""
        server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", then="keep")
        call = asyncio.ensure_future(
            transport.request(
                account, post if billed else read, retry=RETRY, timeouts=Timeouts(call=5)
            )
        )
        await server.seen(1)
        for _ in range(5):
            assert not call.done()
            server.peers[0].send(b"{")
            await clock.advance(1)
        with pytest.raises(
            OutcomeUnknown if billed else errors.APITimeoutError, match=r"Timeouts\.call, 5 s"
        ):
            await call
        assert len(server.requests) == 1

    async def test_no_retries_outlive_the_call(
        self,
        *,
        server: "Server",
        account: Account,
        transport: Transport,
        clock: ManualClock,
        read: RequestSpec,
        retries: "Retries",
    ) -> None:
        """However many attempts are allowed, none begins after ``Timeouts.call``."""
        for _ in range(9):
            server.answers(503, ENVELOPE)
        retry = RetryPolicy(attempts=99, initial=1, multiplier=1, max_elapsed=1000)
        began = clock.time()
        with pytest.raises(errors.ServiceUnavailableError):
            await transport.request(
                account, read, retry=retry, timeouts=Timeouts(call=4.5), emit=retries
            )
        assert clock.time() - began <= 4.5
        assert len(server.requests) == 5

    async def test_no_wait_runs_past_the_call(
        self, server: "Server", account: Account, transport: Transport, read: RequestSpec
    ) -> None:
        """When the wait before the next attempt does not fit, the failure is raised at once."""
        server.answers(429, ENVELOPE, {"Retry-After": "5"})
        with pytest.raises(errors.RateLimitError):
            await transport.request(account, read, retry=RETRY, timeouts=Timeouts(call=5))
        assert len(server.requests) == 1

    async def test_a_call_may_bring_its_own_clock(
        self, server: "Server", account: Account, transport: Transport, clock: ManualClock
    ) -> None:
        """``RequestSpec.read`` stands in for ``Timeouts.read``."""
        server.stays_silent()
        patient = RequestSpec(effect=Effect.READ, method="GET", path="/x", read=300)
        call = asyncio.ensure_future(transport.attempt(account, patient))
        await server.seen(1)
        await clock.advance(299)
        assert not call.done()
        await clock.advance(1)
        with pytest.raises(errors.APITimeoutError):
            await call

    async def test_many_attempts_share_a_timer(
        self,
        server: "Server",
        account: Account,
        transport: Transport,
        clock: ManualClock,
        read: RequestSpec,
    ) -> None:
        """However many attempts are in flight, there is one timer, and none when there are none."""
        for _ in range(20):
            server.stays_silent()
        calls = [asyncio.ensure_future(transport.poll(account, read.path)) for _ in range(20)]
        await server.seen(20)
        assert clock.timers == 1
        await clock.advance(30)
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, errors.APITimeoutError) for result in results)
        assert clock.timers == 0


class TestBounds:
    """No answer takes more memory than ``limits.max_response_bytes``."""

    @pytest.mark.parametrize(
        "data",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001,
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n",
        ],
        ids=["whole", "announced", "endless", "chunked"],
    )
    async def test_large_answers(
        self, server: "Server", account: Account, read: RequestSpec, data: bytes
    ) -> None:
        """An answer over the bound is refused, announced or not, and not asked for again."""
        server.sends(data, then="keep")
        transport = Transport(limits=Limits(max_response_bytes=1000))
        with pytest.raises(
            errors.InvalidResponseError, match=r"max_response_bytes = 1000"
        ) as failed:
            await transport.request(account, read, retry=RETRY)
        assert failed.value.status == 200
        assert len(failed.value.body) <= 400
        assert len(server.requests) == 1
        await transport.aclose()

    async def test_a_bomb(self, server: "Server", account: Account, read: RequestSpec) -> None:
        """An answer counts unpacked, and is not unpacked further than the bound."""
        bomb = gzip.compress(bytes(200_000_000), compresslevel=1)
        server.answers(200, bomb, {"Content-Encoding": "gzip"})
        transport = Transport(limits=Limits(max_response_bytes=1_000_000))
        with pytest.raises(errors.InvalidResponseError, match=r"limits\.max_response_bytes"):
            await transport.request(account, read, retry=RETRY)
        await transport.aclose()

    async def test_an_answer_at_the_bound(
        self, server: "Server", account: Account, read: RequestSpec
    ) -> None:
        """An answer as large as the bound is read, packed ones too."""
        transport = Transport(limits=Limits(max_response_bytes=100_000))
        server.answers(200, b"x" * 100_000)
        assert len((await transport.attempt(account, read)).body) == 100_000
        server.answers(200, gzip.compress(b"x" * 100_000), {"Content-Encoding": "gzip"})
        assert len((await transport.attempt(account, read)).body) == 100_000
        await transport.aclose()

    async def test_a_large_refusal_is_cut(
        self, server: "Server", account: Account, transport: Transport, read: RequestSpec
    ) -> None:
        """Of an error page, the head is enough."""
        server.answers(403, b"<html>" + b"x" * 5_000_000)
        with pytest.raises(errors.PermissionDeniedError) as failed:
            await transport.attempt(account, read)
        assert failed.value.body == "<html>" + "x" * 394

    async def test_a_large_body_is_sent_in_pieces(
        self, server: "Server", account: Account, transport: Transport
    ) -> None:
        """A body of many megabytes arrives whole, without a warning."""
        body = bytes(range(256)) * 20_000
        await transport.attempt(
            account, RequestSpec(effect=Effect.BILLED, method="POST", path="/x", body=body)
        )
        assert server.requests[0].body == body


class TestHeaders:
    """What the service gets to see."""

    async def test_requests_say_who_asks(
        self,
        server: "Server",
        account: Account,
        transport: Transport,
        post: RequestSpec,
        read: RequestSpec,
    ) -> None:
        """Each request carries the key, the agent and what it takes; no cookie, no redirect."""
        server.answers(200, headers={"Set-Cookie": "a=b"})
        await transport.attempt(account, post)
        await transport.attempt(account, read)
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
        self, server: "Server", transport: Transport, read: RequestSpec
    ) -> None:
        """A base URL with a path keeps it; a query is encoded."""
        account = Account.resolve("sk-local", f"{server.url}/proxy/fox/")
        call = RequestSpec(effect=Effect.READ, method="GET", path="/v1/x", query={"a": "b c&d"})
        await transport.attempt(account, call)
        await transport.poll(account, read.path)
        assert [request.target for request in server.requests] == [
            "/proxy/fox/v1/x?a=b%20c%26d",
            "/proxy/fox/v1/tasks/1",
        ]

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_redirects_are_not_followed(
        self,
        *,
        server: "Server",
        tls_server: "Server",
        account: Account,
        transport: Transport,
        read: RequestSpec,
        status: int,
    ) -> None:
        """The key never follows a redirect, not even of a read."""
        server.answers(status, b"", {"Location": f"{tls_server.url}/v1/tasks/1"})
        with pytest.raises(errors.APIStatusError, match="redirects") as failed:
            await transport.request(account, read, retry=RETRY)
        assert failed.value.status == status
        assert len(server.requests) == 1
        assert tls_server.requests == []


class TestConnections:
    """Whose connections these are, and when they end."""

    async def test_nothing_is_opened_before_the_first_call(self) -> None:
        """A transport that sends nothing has nothing to close."""
        await Transport().aclose()

    async def test_closed_transports_send_nothing(
        self, server: "Server", account: Account, transport: Transport, read: RequestSpec
    ) -> None:
        """After ``aclose``, which may be repeated, every call says that the session is closed."""
        await transport.attempt(account, read)
        await transport.aclose()
        await transport.aclose()
        for call in (
            transport.attempt(account, read),
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
        self,
        *,
        server: "Server",
        account: Account,
        transport: Transport,
        read: RequestSpec,
        begun: bytes,
        way: str,
    ) -> None:
        """Closing the transport ends a call at once, however far it has come, and for good."""
        calls: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "poll": lambda: transport.poll(account, read.path),
            "attempt": lambda: transport.attempt(account, read),
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

    async def test_a_lent_session_stays_open(
        self, server: "Server", account: Account, lent: aiohttp.ClientSession, post: RequestSpec
    ) -> None:
        """A session that was lent carries all calls, raises nothing itself and stays open."""
        transport = Transport(http=lent)
        await transport.attempt(account, post)
        await transport.poll(account, "/v1/tasks/1")
        await transport.aclose()
        assert not lent.closed
        assert len(server.peers) == 1

    async def test_a_lent_session_that_is_closed(
        self, account: Account, lent: aiohttp.ClientSession, read: RequestSpec
    ) -> None:
        """A lent session that its owner has closed is named as such."""
        await lent.close()
        with pytest.raises(errors.SessionClosedError, match="http="):
            await Transport(http=lent).attempt(account, read)

    async def test_a_lent_session_raises_no_errors_of_its_own(
        self, server: "Server", account: Account, read: RequestSpec
    ) -> None:
        """``raise_for_status`` of a lent session does not get in before our errors."""
        server.answers(404, {"error": {"message": "no", "type": "not_found"}})
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            with pytest.raises(errors.NotFoundError):
                await Transport(http=session).attempt(account, read)

    async def test_a_second_authorisation_is_a_setting_to_fix(self) -> None:
        """A lent session with a password of its own is refused with an error that says why."""
        with pytest.warns(DeprecationWarning, match="auth"):
            session = aiohttp.ClientSession(auth=aiohttp.BasicAuth("user"))
        async with session:
            with pytest.raises(errors.ConfigError, match="auth"):
                Transport(http=session)

    async def test_tls_with_the_users_context(
        self, tls_server: "Server", certificate: Path, post: RequestSpec
    ) -> None:
        """``ssl`` decides whom to trust."""
        context = ssl.create_default_context(cafile=certificate)
        transport = Transport(ssl=context)
        account = Account.resolve("sk-local", tls_server.url)
        answer = await transport.request(account, post, retry=RETRY)
        assert answer.status == 200
        await transport.aclose()
