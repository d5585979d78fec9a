"""How a stream that was cut goes on: by another connection, or from the task."""
# pyright: reportPrivateUsage=false

from enum import Enum, auto
from typing import TYPE_CHECKING

from foxapi_async._client.service import Service
from foxapi_async._clock import sleep
from foxapi_async._protocol.reconnect import (
    Disconnect,
    ReconnectStep,
    next_step,
    reconnect_delay,
    should_give_up,
)
from foxapi_async._protocol.task_status import (
    NOT_FOUND_LIMIT,
    PollFailure,
    TaskState,
    classify,
    classify_error,
    task_error,
)
from foxapi_async._transport import Account
from foxapi_async._wire.task import Task
from foxapi_async.errors import (
    APIConnectionError,
    FoxAPIError,
    InvalidResponseError,
    StreamUnavailableError,
    TaskLostError,
    TaskTimeoutError,
)
from foxapi_async.hooks import Event, StreamOpened, StreamResumed

if TYPE_CHECKING:
    from foxapi_async._client.llm_handle import LLMHandle


class NextAction(Enum):
    """How to go on."""

    REOPEN = auto()
    HAND_OVER = auto()
    """The task is completed: what its stored result has more is the end of the stream."""
    GIVE_UP = auto()


class ReconnectState:
    """Counts the cuts since the last chunk, and the seconds that were spent waiting for another.

    Only waiting counts: a reader that takes its time between two reads uses up no patience. What
    was found out stays known when the reading is cancelled, so that the next read goes on here.
    """

    __slots__ = (
        "_cuts",
        "_due",
        "_misses",
        "_offset",
        "_seen",
        "_service",
        "_waited",
        "cut",
        "fault",
    )

    def __init__(self, service: Service) -> None:
        self.cut: Disconnect | None = None
        self.fault: FoxAPIError | None = None  # of the last cut since the last chunk
        self._service = service
        self._cuts = 0
        self._offset = -1
        self._waited = 0.0
        self._due: float | None = None
        self._misses = 0
        self._seen: tuple[str, int] | None = None

    def wait(self, offset: int, seconds: float) -> None:
        """Count ``seconds`` of waiting for the chunk after ``offset``."""
        if offset != self._offset:
            self._offset, self._waited, self._cuts, self.fault = offset, 0.0, 0, None
        self._waited += seconds

    def begin(self, cut: Disconnect) -> None:
        """Take in that the connection was cut."""
        self.cut = cut
        if not isinstance(cut.error, TaskTimeoutError):  # which is the reader's own end
            self.fault = cut.error
        self._cuts += 1
        self._due = None

    async def settle(self, handle: "LLMHandle", *, had_stream: bool) -> NextAction:
        """Find out how to go on, and wait until it is time to.

        Raises what the stream cannot survive: the task's own error, a refusal of the service,
        ``StreamUnavailableError``, ``TaskLostError``. ``had_stream`` says that chunks were seen.
        """
        cut, clock = self.cut, self._service.clock
        if cut is None:
            return NextAction.REOPEN
        began = clock.time()
        try:
            # Cancelled, it leaves the cut where it is.
            way = await self._settle(cut, handle, had_stream=had_stream)
        except Exception:
            self.cut = None
            raise
        finally:
            self._waited += clock.time() - began
        self.cut = None
        if way is NextAction.GIVE_UP:
            self._offset = -1  # whoever reads on all the same has new patience
        return way

    async def _settle(
        self, cut: Disconnect, handle: "LLMHandle", *, had_stream: bool
    ) -> NextAction:
        clock, policy = self._service.clock, self._service.options.streaming
        if self._due is None:
            began = clock.time()
            if self._cuts == 1:
                handle._check_failed(cut.error)
            if cut.mismatch:
                return NextAction.GIVE_UP
            step = next_step(cut, self._cuts)
            if step is ReconnectStep.RAISE:
                raise cut.error
            if step is ReconnectStep.CHECK_TASK and await self._is_completed(
                cut, handle, had_stream=had_stream
            ):
                return NextAction.HAND_OVER
            waited = self._waited + clock.time() - began
            if should_give_up(policy, cut, self._cuts, waited):
                return NextAction.GIVE_UP
            self._due = clock.time() + reconnect_delay(policy, cut, self._cuts)
        await sleep(clock, self._due - clock.time())
        return NextAction.REOPEN

    async def _is_completed(
        self, cut: Disconnect, handle: "LLMHandle", *, had_stream: bool
    ) -> bool:
        """Look at the task, which is the truth about the state."""
        task = await self._look(handle)
        if task is None:
            return False
        state = classify(task)
        if state in {TaskState.FAILED, TaskState.CANCELLED}:
            raise task_error(task)
        if cut.gone and not (had_stream or handle.is_streamed or task.stream is not None):
            raise StreamUnavailableError(
                f"task {task.id} has no stream: it was submitted without stream=True, or its "
                "chunks are over; await its handle instead",
                task_id=task.id,
                task=task,
                fault=cut.error,
            )
        if self._seen is not None and (task.status, task.progress) != self._seen:
            self._waited = 0.0
        self._seen = (task.status, task.progress)
        return state is TaskState.COMPLETED

    async def _look(self, handle: "LLMHandle") -> Task | None:
        """Return the task as it is now; ``None`` when that cannot be learnt this time."""
        try:
            # A thousand streams may be cut at once.
            await sleep(self._service.clock, self._service.core.poller.book())
            task, _ = await self._service.look(handle.id)
        except FoxAPIError as fault:
            sight = classify_error(fault)
            if sight is PollFailure.FATAL:
                raise
            self._misses = self._misses + 1 if sight is PollFailure.NOT_FOUND else 0
            if self._misses >= NOT_FOUND_LIMIT:
                self._misses = 0
                raise TaskLostError(
                    f"the service knows neither the stream nor the task {handle.id}: {fault}",
                    task_id=handle.id,
                    task=handle.task,
                    fault=fault,
                ) from None
            return None
        self._misses = 0
        handle._learn(task)
        return task


def connection_lost(why: str) -> APIConnectionError:
    """Return the error of a connection that ended before its stream did."""
    return APIConnectionError(why)


def stream_opened(task_id: str, offset: int, reason: str | None) -> Event:
    """Return the event of a new connection; ``reason`` says what ended the one before it."""
    if reason is None:
        return StreamOpened(task_id=task_id, offset=offset)
    return StreamResumed(task_id=task_id, offset=offset, reason=reason)


def masked(error: FoxAPIError, account: Account) -> FoxAPIError:
    """Mask what the error quotes of the stream."""
    error.args = tuple(account.mask.text(str(part)) for part in error.args)
    if isinstance(error, InvalidResponseError):
        error.body = account.mask.text(error.body)
    return error
