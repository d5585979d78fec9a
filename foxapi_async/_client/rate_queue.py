"""Submissions of one account that wait for ``Limits(submits_per_minute=, tokens_per_minute=)``."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from itertools import islice
from typing import Final

from foxapi_async._client.admission import AdmissionControl
from foxapi_async._client.task_record import TaskRecord
from foxapi_async._client.token_estimate import TokenEstimates
from foxapi_async._clock import Clock
from foxapi_async._journal import Entry
from foxapi_async._protocol.submit_rate import Lease, PauseRule, RateCost, RateStore, lease_size
from foxapi_async._wire.media_request import TaskRequest
from foxapi_async._wire.task import Task
from foxapi_async.config import Limits, RetryPolicy
from foxapi_async.errors import SessionClosedError, SubmitOutcomeUnknownError

_MINUTE: Final = 60.0
# In a longer wait another process may have been asked to pause.
_LONG_WAIT: Final = 1.0
_MAX_OPEN: Final = 10_000

Ticket = asyncio.Future[None]


class RateQueue:
    """Admits the submissions of one account in the order of their calls, at the rates.

    A task of its own reserves for the first ones, as soon as ``admission`` has slots for them, and
    admits them when their time has come. It runs while there are waiters. A reservation belongs to
    no waiter: when one is cancelled, the next one is admitted in its place.
    """

    def __init__(
        self, limits: Limits, admission: AdmissionControl, clock: Clock, store: RateStore
    ) -> None:
        self._per_submit = _MINUTE / limits.submits_per_minute if limits.submits_per_minute else 0.0
        self._per_token = _MINUTE / limits.tokens_per_minute if limits.tokens_per_minute else 0.0
        self._admission = admission
        self._clock = clock
        self._store = store
        # The tokens of each submission that waits, in the order of the calls.
        self._waiting: OrderedDict[Ticket, int] = OrderedDict()
        self._sender: asyncio.Task[None] | None = None
        self._needs_slot = False
        self._sleep = _Sleep(clock)
        # What the next reservation adds to what its own submissions cost.
        self._resubmits = 0
        self._token_correction = 0
        self._estimates = TokenEstimates()
        # The models and expected tokens of accepted tasks that have not ended.
        self._open: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._pauses = PauseRule()
        self._pausing: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<RateQueue waiting={self.waiting} next_in={self.next_in:.3g}>"

    @property
    def waiting(self) -> int:
        """How many submissions wait for the rate, or for a slot before it."""
        return len(self._waiting)

    @property
    def waits_in_admission(self) -> bool:
        """Whether ``admission`` counts one of them too."""
        return self._needs_slot

    @property
    def next_in(self) -> float:
        """Seconds until the next submission may be sent; 0 if none waits for the rate."""
        return self._sleep.left

    def keep_in(self, store: RateStore) -> None:
        """Keep the rate in another store from now on."""
        self._store = store

    # A submission

    def estimate(self, request: TaskRequest) -> int:
        """Return about how many tokens a submission uses; 0 if they have no limit."""
        if not self._per_token:
            return 0
        return self._estimates.estimate(request)

    async def enter(self, tokens: int) -> None:
        """Wait for admission. Each admitted submission has to leave it; cancelling gives up."""
        self._admission.raise_if_closed()
        loop = asyncio.get_running_loop()
        ticket: Ticket = loop.create_future()
        self._waiting[ticket] = tokens
        if self._sender is None:
            # It admits many callers, so it runs in no context of theirs.
            self._sender = loop.create_task(self._send(), context=Context())
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket.cancelled():
                self._remove(ticket)
            elif ticket.exception() is None:
                # It was admitted in the same turn of the loop.
                self._token_correction -= tokens
                if not self._admit_next():
                    self._admission.leave()
            raise
        try:
            self._admission.raise_if_closed()
        except SessionClosedError:
            self._admission.leave()
            raise

    async def send(
        self, request: TaskRequest, tokens: int, post: Callable[[], Awaitable[Task | Entry]]
    ) -> Task | Entry:
        """Call ``post``, whose admission has counted ``tokens``."""
        try:
            found = await post()
        except SubmitOutcomeUnknownError:
            raise
        except BaseException:
            self._token_correction -= tokens
            raise
        if not isinstance(found, Task):
            self._token_correction -= tokens
        elif self._per_token:
            self._open[found.id] = request.model, tokens
            if len(self._open) > _MAX_OPEN:
                self._open.popitem(last=False)
        return found

    def task_finished(self, record: TaskRecord) -> None:
        """Count the real usage of a task in place of what was expected."""
        if not self._open or (expected := self._open.pop(record.id, None)) is None:
            return
        model, tokens = expected
        # A negative number would make room for more than the rate.
        prompt, answer = (
            max(record.counted.prompt_tokens, 0),
            max(record.counted.completion_tokens, 0),
        )
        if answer:
            self._estimates.saw_answer(model, answer)
        if prompt or answer:
            self._token_correction += prompt + answer - tokens
            if prompt + answer < tokens and self._sleep.left > _LONG_WAIT:
                self._sleep.end()

    # The limit of the service

    def rate_limited(
        self, started_at: float, retry_after: float | None, policy: RetryPolicy
    ) -> float:
        """Pause all that share the rate after a 429; return the seconds of the pause.

        Args:
            started_at: When the POST was sent.
            retry_after: The seconds that the service asks for, if it does.
            policy: Tells how pauses grow where the service does not.
        """
        seconds = self._pauses.rate_limited(
            self._clock.time(), started_at=started_at, retry_after=retry_after, policy=policy
        )
        if seconds:
            pausing = self._store.pause(seconds)
            task = asyncio.get_running_loop().create_task(pausing, context=Context())
            self._pausing.add(task)
            task.add_done_callback(self._pausing.discard)
        return seconds

    def accepted(self, started_at: float) -> None:
        """End the growth of pauses, if the POST was sent after the last one began."""
        self._pauses.accepted(started_at)

    def resubmitted(self) -> None:
        """Count a POST that is sent again without another admission."""
        self._resubmits += 1

    # The end

    def close(self) -> None:
        """Admit nothing more; those that wait raise ``SessionClosedError``."""
        self._fail(SessionClosedError("the session was closed before this submission was sent"))
        if self._sender is not None:
            self._sender.cancel()

    async def aclose(self) -> None:
        """Wait until the pauses are recorded."""
        tasks = [*self._pausing, *filter(None, [self._sender])]
        if tasks:
            await asyncio.wait(tasks)

    # The task that admits

    async def _send(self) -> None:
        this = self._sender
        try:
            while self._waiting:
                await self._send_some()
        except asyncio.CancelledError:
            if self._sender is this:
                # Other code cancels every task of the loop.
                for ticket in self._waiting:
                    ticket.cancel()
            raise
        except SessionClosedError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 a bug, perhaps in a borrowed clock: all raise it
            self._fail(error)
        finally:
            if self._sender is this:
                self._sender = None

    async def _send_some(self) -> None:
        """Admit the first waiters, as soon as they have slots and their time has come."""
        self._needs_slot = True
        try:
            await self._admission.enter()
        finally:
            self._needs_slot = False
        slots = 1
        try:
            if not self._waiting:
                return
            costs = [self._cost(1, tokens) for tokens in islice(self._waiting.values(), 11)]
            slots += self._admission.enter_at_once(min(lease_size(costs), len(costs)) - 1)
            if await self._reserve(slots):
                while slots and self._admit_next():
                    slots -= 1
        finally:
            for _ in range(slots):
                self._admission.leave()

    async def _reserve(self, submits: int) -> bool:
        """Wait for the time of the first waiters; return ``False`` if it is not to be used."""
        tokens = sum(islice(self._waiting.values(), submits))
        cost = self._cost(submits + self._resubmits, tokens)
        cost = cost._replace(correction=self._token_correction * self._per_token)
        # The tokens of each waiter that is admitted are added again.
        self._resubmits, self._token_correction = 0, -tokens
        lease = await self._store.reserve(cost)
        due = self._clock.time() + lease.wait
        is_due = lease.wait <= 0 or await self._sleep.until(due)
        while self._waiting and not is_due:
            # Fewer tokens are used than was expected, so an earlier time may be had.
            if await self._cancel(lease, tokens):
                return False
            is_due = await self._sleep.until(due)
        if is_due and self._waiting and not await self._is_paused(lease):
            return True
        await self._cancel(lease, tokens)
        return False

    async def _cancel(self, lease: Lease, tokens: int) -> bool:
        is_cancelled = await self._store.cancel(lease)
        if is_cancelled:
            self._token_correction += tokens
        return is_cancelled

    async def _is_paused(self, lease: Lease) -> bool:
        if self._admission.paused:
            return True
        return lease.wait > _LONG_WAIT and await self._store.paused() > 0

    def _cost(self, submits: int, tokens: int) -> RateCost:
        return RateCost(submits * self._per_submit, tokens * self._per_token)

    def _admit_next(self) -> bool:
        """Admit the first waiter; tell whether there was one."""
        while self._waiting:
            ticket, tokens = self._waiting.popitem(last=False)
            # A ticket cancelled in this turn of the loop is still in the queue.
            if not ticket.done():
                self._token_correction += tokens
                ticket.set_result(None)
                return True
        return False

    def _remove(self, ticket: Ticket) -> None:
        self._waiting.pop(ticket, None)
        if self._waiting:
            return
        # Nothing is left to wait for.
        self._sleep.end()
        if self._needs_slot and self._sender is not None:
            self._sender.cancel()
            self._sender = None

    def _fail(self, error: Exception) -> None:
        for ticket in self._waiting:
            if not ticket.done():
                ticket.set_exception(error)
        self._waiting.clear()


class _Sleep:
    """A wait for a time, which can be ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends_at = 0.0
        self._ended: asyncio.Future[bool] | None = None

    @property
    def left(self) -> float:
        """The seconds until the end; 0 if nothing waits."""
        return max(self._ends_at - self._clock.time(), 0.0) if self._ended is not None else 0.0

    async def until(self, when: float) -> bool:
        """Wait until ``when``, or until ``end`` is called; tell whether it is the time."""
        self._ended = asyncio.get_running_loop().create_future()
        self._ends_at = when
        timer = self._clock.call_at(when, partial(self.end, on_time=True))
        try:
            return await self._ended
        finally:
            timer.cancel()
            self._ended = None

    def end(self, *, on_time: bool = False) -> None:
        """End the wait."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(on_time)
