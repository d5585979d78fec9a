"""A gateway in a thread of its own: for synchronous tests, and for any asynchronous ones."""

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

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler, Middleware

    from foxapi_async.gateway.faults.plan import Faults
    from foxapi_async.gateway.stats import GatewayStats

_KEY: Final = "sk-foxapi-test-key"
_PATIENCE: Final = 10.0


class _Accepted(Struct):
    id: str


class BackgroundGateway:
    """A gateway that runs beside the test: ``with BackgroundGateway() as gateway``.

    The keywords are those of ``Gateway``. Its methods are synchronous and can be called from an
    asynchronous test as well; each takes the time of a loop's turn or two.
    """

    def __init__(self, **settings: Any) -> None:
        # Here and not above, so that the door of `foxapi_async.testing` loads no aiohttp.
        from foxapi_async.gateway.app import SETTINGS
        from foxapi_async.gateway.server import Gateway

        settings.setdefault("seed", 0)
        self._gateway = Gateway(**settings)
        self._gateway.app.middlewares.append(self._ledger())
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
        """What it has done so far."""
        return self._gateway.stats

    @property
    def faults(self) -> "Faults":
        """What goes wrong on purpose; rules can be added and cleared at any time."""
        return self._gateway.faults

    @property
    def billed(self) -> tuple[str, ...]:
        """The ids of all tasks that were created, in that order: each of them is paid for."""
        return tuple(self._requests)

    def advance(self, seconds: float) -> None:
        """Move the gateway's time on and return when all that was due has been done.

        It needs the clock to be a ``ManualClock``; the fixture ``foxapi_clock`` makes it one.
        """
        if not isinstance(self._clock, ManualClock):
            raise RuntimeError(  # noqa: TRY004 no argument is of a wrong type
                "the gateway lives in real time: name the fixture foxapi_clock among the arguments "
                "of the test, or build the gateway with clock=ManualClock()"
            )
        moved = asyncio.run_coroutine_threadsafe(self._clock.advance(seconds), self._loop)
        moved.result(_PATIENCE)

    @property
    def time(self) -> float:
        """The seconds that the gateway's clock shows, from an arbitrary zero."""
        return self._clock.time()

    def assert_billed_once(self, task_id: str) -> None:
        """Fail unless the task was created here, and no other from the same request.

        A request that was sent twice makes two tasks of the very same bytes. A test that means to
        submit one request several times therefore looks at ``billed`` instead.
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
        """Listen. ``OSError`` when the port is taken, or whatever forbids sockets raises."""
        try:
            # A loop that is refused its own sockets would leave a warning behind.
            for end in socket.socketpair():
                end.close()
            self._thread.start()
            self._loop = self._started.result(_PATIENCE)
        except BaseException as error:
            if self._thread.ident is not None:
                self._thread.join(_PATIENCE)
            error.add_note(
                "The gateway could not listen at 127.0.0.1. Where a plugin forbids sockets, let it "
                "allow that address: pytest-socket does by @pytest.mark.enable_socket, or by "
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
        """Stop, and wait until its thread has ended."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._started.done():
                raise
            # There was no loop, or nothing listened: it is raised where the gateway was entered.
            self._started.set_exception(error)

    async def _serve(self) -> None:
        await self._gateway.__aenter__()
        try:
            self._started.set_result(asyncio.get_running_loop())
            await self._stop.wait()
        finally:
            await self._gateway.__aexit__(None, None, None)

    def _ledger(self) -> "Middleware":
        """Return what keeps which request made which task, whatever becomes of the answer."""
        from aiohttp import web

        @web.middleware
        async def remember(request: "web.Request", handler: "Handler") -> "web.StreamResponse":
            if request.match_info.route.name != "submit":
                return await handler(request)
            # A client that leaves cancels its request, but not the task that it has asked for.
            return await asyncio.shield(asyncio.create_task(submitted(request, handler)))

        async def submitted(request: "web.Request", handler: "Handler") -> "web.StreamResponse":
            answer = await handler(request)
            body = answer.body if isinstance(answer, web.Response) else None
            if isinstance(body, bytes):
                accepted = msgspec.json.decode(body, type=_Accepted)
                self._requests[accepted.id] = sha256(await request.read()).digest()
            return answer

        return remember
