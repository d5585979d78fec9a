"""A ``StreamBody`` returns bytes as they arrive, until the end, a cut or ``close``."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from foxapi_async import errors
from foxapi_async._clock import ManualClock, settle
from foxapi_async._transport import Account, Transport
from tests.transport.conftest import CHUNKED

if TYPE_CHECKING:
    from tests.transport.conftest import Server


async def test_bytes_come_as_they_are_sent(
    server: "Server", account: Account, transport: Transport, clock: ManualClock
) -> None:
    """Each read returns the buffered bytes; the body has the time of the last ones."""
    server.sends(CHUNKED, then="keep")
    body = await transport.open_stream(account, "/s", {"offset": "3"})
    assert server.requests[0].target == "/s?offset=3"
    assert server.requests[0].headers["accept"] == "text/event-stream"
    assert server.requests[0].headers["accept-encoding"] == "identity"
    assert body.last_received_at(1) == 0
    server.peers[0].send(b"5\r\nhello\r\n")
    await clock.advance(7)
    assert await body.read() == b"hello"
    assert body.last_received_at(7) == 7
    assert body.last_received_at(9) == 7
    body.reset_idle(8)
    assert body.last_received_at(9) == 8
    server.peers[0].send(b"0\r\n\r\n")
    assert await body.read() == b""
    assert await body.read() == b""
    body.close()


async def test_an_open_stream_has_no_timer(
    server: "Server", account: Account, transport: Transport, clock: ManualClock
) -> None:
    """Once a stream is open, the transport has no timer for it."""
    server.sends(CHUNKED, then="keep")
    body = await transport.open_stream(account, "/s")
    assert clock.timers == 0
    body.close()


async def test_a_stream_without_headers_times_out(
    server: "Server", account: Account, transport: Transport, clock: ManualClock
) -> None:
    """``Timeouts.read`` bounds the wait for the headers."""
    server.stays_silent()
    opening = asyncio.ensure_future(transport.open_stream(account, "/s"))
    await server.seen(1)
    await clock.advance(30)
    with pytest.raises(errors.APITimeoutError):
        await opening


@pytest.mark.parametrize("then", ["close", "reset"])
async def test_a_cut_is_an_error(
    server: "Server", account: Account, transport: Transport, then: str
) -> None:
    """A stream that ends before its last HTTP chunk raises, after the bytes that had arrived."""
    server.sends(CHUNKED + b"2\r\nhi\r\n", then="keep")
    body = await transport.open_stream(account, "/s")
    assert await body.read() == b"hi"
    peer = server.peers[0]
    peer.reset() if then == "reset" else peer.close()
    with pytest.raises(errors.APIConnectionError):
        await body.read()
    body.close()


async def test_closing_wakes_the_reader(
    server: "Server", account: Account, transport: Transport
) -> None:
    """``close`` ends the connection at once; a read that waits raises."""
    server.sends(CHUNKED, then="keep")
    body = await transport.open_stream(account, "/s")
    reading = asyncio.ensure_future(body.read())
    await settle()
    body.close()
    body.close()
    with pytest.raises(errors.APIConnectionError):
        await reading
    await server.peers[0].ended.wait()


async def test_a_cancelled_read_loses_nothing(
    server: "Server", account: Account, transport: Transport
) -> None:
    """The read after a cancelled one returns the next bytes."""
    server.sends(CHUNKED, then="keep")
    body = await transport.open_stream(account, "/s")
    reading = asyncio.ensure_future(body.read())
    await settle()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    server.peers[0].send(b"2\r\nhi\r\n")
    assert await body.read() == b"hi"
    body.close()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, errors.APIStatusError),
        (401, errors.AuthenticationError),
        (404, errors.NotFoundError),
        (422, errors.UnprocessableEntityError),
        (503, errors.ServiceUnavailableError),
    ],
)
async def test_a_refusal_is_its_status_error(
    server: "Server",
    account: Account,
    transport: Transport,
    status: int,
    expected: type[errors.APIStatusError],
) -> None:
    """A stream that is refused raises its status error, after one attempt."""
    server.answers(status, {"error": {"message": "no", "type": "t"}}, {"x-request-id": "r1"})
    with pytest.raises(expected) as refused:
        await transport.open_stream(account, "/s")
    assert type(refused.value) is expected
    assert refused.value.request_id == "r1"
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["text/html", "application/json", "", "text/event-streams"])
async def test_another_content_is_no_stream(
    server: "Server", account: Account, transport: Transport, kind: str
) -> None:
    """A 2xx of another content type is an ``InvalidResponseError``."""
    server.answers(200, b"<html>portal</html>", {"Content-Type": kind})
    with pytest.raises(errors.InvalidResponseError, match="event stream") as failed:
        await transport.open_stream(account, "/s")
    assert failed.value.body == "<html>portal</html>"


async def test_no_text_of_it_shows_content(
    server: "Server", account: Account, transport: Transport
) -> None:
    """The repr of a stream shows its state and no bytes."""
    server.sends(CHUNKED, then="keep")
    body = await transport.open_stream(account, "/s")
    assert repr(body) == "<StreamBody open>"
    body.close()
    assert repr(body) == "<StreamBody closed>"
