"""Every network fault with every operation: what the caller gets, and what reaches the server.

``python tests/adversity/table.py`` runs it all and writes ``docs/figures/adversity.md``; the test
beside this file runs the same and compares. The result does not depend on the machine's clock.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from foxapi_async import (
    Exponential,
    FoxSession,
    MediaResults,
    PollPolicy,
    RetryPolicy,
    StreamPolicy,
    TaskHandle,
)
from foxapi_async._clock import Clock, LoopClock, Timer
from foxapi_async.errors import FoxAPIError
from foxapi_async.gateway import Gateway
from foxapi_async.hooks import Event, RequestFinished
from foxapi_async.testing import CannedResponse, Close, FaultProxy, Reset, Stall
from foxapi_async.testing.faults import WHOLE, Fault

KEY: Final = "sk-secret-0123456789abcdef"
TEXT: Final = "1, 2, 3"
PAGE: Final = Path(__file__).parents[2] / "docs/figures/adversity.md"

RETRY: Final = RetryPolicy(attempts=3, initial=0.001, max_delay=0.002)
PACING: Final = Exponential(initial=0.002, max_delay=0.004)
# Seconds until a wait gives up, by whether the fault passes: then a slow machine must not give up.
GIVE_UP: Final = {True: 300.0, False: 0.02}
# Just over Timeouts.submit, StreamPolicy.idle_timeout and Timeouts.read: they end a stall.
STALL_SECONDS: Final = {"POST": 121.0, "stream": 61.0, "GET": 31.0}

ENVELOPE: Final = b'{"error":{"message":"slow down","type":"rate_limit_error"}}'
ELSEWHERE: Final = {"Location": "http://127.0.0.1:9/v1/llm/generations"}


class JumpingClock:
    """The loop's clock, which can jump ahead: timers that are due in between fire at once."""

    def __init__(self) -> None:
        self._loop_clock: Clock = LoopClock()
        self._offset = 0.0
        self._timers: dict[_JumpingTimer, None] = {}

    def time(self) -> float:
        """Return the loop's seconds plus all jumps."""
        return self._loop_clock.time() + self._offset

    def unix(self) -> float:
        """Return Unix seconds plus all jumps."""
        return self._loop_clock.unix() + self._offset

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` when ``time()`` is ``when``."""
        timer = _JumpingTimer(self._timers, when, callback)
        timer.arm(self._loop_clock, self._offset)
        return timer

    def jump(self, seconds: float) -> None:
        """Jump ahead by ``seconds``."""
        self._offset += seconds
        for timer in self._timers:
            timer.arm(self._loop_clock, self._offset)


class _JumpingTimer:
    def __init__(
        self, timers: dict["_JumpingTimer", None], when: float, callback: Callable[[], object]
    ) -> None:
        self._timers = timers
        self._when = when
        self._callback = callback
        self._timer: Timer | None = None
        timers[self] = None

    def arm(self, clock: Clock, offset: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = clock.call_at(self._when - offset, self._fire)

    def cancel(self) -> None:
        self._timers.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self) -> None:
        self._timers.pop(self, None)
        self._callback()


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A call of the public API; ``run`` gets a session and the id of a finished task."""

    name: str
    billed: bool
    run: Callable[[FoxSession, str], Awaitable[object]]


async def _submit(fox: FoxSession, _: str) -> object:
    return await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")


async def _generate(fox: FoxSession, _: str) -> object:
    return (await fox.llm.generate(model="gpt-5.5", messages="count 1 to 3")).text


async def _stream(fox: FoxSession, _: str) -> object:
    stream = fox.llm.stream(model="gpt-5.5", messages="count 1 to 3")
    async with stream:
        return "".join([delta.text async for delta in stream])


async def _submit_image(fox: FoxSession, _: str) -> object:
    return await fox.images.submit(model="gpt-image-2", prompt="a fox")


async def _generate_image(fox: FoxSession, _: str) -> object:
    return await fox.images.generate(model="gpt-image-2", prompt="a fox")


async def _await(fox: FoxSession, task_id: str) -> object:
    return (await fox.tasks.handle(task_id)).text


async def _follow(fox: FoxSession, task_id: str) -> object:
    async with fox.tasks.handle(task_id).stream() as stream:
        return "".join([delta.text async for delta in stream])


async def _get(fox: FoxSession, task_id: str) -> object:
    return await fox.tasks.get(task_id)


async def _models(fox: FoxSession, _: str) -> object:
    return await fox.models.list()


OPERATIONS: Final = {
    operation.name: operation
    for operation in (
        Operation(name="llm.submit", billed=True, run=_submit),
        Operation(name="llm.generate", billed=True, run=_generate),
        Operation(name="llm.stream", billed=True, run=_stream),
        Operation(name="images.submit", billed=True, run=_submit_image),
        Operation(name="images.generate", billed=True, run=_generate_image),
        Operation(name="await handle", billed=False, run=_await),
        Operation(name="handle.stream", billed=False, run=_follow),
        Operation(name="tasks.get", billed=False, run=_get),
        Operation(name="models.list", billed=False, run=_models),
    )
}

FAULTS: Final[Mapping[str, tuple[Fault, ...]]] = {
    "connection refused": (),
    "TLS to a plain port": (),
    "reset before the request": (Reset(request=0),),
    "reset during the request": (Reset(request=40),),
    "reset after the request": (Reset(request=WHOLE),),
    "reset before the answer": (Reset(response=0),),
    "reset after the answer's first byte": (Reset(response=1),),
    "closed after half the headers": (Close(response=60),),
    "closed after part of the body": (Close(body=20),),
    "silence before the answer": (Stall(response=0),),
    "silence within the body": (Stall(body=20),),
    "garbage": (CannedResponse(b"\x16\x03\x01\x00 garbage\r\n\r\n"),),
    "HTML with 200": (CannedResponse.http(200, b"<html>a portal</html>"),),
    "empty body with 200": (CannedResponse.http(200, forward=True),),
    "503 before acceptance": (CannedResponse.http(503),),
    "503 after acceptance": (CannedResponse.http(503, forward=True),),
    "429 before acceptance": (CannedResponse.http(429, ENVELOPE, content_type="application/json"),),
    "429 after acceptance": (
        CannedResponse.http(429, ENVELOPE, content_type="application/json", forward=True),
    ),
    "redirect": (CannedResponse.http(307, headers=ELSEWHERE),),
}


@dataclass(frozen=True)
class Observed:
    """The end of one run for the caller, and the POSTs and tasks at the server."""

    caller: str
    posts: int
    tasks: int


@dataclass(frozen=True)
class Row:
    """One fault with one operation: the first request meets it, or every request."""

    operation: str
    fault: str
    once: Observed
    always: Observed

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of the row in the docs."""
        counts = (f"{seen.posts} / {seen.tasks}" for seen in (self.once, self.always))
        once, always = counts
        return (self.fault, self.once.caller, once, self.always.caller, always)


class Scenario:
    """One operation of one session through a ``FaultProxy``."""

    def __init__(self, gateway: Gateway, fault_proxy: FaultProxy, operation: Operation) -> None:
        self._gateway = gateway
        self._proxy = fault_proxy
        self._operation = operation
        self._clock = JumpingClock()
        self._failed = asyncio.Event()

    async def run(self, fault: str, *, once: bool) -> Observed:
        """Run the operation under ``fault``; return what was observed."""
        task_id = "" if self._operation.billed else await self._submitted()
        before = self._gateway.stats.tasks
        url = self._proxy.url
        if fault == "TLS to a plain port":
            url = url.replace("http:", "https:")
        elif faults := FAULTS[fault]:
            self._proxy.on("*", "*", *faults, times=1 if once else None)
        passes = once and fault != "TLS to a plain port"
        async with self._session(url, passes=passes) as fox:
            running = asyncio.create_task(self._run(fox, task_id))
            jumps = asyncio.create_task(self._jump_over_stalls())
            try:
                if fault == "connection refused":
                    await self._refuse(running, once=once)
                caller = await running
            finally:
                jumps.cancel()
                await asyncio.wait({jumps})
        await self._proxy.wait_until(lambda: not self._proxy.open_connections)
        return Observed(caller, self._proxy.count("POST"), self._gateway.stats.tasks - before)

    def _session(self, url: str, *, passes: bool) -> FoxSession:
        return FoxSession(
            KEY,
            base_url=url,
            retry=RETRY,
            polling=PollPolicy(pacing=PACING, give_up_after=GIVE_UP[passes]),
            streaming=StreamPolicy(initial=0.001, max_delay=0.002, give_up_after=GIVE_UP[passes]),
            hooks=[self._on_event],
            clock=self._clock,
        )

    async def _submitted(self) -> str:
        async with FoxSession(KEY, base_url=self._gateway.url) as fox:
            handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3", stream=True)
            await handle
            return handle.id

    async def _run(self, fox: FoxSession, task_id: str) -> str:
        try:
            result = await self._operation.run(fox, task_id)
        except FoxAPIError as error:
            fault = getattr(error, "fault", None)
            because = f" ({type(fault).__name__})" if fault is not None else ""
            return f"`{type(error).__name__}`{because}"
        if isinstance(result, str):
            return "the whole text" if result == TEXT else f"a wrong text: {result!r}"
        if isinstance(result, MediaResults):
            return "the whole result" if len(result.urls) == 1 else f"wrong results: {result!r}"
        return "a handle" if isinstance(result, TaskHandle) else "the answer"

    async def _jump_over_stalls(self) -> None:
        fault_proxy = self._proxy
        while True:
            await fault_proxy.wait_for_stalls()
            stalls = len(fault_proxy.fired)
            # The bytes before the stall are read first.
            await _settle()
            exchange = fault_proxy.exchanges[-1]
            kind = "stream" if exchange.path.endswith("/stream") else exchange.method
            if kind == "stream":
                # The idle watchdog checks a stream once a second.
                self._clock.jump(1.0)
                await _settle()
            self._clock.jump(STALL_SECONDS[kind])
            # The stall ends, or the next attempt stalls already.
            await fault_proxy.wait_until(
                lambda: not fault_proxy.stalled or len(fault_proxy.fired) > stalls  # noqa: B023
            )

    async def _refuse(self, running: asyncio.Task[str], *, once: bool) -> None:
        async with self._proxy.unreachable():
            failed = asyncio.create_task(self._failed.wait())
            until: set[asyncio.Future[Any]] = {running} if not once else {running, failed}
            await asyncio.wait(until, return_when=asyncio.FIRST_COMPLETED)
            failed.cancel()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, RequestFinished) and event.error is not None:
            self._failed.set()


async def _settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def rows(operation: Operation) -> list[Row]:
    """Run one operation under every fault."""
    found: list[Row] = []
    async with Gateway(queue_delay=0, token_delay=0) as gateway:
        for fault in FAULTS:
            seen: list[Observed] = []
            for once in (True, False):
                async with FaultProxy(gateway.url) as fault_proxy:
                    seen.append(
                        await Scenario(gateway, fault_proxy, operation).run(fault, once=once)
                    )
            found.append(Row(operation.name, fault, *seen))
    return found


def page(found: Mapping[str, Sequence[Row]]) -> str:
    """Render the tables of all operations."""
    parts: list[str] = []
    for name, its_rows in found.items():
        head = ("fault", "met once", "POSTs / tasks", "met by every request", "POSTs / tasks")
        lines = [head, ("---", "---", "---:", "---", "---:"), *(row.cells for row in its_rows)]
        parts.append(f"### {name}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines))
    return "\n".join(parts)


async def _everything() -> dict[str, list[Row]]:
    return {name: await rows(operation) for name, operation in OPERATIONS.items()}


def main() -> int:
    """Run all operations and write the page."""
    every: Coroutine[Any, Any, dict[str, list[Row]]] = _everything()
    PAGE.write_text(page(asyncio.run(every)), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
