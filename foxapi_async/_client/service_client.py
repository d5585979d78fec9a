"""The calls of the service for one session: its account, its options, its events."""

import logging
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from msgspec import Struct, structs

from foxapi_async._client.budget_meter import BudgetMeter
from foxapi_async._client.polling.tracked_task import TrackedTask
from foxapi_async._client.rate_queue import RateQueue
from foxapi_async._client.runtime import Runtime, SupportsDone
from foxapi_async._client.task_record import TaskRecord
from foxapi_async._clock import Clock
from foxapi_async._journal import FinalRecord, JournalBackend, Stage
from foxapi_async._protocol.pacing import Pacer, create_pacer
from foxapi_async._protocol.retry import Effect
from foxapi_async._protocol.task_status import TaskState
from foxapi_async._transport import Account, OnRetry, RequestSpec, StreamBody, decode
from foxapi_async._wire.base import Decoder, WireStruct
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.model_list import ModelInfo, model_list_decoder
from foxapi_async._wire.paths import (
    LLM_MODELS,
    is_task_id,
    stream_path,
    task_path,
)
from foxapi_async._wire.task import (
    Task,
    changed,
    query_decoder,
    submit_decoder,
    with_pending_status,
)
from foxapi_async.config import (
    PollPolicy,
    RetryPolicy,
    StreamPolicy,
    Timeouts,
    Validation,
)
from foxapi_async.errors import (
    FoxAPIError,
    InvalidResponseError,
    InvalidTaskIdError,
    RateLimitError,
    StreamInterruptedError,
)
from foxapi_async.hooks import (
    Event,
    Hook,
    SubmitUnclaimed,
    TaskCheckFailed,
    TaskFinished,
    TaskUpdated,
)

_log = logging.getLogger("foxapi_async")

R = TypeVar("R")
S = TypeVar("S", bound=WireStruct)

_UPSTREAM = {"sync_upstream": "true"}
_MAX_MODEL_LENGTH: Final = 256

_STAGES: Final = {
    TaskState.COMPLETED: Stage.COMPLETED,
    TaskState.FAILED: Stage.FAILED,
    TaskState.CANCELLED: Stage.CANCELLED,
}


class Options(Struct, frozen=True, kw_only=True):
    """The options of a session that ``with_options`` can replace."""

    timeouts: Timeouts
    retry: RetryPolicy
    polling: PollPolicy
    streaming: StreamPolicy
    validation: Validation
    hooks: tuple[Hook, ...]
    journal: JournalBackend
    budgets: tuple[BudgetMeter, ...] = ()
    """The budgets that each submission must keep."""


