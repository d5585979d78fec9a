"""A borrowed session keeps its settings, and no call over it is billed twice."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from foxapi_async._clock import settle
from foxapi_async._transport import (
    Account,
    OutcomeUnknown,
    RequestSpec,
    Transport,
    decode,
)
from foxapi_async._transport.payload import SingleUsePayload
from foxapi_async._wire.task import Task, task_decoder
from foxapi_async.config import RetryPolicy
from foxapi_async.errors import APIConnectionError, AuthenticationError, ConfigError, FoxAPIError
from tests.transport.conftest import KEY, fetch, response, sending

if TYPE_CHECKING:
    from tests.transport.conftest import Peer, Retries, Server

RETRY = RetryPolicy(attempts=3)
Request = aiohttp.ClientRequest
Handler = aiohttp.ClientHandlerType
Reply = aiohttp.ClientResponse
Middleware = Callable[[Request, Handler], Awaitable[Reply]]
background: set[asyncio.Task[Reply]] = set()


def payload(request: Request) -> aiohttp.Payload:
    """Return the body of a request that has one."""
    body = request.body
    assert isinstance(body, aiohttp.Payload)
    return body


async def passes(request: Request, handler: Handler) -> Reply:
    """Do nothing."""
    return await handler(request)


async def reads(request: Request, handler: Handler) -> Reply:
    """Sign the body, or log it."""
    request.headers["X-Size"] = str(len(await payload(request).as_bytes()))
    return await handler(request)


async def rewrites(request: Request, handler: Handler) -> Reply:
    """Replace the body by the same bytes."""
    await request.update_body(await payload(request).as_bytes())
    return await handler(request)


async def assigns(request: Request, handler: Handler) -> Reply:
    """Assign the same bytes to the body, as older code does."""
    request.body = payload(request)._value
    return await handler(request)


async def invents(request: Request, handler: Handler) -> Reply:
    """Send a body of its own."""
    await request.update_body(b'{"model":"mine"}')
    return await handler(request)


async def tries_again(request: Request, handler: Handler) -> Reply:
    """Send again what failed."""
    try:
        return await handler(request)
    except aiohttp.ClientError:
        return await handler(request)


async def tries_a_copy(request: Request, handler: Handler) -> Reply:
    """Send a copy of what failed before it was sent."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        await request.update_body(b"{}")
        return await handler(request)


async def goes_on_behind(request: Request, handler: Handler) -> Reply:
    """Raise at once and send the request in a background task."""

    async def later() -> Reply:
        await settle(3)
        return await handler(request)

    background.add(asyncio.ensure_future(later()))
    raise TimeoutError


async def copies_behind(request: Request, handler: Handler) -> Reply:
    """Raise at once and send another body in a background task."""
    await request.update_body(b"{}")
    return await goes_on_behind(request, handler)


async def sends_elsewhere(request: Request, handler: Handler) -> Reply:
    """Send the body by another session, then raise a connection error."""
    del handler
    body = await payload(request).as_bytes()
    async with aiohttp.ClientSession() as other, other.post(request.url, data=body):
        pass
    raise aiohttp.ServerDisconnectedError


async def fails_before(request: Request, handler: Handler) -> Reply:
    """Open a circuit breaker."""
    del request, handler
    raise aiohttp.ClientConnectionError("the circuit is open")


async def fails_after(request: Request, handler: Handler) -> Reply:
    """Raise a ``KeyError`` after the response."""
    answer = await handler(request)
    raise KeyError(answer.status)


async def loses(request: Request, handler: Handler) -> Reply:
    """Raise a connect error after the response."""
    (await handler(request)).close()
    raise aiohttp.ClientConnectorError(SimpleNamespace(ssl=True, host="x", port=1), OSError(1, ""))  # type: ignore[arg-type]


async def expects(request: Request, handler: Handler) -> Reply:
    """Send ``Expect: 100-continue``."""
    request.update_expect_continue(expect=True)
    return await handler(request)


MIDDLEWARES: Sequence[Middleware] = (
    passes,
    reads,
    rewrites,
    assigns,
    invents,
    tries_again,
    tries_a_copy,
    goes_on_behind,
    copies_behind,
    sends_elsewhere,
    fails_before,
    fails_after,
    loses,
)


async def early(peer: "Peer") -> None:
    """Answer before any request."""
    peer.send(response(401))


async def reset(peer: "Peer") -> None:
    """Reset the connection."""
    peer.reset()


