"""Read one stream over as many connections as it takes: each chunk once, in order.

A `DeltaReader` joins three parts: a `StreamConnection` (one response body and its decoder), a
`ReconnectState` (what to do after a connection is lost) and a `DeltaBuffer` (the cursor, and the
deltas that were received and not read yet). A `ReadState` says how far the reading has come:

============  ==========================================  ========================================
State         Meaning                                     What leads out of it
============  ==========================================  ========================================
NEW           Nothing was submitted or opened             `start`: DISCONNECTED, or END_RECEIVED
                                                          for a cursor that is at the end
DISCONNECTED  The position is known, nothing is open      `_reconnect`: OPEN, END_RECEIVED, FAILED
OPEN          One connection is open                      `_on_end`: END_RECEIVED or DISCONNECTED;
                                                          `_on_cut`, `disconnect`, `stop`:
                                                          DISCONNECTED
END_RECEIVED  The end arrived, the buffer may hold        `report_end` after the last: FINISHED
              deltas
FINISHED      The end was returned and reported           nothing
FAILED        The last read raised an error               `start` in the next read, as from NEW
CLOSED        `close` was called, each read raises        nothing
============  ==========================================  ========================================

`close` leads from every state but FINISHED to CLOSED. A read that raises leads to FAILED, and a
cancelled one from OPEN to DISCONNECTED. Beside its state a reader has `_stop_error`, which `stop`
sets and each later read raises, `_busy` while a read is under way, and `_raw`, the body that
`__anext__` reads without a coroutine; `_close_body` removes it together with the connection.

There is one path for the bookkeeping. Bytes come from `fetch`, or from the wait inside
`__anext__`, which saves a coroutine for each read. Both pass them to `_receive`, which feeds the
decoder and the cursor, fills the buffer and detects the end. Every lost connection is counted in
`_on_cut`, and every connection is closed in `_close_body`.
"""
# pyright: reportPrivateUsage=false

from collections.abc import Sequence
from copy import copy
from enum import Enum, auto
from operator import length_hint
from typing import Self

from foxapi_async._client.polling.tracked_task import TrackedTask
from foxapi_async._client.service_client import ServiceClient
from foxapi_async._client.streaming.connection import ReadTimeout, StreamConnection
from foxapi_async._client.streaming.reconnect_state import (
    NextAction,
    ReconnectState,
    tail_from_stored,
)
from foxapi_async._client.streaming.report import StreamReport
from foxapi_async._client.streaming.submit_once import HasTracked, SubmitOnce
from foxapi_async._clock import Timer
from foxapi_async._interrupt import Interrupt
from foxapi_async._protocol.cursor import Cursor, CursorState
from foxapi_async._protocol.delta_buffer import DeltaBuffer
from foxapi_async._protocol.reconnect import Disconnect
from foxapi_async._transport import RawStream
from foxapi_async._wire.chunk import Delta
from foxapi_async.errors import FoxAPIError, StreamConsumedError, TaskTimeoutError


class ReadState(Enum):
    """Where a `DeltaReader` is; the table is at the top of this module."""

    NEW = auto()
    DISCONNECTED = auto()
    OPEN = auto()
    END_RECEIVED = auto()
    FINISHED = auto()
    FAILED = auto()
    CLOSED = auto()


_ENDED = frozenset({ReadState.END_RECEIVED, ReadState.FINISHED})


