"""The gateway on its port."""

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from foxapi_async._clock import ManualClock
from foxapi_async.gateway import Gateway, make_app
from foxapi_async.gateway.app import STATS

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve


async def test_a_gateway_listens_on_a_free_port() -> None:
    """``port=0`` takes a port of its own, which ``url`` tells, and leaving gives it back."""
    async with Gateway() as one, Gateway() as other:
        assert one.port != other.port
        assert one.url == f"http://127.0.0.1:{one.port}"
    async with Gateway(port=one.port) as again:
        assert again.port == one.port


async def test_a_gateway_that_does_not_listen_has_no_address() -> None:
    """Before it listens there is no port to tell."""
    with pytest.raises(RuntimeError, match="async with"):
        _ = Gateway().url


async def test_a_port_that_is_taken_is_an_error() -> None:
    """A port that somebody else listens on raises ``OSError`` and leaves nothing behind."""
    async with Gateway() as gateway:
        with pytest.raises(OSError, match="in use"):
            async with Gateway(port=gateway.port):
                pass


async def test_a_gateway_listens_once() -> None:
    """A gateway that was closed does not come back: its tasks are gone."""
    gateway = Gateway()
    async with gateway:
        pass
    with pytest.raises(RuntimeError, match="once"):
        async with gateway:
            pass


async def test_leaving_stops_what_runs(serve: "Serve") -> None:
    """Tasks that have not ended stop with the gateway, at once and without a trace."""
    clock = ManualClock()
    service = await serve(clock=clock, queue_delay=3600)
    for _ in range(20):
        await service.submit(stream=True)
    assert clock.timers == 20
    await service.gateway.__aexit__(None, None, None)
    assert clock.timers == 0


async def test_an_idle_connection_does_not_delay_closing() -> None:
    """A client that keeps its connection alive does not hold the gateway open."""
    async with aiohttp.ClientSession() as http:
        async with Gateway() as gateway:
            async with http.get(gateway.url + "/healthz") as response:
                assert response.status == 200
            leaving = asyncio.timeout(1)
            await leaving.__aenter__()
        await leaving.__aexit__(None, None, None)


async def test_the_app_runs_in_any_runner() -> None:
    """``make_app`` gives an ordinary application, whose stats can be read."""
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
