"""One reader of one stream, across as many connections as it takes: each chunk once, in order."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from foxapi_async._catalog import MODELS
from foxapi_async._client.service import Service
from foxapi_async._clock import Timer, sleep
from foxapi_async._protocol.accumulate import Accumulator
from foxapi_async._protocol.chunks import ChunkDecoder
from foxapi_async._protocol.cursor import Cursor, Verdict
from foxapi_async._protocol.recovery import Cut, Step, backoff, next_step
from foxapi_async._protocol.verdict import State, judge, task_error
from foxapi_async._transport import StreamBody
from foxapi_async._wire.chunk import Delta, DeltaChoice, DeltaMessage
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.task import Task
from foxapi_async.errors import (
    APIConnectionError,
    FoxAPIError,
    StreamConsumedError,
    StreamExpiredError,
    StreamInterruptedError,
    StreamUnavailableError,
    TaskTimeoutError,
)

if TYPE_CHECKING:
    from foxapi_async._client.llm_handle import LLMHandle

Submit = Callable[[], Coroutine[Any, Any, "LLMHandle"]]


class StreamReader:
    """Reads a task's stream and takes it up again at the cursor when it is cut.

    ``batch[at:]`` has been received and not been read; everything before it is what ``offset``,
    ``snapshot`` and an error's ``partial`` speak of. The task is asked when the stream has no more
    to say: it is the truth about the state.
    """

    def __init__(
        self,
        service: Service,
        *,
        handle: "LLMHandle | None" = None,
        submit: Submit | None = None,
        cursor: Cursor | None = None,
        timeout: float | None = None,
    ) -> None:
        self.batch: Sequence[Delta] = ()
        self.at: int = 0
        self.ended: bool = False
        self.closed: bool = False
        self.reasoning_complete: bool = True
        self._service = service
        self._handle = handle
        self._submit = submit
        self._submission: asyncio.Task[LLMHandle] | None = None
        self._cursor = cursor or Cursor()
        self._accumulator = Accumulator()
        self._folded = 0
        self._decoder = ChunkDecoder(service.core.limits.frame)
        self._body: StreamBody | None = None
        self._busy = False
        self._begun = False
        self._cut: Cut | None = None
        self._cuts = 0
        self._progress = -1
        self._news_at = 0.0
        self._timeout = timeout
        self._deadline: float | None = None
        self._silent = False
        self._keep = False
        self._failed = False

    # What is known

    @property
    def handle(self) -> "LLMHandle":
        """The task's handle, which a stream that submits has only once it has begun."""
        if self._handle is None:
            raise RuntimeError("nothing was submitted yet: enter the stream or read from it first")
        return self._handle

    @property
    def task_id(self) -> str:
        """The task's id, as far as it is known."""
        return self._handle.id if self._handle is not None else "(not submitted)"

    @property
    def exhausted(self) -> bool:
        """Whether everything was read that there is to read."""
        return self.ended and self.at >= len(self.batch)

    @property
    def offset(self) -> int:
        """How many chunks of the task have been read."""
        return self._cursor.offset - (len(self.batch) - self.at)

    def snapshot(self) -> ChatCompletion:
        """Return what the chunks that were read add up to."""
        self._fold()
        return self._accumulator.completion()

    def cursor_text(self) -> str:
        """Return the position as a text from which another process can go on."""
        return self._cursor.as_text(unread=len(self.batch) - self.at)

    def abandoned(self) -> str | None:
        """Return a complaint if this reader is dropped with its work half done."""
        if self.closed or self.exhausted or self._failed:
            return None
        if self._begun:
            return f"{self.task_id} is dropped half-read: use `async with` for a stream with a name"
        if self._submit is not None:
            return "a stream was made and never read, so nothing was submitted"
        return None

    # Beginning and ending

    async def start(self) -> None:
        """Submit, if that is still to be done. Cancelling does not submit twice."""
        if self.closed:
            raise StreamConsumedError("this stream is closed: ask the handle for another")
        if not self._begun:
            self._begun = True
            now = self._service.clock.time()
            self._news_at = now
            self._deadline = None if self._timeout is None else now + self._timeout
        if self._handle is not None or self._submit is None:
            return
        if self._submission is None:
            self._submission = asyncio.get_running_loop().create_task(self._submit())
        await asyncio.wait((self._submission,))
        self._handle = self._submission.result()

    def disconnect(self) -> None:
        """Close the connection at once. The position is kept: the next read opens another."""
        body, self._body = self._body, None
        if body is not None:
            self._service.core.streams.discard(self)
            body.close()

    def close(self) -> None:
        """End the reading for good. A submission under way lands in ``fox.unclaimed``."""
        self.closed = True
        self.disconnect()
        if self._submission is not None:
            self._submission.cancel()

    def sweep(self, now: float) -> None:
        """Cut a connection that has been silent for too long, or has run out of time."""
        body = self._body
        if body is None:
            return
        self._silent = now - body.last_byte >= self._service.options.streaming.silence
        if self._silent:
            body.close()

    # Reading on

    async def next(self) -> Delta:
        """Return the next chunk; ``StopAsyncIteration`` after the last.

        Cancelling closes the connection and loses nothing: the next call goes on at the cursor.
        """
        if self.at < len(self.batch):
            delta = self.batch[self.at]
            self.at += 1
            return delta
        if self._busy:
            raise RuntimeError("two tasks read one stream: ask the handle for a stream for each")
        self._busy = True
        try:
            await self.start()
            self._fold()
            batch = await self._more()
        except BaseException as error:
            self._failed = not isinstance(error, asyncio.CancelledError)
            self.disconnect()
            raise
        finally:
            self._busy = False
        if not batch:
            self.handle.streamed(self._accumulator.completion(), keep=self._keep)
            raise StopAsyncIteration
        self.batch, self.at, self._folded = batch, 1, 0
        return batch[0]

    def _fold(self) -> None:
        self._accumulator.extend(self.batch[self._folded : self.at])
        self._folded = self.at

    async def _more(self) -> Sequence[Delta]:
        """Return the next chunks that arrive; none after the last."""
        alarm = self._set_alarm()
        try:
            while not self.ended:
                if self._cut is not None:
                    cut, self._cut = self._cut, None
                    fresh = await self._recover(cut)
                else:
                    fresh = await self._read()
                if fresh:
                    return fresh
            return ()
        finally:
            if alarm is not None:
                alarm.cancel()

    async def _read(self) -> Sequence[Delta]:
        """Return what one read of the connection brings; a cut is kept for ``_recover``."""
        try:
            body = self._body or await self._open()
            data = await body.read()
        except FoxAPIError as fault:
            self._lose(fault, told=self._silent)
            return ()
        cursor, decoder = self._cursor, self._decoder
        fresh = cursor.accept(decoder.feed(data))
        if decoder.ended or not data or cursor.verdict is not Verdict.GOING:
            fresh = [*fresh, *self._judge_end()]
        if fresh:
            self._cuts = 0
            self._news_at = self._service.clock.time()
        return fresh

    async def _open(self) -> StreamBody:
        self._silent = False
        ask = self._cursor.ask
        self._cursor.reopened()
        self._decoder = ChunkDecoder(self._service.core.limits.frame)
        self._body = await self._service.open_stream(self.handle.id, ask)
        self._service.core.streams.add(self)
        return self._body

    def _judge_end(self) -> Sequence[Delta]:
        """Tell the stream's own end from a cut, and return what was held until it was certain."""
        decoder, cursor = self._decoder, self._cursor
        last: Sequence[Delta] = ()
        if decoder.done is not None:
            ending = cursor.finish(decoder.done)
            last = ending.deltas
            if ending.verdict is Verdict.COMPLETE:
                self.ended = True
                self.disconnect()
                return last
        if cursor.verdict is Verdict.CONFLICT:
            raise self._interrupted("the service sent another stream than it did before", None)
        if cursor.verdict is Verdict.DOUBT:
            self.disconnect()
        elif decoder.fault is not None:
            message = decoder.fault.message or "no reason given"
            self._lose(APIConnectionError(f"the service ended the stream: {message}"), told=True)
        elif decoder.error is not None:
            self._lose(decoder.error)
        elif decoder.done is not None:
            self._lose(APIConnectionError("the stream ended with another number of chunks"))
        else:
            self._lose(APIConnectionError("the stream ended without `done`"), told=self._silent)
        return last

    def _lose(self, fault: FoxAPIError, *, told: bool = False) -> None:
        self.disconnect()
        self._cut = Cut(fault, told)

    # After a cut

    async def _recover(self, cut: Cut) -> Sequence[Delta]:
        """Ask the task where the stream cannot go on, wait, and leave the next read to reopen.

        Returns what the task's stored result had more, if the task has ended.
        """
        self._cuts += 1
        service = self._service
        self._check_patience(cut)
        step = next_step(cut, self._cuts)
        if step is Step.RAISE:
            raise cut.fault
        if step is Step.ASK:
            task = await self._ask()
            if task is not None:
                last = await self._judge_task(task, cut)
                if self.ended:
                    return last
        policy = service.options.streaming
        if service.clock.time() - self._news_at >= policy.give_up_after:
            raise self._interrupted(f"given up after {policy.give_up_after:g} s", cut.fault)
        await sleep(service.clock, self._within_patience(backoff(policy, cut, self._cuts)))
        self._check_patience(cut)
        return ()

    async def _ask(self) -> Task | None:
        """Return the task as it is now, or ``None`` when that cannot be learnt either."""
        try:
            task = await self._service.fetch_task(self.handle.id)
        except APIConnectionError:
            return None
        self.handle.observe(task)
        return task

    async def _judge_task(self, task: Task, cut: Cut) -> Sequence[Delta]:
        state = judge(task)
        if state in {State.FAILED, State.CANCELLED}:
            raise task_error(task)
        if cut.gone and not self.handle.is_streamed and task.stream is None:
            raise StreamUnavailableError(
                f"task {task.id} has no stream: it was submitted without stream=True, or its "
                "chunks are over; await its handle instead",
                task_id=task.id,
                task=task,
                fault=cut.fault,
            )
        if state is State.COMPLETED:
            return await self._hand_over(task)
        if task.progress > self._progress:
            self._progress = task.progress
            self._news_at = self._service.clock.time()
        return ()

    async def _hand_over(self, task: Task) -> Sequence[Delta]:
        """End with what the stored result has beyond the delivered text (CONTRACT §6)."""
        stored = await self.handle.result()  # known since it was observed; raises if unreadable
        suffix = self._cursor.suffix(stored.text)
        if suffix is None and self.offset and not self._accumulator.chunks:
            raise StreamExpiredError(
                f"the stream of task {task.id} is over, and the text before offset {self.offset} "
                "is not known here; await the handle for the whole answer",
                task_id=task.id,
                offset=self.offset,
                task=task,
            )
        self.ended = True
        model = MODELS.get(task.model)
        thinks = bool(self._accumulator.reasoning) or (model is not None and model.thinking)
        self.reasoning_complete = not thinks
        # A stored text that does not continue the delivered one must not replace it (CONTRACT Q1).
        self._keep = suffix is None
        if not suffix:
            return ()
        choice = DeltaChoice(delta=DeltaMessage(content=suffix), finish_reason=stored.finish_reason)
        return (Delta(id=stored.id, model=stored.model, choices=(choice,), usage=stored.usage),)

    # Patience

    def _check_patience(self, cut: Cut) -> None:
        if self._deadline is not None and self._service.clock.time() >= self._deadline:
            raise TaskTimeoutError(
                f"the stream of task {self.task_id} did not end in time; the task goes on: "
                "read on from the stream's cursor, or await the handle",
                task_id=self.task_id,
                task=self.handle.task,
            ) from cut.fault

    def _within_patience(self, delay: float) -> float:
        if self._deadline is None:
            return delay
        return min(delay, max(self._deadline - self._service.clock.time(), 0.0))

    def _set_alarm(self) -> Timer | None:
        """Cut the connection when the reader's own patience ends, even in the middle of a read."""
        if self._deadline is None:
            return None
        return self._service.clock.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        if self._body is not None:
            self._body.close()

    def _interrupted(self, why: str, fault: FoxAPIError | None) -> StreamInterruptedError:
        because = f": {fault}" if fault is not None else ""
        return StreamInterruptedError(
            f"the stream of task {self.task_id} was cut after {self.offset} chunks and {why}"
            f"{because}; the task goes on: await its handle, or read on from .cursor",
            task_id=self.task_id,
            offset=self.offset,
            partial=self._accumulator.text,
            cursor=self.cursor_text(),
            task=self.handle.task,
            fault=fault,
        )
