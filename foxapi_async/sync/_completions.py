"""Blocking handles in the order in which their tasks finish."""
# pyright: reportPrivateUsage=false

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from functools import partial
from itertools import count, islice
from threading import Lock
from typing import Any, Final

from foxapi_async._client import as_completed as _source
from foxapi_async.sync._caller import SessionCaller, call_without_loop
from foxapi_async.sync._proxy import BlockingIterator, unwrap, unwrap_keywords, wrap
from foxapi_async.sync._rules import blocking_text

_READS: Final = 2


def as_completed(
    handles: Iterable[Any], *, in_flight: int = 256, progress: Any = None
) -> Iterator[Any]:
    """Its text is that of the asynchronous function."""
    _source.check_source(handles)
    if not isinstance(handles, Sized):
        return _CompletedHandles(handles, in_flight, progress)
    listed = list(handles)
    caller = next((one._caller for one in listed if getattr(one, "_caller", None)), None)
    options = unwrap_keywords({"progress": progress}, caller)
    iterator = _source.as_completed(list(map(unwrap, listed)), in_flight=in_flight, **options)
    return BlockingIterator(iterator, caller)


as_completed.__doc__ = blocking_text(_source.as_completed.__doc__)
as_completed.__module__ = "foxapi_async.sync"


class _CompletedHandles(Iterator[Any]):
    """Takes handles from a queue, which it fills in this thread: reading an iterator may block.

    So the iterator may submit what it yields. While one thread reads it, others take what is done.
    """

    def __init__(self, handles: Iterable[Any], in_flight: int, progress: Any) -> None:
        # The caller of the first handle, as soon as that is known.
        self._callers: list[SessionCaller | None] = []
        if callable(progress):
            progress = partial(_report, progress, self._callers)
        self._queue = _source.make_queue(None, in_flight, progress)
        self._handles = iter(handles)
        self._reading = Lock()
        # A handle that was read and not added, because that was interrupted.
        self._unadded: deque[Any] = deque()
        self._finished: BlockingIterator | None = None

    def __next__(self) -> Any:
        # The first thread finds the loop in which the others can wait.
        if self._reading.acquire(blocking=self._finished is None):
            try:
                self._read()
            finally:
                self._reading.release()
        if self._finished is None:
            raise StopIteration
        return next(self._finished)

    def _read(self) -> None:
        """Read while there is room: two handles, and more until one is done."""
        for reads in count():
            if not self._queue.has_room or (reads >= _READS and self._queue.has_done):
                return
            try:
                self._read_one()
            except Exception as error:
                if self._finished is None:
                    raise
                self._call(self._queue.end, error)

    def _read_one(self) -> None:
        if not self._unadded:
            # In one step, which Ctrl-C does not divide: what is read may be billed.
            self._unadded.extend(islice(self._handles, 1))
        if not self._unadded:
            self._call(self._queue.end)
            return
        handle = self._unadded[0]
        if self._finished is None:
            self._callers.append(getattr(handle, "_caller", None))
            finished: Any = _source.take_from(self._queue)
            self._finished = BlockingIterator(finished, self._callers[0])
        try:
            self._call(self._queue.add, unwrap(handle))
        except Exception:
            self._unadded.popleft()
            raise
        self._unadded.popleft()

    def _call(self, function: Callable[..., object], *args: object) -> None:
        caller = self._callers[0] if self._callers else None
        call = call_without_loop if caller is None else caller.call
        call(function, *args)


def _report(
    function: Callable[[Any], object], callers: list[SessionCaller | None], event: object
) -> object:
    return function(wrap(event, callers[0]))
