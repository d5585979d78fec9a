"""Continues a stream after a lost connection: by a new one, or from the stored result."""
# pyright: reportPrivateUsage=false

from enum import Enum, auto

from msgspec import Struct

from foxapi_async._catalog import MODELS
from foxapi_async._client.polling.tracked_task import TrackedTask
from foxapi_async._client.service_client import ServiceClient
from foxapi_async._clock import sleep
from foxapi_async._protocol.completion_merge import missing_deltas
from foxapi_async._protocol.delta_buffer import DeltaBuffer
from foxapi_async._protocol.reconnect import (
    Disconnect,
    ReconnectStep,
    next_step,
    reconnect_delay,
    should_give_up,
)
from foxapi_async._protocol.task_status import (
    FailureTracker,
    PollFailure,
    TaskState,
    classify,
    classify_error,
    task_error,
)
from foxapi_async._wire.chunk import Delta
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.task import Task
from foxapi_async.errors import (
    FoxAPIError,
    StreamExpiredError,
    StreamUnavailableError,
    TaskLostError,
    TaskTimeoutError,
)


class NextAction(Enum):
    """What a reader without a connection does next."""

    REOPEN = auto()
    """Open the stream at the cursor."""
    USE_STORED = auto()
    """The task is completed: end with what its stored result has beyond the delivered chunks."""
    GIVE_UP = auto()
    """Raise ``StreamInterruptedError``."""


class ReconnectState:
    """Counts the lost connections since the last chunk, and the seconds spent waiting for the next.

    Only time inside a read counts: a reader that pauses between two reads uses up nothing. A
    cancelled read keeps the state, so the next read continues the same backoff.

    Attributes:
        disconnect: Why the connection was lost; ``None`` when that is dealt with.
        fault: The error of the last lost connection since the last chunk.
    """

    __slots__ = (
        "_disconnects",
        "_failures",
        "_offset",
        "_reopen_at",
        "_seen",
        "_service",
        "_waited",
        "disconnect",
        "fault",
    )

    def __init__(self, service: ServiceClient) -> None:
        self.disconnect: Disconnect | None = None
        self.fault: FoxAPIError | None = None
        self._service = service
        self._disconnects = 0
        self._offset = -1
        self._waited = 0.0
        self._reopen_at: float | None = None
        self._failures = FailureTracker()
        self._seen: tuple[str, int] | None = None

    def count_wait(self, offset: int, seconds: float) -> None:
        """Count ``seconds`` of waiting for the chunk after ``offset``."""
        if offset != self._offset:
            self._offset, self._waited, self._disconnects, self.fault = offset, 0.0, 0, None
        self._waited += seconds

    def count_disconnect(self, disconnect: Disconnect) -> None:
        """Count a lost connection."""
        self.disconnect = disconnect
        if not isinstance(disconnect.error, TaskTimeoutError):  # the timeout of the reader itself
            self.fault = disconnect.error
        self._disconnects += 1
        self._reopen_at = None

    async def next_action(self, tracked: TrackedTask, *, had_stream: bool) -> NextAction:
        """Decide how to go on, and wait out the backoff.

        Args:
            tracked: The task of the stream. It is polled where only its state can decide.
            had_stream: Whether chunks were delivered, so that the task has a stream.

        Raises:
            TaskFailedError: The task has failed.
            TaskCancelledError: The task was cancelled.
            StreamUnavailableError: The task has no stream.
            TaskLostError: The service knows neither the stream nor the task.
            APIStatusError: The service refuses the key.
        """
        disconnect, clock = self.disconnect, self._service.clock
        if disconnect is None:
            return NextAction.REOPEN
        began = clock.time()
        try:
            # A cancelled wait keeps the disconnect.
            action = await self._decide(disconnect, tracked, had_stream=had_stream)
        except Exception:
            self.disconnect = None
            raise
        finally:
            self._waited += clock.time() - began
        self.disconnect = None
        if action is NextAction.GIVE_UP:
            self._offset = -1  # a later read starts to count anew
        return action

    async def _decide(
        self, disconnect: Disconnect, tracked: TrackedTask, *, had_stream: bool
    ) -> NextAction:
        clock, policy = self._service.clock, self._service.options.streaming
        if self._reopen_at is None:
            began = clock.time()
            if self._disconnects == 1:
                tracked.poll_failed(disconnect.error)
            if disconnect.mismatch:
                return NextAction.GIVE_UP
            step = next_step(disconnect, self._disconnects)
            if step is ReconnectStep.RAISE:
                raise disconnect.error
            if step is ReconnectStep.CHECK_TASK and await self._is_completed(
                disconnect, tracked, had_stream=had_stream
            ):
                return NextAction.USE_STORED
            waited = self._waited + clock.time() - began
            if should_give_up(policy, disconnect, self._disconnects, waited):
                return NextAction.GIVE_UP
            self._reopen_at = clock.time() + reconnect_delay(policy, disconnect, self._disconnects)
        await sleep(clock, self._reopen_at - clock.time())
        return NextAction.REOPEN

    async def _is_completed(
        self, disconnect: Disconnect, tracked: TrackedTask, *, had_stream: bool
    ) -> bool:
        """Poll the task once: its state overrides what the stream reported."""
        snapshot = await self._poll(tracked)
        if snapshot is None:
            return False
        state = classify(snapshot)
        if state in {TaskState.FAILED, TaskState.CANCELLED}:
            raise task_error(snapshot)
        if disconnect.gone and not (
            had_stream or tracked.has_stream or snapshot.stream is not None
        ):
            raise StreamUnavailableError(
                f"task {snapshot.id} has no stream: it was submitted without stream=True, or its "
                "chunks have expired; await its handle instead",
                task_id=snapshot.id,
                task=snapshot,
                fault=disconnect.error,
            )
        if self._seen is not None and (snapshot.status, snapshot.progress) != self._seen:
            self._waited = 0.0
        self._seen = (snapshot.status, snapshot.progress)
        return state is TaskState.COMPLETED

    async def _poll(self, tracked: TrackedTask) -> Task | None:
        """Return the task as it is now; ``None`` if this poll failed."""
        try:
            # A thousand streams may be cut at once, so their polls keep to the rate limit.
            await sleep(self._service.clock, self._service.runtime.poller.reserve_slot())
            snapshot, _ = await self._service.poll_once(tracked.id)
        except FoxAPIError as fault:
            failure = classify_error(fault)
            if failure is PollFailure.FATAL:
                raise
            if self._failures.count_not_found(failure):
                self._failures = FailureTracker()
                raise TaskLostError(
                    f"the service knows neither the stream nor the task {tracked.id}: {fault}",
                    task_id=tracked.id,
                    task=tracked.task,
                    fault=fault,
                ) from None
            return None
        self._failures = FailureTracker()
        self._service.runtime.poller.publish(tracked, snapshot)
        return snapshot


