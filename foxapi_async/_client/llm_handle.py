"""A generation of a language model as something to wait for, or to follow live."""
# pyright: reportPrivateUsage=false

from collections.abc import Callable
from typing import Any, Self, final

from msgspec import DecodeError

from foxapi_async._client.handle import Kind, TaskHandle
from foxapi_async._client.outcome import Outcome
from foxapi_async._client.patience import normalize_timeout, validate_reading_timeout
from foxapi_async._client.polling.waiter import Waiter
from foxapi_async._client.service import Service
from foxapi_async._client.stream import ChatStream
from foxapi_async._client.streaming.delta_reader import DeltaReader
from foxapi_async._client.streaming.stream_follower import StreamFollower
from foxapi_async._journal import FINISHED, Entry, FinalRecord, Stage
from foxapi_async._protocol.completion_merge import lacks_streamed_member, merge_completions
from foxapi_async._protocol.cursor import Cursor
from foxapi_async._protocol.task_status import TaskState, classify
from foxapi_async._wire.completion import ChatCompletion, decode_completion
from foxapi_async._wire.task import Task
from foxapi_async.errors import ConfigError, StreamInterruptedError, StreamUnavailableError


@final
class LLMHandle(TaskHandle[ChatCompletion]):
    """A generation at the service; its result is a ``ChatCompletion``."""

    __slots__ = ("_follower", "_follows", "_part", "_streamed", "_streams")

    def __init__(
        self,
        service: Service | None,
        task_id: str,
        *,
        task: Task | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(service, task_id, task=task, key=key)
        # The answer to a submit is proof (contract §3.5).
        self._streams = task.stream is not None if task is not None else None
        self._streamed: ChatCompletion | None = None
        # How far a stream came that was not read to its end.
        self._part: StreamInterruptedError | None = None
        self._follower: StreamFollower | None = None
        self._follows = True

    @property
    def kind(self) -> Kind:
        """What the task makes."""
        return "llm"

    def stream(
        self, *, offset: int = 0, resume: str | None = None, timeout: float | None = None
    ) -> ChatStream:
        """Follow the generation live, from its first chunk on (unbilled).

        ``resume`` is the ``cursor`` of an earlier stream, of any process: it goes on after the last
        chunk read there. ``offset`` skips that many chunks without knowing them. ``timeout`` bounds
        the reading in seconds, after which ``TaskTimeoutError`` is raised. Raises
        ``StreamUnavailableError`` if the generation was not submitted with ``stream=True``, and
        ``ConfigError`` for a cursor or a number that cannot be one.
        """
        service = self._bound()
        if self._streams is False:
            raise StreamUnavailableError(
                f"task {self.id} was submitted without stream=True: await its handle instead",
                task_id=self.id,
                task=self.task,
            )
        cursor = _cursor(offset, resume)
        validate_reading_timeout(timeout)
        patience = normalize_timeout(timeout)
        return ChatStream(DeltaReader(service, self, cursor=cursor, timeout=patience), self)

    def _heard(self, completion: ChatCompletion) -> None:
        """Take in what a stream has said that was read to its end: the service forgets thinking."""
        self._streamed = completion
        if self._service is not None and self._outcome is None:
            # Whoever waits, or will, gets the result by the next look.
            watch = self._find_watch()
            self._service.core.poller.nudge(watch)
            if not watch.waiters:
                options, base = self._service.options, self._service.account.base
                masked = self._service.account.mask.record(completion)
                options.journal.heard(base, self.id, masked, wins=False)
        self._settle_again()

    def _heard_part(self, part: StreamInterruptedError) -> None:
        """Take in how far a stream came that nobody read to its end.

        If the stored answer lacks what it said, that is an error and no result.
        """
        if self._part is None or part.offset >= self._part.offset:
            self._part = part
            if self._outcome is not None and self._lacks_part(self._outcome):
                self._settle_again()

    def _settle_again(self) -> None:
        """Judge the stored result anew, now that more is known of the stream."""
        outcome, task = self._outcome, self._task
        if outcome is None or task is None:
            return
        if outcome.error is None or isinstance(outcome.error, StreamInterruptedError):
            state = classify(task)
            self._outcome = self._settle(task, state)
            self._record_end(task, state)

    def _settle(self, task: Task, state: TaskState) -> Outcome[ChatCompletion]:
        outcome = super()._settle(task, state)
        if self._part is not None and self._lacks_part(outcome):
            return Outcome(error=_lacking(self._part, task))
        return outcome

    def _lacks_part(self, outcome: Outcome[ChatCompletion]) -> bool:
        part = self._part.completion if self._part is not None else None
        return (
            part is not None
            and outcome.error is None
            and lacks_streamed_member(outcome.get(), part)
        )

    def _stored(self) -> ChatCompletion:
        """Return the result of a completed task, whatever a part of its stream said."""
        if self._task is None:
            raise RuntimeError("nothing is known of the task yet")
        return super()._settle(self._task, classify(self._task)).get()

    @classmethod
    def _restored(cls, service: Service, entry: Entry) -> Self:
        """Return the handle of a task that a journal knows: the same one, while it is in use."""
        known = service.handles.get(entry.task_id or "")
        if isinstance(known, cls):
            return known
        handle = cls(service, entry.task_id or "", key=entry.key)
        handle._recall(entry)
        service.handles[handle.id] = handle
        return handle

    def _recall(self, entry: Entry) -> None:
        """Take in what a journal has kept, and tell nobody: it is no news."""
        self._task = entry.read_task()
        self._streams = entry.streamed
        answer = entry.read_answer()
        if answer is not None and entry.answer_wins:
            self._part = StreamInterruptedError(
                "the stream was cut", task_id=self.id, partial=answer.text, completion=answer
            )
        else:
            self._streamed = answer
        if self._task is not None and entry.stage in FINISHED:
            self._outcome = self._settle(self._task, classify(self._task))

    def _ending(self, service: str, stage: Stage, task: Task) -> FinalRecord:
        """Return the end with what the stream said of it: the service forgets thinking."""
        error = self._outcome.error if self._outcome is not None else None
        part = error.completion if isinstance(error, StreamInterruptedError) else None
        return FinalRecord(
            service=service,
            key=self._key,
            stage=stage,
            task=task,
            answer=self._streamed if part is None else part,
            answer_wins=part is not None,
        )

    def _unfollow(self) -> None:
        """Poll from now on: the stream cannot be followed."""
        self._follower = None
        self._follows = False

    def _begin_wait(self, waiter: Waiter, patience: float | None) -> None:
        """Follow the stream while someone waits for the end, where there is one and room for it."""
        super()._begin_wait(waiter, patience)
        is_polled = waiter.wants_change or waiter.is_glance
        follower = None if is_polled else self._may_follow()
        if follower is not None:
            follower.subscribe(waiter)

    def _end_wait(self, waiter: Waiter) -> None:
        """End a wait; the last one to leave ends the following."""
        super()._end_wait(waiter)
        if self._follower is not None:
            self._follower.unsubscribe(waiter)

    def _may_follow(self) -> StreamFollower | None:
        if self.done() or not self._follows or not self.is_streamed or self._streamed is not None:
            return None
        follower = self._follower or StreamFollower(
            self, self._bound(), self._find_watch(), self._unfollow
        )
        if not follower.can_subscribe:
            return None
        self._follower = follower
        return follower

    @property
    def is_streamed(self) -> bool | None:
        """Whether the service makes a stream of it; ``None`` if only the service knows."""
        # A query may leave the member out, so that it proves nothing if it is missing.
        if self._streams is None and self._task is not None and self._task.stream is not None:
            self._streams = True
        return self._streams

    def _read(self, task: Task) -> ChatCompletion:
        if not task.results:
            raise DecodeError("there is no result")
        return merge_completions(decode_completion(task.results[0]), self._streamed)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Pickle what finds the task again, and whether there is a stream to follow."""
        return _rebuild, (self._id, self._key, self.is_streamed)


def _rebuild(task_id: str, key: str | None, streams: bool | None) -> LLMHandle:  # noqa: FBT001 a pickle has no keywords
    handle = LLMHandle(None, task_id, key=key)
    handle._streams = streams
    return handle


def _lacking(part: StreamInterruptedError, task: Task) -> StreamInterruptedError:
    return StreamInterruptedError(
        f"the stored answer of task {task.id} lacks text of its stream, which was cut after "
        f"{part.offset} chunks: no whole answer is known; .partial has what came of it, and "
        "handle.stream(resume=error.cursor) goes on while the service keeps the stream",
        task_id=part.task_id,
        offset=part.offset,
        partial=part.partial,
        cursor=part.cursor,
        completion=part.completion,
        doubtful_from=part.doubtful_from,
        task=task,
        fault=part.fault,
    )


def _cursor(offset: object, resume: object) -> Cursor:
    if resume is not None:
        if offset:
            raise TypeError("give either offset or resume: a cursor knows its offset")
        if not isinstance(resume, str):
            raise ConfigError(f"stream(resume=) must be the text of a cursor, got {resume!r}")
        return Cursor.parse(resume)
    if not isinstance(offset, int) or isinstance(offset, bool):
        raise ConfigError(f"stream(offset=) must be a number of chunks, got {offset!r}")
    return Cursor(offset)
