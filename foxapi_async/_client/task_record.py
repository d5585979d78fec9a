"""The record of one task, which its handles, the poller, admission and its streams share."""

from contextvars import Context
from copy import copy
from typing import Any, Generic, Protocol, TypeVar

from msgspec import DecodeError

from foxapi_async._client.stats import NOTHING_USED, TaskAmounts
from foxapi_async._protocol.completion_merge import lacks_streamed_member, merge_completions
from foxapi_async._protocol.task_status import TaskState, classify, task_error
from foxapi_async._transport import Account, excerpt
from foxapi_async._wire.completion import ChatCompletion, decode_completion, set_task
from foxapi_async._wire.media_request import KINDS, Kind
from foxapi_async._wire.media_results import decode_media
from foxapi_async._wire.task import Task, TaskSummary
from foxapi_async.errors import (
    FoxAPIError,
    InvalidResponseError,
    StreamInterruptedError,
    TaskLostError,
)

R_co = TypeVar("R_co", covariant=True)


class Outcome(Generic[R_co]):
    """The result of a task, or its error."""

    __slots__ = ("_value", "error")

    def __init__(self, value: R_co | None = None, error: Exception | None = None) -> None:
        self._value = value
        self.error: Exception | None = error

    def get(self) -> R_co:
        """Return the result, or raise a copy of the error: raising adds frames to a traceback."""
        if self.error is not None:
            raise copy(self.error)
        return self._value  # type: ignore[return-value]  # no error: the value was given


class TaskListener(Protocol):
    """Receives the events of a task, for hooks, the journal and admission: a ``ServiceClient``.

    ``context`` is the one in which hooks are called for the task.
    """

    def task_updated(self, record: "TaskRecord", context: Context | None) -> None:
        """Report a snapshot with another status or progress than the one before."""
        ...

    def task_finished(self, record: "TaskRecord", context: Context | None) -> None:
        """Report the outcome."""
        ...

    def outcome_changed(self, record: "TaskRecord") -> None:
        """Report an outcome that has changed, because more of the stream is known."""
        ...

    def poll_failed(
        self, record: "TaskRecord", error: FoxAPIError, context: Context | None
    ) -> None:
        """Report the first failed poll in a row."""
        ...

    def task_not_found(self, record: "TaskRecord", error: FoxAPIError) -> None:
        """Report that the service does not know the task, which is no outcome."""
        ...