class StoredTail(Struct, frozen=True):
    """What the stored result has beyond the delivered chunks."""

    delta: Delta | None
    """The rest as one delta; ``None`` if there is none."""
    reasoning_may_be_missing: bool
    """Whether the model emits reasoning, which the service does not store (contract Q1)."""


def tail_from_stored(
    stored: ChatCompletion, tracked: TrackedTask, buffer: DeltaBuffer
) -> StoredTail | None:
    """Compare the stored result of a task with the chunks that were delivered.

    Returns:
        What is left to deliver; ``None`` if the stored result does not continue the chunks.

    Raises:
        StreamExpiredError: The text before the position is not known here, so the stored text
            cannot be cut there.
    """
    snapshot = tracked.task
    suffix = buffer.cursor.suffix(stored.text)
    delivered = None if buffer.missing_prefix else buffer.accumulated().completion()
    choices = None if suffix is None else missing_deltas(stored, delivered, suffix)
    if choices is None and delivered is None:
        raise StreamExpiredError(
            f"the stream of task {tracked.id} has expired, and the text before offset "
            f"{buffer.offset} is not known here; await the handle for the whole result",
            task_id=tracked.id,
            offset=buffer.offset,
            task=snapshot,
        )
    if choices is None:
        buffer.cursor.record_mismatch(stored.text)
        return None
    model = MODELS.get(snapshot.model if snapshot is not None else stored.model)
    return StoredTail(
        delta=Delta(id=stored.id, model=stored.model, choices=choices, usage=stored.usage)
        if choices
        else None,
        reasoning_may_be_missing=bool(buffer.accumulated().reasoning)
        or (model is not None and model.thinking),
    )
