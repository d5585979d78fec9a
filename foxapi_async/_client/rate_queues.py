"""The queues of a session and its copies, one for each account and journal."""

from typing import NamedTuple
from weakref import WeakValueDictionary

from foxapi_async._client.admission import AdmissionControl
from foxapi_async._client.rate_queue import RateQueue
from foxapi_async._client.rate_stores import SharedRate, process_rate
from foxapi_async._clock import Clock
from foxapi_async._journal import JournalBackend
from foxapi_async._protocol.submit_rate import RateStore
from foxapi_async._transport import Account
from foxapi_async.config import Limits


class RateStats(NamedTuple):
    """Counters of the queues."""

    queued: int
    """Submissions that wait for a rate."""
    waiting: int
    """Those of them that admission does not count."""
    next_in: float
    """Seconds until the first of them may be sent."""


class RateQueues:
    """Makes a queue for each account and journal that a session and its copies submit with."""

    def __init__(self, limits: Limits, admission: AdmissionControl, clock: Clock) -> None:
        self._limits = limits
        self._admission = admission
        self._clock = clock
        # Weak, because a server may make a copy for each of its users.
        self._queues: WeakValueDictionary[tuple[str, JournalBackend], RateQueue] = (
            WeakValueDictionary()
        )

    def queue_of(self, account: Account, journal: JournalBackend) -> RateQueue | None:
        """Return the queue of an account; ``None`` if no rate is limited."""
        limits = self._limits
        if limits.submits_per_minute is None and limits.tokens_per_minute is None:
            return None
        name = account.rate_name()
        queue = self._queues.get((name, journal))
        if queue is None:
            store: RateStore = process_rate(name, self._clock)
            if (shared := journal.rate_store(name)) is not None:
                store = SharedRate(shared, store)
            queue = RateQueue(limits, self._admission, self._clock, store)
            self._queues[name, journal] = queue
        return queue

    def stats(self) -> RateStats:
        """Return the counters."""
        queues = [*self._queues.values()]
        queued = sum(queue.waiting for queue in queues)
        return RateStats(
            queued=queued,
            waiting=queued - sum(queue.waits_in_admission for queue in queues if queue.waiting),
            next_in=min((queue.next_in for queue in queues if queue.next_in), default=0.0),
        )

    def close(self) -> None:
        """Admit nothing more; those that wait raise ``SessionClosedError``."""
        for queue in [*self._queues.values()]:
            queue.close()

    async def aclose(self) -> None:
        """Wait for the calls that are under way."""
        for queue in [*self._queues.values()]:
            await queue.aclose()
