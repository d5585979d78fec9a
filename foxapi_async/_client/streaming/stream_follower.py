"""Reads the stream of a task while its result is awaited."""
# pyright: reportPrivateUsage=false

import asyncio
import logging
from contextvars import Context

from foxapi_async._client.polling.tracked_task import TrackedTask, Waiter
from foxapi_async._client.service_client import ServiceClient
from foxapi_async._client.streaming.delta_reader import DeltaReader
from foxapi_async.errors import FoxAPIError, SessionClosedError

_log = logging.getLogger("foxapi_async")


class StreamFollower:
    """Reads a task's stream to its end while the task has waiters, instead of polling it.

    The end of the task is then known at once, and the reasoning that the service does not store is
    kept (contract Q1). However the reading ends, the poller takes over and polls the task.
    """

    __slots__ = ("_reading", "_service", "_tracked", "_waiters")

    def __init__(self, tracked: TrackedTask, service: ServiceClient) -> None:
        self._tracked = tracked
        self._service = service
        self._waiters: set[Waiter] = set()
        self._reading: asyncio.Task[None] | None = None

    @property
    def can_subscribe(self) -> bool:
        """Whether the stream is being read, or ``limits.streams`` allows another open stream."""
        runtime = self._service.runtime
        return self._reading is not None or len(runtime.streams) < runtime.limits.streams

    def subscribe(self, waiter: Waiter) -> None:
        """Add a waiter. The first one starts the reading."""
        self._waiters.add(waiter)
        if self._reading is None:
            self._service.runtime.poller.suspend(self._tracked)
            reader = DeltaReader(self._service, self._tracked)
            # Before the reading starts, so that `can_subscribe` of other tasks counts it.
            reader.register()
            # A copy, because a context cannot be entered twice and the record enters it for hooks.
            context = self._tracked.context
            context = Context() if context is None else context.copy()
            self._reading = asyncio.get_running_loop().create_task(
                self._read(reader), context=context
            )
            # Not in a `finally`: a task that is cancelled before it starts runs none.
            self._reading.add_done_callback(lambda _: self._on_done(reader))

    def unsubscribe(self, waiter: Waiter) -> None:
        """Remove a waiter. The last one that is removed cancels the reading."""
        self._waiters.discard(waiter)
        if not self._waiters and self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def _read(self, reader: DeltaReader) -> None:
        try:
            async for _ in reader:
                reader.discard_buffered()
        except FoxAPIError as fault:
            # The waiters get the result, or a better error, from the poller.
            _log.debug("following task %s ended: %r", self._tracked.id, fault)
        except SessionClosedError:
            # The poller raises this in the waiters.
            pass
        except Exception:  # noqa: BLE001 logged: a defect here must not cost a paid result
            _log.exception("following task %s crashed", self._tracked.id)
        else:
            return
        self._tracked.can_follow = False

    def _on_done(self, reader: DeltaReader) -> None:
        reader.close()
        self._service.runtime.poller.resume(self._tracked)
