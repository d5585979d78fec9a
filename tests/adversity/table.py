"""Every fault of the network times every operation: what the caller sees, what the server got.

``python tests/adversity/table.py`` runs it all and writes ``docs/figures/adversity.md``; the test
beside this file runs the same and compares. No clock of the machine plays a part.
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
# Seconds without news: a slow machine must not run out of them where the network gets better.
GIVE_UP: Final = {True: 300.0, False: 0.02}
# Just over Timeouts.submit, StreamPolicy.idle_timeout and Timeouts.read, which end what stalls.
PATIENCE: Final = {"POST": 121.0, "stream": 61.0, "GET": 31.0}

ENVELOPE: Final = b'{"error":{"message":"slow down","type":"rate_limit_error"}}'
ELSEWHERE: Final = {"Location": "http://127.0.0.1:9/v1/llm/generations"}


class LeapingClock:
    """The loop's clock, which can leap: what was due within the leap is due now."""

    def __init__(self) -> None:
        self._loop_clock: Clock = LoopClock()
        self._leapt = 0.0
        self._timers: dict[_LeapingTimer, None] = {}

    def time(self) -> float:
        """Return the loop's seconds and all leaps."""
        return self._loop_clock.time() + self._leapt

    def unix(self) -> float:
        """Return Unix seconds and all leaps."""
        return self._loop_clock.unix() + self._leapt

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` when ``time()`` is ``when``."""
        timer = _LeapingTimer(self._timers, when, callback)
        timer.arm(self._loop_clock, self._leapt)
        return timer

    def leap(self, seconds: float) -> None:
        """Move on at once."""
        self._leapt += seconds
        for timer in self._timers:
            timer.arm(self._loop_clock, self._leapt)


class _LeapingTimer:
    def __init__(
        self, timers: dict["_LeapingTimer", None], when: float, callback: Callable[[], object]
    ) -> None:
        self._timers = timers
        self._when = when
        self._callback = callback
        self._timer: Timer | None = None
        timers[self] = None

    def arm(self, clock: Clock, leapt: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = clock.call_at(self._when - leapt, self._ring)

    def cancel(self) -> None:
        self._timers.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()

    def _ring(self) -> None:
        self._timers.pop(self, None)
        self._callback()


@dataclass(frozen=True, kw_only=True)
class Operation:
    """Something that a caller does; ``task`` says that it needs one that was submitted before."""

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
class Seen:
    """How one run ended: for the caller, and at the server."""

    caller: str
    posts: int
    tasks: int


@dataclass(frozen=True)
class Row:
    """One fault of one operation: met once, and met by every request."""

    operation: str
    fault: str
    once: Seen
    always: Seen

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as the docs show it."""
        counts = (f"{seen.posts} / {seen.tasks}" for seen in (self.once, self.always))
        once, always = counts
        return (self.fault, self.once.caller, once, self.always.caller, always)


class Scene:
    """One operation of one session, through a network that fails as it is told."""

    def __init__(self, gateway: Gateway, fault_proxy: FaultProxy, operation: Operation) -> None:
        self._gateway = gateway
        self._proxy = fault_proxy
        self._operation = operation
        self._clock = LeapingClock()
        self._failed = asyncio.Event()

    async def play(self, fault: str, *, once: bool) -> Seen:
        """Run the operation and tell what was seen."""
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
            impatience = asyncio.create_task(self._leap())
            try:
                if fault == "connection refused":
                    await self._refuse(running, once=once)
                caller = await running
            finally:
                impatience.cancel()
                await asyncio.wait({impatience})
        await self._proxy.wait_until(lambda: not self._proxy.open_connections)
        return Seen(caller, self._proxy.count("POST"), self._gateway.stats.tasks - before)

    def _session(self, url: str, *, passes: bool) -> FoxSession:
        return FoxSession(
            KEY,
            base_url=url,
            retry=RETRY,
            polling=PollPolicy(pacing=PACING, give_up_after=GIVE_UP[passes]),
            streaming=StreamPolicy(initial=0.001, max_delay=0.002, give_up_after=GIVE_UP[passes]),
            hooks=[self._hear],
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
        return "a handle" if isinstance(result, TaskHandle) else "the answer"

    async def _leap(self) -> None:
        fault_proxy = self._proxy
        while True:
            await fault_proxy.wait_for_stalls()
            stalls = len(fault_proxy.fired)
            # What came before the silence has to be read first.
            await _settle()
            exchange = fault_proxy.exchanges[-1]
            kind = "stream" if exchange.path.endswith("/stream") else exchange.method
            if kind == "stream":
                # Silence on a stream is measured from look to look, a second apart.
                self._clock.leap(1.0)
                await _settle()
            self._clock.leap(PATIENCE[kind])
            # It ends, or has ended already and the next attempt is met by silence too.
            await fault_proxy.wait_until(
                lambda: not fault_proxy.stalled or len(fault_proxy.fired) > stalls  # noqa: B023
            )

    async def _refuse(self, running: asyncio.Task[str], *, once: bool) -> None:
        async with self._proxy.unreachable():
            failed = asyncio.create_task(self._failed.wait())
            until: set[asyncio.Future[Any]] = {running} if not once else {running, failed}
            await asyncio.wait(until, return_when=asyncio.FIRST_COMPLETED)
            failed.cancel()

    def _hear(self, event: Event) -> None:
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
            seen: list[Seen] = []
            for once in (True, False):
                async with FaultProxy(gateway.url) as fault_proxy:
                    seen.append(await Scene(gateway, fault_proxy, operation).play(fault, once=once))
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
    """Run everything and write the page."""
    every: Coroutine[Any, Any, dict[str, list[Row]]] = _everything()
    PAGE.write_text(page(asyncio.run(every)), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
