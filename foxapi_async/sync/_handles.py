"""The blocking handle."""
# pyright: reportPrivateUsage=false

from typing import Any, ClassVar, Self

from msgspec import UNSET, UnsetType

from foxapi_async._client.handle import TaskHandle as _TaskHandle
from foxapi_async.sync._caller import call_without_loop
from foxapi_async.sync._proxy import Proxy, blocking_class, blocks
from foxapi_async.sync._rules import blocking_text

_Handle = _TaskHandle[Any]


@blocks(_TaskHandle)
class TaskHandle(Proxy):
    """Its text is that of the asynchronous handle."""

    __slots__ = ()

    _async: _Handle
    _reads_directly: ClassVar[bool] = True

    def result(self, timeout: float | None | UnsetType = UNSET) -> Any:
        """Return a known result without a change of threads, so also in a hook."""
        if self._async.done():
            return call_without_loop(self._async.result, timeout)
        return self._call(_Handle.result, timeout)

    result.__doc__ = blocking_text(_Handle.result.__doc__)

    def done(self) -> bool:
        """Read without a change of threads."""
        return self._async.done()

    done.__doc__ = blocking_text(_Handle.done.__doc__)

    def bind(self, fox: Proxy) -> Self:
        """Bind the handle, and use the loop of that session from now on."""
        self._caller = fox._caller
        self._call(_Handle.bind, fox)
        return self

    bind.__doc__ = blocking_text(_Handle.bind.__doc__)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self._async,)


def _unpickle(handle: _Handle) -> Proxy:
    return blocking_class(type(handle))._of(handle, None)
