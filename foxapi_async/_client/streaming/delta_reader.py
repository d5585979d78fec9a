"""One reader of one stream, across as many connections as it takes: each chunk once, in order."""
# pyright: reportPrivateUsage=false

from collections.abc import Sequence
from copy import copy
from operator import length_hint
from typing import TYPE_CHECKING, Self

from foxapi_async._client.service import Service
from foxapi_async._client.streaming.read_timeout import ReadTimeout
from foxapi_async._client.streaming.reconnect import (
    NextAction,
    ReconnectState,
    connection_lost,
    masked,
    stream_opened,
)
from foxapi_async._client.streaming.stored_tail import tail_from_stored
from foxapi_async._client.streaming.submit_once import SubmitOnce
from foxapi_async._clock import Timer
from foxapi_async._interrupt import Interrupt
from foxapi_async._protocol.chunk_decoder import ChunkDecoder
from foxapi_async._protocol.cursor import Cursor, CursorState
from foxapi_async._protocol.delta_buffer import DeltaBuffer
from foxapi_async._protocol.reconnect import Disconnect
from foxapi_async._transport import RawStream, StreamBody
from foxapi_async._wire.chunk import Delta
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async.errors import (
    APITimeoutError,
    FoxAPIError,
    StreamConsumedError,
    StreamInterruptedError,
    TaskTimeoutError,
)
from foxapi_async.hooks import StreamFinished

if TYPE_CHECKING:
    from foxapi_async._client.llm_handle import LLMHandle


