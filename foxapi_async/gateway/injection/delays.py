"""Waits that fault rules ask for."""

import asyncio
from collections.abc import Iterator

from aiohttp import web

from foxapi_async._clock import Clock, sleep
from foxapi_async.gateway.faults.rule import FaultRule


class FaultDelays:
    """Delays responses, until the gateway shuts down at the latest."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stalled: set[asyncio.Task[object]] = set()

    async def stall(self, rule: FaultRule) -> None:
        """Wait for the seconds of a rule; without seconds, until the gateway shuts down."""
        waiting: asyncio.Task[object] = asyncio.create_task(self._wait(rule.seconds))
        self._stalled.add(waiting)
        try:
            await asyncio.wait([waiting])
        finally:
            self._stalled.discard(waiting)
            waiting.cancel()

    async def write_slowly(
        self, response: web.StreamResponse, body: bytes, rule: FaultRule
    ) -> None:
        """Write ``body`` in the pieces of a rule, after a delay before each piece."""
        seconds = 1.0 if rule.seconds is None else rule.seconds
        for piece in _pieces(body, rule.size):
            await sleep(self._clock, seconds)
            await response.write(piece)

    def release(self) -> None:
        """End all stalls."""
        for waiting in self._stalled:
            waiting.cancel()

    async def _wait(self, seconds: float | None) -> None:
        if seconds is None:
            await asyncio.get_running_loop().create_future()
        else:
            await sleep(self._clock, seconds)


def _pieces(body: bytes, size: int | None) -> Iterator[bytes]:
    step = size or max(1, len(body))
    return (body[start : start + step] for start in range(0, len(body), step))
