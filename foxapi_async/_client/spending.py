"""The budgets of a session: reserves the cost of submissions, and counts what tasks have cost."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from foxapi_async._client.budget_meter import BudgetMeter, BudgetUse
from foxapi_async._client.polling.poller import Poller
from foxapi_async._client.polling.tracked_task import TaskSource, TrackedTask, Waiter
from foxapi_async._client.task_record import TaskRecord
from foxapi_async._client.token_estimate import answer_tokens_of, prompt_tokens_of
from foxapi_async._journal import Entry, JournalBackend, Reservation
from foxapi_async._protocol.spent import (
    Cost,
    Spent,
    TaskCost,
    find_exceeded,
    limits_credits,
)
from foxapi_async._protocol.task_status import TaskState
from foxapi_async._wire.media_request import Kind, TaskRequest, kind_of
from foxapi_async._wire.task import Task
from foxapi_async.errors import (
    BudgetExceededError,
    FoxAPIError,
    SessionClosedError,
    SubmitOutcomeUnknownError,
)
from foxapi_async.hooks import BudgetExceeded, BudgetNearlyUsed, Event

_log = logging.getLogger("foxapi_async")

Post = Callable[[Reservation | None], Awaitable[Task | Entry]]
"""Sends a submission, whose intent has a reservation if a journal counts."""


class BudgetedService(TaskSource, Protocol):
    """Calls the service for one session, as far as budgets need it: a ``ServiceClient``."""

    @property
    def journal(self) -> JournalBackend:
        """The journal of its submissions."""
        ...

    @property
    def budgets(self) -> tuple[BudgetMeter, ...]:
        """The budgets that each submission must keep."""
        ...

    def emit(self, event: Event) -> None:
        """Call the hooks."""
        ...


class Spending:
    """The reservations of the submissions of a session, and what its tasks have cost.

    A durable journal counts for all processes that share it. Without one, the session counts.
    """

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        # What all budgets of the session have paid for, for the prices of models.
        self._spent = Spent()
        # The reservations of accepted tasks whose end is not known, by task id.
        self._open: dict[str, _MemoryReservation] = {}
        # Held while the price of a model is being found out, by service and model.
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}
        self._waiters: set[_PriceWaiter] = set()

    def use(self, service: BudgetedService) -> BudgetUse | None:
        """Return what is used of the first budget; ``None`` without one."""
        budgets = service.budgets
        return budgets[0].use(self._total(service, budgets[0])) if budgets else None

    @asynccontextmanager
    async def first_turn(
        self, service: BudgetedService, model: str
    ) -> AsyncGenerator["FirstTurn | None", None]:
        """Wait while the price of a model is being found out.

        A turn means that this submission is to find it out. Without a budget of credits, and when
        the price is known, there is none.

        Raises:
            JournalError: The journal cannot be read.
        """
        base, journal = service.account.base, service.journal
        if journal.is_durable and journal.spent(base) is None:
            await journal.sum_up(base)
        if self._knows_price(service, model):
            yield None
            return
        lock = self._locks.setdefault((base, model), asyncio.Lock())
        await lock.acquire()
        turn = FirstTurn(lock)
        try:
            if self._knows_price(service, model):
                turn.leave()
                yield None
            else:
                yield turn
        finally:
            turn.leave()

    async def post(
        self,
        service: BudgetedService,
        request: TaskRequest,
        turn: "FirstTurn | None",
        post: Post,
    ) -> Task | Entry:
        """Reserve the probable cost, call ``post``, and count its task.

        A submission of unknown outcome stays counted; one that is not accepted is released.

        Raises:
            BudgetExceededError: A budget has too little left. Nothing was sent or counted.
            PriceUnknownError: Another process is to find out the price of the model.
        """
        part = turn.shared() if turn is not None else None
        tokens = prompt_tokens_of(request) + self._answer_tokens(service, request)
        try:
            if service.journal.is_durable:
                limits = tuple(meter.limit for meter in service.budgets)
                found = await post(Reservation(limits=limits, tokens=tokens))
            else:
                found = await self._post_counted(service, request.model, tokens, post)
            is_first = part is not None and not self._knows_price(service, request.model)
            if part is not None and is_first and isinstance(found, Task):
                self._wait_for_price(service, kind_of(request), found, part.shared())
        except BudgetExceededError as error:
            _report_exceeded(service, error)
            raise
        else:
            return found
        finally:
            if part is not None:
                part.leave()
            self._report_nearly_used(service)

    def settle(self, record: TaskRecord) -> None:
        """Count what a finished task has cost in place of what was expected."""
        if not self._open or (reservation := self._open.pop(record.id, None)) is None:
            return
        used = record.usage()
        credits_ = None if record.task is None else _credits(record.task)
        reservation.change(
            reservation.cost.ended(
                credits_=credits_,
                prompt_tokens=used.prompt_tokens,
                answer_tokens=used.completion_tokens,
                is_completed=record.state is TaskState.COMPLETED,
            )
        )

    async def _post_counted(
        self, service: BudgetedService, model: str, tokens: int, post: Post
    ) -> Task | Entry:
        """Count a submission in this session, around ``post``."""
        needed = self._spent.needed(model, tokens)
        for meter in service.budgets:
            error = find_exceeded([meter.limit], self._total(service, meter), needed)
            if error is not None:
                raise error
        # Nothing is awaited between the check and the count.
        sums = (self._spent, *(meter.spent for meter in service.budgets))
        reservation = _MemoryReservation(sums, model, TaskCost(tokens=tokens))
        try:
            found = await post(None)
        except SubmitOutcomeUnknownError:
            raise
        except (FoxAPIError, SessionClosedError):
            reservation.change(None)
            raise
        if isinstance(found, Entry):
            reservation.change(None)
        else:
            reservation.change(reservation.cost.accepted(_credits(found)))
            self._open[found.id] = reservation
        return found

    def _total(self, service: BudgetedService, meter: BudgetMeter) -> Cost:
        shared = self._shared(service)
        return meter.spent.total(self._spent) if shared is None else shared.total()

    def _shared(self, service: BudgetedService) -> Spent | None:
        """Return the sums of the journal; ``None`` if it counts nothing."""
        return service.journal.spent(service.account.base)

    def _knows_price(self, service: BudgetedService, model: str) -> bool:
        """Tell whether the price of a model is known, or does not matter."""
        if not limits_credits(meter.limit for meter in service.budgets):
            return True
        shared = self._shared(service)
        return (self._spent if shared is None else shared).price(model) is not None

    def _answer_tokens(self, service: BudgetedService, request: TaskRequest) -> int:
        """Return how many tokens the answers will probably have."""
        shared = self._shared(service)
        mean = (self._spent if shared is None else shared).answer_tokens(request.model)
        return answer_tokens_of(request, mean)

    def _wait_for_price(
        self, service: BudgetedService, kind: Kind, task: Task, turn: "FirstTurn"
    ) -> None:
        """Poll the first task of a model until it ends, or the session is closed."""
        poller = self._poller
        tracked = poller.track(service, task.id, kind, submitted=task)

        def on_end(waiter: _PriceWaiter) -> None:
            self._waiters.discard(waiter)
            poller.remove_waiter(waiter)
            if tracked.outcome is None:
                service.journal.end_turn(service.account.base, task.id)
            else:
                self.settle(tracked)
            turn.leave()

        waiter = _PriceWaiter(tracked, on_end)
        self._waiters.add(waiter)
        try:
            poller.add_waiter(waiter, None)
        except SessionClosedError:
            self._waiters.discard(waiter)
            turn.leave()

    def _report_nearly_used(self, service: BudgetedService) -> None:
        """Log and emit once for each budget that 80 % of it are used."""
        for meter in service.budgets:
            if meter.is_nearly_used:
                continue
            found = meter.find_nearly_used(self._total(service, meter))
            if found is not None:
                unit, limit, used = found
                meter.is_nearly_used = True
                _log.warning(
                    "%.10g of the %.10g %s of the budget are used or reserved", used, limit, unit
                )
                service.emit(BudgetNearlyUsed(unit=unit, limit=limit, used=used))


class FirstTurn:
    """The right to send the first submission to a model whose price is not known.

    It ends when each part of it has been left: that of the caller, of the POST, and of the wait for
    the end of the task.
    """

    __slots__ = ("_has_left", "_lock", "_parts")

    def __init__(self, lock: asyncio.Lock, parts: list["FirstTurn"] | None = None) -> None:
        self._lock = lock
        self._parts: list[FirstTurn] = parts if parts is not None else []
        self._parts.append(self)

    def shared(self) -> "FirstTurn":
        """Return another part of it."""
        return FirstTurn(self._lock, self._parts)

    def leave(self) -> None:
        """Leave this part; further calls do nothing."""
        if self in self._parts:
            self._parts.remove(self)
            if not self._parts:
                self._lock.release()


class _MemoryReservation:
    """The cost of one submission, in the sums of a session."""

    __slots__ = ("_model", "_sums", "cost")

    def __init__(self, sums: tuple[Spent, ...], model: str, cost: TaskCost) -> None:
        self._sums = sums
        self._model = model
        self.cost: TaskCost = cost
        for spent in sums:
            spent.change(model, None, cost)

    def change(self, cost: TaskCost | None) -> None:
        """Count ``cost`` instead; ``None`` if the service did not accept the submission."""
        for spent in self._sums:
            spent.change(self._model, self.cost, cost)
        self.cost = cost if cost is not None else TaskCost(tokens=0)


class _PriceWaiter(Waiter):
    """Waits for the end of the first task of a model."""

    __slots__ = ("_on_end",)

    def __init__(self, tracked: TrackedTask, on_end: "Callable[[_PriceWaiter], None]") -> None:
        super().__init__(tracked)
        self._on_end = on_end

    def wake(self, error: Exception | None) -> None:
        """End the wait. Without an outcome, the next submission finds out the price."""
        if error is not None and not isinstance(error, SessionClosedError):
            _log.debug("the price of a model is not known from task %s", self.tracked.id)
        self._on_end(self)


def _report_exceeded(service: BudgetedService, error: BudgetExceededError) -> None:
    """Log and emit once for each budget that a submission would exceed it."""
    for meter in service.budgets:
        if getattr(meter.limit, error.unit) == error.limit and not meter.is_exceeded:
            meter.is_exceeded = True
            _log.warning("%s; this is logged once", error)
            service.emit(
                BudgetExceeded(
                    unit=error.unit, limit=error.limit, used=error.used, needed=error.needed
                )
            )


def _credits(task: Task) -> float | None:
    return task.usage.credits if task.usage is not None else None
