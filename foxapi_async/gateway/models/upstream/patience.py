"""How long the tasks of an upstream wait while it refuses requests."""

import asyncio
import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from foxapi_async._clock import Clock, sleep
from foxapi_async._protocol.retry import exponential_delay
from foxapi_async.gateway.models.model import ModelError
from foxapi_async.gateway.models.upstream.chat_client import BusyError
from foxapi_async.gateway.models.upstream.fair_queue import FairQueue

_logger = logging.getLogger(__name__)

_MIN_BACKOFF: Final = 0.25
_MAX_BACKOFF: Final = 8.0
# An upstream that limits its rate refuses often: its refusals are logged once a minute.
_LOG_INTERVAL: Final = 60.0


class Patience:
    """The waits for one upstream.

    An upstream is *absent* from its first refusal on until it accepts a request; while it answers
    another request it is not. The time that a task waits for an absent upstream is limited, with a
    slot or without one. The time that it waits for its turn is not.

    Args:
        seconds: How long a task waits for an absent upstream.
        name: The name of the upstream in the log.
        queue: The queue of its tasks.
        clock: Measures the waits.
    """

    def __init__(self, seconds: float, *, name: str, queue: FairQueue, clock: Clock) -> None:
        self._seconds = seconds
        self._name = name
        self._queue = queue
        self._clock = clock
        # All tasks leave the upstream alone until then.
        self._busy_until = clock.time()
        self._answering = 0
        # Since when the upstream is absent, and its last refusal.
        self._absent_since: float | None = None
        self._failure = ModelError("service_unavailable", "the upstream is busy")
        self._watcher: asyncio.Task[None] | None = None
        self._next_log = clock.time()

    def deadline(self, entered: float) -> float:
        """Return the time at which a task gives up, if the upstream refuses until then.

        Args:
            entered: The time at which the task began to wait.
        """
        since = self._absent_since
        return (self._clock.time() if since is None else max(entered, since)) + self._seconds

    async def wait(self, deadline: float) -> None:
        """Wait until the upstream may be asked.

        Raises:
            ModelError: That is after the deadline.
        """
        while (now := self._clock.time()) < self._busy_until:
            if self._busy_until > deadline:
                raise ModelError(self._failure.code, self._failure.message)
            await sleep(self._clock, self._busy_until - now)

    def refuse(self, busy: BusyError, attempt: int, deadline: float) -> None:
        """Note a refusal.

        Args:
            busy: The refusal. Its message must not contain the key of the upstream.
            attempt: The number of refusals of the task before.
            deadline: When the task gives up.

        Raises:
            ModelError: There is no other attempt before the deadline.
        """
        now = self._clock.time()
        backoff = exponential_delay(_MIN_BACKOFF, 2.0, _MAX_BACKOFF, attempt)
        until = now + max(backoff if busy.retry_after is None else busy.retry_after, _MIN_BACKOFF)
        # Also if this task gives up: the others must leave the upstream alone as it asks.
        if busy.retry_after is not None or until <= deadline:
            self._busy_until = max(self._busy_until, until)
        self._failure = busy.failure
        if not self._answering and self._seconds:
            self._be_absent(now)
        if until > deadline:
            raise busy.failure from None

    def end_absence(self) -> None:
        """Note that the upstream takes requests."""
        self._absent_since = None

    @contextmanager
    def answering(self) -> Generator[None]:
        """Note that the upstream answers a request while the context is open."""
        self.end_absence()
        self._answering += 1
        try:
            yield
        finally:
            self._answering -= 1

    def watch(self) -> None:
        """Let the tasks that wait for a slot give up in time, while the upstream is absent."""
        if self._absent_since is not None and self._watcher is None:
            self._watcher = asyncio.create_task(self._fail_waiters())

    async def aclose(self) -> None:
        """Stop to watch the queue."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})

    def _be_absent(self, now: float) -> None:
        if self._absent_since is None:
            self._absent_since = now
            if now >= self._next_log:
                self._next_log = now + _LOG_INTERVAL
                # Other messages may repeat a prompt.
                is_known = self._failure.code == "model_unavailable"
                reason = self._failure.message if is_known else "the upstream is busy"
                seconds = self._seconds
                _logger.warning(
                    "upstream %s: %s; its tasks wait for %g seconds", self._name, reason, seconds
                )
        self.watch()

    async def _fail_waiters(self) -> None:
        try:
            while self._absent_since is not None and (oldest := self._queue.oldest) is not None:
                pause = self.deadline(oldest) - self._clock.time()
                if pause > 0:
                    await sleep(self._clock, pause)
                    continue
                entered = max(oldest, self._clock.time() - self._seconds)
                count = self._queue.fail(entered, self._failure)
                _logger.warning(
                    "upstream %s: %d waiting tasks gave up: %s",
                    *(self._name, count, self._failure.code),
                )
        finally:
            self._watcher = None
