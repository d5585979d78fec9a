"""A gateway in a thread of its own, for synchronous and asynchronous tests."""

import asyncio
import socket
from concurrent.futures import Future
from hashlib import sha256
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
from msgspec import Struct

from foxapi_async._clock import ManualClock
from foxapi_async._wire.media_request import SUBMIT_PATHS

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler, Middleware

    from foxapi_async.gateway.faults.plan import Faults
    from foxapi_async.gateway.models import Replies
    from foxapi_async.gateway.stats import GatewayStats

_KEY: Final = "sk-foxapi-test-key"
_TIMEOUT: Final = 10.0


class _Accepted(Struct):
    id: str


class BackgroundGateway:
    """A gateway in a thread of its own: ``with BackgroundGateway() as gateway``.

    The methods are synchronous. An asynchronous test can call them too, because they block only for
    a moment.

    Args:
        **settings: The keywords of ``Gateway``. The seed is 0 by default.
    """

    def __init__(self, **settings: Any) -> None:
        # Imported here, so that importing this module does not import aiohttp.
        from foxapi_async.gateway.app import SETTINGS
        from foxapi_async.gateway.server import Gateway

        settings.setdefault("seed", 0)
        self._gateway = Gateway(**settings)
        self._gateway.app.middlewares.append(self._record_requests())
        self._clock = self._gateway.app[SETTINGS].clock
        keys = self._gateway.app[SETTINGS].credits
        self.key: str = next(iter(keys), _KEY)
        """An API key that the gateway accepts."""
        self._requests: dict[str, bytes] = {}
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._stop = asyncio.Event()
        self._thread = Thread(target=self._run, name="foxapi-gateway", daemon=True)

    @property
    def url(self) -> str:
        """The address for ``FoxSession(base_url=...)``."""
        return self._gateway.url

    @property
    def stats(self) -> "GatewayStats":
        """The counters of the gateway."""
        return self._gateway.stats

    @property
    def faults(self) -> "Faults":
        """The fault rules, which can be added and cleared at any time."""
        return self._gateway.faults

    @property
    def replies(self) -> "Replies":
        """The scripted answers. Add and clear them at any time."""
        return self._gateway.replies

    @property
    def requests(self) -> list[Any]:
        """The JSON bodies of the submits so far, the oldest first."""
        return self._gateway.requests

    @property
    def billed(self) -> tuple[str, ...]:
        """The ids of all created tasks in their order. Each of them is billed."""
        return tuple(self._requests)

    def advance(self, seconds: float) -> None:
        """Advance the time of the gateway, and return when everything due has run.

        Args:
            seconds: The time by which the clock advances.

        Raises:
            RuntimeError: The clock is no ``ManualClock``. The fixture ``foxapi_clock`` sets one.
        """
        if not isinstance(self._clock, ManualClock):
            raise RuntimeError(  # noqa: TRY004 no argument is of a wrong type
                "the gateway uses real time: add the fixture foxapi_clock to the arguments of the "
                "test, or build the gateway with clock=ManualClock()"
            )
        moved = asyncio.run_coroutine_threadsafe(self._clock.advance(seconds), self._loop)
        moved.result(_TIMEOUT)

    @property
    def time(self) -> float:
        """The time of the gateway's clock in seconds, from an arbitrary zero."""
        return self._clock.time()

    def assert_billed_once(self, task_id: str) -> None:
        """Assert that this gateway created the task, and no other task from the same request.

        Two requests are the same if their paths and bodies are. A test that submits the same
        request several times on purpose must check ``billed`` instead.

        Args:
            task_id: The id of the task.

        Raises:
            AssertionError: The task is unknown, or the request was billed several times.
        """
        request = self._requests.get(task_id)
        if request is None:
            raise AssertionError(
                f"task {task_id} was not created by this gateway; it created "
                f"{', '.join(self._requests) or 'none'}"
            )
        twins = [other for other, body in self._requests.items() if body == request]
        if len(twins) > 1:
            raise AssertionError(f"billed {len(twins)} times: one request made {', '.join(twins)}")

    def __enter__(self) -> Self:
        """Start the gateway. ``OSError`` if the port is in use."""
        try:
            # Without free sockets the event loop of the thread fails and leaves a warning.
            for end in socket.socketpair():
                end.close()
            self._thread.start()
            self._loop = self._started.result(_TIMEOUT)
        except BaseException as error:
            if self._thread.ident is not None:
                self._thread.join(_TIMEOUT)
            error.add_note(
                "The gateway could not listen on 127.0.0.1. If a plugin forbids sockets, allow "
                "this address: for pytest-socket, use @pytest.mark.enable_socket, or "
                "--allow-hosts=127.0.0.1 in place of --disable-socket."
            )
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the gateway, and wait for its thread."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_TIMEOUT)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._started.done():
                raise
            # The gateway could not start: `__enter__` raises the error.
            self._started.set_exception(error)

    async def _serve(self) -> None:
        await self._gateway.__aenter__()
        try:
            self._started.set_result(asyncio.get_running_loop())
            await self._stop.wait()
        finally:
            await self._gateway.__aexit__(None, None, None)

    def _record_requests(self) -> "Middleware":
        """Return a middleware that records the request of each created task."""
        from aiohttp import web

        @web.middleware
        async def record(request: "web.Request", handler: "Handler") -> "web.StreamResponse":
            if request.method != "POST" or request.path not in SUBMIT_PATHS:
                return await handler(request)
            # A client that disconnects cancels its request, but not the creation of the task.
            return await asyncio.shield(asyncio.create_task(submit(request, handler)))

        async def submit(request: "web.Request", handler: "Handler") -> "web.StreamResponse":
            response = await handler(request)
            body = response.body if isinstance(response, web.Response) else None
            if isinstance(body, bytes):
                accepted = msgspec.json.decode(body, type=_Accepted)
                path = f"{request.path}\n".encode()
                self._requests[accepted.id] = sha256(path + await request.read()).digest()
            return response

        return record