class TaskRecord:
    """The last snapshot of one task of one account, what its stream delivered, and its outcome.

    A snapshot is classified once, when it arrives. The first final one settles the outcome, which
    every handle of the task returns. Each listener is called once, for any number of
    handles.
    """

    __slots__ = (
        "_context",
        "_listener",
        "_other_listeners",
        "account",
        "can_follow",
        "counted",
        "has_stream",
        "id",
        "key",
        "kind",
        "outcome",
        "request_id",
        "seconds",
        "state",
        "stream_error",
        "streamed",
        "submitted_at",
        "task",
    )

    def __init__(
        self,
        account: Account | None,
        task_id: str,
        kind: Kind,
        *,
        task: Task | None = None,
        key: str | None = None,
        submitted_at: float | None = None,
        context: Context | None = None,
    ) -> None:
        self.account: Account | None = account
        self.id: str = task_id
        self.kind: Kind = kind
        self.key: str | None = key
        self.task: Task | None = task
        # That of the submit: later snapshots have ids of their own.
        self.request_id: str | None = None if task is None else task.request_id
        self.state: TaskState = TaskState.RUNNING if task is None else classify(task)
        # By the clock of the session; None for a task of another session.
        self.submitted_at: float | None = submitted_at
        # From the submit to the final snapshot; None before it, and for a task of another session.
        self.seconds: float | None = None
        # What the statistics of the session have of this task.
        self.counted: TaskAmounts = NOTHING_USED
        # None while it is not known. The response to a submit is proof (contract §3.5).
        self.has_stream: bool | None = None if task is None else task.stream is not None
        # Whether awaiting the task may follow its stream; not after that has failed.
        self.can_follow: bool = True
        self.streamed: ChatCompletion | None = None
        # The error of a stream that was not read to its end, with the text that it delivered.
        self.stream_error: StreamInterruptedError | None = None
        self.outcome: Outcome[Any] | None = None
        self._context = context
        self._listener: TaskListener | None = None
        self._other_listeners: dict[TaskListener, Context | None] | None = None

    @property
    def context(self) -> Context | None:
        """The context for hooks; None if there were no hooks at the submit."""
        return self._context

    @property
    def has_listeners(self) -> bool:
        """Whether a handle has existed, whose session has hooks and a journal."""
        return self._listener is not None

    def add_listener(self, listener: TaskListener, context: Context | None) -> None:
        """Call ``listener`` for later changes, and for an outcome that is known already.

        The first listener is called in the context of the record. Adding one again does nothing.
        """
        if self._listener is None:
            self._listener = listener
            context = self._context
        elif listener is self._listener or listener in (self._other_listeners or ()):
            return
        else:
            self._other_listeners = self._other_listeners or {}
            self._other_listeners[listener] = context
        if self.outcome is not None:
            listener.task_finished(self, context)

    # Called by the poller and other requests

    def observe(self, task: Task, now: float) -> None:
        """Keep a snapshot. The first final one settles the outcome; later ones are ignored."""
        if self.outcome is not None:
            return
        before, self.task = self.task, task
        self.state = state = classify(task)
        # A poll may leave the member out, so its absence proves nothing.
        if self.has_stream is None and task.stream is not None:
            self.has_stream = True
        if state.is_final:
            self.settle(now)
        elif before is None or (before.status, before.progress) != (task.status, task.progress):
            for listener, context in self._listeners():
                listener.task_updated(self, context)

    def settle(self, now: float) -> None:
        """Settle the outcome from a final snapshot, unless it is settled."""
        if self.outcome is None and self.task is not None and self.state.is_final:
            if self.submitted_at is not None:
                self.seconds = now - self.submitted_at
            self.outcome = self._decode_outcome(self.task)
            for listener, context in self._listeners():
                listener.task_finished(self, context)

    def poll_failed(self, error: FoxAPIError) -> None:
        """Report the first failed poll in a row to the listeners."""
        for listener, context in self._listeners():
            listener.poll_failed(self, error, context)

    def not_found(self, error: FoxAPIError) -> None:
        """Report to the listeners that the service does not know the task, or not yet."""
        for listener, _ in self._listeners():
            listener.task_not_found(self, error)

    # Called by streams and the journal

    def set_streamed(self, completion: ChatCompletion) -> None:
        """Keep the completion of a stream that was read to its end: the service drops reasoning."""
        self.streamed = completion
        self._settle_again()

    def set_stream_error(self, stream_error: StreamInterruptedError) -> None:
        """Keep the error of a stream that was left or cut before its end.

        If the stored completion lacks text that the stream delivered, the outcome is this error.
        """
        if self.stream_error is None or stream_error.offset >= self.stream_error.offset:
            self.stream_error = stream_error
            if self.outcome is not None and self._lacks_streamed_text(self.outcome):
                self._settle_again()

    def restore(
        self,
        *,
        task: Task | None,
        has_stream: bool,
        streamed: ChatCompletion | None,
        stream_error: StreamInterruptedError | None,
        is_finished: bool,
    ) -> None:
        """Take over the contents of a journal entry, without calling the listeners."""
        if self.outcome is not None:
            return
        if task is not None:
            self.task, self.state = task, classify(task)
        self.has_stream = has_stream
        self.streamed = self.streamed or streamed
        self.stream_error = self.stream_error or stream_error
        if task is not None and is_finished:
            self.outcome = self._decode_outcome(task)

    def adopt(self, other: "TaskRecord") -> None:
        """Take over the contents of the record that an unpickled handle has."""
        self.key = other.key if self.key is None else self.key
        if self.task is None:
            self.task, self.state = other.task, other.state
        self.has_stream = other.has_stream if self.has_stream is None else self.has_stream
        self.streamed = self.streamed or other.streamed
        self.stream_error = self.stream_error or other.stream_error
        if self.outcome is None:
            self.outcome = other.outcome

    # The outcome

    def stored_result(self) -> Any:
        """Return the result of a completed task, even if a stream delivered text that it lacks.

        Raises the error of a task that is not completed, or of results that cannot be decoded.
        """
        if self.task is None:
            raise RuntimeError(f"no snapshot of task {self.id} is known")
        return self._decode_stored(self.task).get()

    def _decode_outcome(self, task: Task) -> Outcome[Any]:
        outcome = self._decode_stored(task)
        if self.stream_error is not None and self._lacks_streamed_text(outcome):
            return Outcome(error=_text_missing(self.stream_error, task))
        return outcome

    def _decode_stored(self, task: Task) -> Outcome[Any]:
        if self.state is not TaskState.COMPLETED:
            return Outcome(error=task_error(task))
        try:
            return Outcome(self._decode_result(task))
        except DecodeError as error:
            return Outcome(error=_undecodable(self.account, task, error))

    def _decode_result(self, task: Task) -> Any:
        if task.type in KINDS and (task.type == "llm") is not (self.kind == "llm"):
            raise DecodeError(
                f"the task is of kind {task.type!r}: call fox.tasks.handle(..., kind={task.type!r})"
            )
        if self.kind != "llm":
            return decode_media(task.results or (), self._summary(task))
        if not task.results:
            raise DecodeError("there is no result")
        completion = merge_completions(decode_completion(task.results[0]), self.streamed)
        return set_task(completion, self._summary(task))

    def _summary(self, task: Task) -> TaskSummary:
        return TaskSummary(
            id=self.id,
            model=task.model,
            created=task.created or None,
            seconds=self.seconds,
            usage=task.usage,
            request_id=self.request_id,
        )

    def usage(self) -> TaskAmounts:
        """Return what the task is known to have used."""
        task, outcome = self.task, self.outcome
        usage = task.usage if task is not None else None
        cost = usage.credits if usage is not None else None
        result = outcome.get() if outcome is not None and outcome.error is None else None
        tokens = result.usage if isinstance(result, ChatCompletion) else None
        return TaskAmounts(
            1,
            tokens.prompt_tokens if tokens is not None else 0,
            tokens.completion_tokens if tokens is not None else 0,
            self.counted.credits if cost is None else cost,
        )

    def _lacks_streamed_text(self, outcome: Outcome[Any]) -> bool:
        delivered = self.stream_error.completion if self.stream_error is not None else None
        return (
            delivered is not None
            and outcome.error is None
            and lacks_streamed_member(outcome.get(), delivered)
        )

    def _settle_again(self) -> None:
        """Decode the outcome again, because more of the stream is known."""
        outcome, task = self.outcome, self.task
        if outcome is None or task is None:
            return
        if outcome.error is None or isinstance(outcome.error, StreamInterruptedError):
            self.outcome = self._decode_outcome(task)
            for listener, _ in self._listeners():
                listener.outcome_changed(self)

    def _listeners(self) -> "tuple[tuple[TaskListener, Context | None], ...]":
        if self._listener is None:
            return ()
        first = (self._listener, self._context)
        return (first, *self._other_listeners.items()) if self._other_listeners else (first,)


