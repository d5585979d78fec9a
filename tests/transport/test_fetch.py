"""Retries, timeouts and bounds of calls that are not billed."""

import asyncio
import gzip
from typing import TYPE_CHECKING

import pytest

from foxapi_async import errors
from foxapi_async._clock import ManualClock
from foxapi_async._protocol.retry import Effect
from foxapi_async._transport import Account, OutcomeUnknown, RequestSpec, Transport
from foxapi_async.config import Limits, RetryPolicy, Timeouts
from tests.transport.conftest import ONCE, fetch

if TYPE_CHECKING:
    from tests.transport.conftest import Retries, Sent, Server

RETRY = RetryPolicy()
ENVELOPE = {"error": {"message": "no", "type": "server_error"}}


# Retries


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 524])
async def test_retry_transient_statuses(
    *,
    server: "Server",
    read: RequestSpec,
    retries: "Retries",
    status: int,
    sent: "Sent",
) -> None:
    """Transient statuses are retried until an attempt succeeds."""
    server.answers(status, ENVELOPE, times=3)
    task = await sent(read, emit=retries)
    assert task.status == "pending"
    assert retries.delays == [0.5, 1.0, 2.0]
    assert [attempt for attempt, *_ in retries] == [1, 2, 3]


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 409, 413, 422])
async def test_retry_final_statuses(
    server: "Server",
    read: RequestSpec,
    status: int,
    sent: "Sent",
) -> None:
    """Other statuses are not retried."""
    server.answers(status, ENVELOPE)
    with pytest.raises(errors.APIStatusError):
        await sent(read)
    assert len(server.requests) == 1


async def test_the_last_failure_is_raised(
    server: "Server",
    read: RequestSpec,
    retries: "Retries",
    sent: "Sent",
) -> None:
    """After the last attempt its error is raised, without the others as its context."""
    for status in (500, 502, 429, 503):
        server.answers(status, ENVELOPE)
    with pytest.raises(errors.ServiceUnavailableError) as failed:
        await sent(read, emit=retries)
    assert len(server.requests) == RETRY.attempts
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None


@pytest.mark.parametrize("body", [b"", b"<html>portal</html>", b'{"id":', b"[]", b"{}"])
async def test_retry_unusable_successes(
    *,
    server: "Server",
    read: RequestSpec,
    retries: "Retries",
    sent: "Sent",
    body: bytes,
) -> None:
    """A 2xx that cannot be decoded is a failed attempt (contract Q6, Q10)."""
    server.answers(200, body)
    task = await sent(read, emit=retries)
    assert task.status == "pending"
    assert [reason for *_, reason in retries] == ["InvalidResponseError"]


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", b"?"])
async def test_retry_cut_answers(
    *,
    server: "Server",
    read: RequestSpec,
    retries: "Retries",
    data: bytes,
    then: str,
    sent: "Sent",
) -> None:
    """A response that is cut is a failed attempt."""
    server.sends(data, then="reset" if then == "reset" else "close")
    await sent(read, emit=retries)
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
async def test_retry_retry_after(
    *,
    server: "Server",
    read: RequestSpec,
    retries: "Retries",
    headers: dict[str, str],
    delay: float,
    sent: "Sent",
) -> None:
    """The service's delay is used if it is a number or a date; anything else is ignored."""
    server.answers(429, ENVELOPE, headers)
    retry = RetryPolicy(max_elapsed=1000)
    await sent(read, retry=retry, emit=retries)
    assert retries.delays == [delay]


async def test_retry_after_over_the_cap(server: "Server", read: RequestSpec, sent: "Sent") -> None:
    """The error after a delay over the cap has the delay."""
    server.answers(503, ENVELOPE, {"Retry-After": "3600"})
    with pytest.raises(errors.ServiceUnavailableError) as failed:
        await sent(read)
    assert failed.value.retry_after == 3600


@pytest.mark.parametrize(
    ("headers", "wait"),
    [({}, None), ({"Retry-After": "7"}, 7.0), ({"retry-after-ms": "250"}, 0.25)],
)
async def test_successes_may_have_a_retry_after(
    *,
    server: "Server",
    account: Account,
    transport: Transport,
    headers: dict[str, str],
    wait: float | None,
) -> None:
    """A response has the delay that it asks for, a 2xx too."""
    server.answers(headers=headers)
    assert (await transport.poll(account, "/v1/tasks/1")).retry_after == wait


async def test_single_attempts_are_single(
    server: "Server", account: Account, transport: Transport, read: RequestSpec, sent: "Sent"
) -> None:
    """Polls, and calls with one attempt, raise the first failure."""
    server.answers(503, ENVELOPE, times=2)
    with pytest.raises(errors.ServiceUnavailableError):
        await sent(read, retry=ONCE)
    with pytest.raises(errors.ServiceUnavailableError):
        await transport.poll(account, read.path)
    assert len(server.requests) == 2


# Timeouts


async def test_timeout_read(
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
    server: "Server",
    clock: ManualClock,
    read: RequestSpec,
    sent: "Sent",
) -> None:
    """The timeout runs until the last byte of the response, not from byte to byte."""
    server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", then="keep")
    call = asyncio.ensure_future(sent(read, retry=ONCE))
    await server.seen(1)
    for _ in range(30):
        server.peers[0].send(b"{")
        await clock.advance(1)
    with pytest.raises(errors.APITimeoutError):
        await call


