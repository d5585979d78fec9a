"""A stream that is read on behalf of those who await the result."""
# pyright: reportPrivateUsage=false

import asyncio
import logging
from contextvars import Context
from typing import TYPE_CHECKING

from foxapi_async._client.polling.tracked_task import TrackedTask
from foxapi_async._client.polling.waiter import Waiter
from foxapi_async._client.service import Service
from foxapi_async._client.streaming.delta_reader import DeltaReader
from foxapi_async.errors import FoxAPIError, SessionClosedError

if TYPE_CHECKING:
    from foxapi_async._client.llm_handle import LLMHandle

_log = logging.getLogger("foxapi_async")


class StreamFollower:
    """Reads a task's stream to its end while somebody waits, in the place of polls.

    So the end is known at once, and the thinking that the service forgets is kept (contract Q1).
    However the reading ends, the poller takes over: it looks at the task, which is the truth.
    """

    __slots__ = ("_handle", "_reading", "_service", "_waiters", "_watch")

    def __init__(self, handle: "LLMHandle", service: Service, watch: TrackedTask) -> None:
        self._handle = handle
        self._service = service
        self._watch = watch
        self._waiters: set[Waiter] = set()
        self._reading: asyncio.Task[None] | None = None

    @property
    def may_join(self) -> bool:
        """Whether the stream is being read, or there is room for one more that is open."""
        core = self._service.core
        return self._reading is not None or len(core.streams) < core.limits.streams

    def join(self, waiter: Waiter) -> None:
        """Add one who waits; the first one starts the reading."""
        self._waiters.add(waiter)
        if self._reading is None:
            self._service.core.poller.park(self._watch)
            reader = DeltaReader(self._service, handle=self._handle)
            # From now on, so that those who come in the same turn of the loop find its place taken.
            reader.engage()
            # A copy, because a context cannot be entered twice and the handle enters it for events.
            context = self._handle._context  # pyright: ignore[reportPrivateUsage]
            context = Context() if context is None else context.copy()
            self._reading = asyncio.get_running_loop().create_task(
                self._read(reader), context=context
            )
            # Not in a `finally`: a task that is cancelled before it begins runs none.
            self._reading.add_done_callback(lambda _: self._ended(reader))

    def leave(self, waiter: Waiter) -> None:
        """Take one who waits away; the last one stops the reading."""
        self._waiters.discard(waiter)
        if not self._waiters and self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def _read(self, reader: DeltaReader) -> None:
        try:
            async for _ in reader:
                reader.skip()
        except FoxAPIError as fault:
            # Not the waiters' concern: the poller will learn the same, or better.
            _log.debug("following task %s ended: %r", self._handle.id, fault)
        except SessionClosedError:
            # The poller tells the waiters so.
            pass
        except Exception:  # noqa: BLE001 logged: our own mistake must not cost a paid result
            _log.exception("following task %s crashed", self._handle.id)
        else:
            return
        self._handle._unfollow()

    def _ended(self, reader: DeltaReader) -> None:
        reader.close()
        self._service.core.poller.unpark(self._watch)
