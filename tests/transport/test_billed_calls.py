"""A billed POST reaches the service at most once, and its outcome is never guessed."""

import asyncio
import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from foxapi_async._clock import ManualClock, settle
from foxapi_async._protocol.retry import Effect
from foxapi_async._transport import (
    Account,
    CancelledInFlight,
    OutcomeUnknown,
    RequestSpec,
    Transport,
)
from foxapi_async.config import RetryPolicy, Timeouts
from foxapi_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    InvalidResponseError,
    RateLimitError,
)
from foxapi_async.hooks import Event, RetryScheduled
from tests.transport.conftest import ONCE, fetch

if TYPE_CHECKING:
    from tests.transport.conftest import Peer, Retries, Sent, Server

RETRY = RetryPolicy()
TRUSTING = RetryPolicy(resubmit_on_429="envelope")
ENVELOPE = {"error": {"message": "slow down", "type": "rate_limit_error"}}


class FailingResolver(AbstractResolver):
    """A resolver that fails for every host, or never answers."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.hangs = hangs
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Fail as the system's resolver does."""
        del port, family
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {host}")

    async def close(self) -> None:
        """Release nothing."""


# A POST that may have been accepted is not sent again.


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 529, 599, 408, 425])
async def test_ambiguous_statuses(
    server: "Server",
    post: RequestSpec,
    status: int,
    sent: "Sent",
) -> None:
    """After a 5xx, a 408 or a 425 the outcome is unknown (contract §8.2)."""
    server.answers(status, ENVELOPE, {"Retry-After": "1"})
    with pytest.raises(OutcomeUnknown) as lost:
        await sent(post)
    assert isinstance(lost.value.fault, APIStatusError)
    assert lost.value.fault.status == status
    assert server.posts == 1


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTT",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"id":',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n{",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"SSH-2.0-OpenSSH_9.9\r\n",
    ],
    ids=["none", "start", "status", "headers", "half", "chunk", "tls-alert", "garbage"],
)
async def test_ambiguous_cut_answers(
    *,
    server: "Server",
    post: RequestSpec,
    data: bytes,
    then: "str",
    sent: "Sent",
) -> None:
    """If the connection ends at any point after the request, the outcome is unknown."""
    server.sends(data, then="reset" if then == "reset" else "close")
    with pytest.raises(OutcomeUnknown) as lost:
        await sent(post)
    assert isinstance(lost.value.fault, APIConnectionError)
    assert lost.value.fault.sent
    assert len(server.requests) == 1


@pytest.mark.parametrize("then", ["close", "reset"])
async def test_cut_while_it_is_sent(server: "Server", then: str, sent: "Sent") -> None:
    """If the connection ends in the middle of the body, the outcome is unknown."""

    async def cut(peer: "Peer") -> None:
        await peer.head()
        peer.reset() if then == "reset" else peer.close()

    server.at_connect.append(cut)
    post = RequestSpec(effect=Effect.BILLED, method="POST", path="/v1", body=b"x" * 8_000_000)
    with pytest.raises(OutcomeUnknown) as lost:
        await sent(post)
    assert isinstance(lost.value.fault, APIConnectionError)
    assert len(server.peers) == 1


async def test_ambiguous_silence(
    server: "Server",
    post: RequestSpec,
    clock: ManualClock,
    sent: "Sent",
) -> None:
    """A POST that is not answered within ``Timeouts.submit`` may have been accepted."""
    server.stays_silent()
    call = asyncio.ensure_future(sent(post))
    await server.seen(1)
    await clock.advance(119.9)
    assert not call.done()
    await clock.advance(0.1)
    with pytest.raises(OutcomeUnknown) as lost:
        await call
    assert isinstance(lost.value.fault, APITimeoutError)
    assert lost.value.fault.sent
    assert "Timeouts.submit, 120 s" in str(lost.value.fault)
    assert server.posts == 1


