"""A key that a server, a URL or an error repeats is masked wherever it could be read."""

import asyncio
import copy
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from foxapi_async import errors
from foxapi_async._clock import ManualClock, settle
from foxapi_async._transport import Account, HTTPResponse, RequestSpec, Transport, decode
from foxapi_async._wire.task import task_decoder
from foxapi_async.config import RetryPolicy
from foxapi_async.hooks import Event, RequestFinished, RequestStarted, RetryScheduled
from tests.transport.conftest import CHUNKED

if TYPE_CHECKING:
    from tests.transport.conftest import Retries, Server

KEY = "sk-0123456789abcdef"
RETRY = RetryPolicy(attempts=2, resubmit_on_429="envelope")


def chain(error: BaseException | None) -> str:
    """Return the texts of an error, its causes and its contexts."""
    texts: list[str] = []
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        link = waiting.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        texts.append(f"{link} {link!r} {link.args} {vars(link)}")
        texts.extend(repr(getattr(value, "__dict__", "")) for value in vars(link).values())
        texts.extend(traceback.format_exception(link))
        # The attributes of an error of aiohttp, such as the request's headers.
        texts.extend(
            repr(getattr(link, name, "")) for name in ("request_info", "headers", "os_error")
        )
        waiting += [link.__cause__, link.__context__, getattr(link, "fault", None)]
    return "\n".join(texts)


ESCAPED = (
    b'{"error":{"message":"bad %b","code":"x"}}'
    % "".join(f"\\u{ord(char):04x}" for char in KEY).encode()
)
FAULTS = {
    "refused": b"",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + KEY.encode(),
    "not HTTP": KEY.encode() + b"\r\n\r\n",
    "a bad header": b"HTTP/1.1 200 OK\r\n" + KEY.encode() + b"\r\n\r\n",
    "a bad status": b"HTTP/1.1 " + KEY.encode() + b" OK\r\n\r\n",
    "HTML": b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n<html>" + KEY.encode() + b"</",
    "a status": b"HTTP/1.1 500 No\r\nx-request-id: "
    + KEY.encode()
    + b"\r\nContent-Length: 19\r\n\r\n"
    + KEY.encode(),
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/?k="
    + KEY.encode()
    + b"\r\nContent-Length: 0\r\n\r\n",
    "an escaped status": b"HTTP/1.1 400 "
    + KEY.encode()
    + b"\r\nContent-Length: %d\r\n\r\n" % len(ESCAPED)
    + ESCAPED,
    "an escaped body": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ESCAPED) + ESCAPED,
    "a part of the key": b"HTTP/1.1 200 OK\r\n\r\n<html>" + KEY[:-1].encode(),
    "a content type": b"HTTP/1.1 200 OK\r\nContent-Type: "
    + KEY.encode()
    + b"\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_error_of_any_call_shows_the_key(
    server: "Server",
    account: Account,
    transport: Transport,
    fault: str,
    post: RequestSpec,
    read: RequestSpec,
) -> None:
    """Whatever a server sends back, no error of the chain contains the key."""
    retry = RetryPolicy(attempts=1)
    for call in (
        lambda: transport.poll(account, read.path),
        lambda: transport.open_stream(account, read.path),
        lambda: transport.fetch(account, read, task_decoder, retry=retry),
        lambda: transport.fetch(account, post, task_decoder, retry=retry),
    ):
        server.sends(FAULTS[fault])
        (ended,) = await asyncio.gather(call(), return_exceptions=True)
        shown = ended if isinstance(ended, BaseException) else ValueError(repr(ended))
        for text in (chain(shown), chain(copy.copy(shown))):
            assert not [KEY[at : at + 8] for at in range(len(KEY) - 7) if KEY[at : at + 8] in text]
            assert "\\u0073" not in text


async def test_our_errors_carry_no_foreign_ones(
    server: "Server", account: Account, transport: Transport, read: RequestSpec
) -> None:
    """No error has an error of aiohttp, which holds the request's headers, in its chain."""
    server.sends(b"", then="reset")
    server.sends(b"", then="reset")  # the second is for the GET that aiohttp sends again
    with pytest.raises(errors.APIConnectionError) as failed:
        await transport.poll(account, read.path)
    assert (failed.value.__cause__, failed.value.__context__) == (None, None)
    server.sends(CHUNKED, then="keep")
    body = await transport.open_stream(account, read.path)
    reading = asyncio.ensure_future(body.read())
    await settle()
    server.peers[-1].reset()
    with pytest.raises(errors.APIConnectionError) as cut:
        await reading
    assert (cut.value.__cause__, cut.value.__context__) == (None, None)
    body.close()


def test_an_error_of_a_bad_url_hides_its_password() -> None:
    """The part of a URL before an @ is in no error of the chain."""
    for url in ("https://me:hunter2@fox.example:port", "https://me:hunter2@[::1"):
        with pytest.raises(errors.ConfigError) as refused:
            Account.resolve(KEY, url)
        assert "hunter2" not in chain(refused.value)


