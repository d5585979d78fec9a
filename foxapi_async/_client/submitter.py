"""Runs each billed POST in a task of the session, so that cancelling a caller loses no response."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

from foxapi_async._client.admission import AdmissionControl
from foxapi_async._clock import Clock
from foxapi_async.errors import SessionClosedError

_log = logging.getLogger("foxapi_async")

_CLOSE_TIMEOUT: Final = 5.0
_CLOSED: Final = "the session was closed while a submission was under way"

T = TypeVar("T")


class Submitter:
    """Runs the POSTs of a session, as many at a time as admission allows."""

    def __init__(self, admission: AdmissionControl, clock: Clock) -> None:
        self._admission = admission
        self._clock = clock
        self._posts: set[asyncio.Task[Any]] = set()
        self._cancellable: set[asyncio.Task[Any]] = set()
        self._has_cancelled = False
        self.submits: int = 0

    def __repr__(self) -> str:
        return f"<Submitter submits={self.submits} in_flight={self.in_flight}>"

    @property
    def in_flight(self) -> int:
        """How many POSTs are under way."""
        return len(self._posts)

    async def run(
        self,
        post: Callable[[], Coroutine[Any, Any, T]],
        on_unclaimed: Callable[[asyncio.Task[T]], object],
        enter: Callable[[], Awaitable[None]] | None = None,
    ) -> T:
        """Run ``post`` in a task and return its result.

        With ``enter`` this waits for admission, in place of ``AdmissionControl.enter``.

        Cancelling while it waits for admission sends nothing. Cancelling later returns at once: the
        task of the POST goes on, and ``on_unclaimed`` is called with it when it is done.
        """
        await (self._admission.enter() if enter is None else enter())
        self.submits += 1
        loop = asyncio.get_running_loop()
        task = loop.create_task(post())
        self._posts.add(task)
        # Awaiting a future of the caller's own keeps its cancellation away from the POST.
        done: asyncio.Future[None] = loop.create_future()
        task.add_done_callback(partial(self._on_done, done))
        try:
            await done
        except asyncio.CancelledError:
            task.add_done_callback(on_unclaimed)
            raise
        if task.cancelled():
            raise SessionClosedError(_CLOSED)
        return task.result()

    @contextmanager
    def cancellable_section(self) -> Generator[None, None, None]:
        """Mark the part of a POST's task that may be cancelled when the session is closed.

        The journal writes before and after it may not be.

        Raises:
            SessionClosedError: Pending POSTs were cancelled already, so none may start.
        """
        if self._has_cancelled:
            raise SessionClosedError(_CLOSED)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a POST runs in a task")
        self._cancellable.add(task)
        try:
            yield
        finally:
            self._cancellable.discard(task)

    async def aclose(self) -> None:
        """Wait up to five seconds for the POSTs under way, then cancel them.

        If this is cancelled, pending POSTs are cancelled at once; their journal writes still
        complete.
        """
        self._admission.close()
        if not self._posts:
            return
        timer = self._clock.call_at(self._clock.time() + _CLOSE_TIMEOUT, self._cancel_pending)
        try:
            await asyncio.wait(list(self._posts))
        except asyncio.CancelledError:
            self._cancel_pending()
            await asyncio.wait(list(self._posts))
            raise
        finally:
            timer.cancel()

    def _cancel_pending(self) -> None:
        self._has_cancelled = True
        for task in self._cancellable:
            task.cancel()
        if self._cancellable:
            _log.warning("%d pending submissions were cancelled at close", len(self._cancellable))

    def _on_done(self, done: asyncio.Future[None], task: asyncio.Task[Any]) -> None:
        self._posts.discard(task)
        self._admission.leave()
        if not done.done():
            done.set_result(None)