@pytest.mark.parametrize(
    "body", [b"", b"<html>portal</html>", b'{"id":"task-', b"[]", b'{"status":"pending"}']
)
async def test_ambiguous_unusable_success(
    server: "Server",
    post: RequestSpec,
    sent: "Sent",
    body: bytes,
) -> None:
    """A 2xx that names no task leaves the outcome unknown."""
    server.answers(200, body)
    with pytest.raises(OutcomeUnknown) as lost:
        await sent(post)
    assert isinstance(lost.value.fault, InvalidResponseError)
    assert server.posts == 1


async def test_ambiguous_oversized_success(
    server: "Server", post: RequestSpec, sent: "Sent"
) -> None:
    """A 2xx that is too large to read leaves the outcome unknown."""
    server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", then="keep")
    with pytest.raises(OutcomeUnknown) as lost:
        await sent(post)
    assert isinstance(lost.value.fault, InvalidResponseError)


# A POST that the service has refused raises the service's error.


@pytest.mark.parametrize("status", [301, 307, 400, 401, 402, 403, 404, 409, 413, 422, 429])
@pytest.mark.parametrize("body", [{"error": {"message": "no", "type": "x"}}, b"<html>"])
async def test_refused_statuses(
    *,
    server: "Server",
    post: RequestSpec,
    status: int,
    body: bytes,
    sent: "Sent",
) -> None:
    """A 3xx or 4xx is a known outcome, and the POST is not sent again."""
    server.answers(status, body, {"Location": "http://127.0.0.1:1/elsewhere"})
    with pytest.raises(APIStatusError) as refused:
        await sent(post)
    assert refused.value.status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("policy", "body", "posts"),
    [
        ("default", ENVELOPE, 1),
        ("envelope", ENVELOPE, 2),
        ("envelope", {"error": {"message": "no", "type": "other"}}, 1),
        ("envelope", b"Too many requests", 1),
        ("always", b"Too many requests", 2),
        ("never", ENVELOPE, 1),
    ],
)
async def test_refused_rate_limit(
    *,
    server: "Server",
    post: RequestSpec,
    retries: "Retries",
    policy: str,
    body: bytes,
    posts: int,
    sent: "Sent",
) -> None:
    """A POST is sent again after a 429 as ``resubmit_on_429`` says, after the service's delay."""
    server.answers(429, body, {"Retry-After": "7"})
    retry = RETRY if policy == "default" else RetryPolicy(resubmit_on_429=policy)  # type: ignore[arg-type]
    call = sent(post, retry=retry, emit=retries)
    if posts == 1:
        with pytest.raises(RateLimitError) as refused:
            await call
        assert refused.value.retry_after == 7
    else:
        assert (await call).status == "pending"
        assert retries == [(1, 7.0, "RateLimitError")]
    assert server.posts == posts


async def test_rate_limit_over_the_cap(server: "Server", post: RequestSpec, sent: "Sent") -> None:
    """After a 429 with a delay over the cap, the error has the delay."""
    server.answers(429, ENVELOPE, {"Retry-After": "61"})
    with pytest.raises(RateLimitError) as refused:
        await sent(post, retry=TRUSTING)
    assert refused.value.retry_after == 61
    assert server.posts == 1


# A POST that was provably not sent is sent again.


