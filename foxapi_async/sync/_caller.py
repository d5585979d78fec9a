"""The blocking calls of one session."""
# pyright: reportPrivateUsage=false

import atexit
import sys
import warnings
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar, cast
from weakref import WeakSet

from foxapi_async._client.handle import TaskHandle
from foxapi_async._client.runtime import FORKED
from foxapi_async._client.session import FoxSession
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async.errors import SessionClosedError
from foxapi_async.sync._loop_thread import (
    SHARED_LOOP_THREAD,
    BlockingCall,
    LoopStoppedError,
    LoopThread,
)

T = TypeVar("T")

_BLOCKS_ITSELF: Final = (
    "a blocking call cannot run in the thread of the event loop, where hooks, `progress` and "
    "functions of a row are called: it would wait for itself; make the call in another thread, "
    "such as one of a ThreadPoolExecutor"
)
_EXIT_TIMEOUT: Final = 10.0


class SessionCaller:
    """Runs what a blocking session calls in the loop thread, from the first call to the close.

    Its proxies refer to it. When the last of them is dropped, an open session is closed.
    """

    def __init__(self, session: FoxSession) -> None:
        self.session: FoxSession = session
        self._thread: LoopThread | None = None
        self._is_closed = False

    def call(
        self,
        function: Callable[..., T | Coroutine[Any, Any, T]],
        *args: Any,
        on_undelivered: Callable[[T], object] | None = None,
        **keywords: Any,
    ) -> T:
        """Call a function or a coroutine function in the loop, and return its result.

        Args:
            function: The function.
            *args: Its arguments.
            on_undelivered: Called in the loop with a result that no caller got, because the wait
                was interrupted. By default a handle, or that of a completion, becomes unclaimed.
            **keywords: Its keywords.
        """
        thread = self._thread or self._acquire()
        if thread is None:
            return call_without_loop(function, *args, **keywords)
        if thread.is_lost:
            raise RuntimeError(FORKED)
        if thread.is_current:
            return _call_in_loop(function, *args, **keywords)
        keep = on_undelivered or self._add_unclaimed
        try:
            return BlockingCall(thread, partial(function, *args, **keywords), keep).run()
        except LoopStoppedError:
            return call_without_loop(function, *args, **keywords)

    def drop(self, holder: list[Any]) -> None:
        """Drop the only reference to an object, ``holder[0]``, in the loop to which it belongs."""
        thread = self._thread
        if thread is None or thread.is_lost or thread.is_current or sys.is_finalizing():
            return
        try:
            thread.post(holder.clear)
        except LoopStoppedError:
            return

    def close(self) -> None:
        """Close the session. The thread has ended afterwards, if no other session needs it."""
        with SHARED_LOOP_THREAD.lock:
            thread = self._thread
            was_closed, self._is_closed = self._is_closed, self._is_closed or thread is None
        if thread is None or thread.is_lost:
            if not was_closed:
                closing: Callable[..., Any] = self.session.aclose
                call_without_loop(closing)
            return
        if thread.is_current:
            raise RuntimeError(_BLOCKS_ITSELF)
        with suppress(LoopStoppedError):  # closed by another thread
            BlockingCall[None](thread, self._close, None).run()
        thread.join()

    def close_at_exit(self) -> LoopThread | None:
        """Start to close the session, warn, and return the thread that is to be joined."""
        thread = self._thread
        if thread is None or thread.is_lost:
            return None
        self.warn_unclosed()
        try:
            thread.post(lambda: thread.create_task(self._close()))
        except LoopStoppedError:
            return None
        return thread

    async def _close(self) -> None:
        try:
            await self.session.aclose()
        finally:
            self._release()

    def _acquire(self) -> LoopThread | None:
        with SHARED_LOOP_THREAD.lock:
            if self._thread is None and not self._is_closed:
                self._thread = SHARED_LOOP_THREAD.acquire()
                _open_callers.add(self)
            return self._thread

    def _release(self) -> None:
        with SHARED_LOOP_THREAD.lock:
            if not self._is_closed:
                self._is_closed = True
                self._thread = None
                _open_callers.discard(self)
                SHARED_LOOP_THREAD.release()

    def _add_unclaimed(self, result: object) -> None:
        """Keep the handle of a billed task whose result was not delivered."""
        service = self.session._service
        handle: Any = None
        if isinstance(result, TaskHandle):
            handle = cast("Any", result)
        elif isinstance(result, ChatCompletion) and result.task is not None:
            handle = self.session.tasks.handle(result.task.id)
        if handle is not None:
            model = handle.model or ""
            service.add_unclaimed(handle, task_id=handle.id, model=model, key=handle.key)

    def warn_unclosed(self) -> None:
        """Warn that the session was not closed."""
        warnings.warn(
            f"unclosed {self.session!r}: use `with` or call close(){self.session._created_at}",
            ResourceWarning,
            stacklevel=2,
            source=self.session,
        )

    def __del__(self) -> None:
        thread = getattr(self, "_thread", None)
        if thread is None or thread.is_lost or sys.is_finalizing():
            return
        # Closing needs the session and not this object, which is being freed.
        closing = _close_dropped(self.session)
        try:
            thread.post(lambda: thread.create_task(closing))
        except LoopStoppedError:
            closing.close()
        self.warn_unclosed()


async def _close_dropped(session: FoxSession) -> None:
    try:
        await session.aclose()
    finally:
        SHARED_LOOP_THREAD.release()


def call_without_loop(
    function: Callable[..., T | Coroutine[Any, Any, T]], *args: Any, **keywords: Any
) -> T:
    """Call a function of a closed session, or of an unbound handle.

    Raises:
        SessionClosedError: The call would have to wait.
    """
    try:
        result = function(*args, **keywords)
        if not isinstance(result, Coroutine):
            return result
        coroutine = cast("Coroutine[Any, Any, T]", result)
        coroutine.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    except RuntimeError as error:
        # What has to wait may ask for the loop before it asks whether the session is closed.
        if str(error) != "no running event loop":
            raise
    else:
        coroutine.close()
    raise SessionClosedError("the session is closed; build a new FoxSession")


def _call_in_loop(
    function: Callable[..., T | Coroutine[Any, Any, T]], *args: Any, **keywords: Any
) -> T:
    """Call a plain function from the loop itself; refuse a coroutine function."""
    result = function(*args, **keywords)
    if isinstance(result, Coroutine):
        result.close()
        raise RuntimeError(_BLOCKS_ITSELF)  # noqa: TRY004 no argument has a wrong type
    return result


_open_callers: "WeakSet[SessionCaller]" = WeakSet()


def _close_at_exit() -> None:
    """Close the sessions that are open when the interpreter exits, so that no POST is cut off."""
    # No thread can be started any more, but that of the loop still runs.
    for thread in {caller.close_at_exit() for caller in list(_open_callers)} - {None}:
        if thread is not None:
            thread.join(_EXIT_TIMEOUT)


atexit.register(_close_at_exit)