class ServiceClient:
    """Calls the service with the account and the options of one session."""

    __slots__ = ("account", "handles", "options", "pacer", "rate", "runtime")

    def __init__(
        self, account: Account, options: Options, runtime: Runtime, pacer: Pacer | None = None
    ) -> None:
        self.account: Account = account
        self.options: Options = options
        self.runtime: Runtime = runtime
        # The handles of submissions with an entry in the journal, by task id: one for each key.
        self.handles: WeakValueDictionary[str, Any] = WeakValueDictionary()
        if options.journal not in runtime.journals:
            runtime.journals.append(options.journal)
        # The queue of submissions, if their rate is limited.
        self.rate: RateQueue | None = runtime.rates.queue_of(account, options.journal)
        self.pacer: Pacer = pacer or create_pacer(options.polling.pacing)

    def replace(self, account: Account, **changes: Any) -> "ServiceClient":
        """Return a service of the same runtime with another account or other options.

        With an equal pacing policy, both share the pacer and what it has learnt of the models.
        """
        options = structs.replace(self.options, **changes)
        same = options.polling.pacing == self.options.polling.pacing
        return ServiceClient(account, options, self.runtime, self.pacer if same else None)

    @property
    def polling(self) -> PollPolicy:
        """The policy of polls."""
        return self.options.polling

    @property
    def journal(self) -> JournalBackend:
        """The journal of its submissions."""
        return self.options.journal

    @property
    def budgets(self) -> tuple[BudgetMeter, ...]:
        """The budgets that each submission must keep."""
        return self.options.budgets

    @property
    def clock(self) -> Clock:
        """The clock of the session."""
        return self.runtime.clock

    async def poll_once(
        self, task_id: str, *, empty: bool = False, context: Context | None = None
    ) -> tuple[Task, float | None]:
        """Poll a task once, without retries."""
        query = _UPSTREAM if self.options.polling.sync_upstream and not empty else None
        response = await self.runtime.transport.poll(
            self.account,
            task_path(task_id),
            query,
            timeouts=self.options.timeouts,
            emit=self.event_sink_in(context),
        )
        return _with_id(decode(query_decoder, response), task_id), response.retry_after

    async def fetch_task(self, task_id: str) -> Task:
        """Return the current snapshot of a task, with retries."""
        return _with_id(await self._fetch(task_path(task_id), query_decoder), task_id)

    async def fetch_models(self) -> tuple[ModelInfo, ...]:
        """Return the models that this key may use, with retries."""
        return (await self._fetch(LLM_MODELS, model_list_decoder)).data

    async def submit(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> Task:
        """Send the billed POST and return the task in its response, without checking its id.

        Raises:
            OutcomeUnknown: The service may have accepted it, but its response was lost.
            FoxAPIError: The service did not accept it.
        """
        spec = RequestSpec(
            effect=Effect.BILLED, method="POST", path=path, body=body, headers=headers
        )
        started_at = self.clock.time()
        try:
            task = await self._send(spec, submit_decoder, partial(self._on_retry, started_at))
        except RateLimitError as error:
            self._pause(started_at, error.retry_after)
            raise
        if self.rate is not None:
            self.rate.accepted(started_at)
        return with_pending_status(task)

    def _on_retry(self, started_at: float, _attempt: int, delay: float, reason: str) -> None:
        """Pause all submissions for as long as a rate-limited one waits."""
        if reason == RateLimitError.__name__:
            self._pause(started_at, delay)
            if self.rate is not None:
                self.rate.resubmitted()

    def _pause(self, started_at: float, seconds: float | None) -> None:
        if self.rate is not None:
            seconds = self.rate.rate_limited(started_at, seconds, self.options.retry)
        self.runtime.admission.pause(seconds)

    async def open_stream(self, task_id: str, offset: int) -> StreamBody:
        """Open the event stream of a task at ``offset``, without retries."""
        query = {"offset": str(offset)} if offset else None
        return await self.runtime.transport.open_stream(
            self.account,
            stream_path(task_id),
            query,
            timeouts=self.options.timeouts,
            emit=self.event_sink,
        )

    def add_unclaimed(
        self, handle: SupportsDone, *, task_id: str, model: str, key: str | None
    ) -> None:
        """Keep the handle of a billed task that was not returned; log it and emit an event."""
        if self.runtime.unclaimed.add(handle):
            _log.warning(
                "task %s is billed and its handle was not returned: see fox.unclaimed", task_id
            )
            self.emit(SubmitUnclaimed(task_id=task_id, model=model, key=key))

    def emit(self, event: Event) -> None:
        """Call every hook, and log the event at DEBUG. A hook that raises is logged."""
        _log.debug("%r", event)
        for hook in self.options.hooks:
            try:
                hook(event)
            except Exception:  # noqa: BLE001 logged: a hook must not break the call
                _log.exception("a hook raised on %s", type(event).__name__)

    @property
    def event_sink(self) -> Callable[[Event], None] | None:
        """The function that takes an event; ``None`` without hooks, so that none is built."""
        if self.options.hooks or _log.isEnabledFor(logging.DEBUG):
            return self.emit
        return None

    def event_sink_in(self, context: Context | None) -> Callable[[Event], None] | None:
        """Return the function that calls the hooks in ``context``; ``None`` without hooks."""
        event_sink = self.event_sink
        if event_sink is None or context is None:
            return event_sink
        return lambda event: context.run(event_sink, event)

    def event_context(self) -> Context | None:
        """Return a copy of the current context for later events; ``None`` without hooks."""
        return None if self.event_sink is None else copy_context()

    def emit_in(self, context: Context | None, event: Event) -> None:
        """Call the hooks in ``context``."""
        if (event_sink := self.event_sink_in(context)) is not None:
            event_sink(event)

    def masked(self, record: R) -> R:
        """Return ``record`` as the journal may keep it: without the API key in a file."""
        return self.account.mask.record(record) if self.options.journal.is_durable else record

    # Events of tasks

    def task_updated(self, record: TaskRecord, context: Context | None) -> None:
        """Emit ``TaskUpdated``."""
        task, event_sink = record.task, self.event_sink_in(context)
        if event_sink is not None and task is not None:
            event_sink(
                TaskUpdated(
                    task_id=record.id,
                    model=task.model,
                    status=task.status,
                    progress=task.progress,
                )
            )

    def task_finished(self, record: TaskRecord, context: Context | None) -> None:
        """Free the slot of the task, record its end in the journal, and emit ``TaskFinished``."""
        self.runtime.admission.finished(record.id)
        self.outcome_changed(record)
        task, outcome = record.task, record.outcome
        event_sink = self.event_sink_in(context)
        if event_sink is None or task is None or outcome is None:
            return
        error = outcome.error
        event_sink(
            TaskFinished(
                task_id=record.id,
                model=task.model,
                status=task.status,
                seconds=record.seconds or 0.0,
                error=type(error).__name__ if error else None,
            )
        )

    def outcome_changed(self, record: TaskRecord) -> None:
        """Record the end of a task in the journal, with what its stream delivered."""
        task, outcome = record.task, record.outcome
        if task is None or outcome is None:
            return
        self.count_usage(record)
        self.runtime.spending.settle(record)
        if self.rate is not None:
            self.rate.task_finished(record)
        error = outcome.error
        partial = error.completion if isinstance(error, StreamInterruptedError) else None
        end = FinalRecord(
            service=self.account.base,
            key=record.key,
            stage=_STAGES[record.state],
            task=task,
            streamed_completion=record.streamed if partial is None else partial,
            stream_was_cut=partial is not None,
        )
        self.options.journal.record_finished(self.masked(end))

    def count_usage(self, record: TaskRecord) -> None:
        """Count what a task that this session has submitted is known to have used."""
        if record.submitted_at is not None and record.task is not None:
            before, record.counted = record.counted, record.usage()
            model, usage = record.task.model, self.runtime.usage
            if model not in usage:
                # The service sends it, and it may have the API key in it.
                model = self.account.redact(model)[:_MAX_MODEL_LENGTH]
            usage.add(model, before, record.counted)

    def poll_failed(self, record: TaskRecord, error: FoxAPIError, context: Context | None) -> None:
        """Emit ``TaskCheckFailed``."""
        if (event_sink := self.event_sink_in(context)) is not None:
            event_sink(
                TaskCheckFailed(
                    task_id=record.id,
                    model=record.task.model if record.task is not None else "",
                    error=type(error).__name__,
                    message=str(error),
                )
            )

    def task_not_found(self, record: TaskRecord, error: FoxAPIError) -> None:
        """Record in the journal that the service does not know the task.

        The journal keeps the entry. Later calls of ``recover`` omit it by default.
        """
        _log.warning(
            "the service does not know task %s: check that the API key is of its account (%s)",
            record.id,
            error,
        )
        self.options.journal.record_lost(self.account.base, record.id, error)

    def stream_finished(self, tracked: TrackedTask, completion: ChatCompletion) -> None:
        """Keep the completion of a stream that was read to its end: the service drops reasoning."""
        tracked.set_streamed(completion)
        if tracked.outcome is not None:
            return
        # The task has finished too, so the next poll finds its outcome.
        self.runtime.poller.poll_now(tracked)
        if not tracked.waiters:
            self.options.journal.record_streamed(
                self.account.base, tracked.id, self.masked(completion)
            )

    async def _fetch(self, path: str, decoder: Decoder[S]) -> S:
        self.runtime.enter()
        return await self._send(RequestSpec(effect=Effect.READ, method="GET", path=path), decoder)

    async def _send(
        self, spec: RequestSpec, decoder: Decoder[S], on_retry: OnRetry | None = None
    ) -> S:
        options = self.options
        return await self.runtime.transport.fetch(
            self.account,
            spec,
            decoder,
            retry=options.retry,
            timeouts=options.timeouts,
            emit=self.event_sink,
            on_retry=on_retry,
        )


def check_task_id(task_id: object) -> str:
    """Return ``task_id``, or raise ``InvalidTaskIdError`` if it is not safe in a path."""
    # Ids come from files and databases too, where a missing one may be None or NaN.
    if isinstance(task_id, str) and is_task_id(task_id):
        return str.__str__(task_id)
    raise InvalidTaskIdError(
        f"{str(task_id)[:80]!r} is not a task id: "
        "pass the id that the service gave, 1 to 256 letters, digits and . _ : -"
        + ("" if isinstance(task_id, str) else f", got {type(task_id).__name__}")
    )


def _with_id(task: Task, task_id: str) -> Task:
    """Return ``task`` with its id, which a response may lack.

    A response with the id of another task raises ``InvalidResponseError``.
    """
    if task.id == task_id:
        return task
    other = task.id or task.extra.get("id")
    if other:
        raise InvalidResponseError(
            f"the service answered the query of task {task_id} with task {str(other)[:80]!r}"
        )
    return changed(task, id=task_id)
