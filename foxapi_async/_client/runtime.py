"""What a session shares with its ``with_options`` copies."""

import asyncio
import os
from collections import OrderedDict
from contextlib import AsyncExitStack
from typing import Any, Final, Protocol
from weakref import WeakSet

from foxapi_async._client.admission import AdmissionControl
from foxapi_async._client.idle_watchdog import IdleWatchdog
from foxapi_async._client.polling.poller import Poller
from foxapi_async._client.rate_queues import RateQueues
from foxapi_async._client.spending import Spending
from foxapi_async._client.stats import Stats, UsageMeter
from foxapi_async._client.submitter import Submitter
from foxapi_async._clock import Clock
from foxapi_async._journal import ContentMark, JournalBackend
from foxapi_async._transport import Transport
from foxapi_async.config import Limits
from foxapi_async.errors import SessionClosedError

_CLOSED: Final = "the session is closed; build a new FoxSession"
FORKED: Final = (
    "this FoxSession belongs to the process that this one was forked from: build one FoxSession in "
    "each process"
)
_MAX_UNCLAIMED: Final = 10_000
_FIRST_CLEANUP: Final = 64


class SupportsDone(Protocol):
    """A handle, as far as ``Unclaimed`` uses it."""

    def done(self) -> bool:
        """Tell whether the outcome is known."""
        ...


class CountsRows(Protocol):
    """A running map, as far as the counters use it."""

    @property
    def in_flight(self) -> int:
        """How many rows are under way."""
        ...

    @property
    def limit(self) -> int:
        """How many may be."""
        ...


class Unclaimed:
    """Keeps handles until their outcome is known, the newest ten thousand at most.

    These handles cause no polls: one is done when the user has taken it and awaited it.
    """

    def __init__(self) -> None:
        # Each with whether it was done when it was added: no caller has that outcome then.
        self._handles: OrderedDict[SupportsDone, bool] = OrderedDict()
        self._cleanup_at = _FIRST_CLEANUP

    def add(self, handle: SupportsDone) -> bool:
        """Keep ``handle``; tell whether it is new here."""
        if handle in self._handles:
            return False
        if len(self._handles) >= self._cleanup_at:
            self._drop_claimed()
            self._cleanup_at = max(_FIRST_CLEANUP, 2 * len(self._handles))
        if len(self._handles) >= _MAX_UNCLAIMED:
            self._handles.popitem(last=False)
        self._handles[handle] = handle.done()
        return True

    def handles(self) -> tuple[Any, ...]:
        """Return the handles, the newest last."""
        self._drop_claimed()
        return tuple(self._handles)

    def __len__(self) -> int:
        self._drop_claimed()
        return len(self._handles)

    def _drop_claimed(self) -> None:
        claimed = [
            handle for handle, was_done in self._handles.items() if handle.done() and not was_done
        ]
        for handle in claimed:
            del self._handles[handle]


class Runtime:
    """The connections, the poller, admission, the submissions and the event loop of a session."""

    def __init__(self, transport: Transport, clock: Clock, limits: Limits) -> None:
        self.transport = transport
        self.clock = clock
        self.limits = limits
        self.poller: Poller = Poller(clock, limits)
        self.admission: AdmissionControl = AdmissionControl(clock, limits, self.poller)
        self.rates: RateQueues = RateQueues(limits, self.admission, clock)
        self.submitter: Submitter = Submitter(self.admission, clock)
        self.loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self.closed: bool = False
        self.streams: IdleWatchdog = IdleWatchdog(clock)
        self.unclaimed: Unclaimed = Unclaimed()
        self.usage: UsageMeter = UsageMeter()
        self.spending: Spending = Spending(self.poller)
        self.maps: WeakSet[CountsRows] = WeakSet()
        self.journals: list[JournalBackend] = []
        self.transfers: asyncio.Semaphore = asyncio.Semaphore(limits.transfers)
        # Uploads under way, by the service and what is known of the file.
        self.uploads: dict[tuple[str, ContentMark], asyncio.Future[None]] = {}

    def enter(self) -> None:
        """Bind to the running loop at the first use.

        Raises:
            SessionClosedError: The session is closed.
            RuntimeError: The session belongs to another loop, or to the process before a fork.
        """
        if self.closed:
            raise SessionClosedError(_CLOSED)
        loop = asyncio.get_running_loop()
        if self.loop is None:
            self.loop = loop
            self._pid = os.getpid()
        elif self.loop is not loop:
            if self._is_forked:
                raise RuntimeError(FORKED)
            raise RuntimeError(
                "this FoxSession belongs to another event loop: its connections live there; "
                "build one FoxSession for each asyncio.run()"
            )

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return (
            f"<Runtime{state} streams={len(self.streams)} unclaimed={len(self.unclaimed)} "
            f"{self.poller} {self.admission} {self.submitter}>"
        )

    def stats(self) -> Stats:
        """Return the counters."""
        admission, poller, metrics = self.admission, self.poller, self.poller.metrics
        rates = self.rates.stats()
        maps = [running for running in self.maps if running.in_flight]
        return Stats(
            submits=self.submitter.submits,
            submits_in_flight=self.submitter.in_flight,
            submits_waiting=admission.waiting + rates.waiting,
            submits_queued=rates.queued,
            next_submit_in=rates.next_in,
            paused=admission.paused,
            tasks=admission.tasks,
            unfinished=admission.unfinished,
            unclaimed=len(self.unclaimed),
            waiting=poller.waiting,
            polls=metrics.gets,
            polls_in_flight=poller.in_flight,
            polls_queued=poller.queued,
            polls_per_task=metrics.polls_per_task,
            faults=metrics.faults,
            lateness=metrics.lateness,
            delay=metrics.detection_delay,
            polls_held_back=metrics.held_back,
            polls_per_second=poller.polls_per_second,
            streams=len(self.streams),
            rows_in_flight=sum(running.in_flight for running in maps),
            rows_limit=sum(running.limit for running in maps),
            usage=self.usage.by_model(),
        )

    async def aclose(self) -> None:
        """Wake the waiters, let POSTs under way finish, close the journals and the connections."""
        self.closed = True
        # After a fork the parent still uses the connections and files, so none is closed here.
        if self.loop is None or self._is_forked:
            return
        self.streams.stop(SessionClosedError(_CLOSED))
        self.admission.close()
        self.rates.close()
        async with AsyncExitStack() as stack:
            # Called in reverse order, and each is called even if another fails or is cancelled.
            stack.push_async_callback(self.transport.aclose)
            # After the submitter, because each POST still writes its outcome to a journal.
            for journal in self.journals:
                stack.push_async_callback(journal.aclose)
            stack.push_async_callback(self.rates.aclose)
            stack.push_async_callback(self.submitter.aclose)
            stack.push_async_callback(self.poller.aclose)

    @property
    def _is_forked(self) -> bool:
        return self._pid != os.getpid()
