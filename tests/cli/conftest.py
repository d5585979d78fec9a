"""Fixtures that run the real command against a real gateway."""

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

import foxapi_async
from foxapi_async.cli.app import run_command_line
from foxapi_async.gateway import Gateway
from foxapi_async.gateway.settings import GatewayOptions

KEY = "sk-secret-key-of-the-test"


class Done(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines of JSON on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Awaitable[Done]]
Serve = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def serve(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """Start a gateway that every command of this test uses."""
    async with AsyncExitStack() as stack:

        async def start(*middlewares: Middleware, **options: Unpack[GatewayOptions]) -> Gateway:
            options.setdefault("queue_delay", 0)
            options.setdefault("token_delay", 0)
            gateway = Gateway(**options)
            gateway.app.middlewares.extend(middlewares)
            await stack.enter_async_context(gateway)
            monkeypatch.setenv("FOXAPI_BASE_URL", gateway.url)
            monkeypatch.setenv("FOXAPI_API_KEY", KEY)
            return gateway

        yield start


@pytest.fixture
async def gateway(serve: Serve) -> Gateway:
    """Start a gateway without delays."""
    return await serve()


@pytest.fixture
def foxapi(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a thread of this process; stdout is not a terminal."""

    async def run(*arguments: str, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = await asyncio.to_thread(run_command_line, arguments)
        shown = capsys.readouterr()
        return Done(code, shown.out, shown.err)

    return run


@pytest.fixture
def environment() -> Callable[[], dict[str, str]]:
    """Return the environment in which a subprocess finds this package."""
    return lambda: {
        **os.environ,
        "PYTHONPATH": str(Path(foxapi_async.__file__).parents[1]),
        "PYTHONWARNINGS": "error",
    }


@pytest.fixture
def spawn(environment: Callable[[], dict[str, str]]) -> Callable[..., subprocess.Popen[str]]:
    """Start ``python -m foxapi_async`` with pipes. It blocks: call it in a thread."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "foxapi_async", *arguments],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    return start


@pytest.fixture
def answering() -> Callable[..., Middleware]:
    """Return a function that builds a middleware that answers every request with an error."""

    def make(
        status: int, headers: Mapping[str, str] | None = None, message: str = "no"
    ) -> Middleware:
        @web.middleware
        async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
            del request, handler
            return web.json_response(
                {"error": {"message": message}}, status=status, headers=headers
            )

        return refuse

    return make


@pytest.fixture
def losing_answers() -> Middleware:
    """Return a middleware that handles the request and then aborts the connection."""

    @web.middleware
    async def lose(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        assert request.transport is not None
        request.transport.abort()
        return response

    return lose


@pytest.fixture
def recorded() -> tuple[list[Any], Middleware]:
    """Return the submitted bodies and the middleware that records them."""
    bodies: list[Any] = []

    @web.middleware
    async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
        bodies.append(await request.json())
        return await handler(request)

    return bodies, record


@pytest.fixture
def recorded_submits() -> tuple[list[Any], Middleware]:
    """Return the bodies of POST requests and the middleware that records them."""
    bodies: list[Any] = []

    @web.middleware
    async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "POST":
            bodies.append(await request.json())
        return await handler(request)

    return bodies, record


class LosingSubmits:
    """A middleware that aborts the connection of a submit after it was handled."""

    __middleware_version__ = 1

    def __init__(self) -> None:
        self.is_losing: bool = True

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle a request."""
        response = await handler(request)
        if self.is_losing and request.method == "POST":
            assert request.transport is not None
            request.transport.abort()
        return response


@pytest.fixture
def losing_submits() -> LosingSubmits:
    """Return a middleware whose ``is_losing`` can be changed."""
    return LosingSubmits()