SPELLINGS = {
    "plain": 'sk-"0123/456\\789+abc',
    "quoted": "sk-%220123%2F456%5C789%2Babc",
    "lower quoted": "sk-%220123%2f456%5c789%2babc",
    "JSON": 'sk-\\"0123/456\\\\789+abc',
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_masked(spelling: str) -> None:
    """A key with special characters is masked in its URL and JSON forms too."""
    account = Account.resolve(SPELLINGS["plain"])
    text = f"before {SPELLINGS[spelling]} after"
    assert account.redact(text) == 'before sk-"…+abc after'
    assert account.mask.may_contain(text.encode())
    assert not account.mask.may_contain(b"nothing")


def test_a_key_inside_the_base_url_is_masked() -> None:
    """A base URL that contains the key works, and is masked in every text."""
    account = Account.resolve(KEY, f"https://{KEY}.fox.example/{KEY}/api")
    assert str(account.url("/v1")) == f"https://{KEY}.fox.example/{KEY}/api/v1"
    assert KEY not in f"{account!r} {account.origin}"


def test_what_an_answer_repeats_is_masked_but_for_the_users_data() -> None:
    """Texts of the service are masked, unknown members too; results are left as they are."""
    body = {
        "id": KEY,
        "status": KEY,
        "model": f"model-{KEY}",
        "error": {"message": f"bad {KEY}", "code": KEY, "hint": [KEY]},
        "results": [{"text": KEY}],
        "news": {KEY: KEY},
    }
    task = decode(task_decoder, HTTPResponse(Account.resolve(KEY), 200, msgspec.json.encode(body)))
    error_body = task.error
    assert error_body is not None
    shown: list[Any] = [task.id, task.status, task.model, task.extra, error_body, error_body.extra]
    assert KEY not in repr(shown)
    assert task.results is not None
    assert KEY.encode() in bytes(task.results[0])
    assert dict(task.extra) == {"news": {"sk-0…cdef": "sk-0…cdef"}}


def test_errors_keep_no_account(account: Account) -> None:
    """A pickled error has no account."""
    with pytest.raises(errors.InvalidResponseError) as failed:
        decode(task_decoder, HTTPResponse(account, 200, b"{}"))
    assert KEY.encode() not in pickle.dumps(failed.value)


# Events of requests


async def test_each_attempt_is_emitted(
    server: "Server",
    account: Account,
    transport: Transport,
    post: RequestSpec,
    retries: "Retries",
) -> None:
    """A call emits events of its attempts and of the delays between them."""
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        retries(event)

    server.answers(429, {"error": {"message": "slow", "type": "rate_limit_error"}})
    await transport.fetch(account, post, task_decoder, retry=RETRY, emit=emit)
    where = {"method": "POST", "path": "/v1/llm/generations"}
    assert events == [
        RequestStarted(**where, attempt=1),
        RequestFinished(**where, attempt=1, seconds=0.0, status=429, error="RateLimitError"),
        RetryScheduled(**where, attempt=1, delay=0.5, reason="RateLimitError"),
        RequestStarted(**where, attempt=2),
        RequestFinished(**where, attempt=2, seconds=0.0, status=200, error=None),
    ]


async def test_single_attempts_are_emitted(
    server: "Server", account: Account, transport: Transport, clock: ManualClock
) -> None:
    """Polls and streams emit the events of their attempt, failed and cancelled ones too."""
    events: list[Event] = []
    where = "/v1/tasks/1", {"sync_upstream": "true"}
    await transport.poll(account, *where, emit=events.append)
    with pytest.raises(errors.InvalidResponseError):
        await transport.open_stream(account, *where, emit=events.append)
    server.stays_silent()
    call = asyncio.ensure_future(transport.poll(account, *where, emit=events.append))
    await server.seen(3)
    await clock.advance(2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    ends = [event for event in events if isinstance(event, RequestFinished)]
    assert [(end.status, end.error, end.seconds) for end in ends] == [
        (200, None, 0.0),
        (200, "InvalidResponseError", 0.0),
        (None, "CancelledError", 2.0),
    ]
    assert {end.path for end in ends} == {"/v1/tasks/1"}


async def test_no_event_shows_the_key(
    server: "Server", transport: Transport, read: RequestSpec
) -> None:
    """A base URL that holds the key is masked in events."""
    account = Account.resolve(KEY, f"{server.url}/{KEY}")
    events: list[Event] = []
    await transport.fetch(account, read, task_decoder, retry=RETRY, emit=events.append)
    await transport.poll(account, read.path, emit=events.append)
    assert events
    assert KEY not in repr(events)
    assert server.requests[0].target == f"/{KEY}/v1/tasks/1"