class DeltaReader:
    """Reads a task's stream and takes it up again at the cursor when it is cut.

    ``offset``, ``snapshot`` and an error's ``partial`` speak of what was read. From the first
    connection until a read is cancelled, fails or brings the end, the reader is one of the
    session's open streams.

    Reading the next chunk closes the connection when it is cancelled and loses nothing: the next
    read goes on at the cursor.
    """

    __slots__ = (
        "_body",
        "_busy",
        "_deadline",
        "_decoder",
        "_ended",
        "_failed",
        "_handle",
        "_intake",
        "_interrupt",
        "_launch",
        "_lost",
        "_quiet_since",
        "_raw_stream",
        "_recovery",
        "_service",
        "_silent",
        "_stopped",
        "begun",
        "closed",
        "finished",
        "reasoning_complete",
    )

    def __init__(
        self,
        service: Service,
        *,
        handle: "LLMHandle | None" = None,
        launch: SubmitOnce | None = None,
        cursor: Cursor | None = None,
        timeout: float | None = None,
    ) -> None:
        self.closed: bool = False
        self.begun: bool = False
        self.finished: bool = False  # a reader was told that nothing follows
        self.reasoning_complete: bool = True
        self._service = service
        self._handle = handle
        self._launch = launch
        self._intake = DeltaBuffer(cursor or Cursor())
        self._ended = self._intake.cursor.ended
        self._failed = False
        self._lost: str | None = None
        self._decoder = ChunkDecoder(service.core.limits.max_event_bytes)
        self._body: StreamBody | None = None
        # Where to read on if nothing is to be watched but the bytes; else `advance` does it.
        self._raw_stream: RawStream | None = None
        self._quiet_since = 0.0
        self._silent = False
        self._busy = False
        self._recovery = ReconnectState(service)
        self._interrupt = Interrupt()
        self._stopped: Exception | None = None
        self._deadline = ReadTimeout(service.clock, timeout)

    # What is known

    @property
    def handle(self) -> "LLMHandle":
        """The task's handle, which a stream that submits has only once it has begun."""
        if self._handle is None and self._launch is not None:
            self._handle = self._launch.handle
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
        return self._ended and not length_hint(self._intake.ready)

    @property
    def offset(self) -> int:
        """How many chunks of the task have been read."""
        return self._intake.offset

    def snapshot(self) -> ChatCompletion:
        """Return what the chunks that were read add up to."""
        return self._intake.accumulated().completion()

    def cursor_text(self) -> str:
        """Return the position as a text from which another process can go on."""
        return self._intake.cursor_text()

    def abandoned(self) -> str | None:
        """Return a complaint if this reader is dropped with its work half done."""
        if self.closed or self.exhausted or self._failed:
            return None
        if self.begun:
            return f"{self.task_id} is dropped half-read: use `async with` for a stream with a name"
        if self._launch is not None:
            return "a stream was made and never read, so nothing was submitted"
        return None

    # Beginning and ending

    async def start(self) -> None:
        """Submit, if that is still to be done. Cancelling does not submit twice."""
        self._refuse_if_stopped()
        self._service.core.enter()
        if not self.begun:
            self.begun = True
            self._quiet_since = self._service.clock.time()
            self._deadline.begin()
        if self._handle is None and self._launch is not None:
            with self._interrupt:
                self._handle = await self._launch.run()

    def engage(self) -> None:
        """Become one of the session's open streams, if this is none yet."""
        self._service.core.streams.add(self)

    def disconnect(self) -> None:
        """Close the connection at once. The position is kept: the next read opens another."""
        self._service.core.streams.discard(self)
        self._drop()

    def close(self) -> None:
        """End the reading for good. A submission under way lands in ``fox.unclaimed``."""
        if not self.closed:
            self.closed = True
            self._tell_part()
            self._intake.discard()
            self.stop(StreamConsumedError("this stream is closed: ask the handle for another"))
            if self._launch is not None:
                self._launch.abandon()

    def stop(self, error: Exception) -> None:
        """Let a read that waits, and each later one, raise ``error``."""
        self._stopped = self._stopped or error
        # Bytes that are on their way to the read that waits come to nothing.
        self._decoder.close()
        self.disconnect()
        self._interrupt.fire(error)

    def sweep(self, now: float) -> None:
        """Cut a connection that is silent for too long, or closed, while somebody waits for it."""
        body = self._body
        if body is None:
            return
        if not self._busy:
            # Bytes may be waiting for their reader, so that nothing is known of the line.
            body.reset_idle(now)
        elif body.is_disconnected:
            body.close()
        elif now - body.last_received_at(now) >= self._service.options.streaming.idle_timeout:
            self._silent = True
            body.close()

    # Reading on

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:  # noqa: C901 see below: to divide it costs what it saves
        for delta in self._intake.ready:
            return delta
        # The usual read, in one coroutine: another one would cost about as much as all that is done
        # here (PERF §1, §2).
        deltas: Sequence[Delta] | None = None
        while (raw_stream := self._raw_stream) is not None and not self._busy:
            self._busy = True
            try:
                if (arrival := raw_stream.wait_future()) is not None:
                    await arrival
                data = raw_stream.read_nowait()
            except Exception:  # noqa: BLE001 `advance` meets it again, and tells what it means
                raw_stream.detach()
                break
            except BaseException as error:
                raw_stream.detach()
                self._break_off(error)
                raise
            finally:
                self._busy = False
            deltas = self._decoder.feed(data)
            if self._decoder.ended or not data:
                break
            if deltas:
                self._intake.ready = iter(self._intake.cursor.history.extend(deltas))
                for delta in self._intake.ready:
                    return delta
        if await self.advance(deltas):
            for delta in self._intake.ready:
                return delta
        raise StopAsyncIteration

    def skip(self) -> None:
        """Take all that was received as read."""
        self._intake.skip()

    async def advance(self, deltas: Sequence[Delta] | None = None) -> bool:
        """Wait for chunks when all were read; False after the last. ``deltas`` came just now."""
        if self._busy:
            raise RuntimeError("two tasks read one stream: ask the handle for a stream for each")
        self._busy = True
        alarm: Timer | None = None
        batch: Sequence[Delta] = ()
        try:
            if self._body is None:
                await self.start()
            self._refuse_if_late()
            alarm = self._deadline.alarm(self._ring)
            if deltas is not None:
                batch = self._accept(deltas)
            while not batch and not self._ended:
                if self._body is None and self._recovery.cut is not None:
                    batch = await self._recover()
                else:
                    batch = await self._read_on()
        except BaseException as error:
            self._break_off(error)
            raise
        finally:
            self._busy = False
            if alarm is not None:
                alarm.cancel()
        return self._deliver(batch)

    async def _read_on(self) -> Sequence[Delta]:
        """Return what one read, or its failure, leaves to deliver."""
        try:
            body = self._body or await self._open()
            data = await body.read()
        except FoxAPIError as fault:
            self._lose(fault)
            return ()
        return self._accept(self._decoder.feed(data), over=not data)

    def _accept(self, deltas: Sequence[Delta], *, over: bool = False) -> Sequence[Delta]:
        """Return what may be delivered of what the connection brought; ``over`` if it is closed."""
        cursor = self._intake.cursor
        batch = cursor.accept(deltas)
        if over or self._decoder.ended or cursor.state is not CursorState.OK:
            return [*batch, *self._judge_end()]
        return batch

    def _deliver(self, batch: Sequence[Delta]) -> bool:
        self._intake.load(batch)
        if self._ended:
            self.disconnect()
        if not batch:
            self._tell()
            return False
        if self._body is not None and self._deadline.ends is None and self._intake.cursor.in_sync:
            self._raw_stream = self._body.raw_stream
        return True

    def _break_off(self, error: BaseException) -> None:
        """Close the connection after a read that failed or was cancelled."""
        self._failed = isinstance(error, Exception)
        if self._failed:
            self._tell_part(error)
            self._tell_finished(type(error).__name__)
        self._count_quiet()
        self.disconnect()

    def _tell(self) -> None:
        """Let the handle know what the stream has said, once."""
        said = self._intake.accumulated()
        if not self.finished and said.chunks and not self._intake.missing_prefix:
            self.handle._heard(said.completion())
        if not self.finished:
            self._tell_finished(None)
        self.finished = True

    def tell_end(self) -> None:
        """Let the handle know what the stream has said, if all of it was read."""
        if self.begun and self.exhausted:
            self._tell()

    def _tell_part(self, error: BaseException | None = None) -> None:
        """Let the handle know how far a stream came that is left before its end."""
        if self.finished or self._handle is None or not self._intake.accumulated().chunks:
            return
        if not isinstance(error, StreamInterruptedError):
            error = self._interrupted("nobody read on")
        self._handle._heard_part(error)

    async def _open(self) -> StreamBody:
        service, cursor = self._service, self._intake.cursor
        service.core.enter()
        self.engage()
        self._silent = False
        self._quiet_since = service.clock.time()
        cursor.needs_full_replay = cursor.needs_full_replay or self._decoder.needs_full_replay
        ask = cursor.request_offset
        cursor.begin_connection()
        self._decoder = ChunkDecoder(service.core.limits.max_event_bytes)
        with self._interrupt:
            self._body = await service.open_stream(self.handle.id, ask)
        if (ear := service.ear) is not None:
            ear(stream_opened(self.handle.id, ask, self._lost))
        return self._body

    def _tell_finished(self, error: str | None) -> None:
        if (ear := self._service.ear) is not None:
            ear(StreamFinished(task_id=self.task_id, offset=self.offset, error=error))

    def _judge_end(self) -> Sequence[Delta]:
        """Tell the stream's own end from a cut, and return what was held until it was certain."""
        decoder, cursor = self._decoder, self._intake.cursor
        last: Sequence[Delta] = ()
        if decoder.done is not None:
            ending = cursor.finish(decoder.done, blank_events=decoder.blank_events)
            last = ending.deltas
            if ending.state is CursorState.COMPLETE:
                self._ended = decoder.done.total_chunks is not None
                if not self._ended:
                    # Only the stored result can prove that this is all.
                    self._lose(
                        connection_lost("the stream ended without a count of its chunks"), told=True
                    )
                return last
        if cursor.state is CursorState.MISMATCH:
            self._lose(
                connection_lost("it cannot be the stream that was delivered before"), conflict=True
            )
        elif cursor.state is CursorState.AMBIGUOUS:
            self._drop()
        elif decoder.error_event is not None:
            message = self._service.account.redact(decoder.error_event.message or "no reason given")
            self._lose(connection_lost(f"the service ended the stream: {message}"), told=True)
        elif decoder.error is not None:
            self._lose(masked(decoder.error, self._service.account))
        elif decoder.done is not None:
            self._lose(connection_lost("the stream ended with another number of chunks"))
        else:
            self._lose(connection_lost("the stream ended without `done`"))
        return last

    def _lose(self, fault: FoxAPIError, *, told: bool = False, conflict: bool = False) -> None:
        if self._silent:
            silence = self._service.options.streaming.idle_timeout
            fault, told = (
                APITimeoutError(f"StreamPolicy.idle_timeout, {silence:g} s, ran out"),
                True,
            )
        self._lost = type(fault).__name__
        self._count_quiet()
        self._drop()
        self._recovery.begin(Disconnect(fault, told, conflict))

    def _count_quiet(self) -> None:
        """Count how long a chunk was waited for on this connection, or on making it."""
        now = self._service.clock.time()
        since = self._body.last_received_at(now) if self._body is not None else self._quiet_since
        self._recovery.wait(self._intake.cursor.offset, now - since)
        self._quiet_since = now

    def _drop(self) -> None:
        body, self._body = self._body, None
        self._raw_stream = None
        if body is not None:
            body.close()

    # After a cut

    async def _recover(self) -> Sequence[Delta]:
        """Go on as the task, or the next connection, allows.

        Returns what the task's stored result has more, if the task has ended.
        """
        self._refuse_if_stopped()
        self._refuse_if_late()
        self.engage()
        cut, recovery = self._recovery.cut, self._recovery
        try:
            with self._interrupt:
                way = await recovery.settle(self.handle, had_stream=self._intake.cursor.offset > 0)
        finally:
            self._quiet_since = self._service.clock.time()
        if way is NextAction.HAND_OVER:
            return self._hand_over(cut)
        if way is NextAction.GIVE_UP and cut is not None:
            because = str(cut.error)
            if not cut.mismatch:
                patience = self._service.options.streaming.give_up_after
                because = f"given up after {patience:g} s without news: {because}"
            raise self._interrupted(because, cut.error)
        return ()

    def _hand_over(self, cut: Disconnect | None) -> Sequence[Delta]:
        """End with what the stored result has beyond what was delivered (contract §6)."""
        stored = self.handle._stored()
        handed = tail_from_stored(stored, self.handle, self._intake)
        if handed is None:
            what = "is not what it delivered" if stored.text else "has no text"
            because = f"the stored answer {what}"
            if cut is None:
                raise self._interrupted(because)
            raise self._interrupted(f"{cut.error}; {because}", cut.error)
        self._ended = self._intake.cursor.ended = True
        self.reasoning_complete = not handed.thinks
        self._intake.stored_tail = handed.rest
        return () if handed.rest is None else (handed.rest,)

    def _refuse_if_stopped(self) -> None:
        if self._stopped is not None:
            raise copy(self._stopped)

    # Patience

    def _ring(self) -> None:
        if self._body is not None:
            self._body.close()
        self._interrupt.fire(self._late())

    def _refuse_if_late(self) -> None:
        if self._deadline.is_over:
            raise self._late()

    def _late(self) -> TaskTimeoutError:
        timeout, fault = self._deadline.timeout, self._recovery.fault
        because = "" if fault is None else f" (its connection failed: {fault})"
        late = f"did not end within timeout=, {timeout:g} s{because}; the task goes on"
        return TaskTimeoutError(
            f"the stream of task {self.task_id} {late}: read on from .cursor, or await it",
            task_id=self.task_id,
            task=self._handle.task if self._handle is not None else None,
            fault=fault,
        )

    def _interrupted(self, why: str, fault: FoxAPIError | None = None) -> StreamInterruptedError:
        doubtful, offset = self._intake.cursor.doubtful_from, self.offset
        if doubtful is not None and doubtful >= offset:
            doubtful = None
        if doubtful is not None:
            why = f"{why}; chunks {doubtful} and later may be wrong"
        completion = self._intake.accumulated().completion()
        return StreamInterruptedError(
            f"the stream of task {self.task_id} was cut after {offset} chunks: {why}; "
            "await its handle, or read on from .cursor",
            task_id=self.task_id,
            offset=offset,
            partial=completion.text,
            cursor=self.cursor_text(),
            completion=completion,
            doubtful_from=doubtful,
            task=self.handle.task,
            fault=fault,
        )
