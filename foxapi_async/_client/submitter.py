"""Billed POSTs, each in a task of the session, so that no caller's cancel can lose its answer."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from foxapi_async._client.admission import AdmissionControl
from foxapi_async._clock import Clock
from foxapi_async.errors import SessionClosedError

_log = logging.getLogger("foxapi_async")

_PATIENCE_AT_CLOSE = 5.0
_CLOSED = "the session was closed while a submission was under way"

T = TypeVar("T")


class Submitter:
    """Runs the POSTs of a session, as many at a time as there is room for."""

    def __init__(self, room: AdmissionControl, clock: Clock) -> None:
        self._room = room
        self._clock = clock
        self._posts: set[asyncio.Task[Any]] = set()
        self._sending: set[asyncio.Task[Any]] = set()
        self._has_let_go = False
        self.submits: int = 0

    @property
    def in_flight(self) -> int:
        """How many POSTs are under way."""
        return len(self._posts)

    async def run(
        self,
        post: Callable[[], Coroutine[Any, Any, T]],
        orphaned: Callable[[asyncio.Task[T]], object],
    ) -> T:
        """Run ``post`` and return what it returns.

        A caller that is cancelled while it waits for room has sent nothing. One that is cancelled
        later leaves at once; the POST goes on and ends with a call of ``orphaned``.
        """
        await self._room.enter()
        self.submits += 1
        task = asyncio.get_running_loop().create_task(post())
        self._posts.add(task)
        # A future of the caller's own, so that cancelling him leaves the POST alone.
        landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task.add_done_callback(partial(self._land, landed))
        try:
            await landed
        except asyncio.CancelledError:
            task.add_done_callback(orphaned)
            raise
        if task.cancelled():
            raise SessionClosedError(_CLOSED)
        return task.result()

    @contextmanager
    def sending(self) -> Generator[None, None, None]:
        """Mark the part of a POST's task that may be cut short when the session is closed.

        What is written down before it and after it is not. ``SessionClosedError`` when it is too
        late to begin.
        """
        if self._has_let_go:
            raise SessionClosedError(_CLOSED)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a POST runs in a task")
        self._sending.add(task)
        try:
            yield
        finally:
            self._sending.discard(task)

    async def aclose(self) -> None:
        """Give the POSTs under way five seconds to land, then let go of them.

        Cancelling lets go of them at once; it does not hinder them from writing down what is known.
        """
        self._room.close()
        if not self._posts:
            return
        patience = self._clock.call_at(self._clock.time() + _PATIENCE_AT_CLOSE, self._let_go)
        try:
            await asyncio.wait(list(self._posts))
        except asyncio.CancelledError:
            self._let_go()
            await asyncio.wait(list(self._posts))
            raise
        finally:
            patience.cancel()

    def _let_go(self) -> None:
        self._has_let_go = True
        for task in self._sending:
            task.cancel()
        if self._sending:
            _log.warning("%d submissions were let go of at close", len(self._sending))

    def _land(self, landed: asyncio.Future[None], task: asyncio.Task[Any]) -> None:
        self._posts.discard(task)
        self._room.leave()
        if not landed.done():
            landed.set_result(None)
