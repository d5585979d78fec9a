"""The gateway on a port of its own, and bytes that are not HTTP."""

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from foxapi_async._clock import ManualClock
from foxapi_async.gateway import Gateway, make_app
from foxapi_async.gateway.app import STATS

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve, Service

SUBMIT = "/v1/llm/generations"


async def test_a_gateway_listens_on_a_free_port() -> None:
    """``port=0`` takes a free port, ``url`` contains it, and leaving the context releases it."""
    async with Gateway() as one, Gateway() as other:
        assert one.port != other.port
        assert one.url == f"http://127.0.0.1:{one.port}"
    async with Gateway(port=one.port) as again:
        assert again.port == one.port


async def test_a_gateway_that_does_not_listen_has_no_address() -> None:
    """Before the context is entered there is no port."""
    with pytest.raises(RuntimeError, match="async with"):
        _ = Gateway().url


async def test_a_port_that_is_taken_is_an_error() -> None:
    """A port in use raises ``OSError`` and leaves nothing behind."""
    async with Gateway() as gateway:
        with pytest.raises(OSError, match="in use"):
            async with Gateway(port=gateway.port):
                pass


async def test_a_gateway_starts_once() -> None:
    """A closed gateway cannot be started again."""
    gateway = Gateway()
    async with gateway:
        pass
    with pytest.raises(RuntimeError, match="once"):
        async with gateway:
            pass


async def test_leaving_the_context_stops_running_tasks(serve: "Serve") -> None:
    """Unfinished tasks stop with the gateway at once."""
    clock = ManualClock()
    service = await serve(clock=clock, queue_delay=3600)
    for _ in range(20):
        await service.submit(stream=True)
    assert clock.timers == 20
    await service.gateway.__aexit__(None, None, None)
    assert clock.timers == 0


async def test_an_idle_connection_does_not_delay_closing() -> None:
    """A connection that is kept alive does not delay the shutdown."""
    async with aiohttp.ClientSession() as http:
        async with Gateway() as gateway:
            async with http.get(gateway.url + "/healthz") as response:
                assert response.status == 200
            leaving = asyncio.timeout(1)
            await leaving.__aenter__()
        await leaving.__aexit__(None, None, None)


async def test_the_app_runs_in_any_runner() -> None:
    """``make_app`` returns an ordinary application with its counters."""
    app = make_app(queue_delay=0)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}]}
    url = f"http://{host}:{port}/v1/llm/generations"
    headers = {"Authorization": "Bearer x"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(url, json=body) as response,
    ):
        assert response.status == 200
    assert app[STATS].tasks == 1
    await runner.cleanup()


@pytest.mark.parametrize(
    "data",
    [
        b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"a" * 20_000),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: %s\r\n\r\n" % (b"a" * 20_000),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
        % b"".join(b"X-%d: 1\r\n" % n for n in range(500)),
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a greeting in TLS\r\n\r\n",
        b"G@T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        b"POST /v1/llm/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        (
            b"POST /v1/llm/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n{}"
        ),
    ],
)
async def test_bytes_that_are_not_http_get_the_envelope(service: "Service", data: bytes) -> None:
    """Bytes that are not HTTP, or too large a head, get an error that repeats none of them."""
    status, body = await service.send_bytes(data)
    assert status in {400, 431}
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert b"aaaa" not in body
    assert (await service.call("GET", "/healthz")).status == 200


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (b"GET /v1/tasks/%%zz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n", 404),
        (
            b"GET /v1/tasks/%ff%fe HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n",
            404,
        ),
        (b"GET //v1//tasks HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /v1/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"TRACE /v1/tasks/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"BREW /v1/tasks/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: miracles\r\n\r\n", 417),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: \xff\xfe\r\n\r\n", 417),
        (b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nExpect: \xff\r\n\r\n", 417),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: \xff\r\n\r\n", 403),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nOrigin: \xff\r\n\r\n", 403),
        (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /v1/tasks/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xff\r\n\r\n", 404),
        (b"GET /v1/tasks/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: \xff\r\n\r\n", 401),
        (
            (
                b"POST /v1/llm/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
                b"Content-Type: \xff\r\n\r\n{}"
            ),
            400,
        ),
        (
            (
                b"POST /v1/llm/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
                b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n\r\n{}"
            ),
            400,
        ),
    ],
)
async def test_unusual_requests_get_ordinary_errors(
    service: "Service", data: bytes, expected: int
) -> None:
    """Unusual paths, methods and headers get an error in the envelope."""
    status, body = await service.send_bytes(data)
    assert status == expected
    if status != 200:
        assert json.loads(body)["error"]["message"]


@given(
    st.lists(
        st.sampled_from(
            [
                *(b"GET ", b"POST ", b"/v1/llm/generations", b"/v1/tasks/", b"x", b"%", b" "),
                *(b" HTTP/1.1\r\n", b"\r\n", b"Host: localhost\r\n", b"Content-Length: 5\r\n"),
                *(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"\x00"),
                *(b"Authorization: Bearer x\r\n", b"Content-Type: application/json\r\n", b"{}"),
            ]
        )
        | st.binary(max_size=8),
        max_size=16,
    )
)
@settings(max_examples=60)
def test_no_bytes_crash_the_gateway(fragments: list[bytes]) -> None:
    """Whatever bytes a connection sends, the gateway closes it and answers the next one."""

    async def attack() -> None:
        async with Gateway() as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(b"".join(fragments))
            writer.write_eof()
            with suppress(ConnectionError):
                await reader.read()
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.0 200 OK\r\n")
            writer.close()

    asyncio.run(attack())


async def test_a_disconnect_during_the_body_is_not_a_crash(
    service: "Service", caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that ends in the middle of a request is not an error of the gateway."""
    _, writer = await asyncio.open_connection("127.0.0.1", service.gateway.port)
    writer.write(
        b"POST /v1/llm/generations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n"
        b'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"model":'
    )
    while service.gateway.stats.submits == 0:
        await asyncio.sleep(0)
    writer.close()
    await writer.wait_closed()
    assert (await service.call("GET", "/healthz")).status == 200
    assert service.gateway.stats.tasks == 0
    assert "crashed" not in caplog.text


async def test_a_body_that_cannot_be_decoded_logs_nothing(
    service: "Service", caplog: pytest.LogCaptureFixture
) -> None:
    """A body that is not encoded as announced is a 400, without a traceback in the log."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    reply = await service.call("POST", SUBMIT, data=b"no gzip", headers=headers)
    assert reply.status == 400
    assert (await service.call("GET", "/healthz")).status == 200
    assert not caplog.records