async def test_never_sent_refused_connection(
    transport: Transport, post: RequestSpec, retries: "Retries"
) -> None:
    """A refused connection is retried; its error says that nothing was sent."""
    with socket.socket() as deaf:
        # Bound and not listening: no other process can take the port.
        deaf.bind(("127.0.0.1", 0))
        account = Account.resolve("sk-local", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        with pytest.raises(APIConnectionError) as failed:
            await fetch(transport, account, post, emit=retries)
    assert not failed.value.sent
    assert retries.delays == [0.5, 1.0, 2.0]


async def test_never_sent_unknown_host(
    clock: ManualClock, post: RequestSpec, retries: "Retries"
) -> None:
    """A name that does not resolve is retried; its error says that nothing was sent."""
    resolver = FailingResolver()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session:
        transport = Transport(http=session, clock=clock)
        account = Account.resolve("sk-local", "https://api.invalid")
        with pytest.raises(APIConnectionError, match="ClientConnectorDNSError") as failed:
            await fetch(transport, account, post, emit=retries)
    assert not failed.value.sent
    assert resolver.asked == RETRY.attempts


async def test_never_sent_connect_timeout(
    clock: ManualClock, post: RequestSpec, retries: "Retries"
) -> None:
    """A connection that takes longer than ``Timeouts.connect`` is retried; nothing was sent."""
    resolver = FailingResolver(hangs=True)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session:
        transport = Transport(http=session, clock=clock, timeouts=Timeouts(connect=0.01))
        account = Account.resolve("sk-local", "https://api.invalid")
        retry = RetryPolicy(attempts=2)
        with pytest.raises(APITimeoutError, match=r"Timeouts\.connect") as failed:
            await fetch(transport, account, post, retry=retry, emit=retries)
    assert not failed.value.sent
    assert [reason for *_, reason in retries] == ["APITimeoutError"]


async def test_plain_answer_on_a_tls_port(
    server: "Server", transport: Transport, post: RequestSpec, retries: "Retries"
) -> None:
    """A TLS handshake that is answered in plain text is retried; nothing was sent."""

    async def answer_plainly(peer: "Peer") -> None:
        await peer.reader.read(1)
        peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await peer.closed_by_client()

    server.at_connect.extend([answer_plainly] * 4)
    account = Account.resolve("sk-local", server.url.replace("http:", "https:"))
    with pytest.raises(APIConnectionError) as failed:
        await fetch(transport, account, post, emit=retries)
    assert not failed.value.sent
    assert len(retries) == 3
    assert server.requests == []


async def test_reset_in_the_handshake(
    server: "Server", transport: Transport, post: RequestSpec, retries: "Retries"
) -> None:
    """A connection that is reset in the TLS handshake is retried; nothing was sent."""

    async def reset(peer: "Peer") -> None:
        await peer.reader.read(1)
        peer.reset()

    server.at_connect.extend([reset] * 4)
    account = Account.resolve("sk-local", server.url.replace("http:", "https:"))
    with pytest.raises(APIConnectionError) as failed:
        await fetch(transport, account, post, emit=retries)
    assert not failed.value.sent
    assert len(server.peers) == 4


async def test_never_sent_untrusted_certificate(
    tls_server: "Server", transport: Transport, post: RequestSpec, retries: "Retries"
) -> None:
    """A certificate that is not trusted is not retried."""
    account = Account.resolve("sk-local", tls_server.url)
    with pytest.raises(APIConnectionError, match="certificate") as failed:
        await fetch(transport, account, post, emit=retries)
    assert not failed.value.sent
    assert retries == []
    assert tls_server.requests == []


# A kept connection that dies under the next request.


async def test_aiohttp_resends_reads_only(
    server: "Server",
    post: RequestSpec,
    read: RequestSpec,
    sent: "Sent",
) -> None:
    """Aiohttp itself sends a GET again over a new connection, and no POST."""
    for call in (read, post):
        await sent(call, retry=ONCE)
    server.sends(b"", then="close")
    assert (await sent(read, retry=ONCE)).status == "pending"
    assert [request.method for request in server.requests] == ["GET", "POST", "GET", "GET"]
    server.sends(b"", then="close")
    with pytest.raises(OutcomeUnknown):
        await sent(post)
    assert server.posts == 2


async def test_a_stray_answer_is_not_ours(
    server: "Server",
    post: RequestSpec,
    retries: "Retries",
    sent: "Sent",
) -> None:
    """Bytes on an idle connection are not taken for a response: the unsent POST is sent again."""
    await sent(post, retry=ONCE)
    for status in (408, 200):
        server.peers[-1].send(
            b'HTTP/1.1 %d So\r\nContent-Length: 15\r\n\r\n{"id":"foreign"}' % status
        )
        await settle()
        task = await sent(post, emit=retries)
        assert task.id == "task-llm-1-aaaaaaaa"
    assert server.posts == 3
    assert len(server.peers) == 3


async def test_a_closed_connection_is_replaced(
    server: "Server", post: RequestSpec, sent: "Sent"
) -> None:
    """A connection that the server has closed is not used."""
    await sent(post, retry=ONCE)
    server.peers[0].close()
    await settle()
    await sent(post)
    assert server.posts == 2
    assert len(server.peers) == 2


async def test_billed_calls_have_their_own_pool(
    server: "Server",
    post: RequestSpec,
    read: RequestSpec,
    sent: "Sent",
) -> None:
    """Billed calls do not share the connections of polls."""
    await sent(read, retry=ONCE)
    await sent(post, retry=ONCE)
    assert len(server.peers) == 2


# A cancelled POST is not sent again and leaves no timer.


async def test_cancelled_while_connecting(clock: ManualClock, post: RequestSpec) -> None:
    """Cancelling while a connection is made ends the call at once."""
    resolver = FailingResolver(hangs=True)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session:
        transport = Transport(http=session, clock=clock)
        account = Account.resolve("sk-local", "https://api.invalid")
        call = asyncio.ensure_future(fetch(transport, account, post))
        await settle()
        call.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await call
    assert type(cancelled.value) is asyncio.CancelledError
    assert resolver.asked == 1
    assert clock.timers == 0


async def test_while_waiting_for_the_answer(
    server: "Server",
    post: RequestSpec,
    clock: ManualClock,
    sent: "Sent",
) -> None:
    """Cancelling after the body was sent raises ``CancelledInFlight`` and closes the connection."""
    server.stays_silent()
    call = asyncio.ensure_future(sent(post))
    await server.seen(1)
    call.cancel()
    with pytest.raises(CancelledInFlight):
        await call
    assert server.posts == 1
    assert clock.timers == 0


async def test_cancelled_between_attempts(
    server: "Server",
    post: RequestSpec,
    clock: ManualClock,
    sent: "Sent",
) -> None:
    """Cancelling in the delay before the next attempt ends the call at once."""
    server.answers(429, ENVELOPE)
    waiting = asyncio.Event()

    def on_event(event: Event) -> None:
        if isinstance(event, RetryScheduled):
            waiting.set()

    call = asyncio.ensure_future(sent(post, retry=TRUSTING, emit=on_event))
    await waiting.wait()
    await settle()
    call.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await call
    assert type(cancelled.value) is asyncio.CancelledError
    assert server.posts == 1
    assert clock.timers == 0


async def test_in_a_later_attempt(
    server: "Server",
    post: RequestSpec,
    retries: "Retries",
    sent: "Sent",
) -> None:
    """Cancelling a retry after its body was sent raises ``CancelledInFlight``."""
    server.answers(429, ENVELOPE)
    server.stays_silent()
    call = asyncio.ensure_future(sent(post, retry=TRUSTING, emit=retries))
    await server.seen(2)
    call.cancel()
    with pytest.raises(CancelledInFlight):
        await call
    assert server.posts == 2


# A borrowed session cannot send a POST twice either.


async def test_a_middleware_that_sends_again(
    server: "Server", account: Account, post: RequestSpec
) -> None:
    """The payload refuses a second write, which a middleware asks for."""

    async def eager(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        await handler(request)
        return await handler(request)

    async with aiohttp.ClientSession(middlewares=(eager,)) as session:
        with pytest.raises(OutcomeUnknown):
            await fetch(Transport(http=session), account, post)
    assert server.posts == 1