async def half(peer: "Peer") -> None:
    """Reset the connection after the headers."""
    await peer.head()
    peer.reset()


AT_CONNECT = {"early": early, "reset at once": reset, "reset after the headers": half}
SCRIPTS = {
    "a task": sending(response(), "keep"),
    "503": sending(response(503), "keep"),
    "401": sending(response(401), "close"),
    "closed": sending(b"", "close"),
    "reset": sending(b"", "reset"),
    "half an answer": sending(response()[:40], "close"),
}


@pytest.mark.parametrize("behaviour", ["refused", *AT_CONNECT, *SCRIPTS])
@pytest.mark.parametrize("middleware", MIDDLEWARES, ids=lambda one: one.__name__)
async def test_no_middleware_makes_us_send_again_what_a_server_has_seen(
    server: "Server",
    account: Account,
    post: RequestSpec,
    retries: "Retries",
    middleware: Middleware,
    behaviour: str,
) -> None:
    """Whatever a middleware and a server do, no attempt follows one that may have arrived."""
    began: list[tuple[int, int]] = []

    async def outermost(request: Request, handler: Handler) -> Reply:
        began.append((server.posts, len(server.requests)))
        return await middleware(request, handler)

    if behaviour == "refused":
        account = account.replace(base_url="http://127.0.0.1:9")
    elif behaviour in AT_CONNECT:
        server.at_connect.extend([AT_CONNECT[behaviour]] * 9)
    else:
        server.script.extend([SCRIPTS[behaviour]] * 9)
    async with aiohttp.ClientSession(middlewares=(outermost,)) as session:
        transport = Transport(http=session, clock=retries.clock)
        call = fetch(transport, account, post, retry=RETRY, emit=retries)
        (ended,) = await asyncio.gather(call, return_exceptions=True)
        seen = server.posts
        await asyncio.gather(*background, return_exceptions=True)
        background.clear()
        await settle(20)
    assert began[-1] == (0, 0)
    assert server.posts <= 1
    assert server.posts == seen
    assert isinstance(ended, Task | OutcomeUnknown | FoxAPIError | KeyError)
    if isinstance(ended, APIConnectionError):
        assert not ended.sent
        assert server.posts == 0


async def test_a_body_that_a_middleware_writes_anew_is_answered(
    server: "Server", account: Account, post: RequestSpec
) -> None:
    """Middlewares that sign or log the body work."""
    async with aiohttp.ClientSession(middlewares=(rewrites, reads)) as session:
        task = await fetch(Transport(http=session), account, post, retry=RETRY)
    assert task.id == "task-llm-1-aaaaaaaa"
    assert server.requests[0].body == post.body
    assert server.posts == 1


async def test_a_request_of_another_kind_proves_nothing(
    server: "Server", account: Account, post: RequestSpec
) -> None:
    """With a request class of the session's own, the outcome is unknown after a failure."""

    class Own(aiohttp.ClientRequest):
        async def write_bytes(
            self,
            writer: AbstractStreamWriter,
            conn: Connection,
            content_length: int | None = None,
        ) -> None:
            del content_length
            await writer.write(b"{}")
            assert isinstance(conn.transport, asyncio.Transport)
            conn.transport.abort()

    server.at_connect.extend([half] * 3)
    async with aiohttp.ClientSession(request_class=Own) as session:
        with pytest.raises(OutcomeUnknown):
            await fetch(Transport(http=session), account, post, retry=RETRY)
    assert len(server.peers) == 1


async def test_a_trace_that_fails_after_the_post_leaves_the_outcome_open(
    server: "Server", account: Account, post: RequestSpec
) -> None:
    """If a trace raises after the POST, the outcome is unknown."""

    async def fail(*_: object) -> None:
        raise LookupError("a bug of the trace")

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(fail)
    async with aiohttp.ClientSession(trace_configs=[trace]) as session:
        with pytest.raises(OutcomeUnknown, match="LookupError"):
            await fetch(Transport(http=session), account, post, retry=RETRY)
    assert server.posts == 1


async def test_an_early_refusal_of_what_expects_an_answer_is_final(
    server: "Server", account: Account, post: RequestSpec
) -> None:
    """A 401 to the headers of an ``Expect`` request is final."""

    async def refuse(peer: "Peer") -> None:
        await peer.head()
        peer.send(response(401))

    server.at_connect.extend([refuse] * 4)
    async with aiohttp.ClientSession(middlewares=(expects,)) as session:
        with pytest.raises(AuthenticationError):
            await fetch(Transport(http=session), account, post, retry=RETRY)
    assert len(server.peers) == 1