class DeltaReader:
    """Reads the stream of a task and reconnects at the cursor when a connection is lost.

    The reader counts as an open stream of the session from its first connection until a read is
    cancelled, fails or receives the end. A cancelled read closes the connection and loses nothing:
    the next read goes on at the cursor.
    """

    __slots__ = (
        "_busy",
        "_connection",
        "_idle_since",
        "_interrupt",
        "_last_error",
        "_raw",
        "_reconnects",
        "_report",
        "_service",
        "_source",
        "_stop_error",
        "_timeout",
        "buffer",
        "reasoning_complete",
        "state",
    )

    def __init__(
        self,
        service: ServiceClient,
        source: TrackedTask | SubmitOnce[HasTracked],
        *,
        cursor: Cursor | None = None,
        timeout: float | None = None,
    ) -> None:
        self.reasoning_complete: bool = True
        self.state: ReadState = ReadState.NEW
        self._service = service
        self._source = source
        self.buffer: DeltaBuffer = DeltaBuffer(cursor or Cursor())
        tracked = None if isinstance(source, SubmitOnce) else source
        self._report = StreamReport(service, self.buffer, tracked)
        self._connection: StreamConnection | None = None
        # Where `__anext__` reads, if every byte is new and no timeout has to be watched.
        self._raw: RawStream | None = None
        self._busy = False
        self._idle_since = 0.0
        self._last_error: str | None = None  # why the last connection was lost
        self._reconnects = ReconnectState(service)
        self._interrupt = Interrupt()
        self._stop_error: Exception | None = None
        self._timeout = ReadTimeout(service.clock, timeout)

    @property
    def all_read(self) -> bool:
        """Whether the end was received and every delta was read."""
        return self.state in _ENDED and not length_hint(self.buffer.ready)

    @property
    def task_id(self) -> str:
        """The task's id, or a placeholder before the submission has returned."""
        return self._report.task_id

    def leak_warning(self) -> str | None:
        """Return the warning for a reader that is dropped in this state, if there is one."""
        if self.state is ReadState.NEW and isinstance(self._source, SubmitOnce):
            return "a stream was created and never read, so nothing was submitted"
        half_read = {ReadState.OPEN, ReadState.DISCONNECTED, ReadState.END_RECEIVED}
        if self.state not in half_read or self.all_read:
            return None
        return f"{self.task_id} is dropped half-read: use `async with` for a stream with a name"

    async def start(self) -> TrackedTask:
        """Submit the task if that is left to do, and return it. Cancelling never submits twice."""
        self._check_usable()
        self._idle_since = self._service.clock.time()
        self._timeout.start()
        if self.state in {ReadState.NEW, ReadState.FAILED}:
            has_end = self.buffer.cursor.ended
            self.state = ReadState.END_RECEIVED if has_end else ReadState.DISCONNECTED
        source = self._source
        if isinstance(source, SubmitOnce):
            with self._interrupt:
                source = (await source.run())._find_tracked()
            self._report.tracked = source
        return source

    def register(self) -> None:
        """Count as one of the session's open streams from now on."""
        self._service.runtime.streams.add(self)

    def disconnect(self) -> None:
        """Close the connection at once. The position is kept: the next read reconnects."""
        self._service.runtime.streams.discard(self)
        self._close_body()

    def close(self) -> None:
        """End the reading finally. A pending submission ends in ``fox.unclaimed``."""
        if self.state is ReadState.CLOSED:
            return
        if self.state is not ReadState.FINISHED:
            self._report.save_partial(None)
            self.buffer.discard()
            self.state = ReadState.CLOSED
        self.stop(StreamConsumedError("this stream is closed: call stream() of its handle again"))
        if isinstance(self._source, SubmitOnce):
            self._source.abandon()

    def stop(self, error: Exception) -> None:
        """Raise ``error`` in the read that waits and in every later one."""
        self._stop_error = self._stop_error or error
        self.disconnect()
        self._interrupt.fire(error)

    def check_idle(self, now: float) -> None:
        """Close a connection that is dead, or idle for too long while a read waits."""
        if self._connection is not None:
            idle_timeout = self._service.options.streaming.idle_timeout
            self._connection.check_idle(now, idle_timeout, reading=self._busy)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        while True:
            for delta in self.buffer.ready:
                return delta
            raw = self._raw
            if raw is None or self._busy:
                if not await self.fetch():
                    raise StopAsyncIteration
                continue
            # The common read waits here: another coroutine would cost as much as the rest of it.
            self._busy = True
            try:
                if (received := raw.wait_future()) is not None:
                    await received
                data = raw.read_nowait()
            except BaseException as error:
                raw.detach()
                if not isinstance(error, Exception):
                    self._abort(error)
                    raise
                data = b""
            finally:
                self._busy = False
            if data:
                self._receive(data)
            else:
                # The end, an error or an empty HTTP chunk: `fetch` reads again and finds out which.
                self._raw = None

    def discard_buffered(self) -> None:
        """Count every delta that was received as read."""
        self.buffer.skip()

    async def fetch(self) -> bool:
        """Wait until the buffer has deltas. Call it only when the buffer is empty.

        Returns:
            False after the last delta.

        Raises:
            RuntimeError: Another task is reading.
            Exception: What ``ChatStream`` documents; a later call tries again.
        """
        if self._busy:
            raise RuntimeError(
                "two tasks read one stream: call stream() of its handle for each task"
            )
        self._busy = True
        timer: Timer | None = None
        ready = False
        try:
            if self.state is not ReadState.OPEN:
                await self.start()
            self._raise_if_timed_out()
            timer = self._timeout.call_at_expiry(self._on_timeout)
            while not ready and self.state not in _ENDED:
                connection = self._connection
                ready = await (self._read(connection) if connection else self._reconnect())
        except BaseException as error:
            self._abort(error)
            raise
        finally:
            self._busy = False
            if timer is not None:
                timer.cancel()
        connection = self._connection
        if not ready:
            self.report_end()
        elif connection and self.buffer.cursor.in_sync and self._timeout.expires_at is None:
            self._raw = connection.raw
        return ready

    async def _read(self, connection: StreamConnection) -> bool:
        """Read once; True if the buffer has deltas."""
        try:
            data = await connection.read()
        except FoxAPIError as error:
            self._on_cut(Disconnect(error))
            return False
        return self._receive(data)

    def _receive(self, data: bytes) -> bool:
        """Decode the bytes of one read, ``b""`` for the end, and buffer what may be delivered."""
        connection, cursor = self._connection, self.buffer.cursor
        if connection is None:
            # Closed while the read waited: these bytes will be sent again.
            return False
        decoder = connection.decoder
        batch = cursor.accept(decoder.feed(data))
        if not data or decoder.ended or cursor.state is not CursorState.OK:
            batch = [*batch, *self._on_end(connection)]
        self.buffer.load(batch)
        return bool(batch)

    def _on_end(self, connection: StreamConnection) -> Sequence[Delta]:
        """Decide whether the stream has ended; return the deltas that the cursor held until now."""
        decoder, cursor = connection.decoder, self.buffer.cursor
        held: Sequence[Delta] = ()
        if decoder.done is not None:
            held = cursor.finish(decoder.done, blank_events=decoder.blank_events).deltas
            if cursor.state is CursorState.COMPLETE and decoder.done.total_chunks is not None:
                self.disconnect()
                self.state = ReadState.END_RECEIVED
                return held
        disconnect = connection.disconnect_reason(cursor.state, self._service.account)
        if disconnect is None:
            self._close_body()
        else:
            self._on_cut(disconnect)
        return held

    def _on_cut(self, disconnect: Disconnect) -> None:
        """Close a connection that was lost before the end. `_reconnect` decides how to go on."""
        if self._connection is not None and self._connection.idle_error is not None:
            disconnect = Disconnect(self._connection.idle_error, reported=True)
        self._last_error = type(disconnect.error).__name__
        self._charge_idle_time()
        self._close_body()
        self._reconnects.count_disconnect(disconnect)

    def _abort(self, error: BaseException) -> None:
        """Close the connection after a read that failed or was cancelled."""
        if isinstance(error, Exception):
            if self.state is not ReadState.FINISHED:
                self._report.save_partial(error)
            self._report.report_finished(type(error).__name__)
        self._charge_idle_time()
        self.disconnect()
        if isinstance(error, Exception) and self.state not in {*_ENDED, ReadState.CLOSED}:
            self.state = ReadState.FAILED

    def _close_body(self) -> None:
        connection, self._connection, self._raw = self._connection, None, None
        if connection is not None:
            if connection.decoder.needs_full_replay:
                self.buffer.cursor.needs_full_replay = True
            connection.close()
        if self.state is ReadState.OPEN:
            self.state = ReadState.DISCONNECTED

    def _charge_idle_time(self) -> None:
        """Count the time since the last byte, or since the connection was asked for."""
        now, since = self._service.clock.time(), self._idle_since
        if self._connection is not None:
            since = self._connection.last_received_at(now)
        self._reconnects.count_wait(self.buffer.cursor.offset, now - since)
        self._idle_since = now

    # Reconnecting

    async def _reconnect(self) -> bool:
        """Open a connection when it is time to, or take the rest from the stored result."""
        tracked = await self.start()
        self._raise_if_timed_out()
        self.register()
        disconnect, had_stream = self._reconnects.disconnect, self.buffer.cursor.offset > 0
        try:
            with self._interrupt:
                action = await self._reconnects.next_action(tracked, had_stream=had_stream)
        finally:
            self._idle_since = self._service.clock.time()
        if action is NextAction.USE_STORED:
            return self._use_stored(tracked, disconnect)
        if action is NextAction.GIVE_UP and disconnect is not None:
            raise self._report.gave_up_error(disconnect)
        try:
            await self._open(tracked)
        except FoxAPIError as error:
            self._on_cut(Disconnect(error))
        return False

    async def _open(self, tracked: TrackedTask) -> None:
        service, cursor = self._service, self.buffer.cursor
        offset = cursor.request_offset
        cursor.begin_connection()
        with self._interrupt:
            body = await service.open_stream(tracked.id, offset)
        self._connection = StreamConnection(body, service.runtime.limits.max_event_bytes)
        self.state = ReadState.OPEN
        self._report.report_opened(offset, self._last_error)

    def _use_stored(self, tracked: TrackedTask, disconnect: Disconnect | None) -> bool:
        """End with what the stored result has beyond what was delivered (contract §6)."""
        stored = tracked.stored_result()
        tail = tail_from_stored(stored, tracked, self.buffer)
        if tail is None:
            raise self._report.mismatch_error(stored, disconnect)
        self.disconnect()
        self.state = ReadState.END_RECEIVED
        self.buffer.cursor.ended = True
        self.reasoning_complete = not tail.reasoning_may_be_missing
        self.buffer.stored_tail = tail.delta
        self.buffer.load(() if tail.delta is None else (tail.delta,))
        return tail.delta is not None

    # Ending

    def report_end(self) -> None:
        """Report the whole text to the task if all of it was read."""
        if self.all_read and self.state is not ReadState.FINISHED:
            self._report.save_complete()
            self.state = ReadState.FINISHED

    def _check_usable(self) -> None:
        if self._stop_error is not None:
            raise copy(self._stop_error)
        self._service.runtime.enter()

    def _on_timeout(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._interrupt.fire(self._timeout_error())

    def _raise_if_timed_out(self) -> None:
        if self._timeout.expired:
            raise self._timeout_error()

    def _timeout_error(self) -> TaskTimeoutError:
        return self._report.timeout_error(self._timeout.timeout, self._reconnects.fault)