async def test_timeout_call(
    *,
    server: "Server",
    clock: ManualClock,
    read: RequestSpec,
    retries: "Retries",
    sent: "Sent",
) -> None:
    """``Timeouts.call`` ends an attempt in flight."""
    server.answers(503, ENVELOPE)
    server.stays_silent()
    timeouts = Timeouts(call=5)
    call = asyncio.ensure_future(sent(read, timeouts=timeouts, emit=retries))
    await server.seen(2)
    await clock.advance(4.5)
    with pytest.raises(errors.APITimeoutError, match=r"Timeouts\.call"):
        await call
    assert len(server.requests) == 2


@pytest.mark.parametrize("billed", [False, True])
async def test_no_drip_outlives_the_call(
    *,
    server: "Server",
    clock: ManualClock,
    read: RequestSpec,
    post: RequestSpec,
    billed: bool,
    sent: "Sent",
) -> None:
    """A response that arrives byte by byte ends with ``Timeouts.call``."""
    server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", then="keep")
    call = asyncio.ensure_future(sent(post if billed else read, timeouts=Timeouts(call=5)))
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
    *,
    server: "Server",
    clock: ManualClock,
    read: RequestSpec,
    retries: "Retries",
    sent: "Sent",
) -> None:
    """No attempt starts after ``Timeouts.call``, however many are allowed."""
    for _ in range(9):
        server.answers(503, ENVELOPE)
    retry = RetryPolicy(attempts=99, initial=1, multiplier=1, max_elapsed=1000)
    began = clock.time()
    with pytest.raises(errors.ServiceUnavailableError):
        await sent(read, retry=retry, timeouts=Timeouts(call=4.5), emit=retries)
    assert clock.time() - began <= 4.5
    assert len(server.requests) == 5


async def test_no_wait_runs_past_the_call(
    server: "Server", read: RequestSpec, sent: "Sent"
) -> None:
    """If the next attempt would start after ``Timeouts.call``, the failure is raised at once."""
    server.answers(429, ENVELOPE, {"Retry-After": "5"})
    with pytest.raises(errors.RateLimitError):
        await sent(read, timeouts=Timeouts(call=5))
    assert len(server.requests) == 1


async def test_many_attempts_share_a_timer(
    server: "Server",
    account: Account,
    transport: Transport,
    clock: ManualClock,
    read: RequestSpec,
) -> None:
    """All attempts in flight share one timer; without any there is none."""
    for _ in range(20):
        server.stays_silent()
    calls = [asyncio.ensure_future(transport.poll(account, read.path)) for _ in range(20)]
    await server.seen(20)
    assert clock.timers == 1
    await clock.advance(30)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, errors.APITimeoutError) for result in results)
    assert clock.timers == 0


# Bounds


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
async def test_bound_large_answers(
    server: "Server", account: Account, read: RequestSpec, data: bytes
) -> None:
    """A response over the bound is refused, with or without a length, and not retried."""
    server.sends(data, then="keep")
    transport = Transport(limits=Limits(max_response_bytes=1000))
    with pytest.raises(errors.InvalidResponseError, match=r"max_response_bytes = 1000") as failed:
        await fetch(transport, account, read)
    assert failed.value.status == 200
    assert len(failed.value.body) <= 400
    assert len(server.requests) == 1
    await transport.aclose()


async def test_bound_a_bomb(server: "Server", account: Account, read: RequestSpec) -> None:
    """The bound counts decompressed bytes, and decompression stops there."""
    bomb = gzip.compress(bytes(200_000_000), compresslevel=1)
    server.answers(200, bomb, {"Content-Encoding": "gzip"})
    transport = Transport(limits=Limits(max_response_bytes=1_000_000))
    with pytest.raises(errors.InvalidResponseError, match=r"limits\.max_response_bytes"):
        await fetch(transport, account, read)
    await transport.aclose()


async def test_an_answer_at_the_bound(
    server: "Server", account: Account, read: RequestSpec
) -> None:
    """A response exactly as large as the bound is read, compressed or not."""
    transport = Transport(limits=Limits(max_response_bytes=100_000))
    server.answers(200, b"x" * 100_000)
    assert len((await transport.poll(account, read.path)).body) == 100_000
    server.answers(200, gzip.compress(b"x" * 100_000), {"Content-Encoding": "gzip"})
    assert len((await transport.poll(account, read.path)).body) == 100_000
    await transport.aclose()


async def test_a_large_refusal_is_cut(server: "Server", read: RequestSpec, sent: "Sent") -> None:
    """Only the start of an error body is read."""
    server.answers(403, b"<html>" + b"x" * 5_000_000)
    with pytest.raises(errors.PermissionDeniedError) as failed:
        await sent(read, retry=ONCE)
    assert failed.value.body == "<html>" + "x" * 394


async def test_a_large_body_is_sent_in_pieces(server: "Server", sent: "Sent") -> None:
    """A request body of many megabytes arrives complete, without a warning."""
    body = bytes(range(256)) * 20_000
    await sent(RequestSpec(effect=Effect.BILLED, method="POST", path="/x", body=body), retry=ONCE)
    assert server.requests[0].body == body