@pytest.mark.parametrize("name", ["Expect", "content-length", "Transfer-Encoding"])
async def test_headers_that_fit_no_body_are_refused(name: str) -> None:
    """A session whose default headers describe the body is refused."""
    async with aiohttp.ClientSession(headers={name: "100-continue"}) as session:
        with pytest.raises(ConfigError, match=f"(?i)http=.*{name}"):
            Transport(http=session)


async def test_defaults_of_the_session_change_nothing_of_ours(
    server: "Server", account: Account, post: RequestSpec, read: RequestSpec
) -> None:
    """Our key, Content-Type and decompression win; other default headers are sent."""
    packed = gzip.compress(response().partition(b"\r\n\r\n")[2])
    for _ in range(2):
        server.answers(200, packed, {"Content-Encoding": "gzip"})
    headers = {"Authorization": "Basic x", "Content-Type": "text/plain", "X-Team": "fox"}
    async with aiohttp.ClientSession(
        headers=headers,
        raise_for_status=True,
        auto_decompress=False,
        skip_auto_headers=["Content-Type"],
        cookies={"a": "b"},
        json_serialize=lambda _: "null",
    ) as session:
        transport = Transport(http=session)
        for call in (post, read):
            task = await fetch(transport, account, call, retry=RETRY)
            assert task.status == "pending"
    sent = server.requests[0]
    assert sent.body == post.body
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["x-team"] == "fox"


@pytest.fixture
def passwords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a ``.netrc`` with a password for the server's host."""
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(path))


@pytest.mark.usefixtures("passwords")
@pytest.mark.parametrize("lends", [True, False], ids=["borrowed", "own"])
async def test_a_netrc_does_not_get_in_the_way_of_the_key(
    server: "Server", account: Account, post: RequestSpec, read: RequestSpec, lends: bool
) -> None:
    """With ``trust_env``, a password that ``.netrc`` has for the host is not sent instead."""
    async with aiohttp.ClientSession(trust_env=True) as session:
        transport = Transport(http=session) if lends else Transport(trust_env=True)
        for call in (post, read):
            await fetch(transport, account, call, retry=RETRY)
        await transport.aclose()
    keys = {request.headers["authorization"] for request in server.requests}
    assert keys == {f"Bearer {KEY}"}


async def test_a_proxy_of_the_session_gets_nothing_that_stays_here(
    server: "Server", post: RequestSpec, read: RequestSpec
) -> None:
    """Plain http to loopback is not sent over the session's proxy, which could read the key."""
    account = Account.resolve(KEY, "http://127.0.0.1:9")
    async with aiohttp.ClientSession(proxy=server.url) as session:
        transport = Transport(http=session)
        for call in (post, read):
            with pytest.raises(ConfigError, match="no_proxy"):
                await fetch(transport, account, call, retry=RETRY)
    assert not server.peers


async def test_a_session_that_another_tool_has_taken_over_works(
    account: Account, post: RequestSpec, monkeypatch: pytest.MonkeyPatch, retries: "Retries"
) -> None:
    """Test tools that answer in place of aiohttp work."""
    requests: list[Mapping[str, object]] = []
    ends: list[object] = [aiohttp.ClientConnectionError("made up"), response, response]

    async def answers(_: object, method: str, url: object, **how: object) -> object:
        requests.append(how)
        end = ends.pop(0)
        if isinstance(end, Exception):
            raise end
        content = aiohttp.StreamReader(
            ResponseHandler(asyncio.get_running_loop()),
            2**16,
            loop=asyncio.get_running_loop(),
        )
        content.feed_data(b'{"id":"task-1","status":"pending"}')
        content.feed_eof()
        del method, url
        return SimpleNamespace(status=200, headers={}, content=content, close=lambda: None)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", answers)
    transport = Transport(clock=retries.clock)
    task = await fetch(transport, account, post, retry=RETRY, emit=retries)
    assert task.id == "task-1"
    # The first error came before the body was read, so the POST was sent again.
    assert len(requests) == 2
    assert isinstance(requests[0]["data"], SingleUsePayload)
    assert decode(task_decoder, await transport.poll(account, "/v1/tasks/task-1")).id == "task-1"
    assert len(requests) == 3
    await transport.aclose()
