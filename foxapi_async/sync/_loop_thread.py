"""The event loop of the blocking sessions: one in one daemon thread, while a session needs it."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from inspect import iscoroutine
from threading import Lock, RLock, Thread, get_ident
from typing import Any, Final, Generic, TypeVar, cast

from foxapi_async.errors import SessionClosedError
from foxapi_async.sync._mailbox import Mailbox

T = TypeVar("T")


class LoopStoppedError(Exception):
    """The loop takes no more calls."""


_JOIN_TIMEOUT: Final = 5.0
_LAST_CALLS_TIMEOUT: Final = 1.0
_CANCEL_TIMEOUT: Final = 1.0
# On Windows a lock cannot be interrupted, so a wait looks for Ctrl-C this often, in seconds.
_INTERRUPTIBLE_FOR: Final = 0.1 if sys.platform == "win32" else -1
# From Python 3.12, a call has its first step in the turn of the loop in which it comes.
_EAGER: Final[dict[str, Any]] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class LoopThread:
    """A daemon thread that runs an event loop until it is stopped."""

    def __init__(self) -> None:
        self._started: Future[None] = Future()
        # Reentrant, because the garbage collector may call `post` while `post` is under way.
        self._lock = RLock()
        self._is_stopping = False
        self.calls: set[asyncio.Task[Any] | None] = set()
        self.is_lost: bool = False
        """Whether this process is a fork of the one where the thread runs."""
        self._thread = Thread(target=self._run, name="foxapi-sync", daemon=True)
        self._thread.start()
        self._started.result()

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in this thread."""
        return get_ident() == self._ident

    def post(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` in the loop, in the context of the caller.

        Raises:
            LoopStoppedError: The loop is stopping.
        """
        with self._lock:
            if self._is_stopping or self.is_lost:
                raise LoopStoppedError
            self._post(callback)

    def create_task(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Start a task, from the loop; stopping waits a moment for it."""
        task = self.loop.create_task(coroutine)
        self.calls.add(task)
        task.add_done_callback(self.calls.discard)

    def stop(self) -> None:
        """Stop the loop as soon as the calls that have ended are delivered."""
        with self._lock:
            if not self._is_stopping and not self.is_lost:
                self._is_stopping = True
                self._post(self._stop.set)

    def join(self, timeout: float = 0) -> None:
        """Wait for the end of the thread, for ``timeout`` seconds, or longer if it is stopping."""
        if not self.is_current and not self.is_lost:
            self._thread.join(max(timeout, _JOIN_TIMEOUT if self._is_stopping else 0))

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)
        finally:
            self._is_stopping = True

    async def _serve(self) -> None:
        self._ident = get_ident()
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.start_task: Callable[[Coroutine[Any, Any, None]], object] = partial(
            asyncio.Task, loop=self.loop, **_EAGER
        )
        with self._posting():
            self._started.set_result(None)
            await self._stop.wait()
        calls = [task for task in self.calls if task is not None]
        if calls:
            await asyncio.wait(calls, timeout=_LAST_CALLS_TIMEOUT)

    @contextmanager
    def _posting(self) -> Generator[None]:
        if sys.platform == "win32":
            self._post = self.loop.call_soon_threadsafe
            yield
            return
        mailbox = Mailbox()
        self._post = mailbox.post
        try:
            yield
        finally:
            with self._lock:
                self._is_stopping = True
            mailbox.close()


class SharedLoopThread:
    """Lends one thread to all sessions of a process; it runs while it is lent."""

    def __init__(self) -> None:
        self.lock: RLock = RLock()
        self._thread: LoopThread | None = None
        self._users = 0

    def acquire(self) -> LoopThread:
        """Return the thread, and start it if it does not run."""
        with self.lock:
            if self._thread is None:
                self._thread = LoopThread()
            self._users += 1
            return self._thread

    def release(self) -> None:
        """Stop the thread if this was its last user."""
        with self.lock:
            self._users -= 1
            if self._users == 0 and self._thread is not None:
                self._thread.stop()
                self._thread = None

    def forget(self) -> None:
        """Forget the thread after a fork: it does not run in this process."""
        # Another thread may have had the lock at the fork, and there is none to release it.
        self.lock = RLock()
        self._users = 0
        if self._thread is not None:
            self._thread.is_lost = True
            self._thread = None


SHARED_LOOP_THREAD: Final = SharedLoopThread()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SHARED_LOOP_THREAD.forget)


class BlockingCall(Generic[T]):
    """One call in the loop, and the wait of another thread for it.

    If the wait is interrupted, as by Ctrl-C, the call is cancelled. If it has ended by then,
    ``on_undelivered`` gets its result in the loop, because no caller has it.
    """

    __slots__ = (
        "_error",
        "_function",
        "_has_ended",
        "_is_abandoned",
        "_is_done",
        "_on_undelivered",
        "_result",
        "_settled",
        "_task",
        "_thread",
    )

    def __init__(
        self,
        thread: LoopThread,
        function: Callable[[], T | Coroutine[Any, Any, T]],
        on_undelivered: Callable[[T], object] | None,
    ) -> None:
        self._thread = thread
        self._function: Callable[[], T | Coroutine[Any, Any, T]] | None = function
        self._on_undelivered = on_undelivered
        self._task: asyncio.Task[Any] | None = None
        self._error: BaseException | None = None
        self._result: T | None = None
        self._is_abandoned = False
        self._has_ended = False
        self._settled: Lock | None = None
        # Released when the call ends: a lock is the cheapest thing to wait for.
        self._is_done = Lock()
        self._is_done.acquire()

    def run(self) -> T:
        """Wait for the call, and return its result or raise its error.

        Raises:
            LoopStoppedError: The call was not started, because the loop is stopping.
        """
        try:
            self._thread.post(self._start)
            while not self._is_done.acquire(timeout=_INTERRUPTIBLE_FOR):
                pass
            if self._error is None:
                return cast("T", self._result)
        except LoopStoppedError:
            raise
        except BaseException:
            self._settled = settled = Lock()
            settled.acquire()
            with suppress(LoopStoppedError):
                self._thread.post(self._abandon)
                # So that `fox.unclaimed` has what was lost as soon as the caller can read it.
                settled.acquire(timeout=_CANCEL_TIMEOUT)
            raise
        error, self._error = self._error, None
        try:
            raise error
        finally:
            # Its traceback has this frame: without these names there is no cycle.
            del error, self

    def _start(self) -> None:
        function, self._function = self._function, None
        if function is None or self._is_abandoned:
            return
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 raised by `run`
            self._end(None, error)
            return
        if iscoroutine(result):
            self._thread.start_task(self._finish(result))
        else:
            self._end(cast("T", result), None)

    async def _finish(self, coroutine: Coroutine[Any, Any, T]) -> None:
        """Run the coroutine and end the call: a callback of the task would end it a turn later."""
        if self._is_abandoned:
            coroutine.close()
            self._end(None, None)
            return
        result: T | None = None
        error: BaseException | None = None
        calls = self._thread.calls
        self._task = task = asyncio.current_task()
        calls.add(task)
        try:
            result = await coroutine
        except asyncio.CancelledError:
            error = SessionClosedError("the session was closed during the call")
        except BaseException as raised:  # noqa: BLE001 raised by `run`
            error = raised
        self._task = None
        calls.discard(task)
        # Last, because from then on two threads want the interpreter.
        self._end(result, error)
        del error

    def _end(self, result: T | None, error: BaseException | None) -> None:
        self._result, self._error = result, error
        self._has_ended = True
        self._is_done.release()
        if self._is_abandoned:
            self._settle()

    def _abandon(self) -> None:
        """Cancel the call. Runs in the loop, after `_start` if that was posted."""
        self._is_abandoned = True
        if self._task is not None:
            self._task.cancel()
        elif self._has_ended or self._function is not None:
            self._settle()

    def _settle(self) -> None:
        """Keep the result that no caller got."""
        result, self._result = self._result, None
        self._error = None
        try:
            if result is not None and self._on_undelivered is not None:
                self._on_undelivered(result)
        finally:
            if self._settled is not None:
                self._settled.release()
