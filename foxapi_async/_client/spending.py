"""The budgets of a session: reserves the cost of submissions, and counts what tasks have cost."""

import asyncio
from collections.abc import Awaitable, Callable

from foxapi_async._client.budget_meter import BudgetMeter, Cost, CostEstimates, Reservation
from foxapi_async._client.task_record import TaskRecord
from foxapi_async._client.token_estimate import max_tokens_of, prompt_tokens_of
from foxapi_async._journal import Entry, JournalBackend, Stage
from foxapi_async._wire.media_request import TaskRequest
from foxapi_async._wire.task import Task
from foxapi_async.errors import FoxAPIError, SessionClosedError, SubmitOutcomeUnknownError

# Of these, each is billed, or may be.
_COUNTED = frozenset(Stage) - {Stage.REFUSED}


class Spending:
    """The reservations of the submissions of a session, and what its tasks have cost."""

    def __init__(self) -> None:
        self._estimates = CostEstimates()
        # The reservations of accepted tasks whose end is not known, by task id.
        self._open: dict[str, Reservation] = {}
        # The first submissions to models of unknown cost. The others wait for them.
        self._first: dict[str, asyncio.Future[None]] = {}
        self._loading = asyncio.Lock()

    async def reserve(
        self,
        meters: tuple[BudgetMeter, ...],
        request: TaskRequest,
        journal: JournalBackend,
        service: str,
    ) -> Reservation:
        """Count the probable cost of a submission that is about to be sent.

        Raises:
            BudgetExceededError: A budget has too little left. Nothing is counted.
            JournalError: The journal cannot be read.
        """
        for meter in meters:
            if not meter.is_loaded:
                await self._load(meter, journal, service)
        if any(meter.limit.credits is not None for meter in meters):
            await self._wait_for_first(request.model)
        cost = self._estimates.estimate(
            request.model,
            prompt_tokens=prompt_tokens_of(request),
            max_tokens=max_tokens_of(request),
        )
        try:
            # Nothing is awaited between the check and the count.
            return Reservation(request.model, cost, meters)
        except BaseException:
            self._end_first(request.model)
            raise

    async def send(
        self, reservation: Reservation, post: Callable[[], Awaitable[Task | Entry]]
    ) -> Task | Entry:
        """Call ``post``, and count its task.

        A submission of unknown outcome stays counted; one that is not accepted is released.
        """
        try:
            found = await post()
            if isinstance(found, Task):
                self._accepted(reservation, found)
            else:
                reservation.release()
        except SubmitOutcomeUnknownError:
            raise
        except (FoxAPIError, SessionClosedError):
            reservation.release()
            raise
        finally:
            self._end_first(reservation.model)
        return found

    def settle(self, record: TaskRecord) -> None:
        """Count what a finished task has cost in place of what was expected."""
        if not self._open or (reservation := self._open.pop(record.id, None)) is None:
            return
        expected, counted = reservation.cost, record.counted
        tokens = max(counted.prompt_tokens, 0) + max(counted.completion_tokens, 0)
        if counted.completion_tokens > 0:
            self._estimates.saw_answer(reservation.model, counted.completion_tokens)
        credits_ = None if record.task is None else _credits(record.task)
        if credits_ is not None and credits_ != expected.credits:
            self._estimates.saw_credits(reservation.model, credits_)
        reservation.update(
            Cost(
                credits=expected.credits if credits_ is None else credits_,
                tokens=tokens or expected.tokens,
                tasks=1,
            )
        )

    def _accepted(self, reservation: Reservation, task: Task) -> None:
        credits_ = _credits(task)
        self._estimates.saw_credits(reservation.model, credits_)
        if credits_ is not None:
            reservation.update(reservation.cost._replace(credits=credits_))
        self._open[task.id] = reservation

    async def _wait_for_first(self, model: str) -> None:
        """Return at once for the first submission to a model; make others wait for its response."""
        while not self._estimates.knows_credits(model):
            first = self._first.get(model)
            if first is None:
                self._first[model] = asyncio.get_running_loop().create_future()
                return
            await asyncio.shield(first)

    def _end_first(self, model: str) -> None:
        first = self._first.pop(model, None)
        if first is not None and not first.done():
            first.set_result(None)

    async def _load(self, meter: BudgetMeter, journal: JournalBackend, service: str) -> None:
        """Count the entries of the journal."""
        async with self._loading:
            if meter.is_loaded:
                return
            total = Cost()
            if journal.is_durable:
                async for entry in journal.scan(service, _COUNTED):
                    total = total.plus(self._cost_of(entry))
            meter.add(total)
            meter.is_loaded = True

    def _cost_of(self, entry: Entry) -> Cost:
        used = entry.read_usage()
        if used.completion_tokens:
            self._estimates.saw_answer(entry.model, used.completion_tokens)
        if used.credits is not None:
            self._estimates.saw_credits(entry.model, used.credits)
        expected = self._estimates.estimate(
            entry.model, prompt_tokens=used.prompt_tokens, max_tokens=None
        )
        return Cost(
            expected.credits if used.credits is None else used.credits,
            used.prompt_tokens + used.completion_tokens or expected.tokens,
            1,
        )


def _credits(task: Task) -> float | None:
    found = task.usage.credits if task.usage is not None else None
    # A negative sum would make room for submissions that the budget forbids.
    return None if found is None or found < 0 else found