def add_delivered(lost: TaskLostError, stream_error: StreamInterruptedError) -> None:
    """Add what the stream of a lost task delivered before it was cut."""
    lost.partial, lost.completion, lost.cursor = (
        stream_error.partial,
        stream_error.completion,
        stream_error.cursor,
    )


def _undecodable(account: Account | None, task: Task, error: DecodeError) -> InvalidResponseError:
    message = f"the results of task {task.id} cannot be read"
    if account is None:
        # Without the account the API key cannot be masked, so nothing of the results is quoted.
        return InvalidResponseError(message)
    return InvalidResponseError(
        f"{message}: {account.redact(str(error))}",
        body=excerpt(account, bytes(task.results[0])) if task.results else "",
    )


def _text_missing(stream_error: StreamInterruptedError, task: Task) -> StreamInterruptedError:
    return StreamInterruptedError(
        f"the stored completion of task {task.id} lacks text of its stream, which was cut after "
        f"{stream_error.offset} chunks: the whole text is not known; .partial has the text that "
        "arrived, and handle.stream(resume=error.cursor) continues while the service keeps the "
        "stream",
        task_id=stream_error.task_id,
        offset=stream_error.offset,
        partial=stream_error.partial,
        cursor=stream_error.cursor,
        completion=stream_error.completion,
        doubtful_from=stream_error.doubtful_from,
        task=task,
        fault=stream_error.fault,
    )
