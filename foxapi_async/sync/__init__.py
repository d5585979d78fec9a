"""FoxAPI without ``async``: the names of ``foxapi_async`` as blocking calls.

::

    with FoxSession() as fox:
        handle = fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")
        completion = handle.result()

Each call runs in an event loop in one daemon thread of the process, which exists while a session is
open. Several threads may share a session. Hooks and ``progress`` are called in that thread.
"""

from typing import Any, Final

import foxapi_async
from foxapi_async.sync._completions import as_completed
from foxapi_async.sync._handles import TaskHandle
from foxapi_async.sync._proxy import blocking_class
from foxapi_async.sync._rules import export_order, holder_names, live_names
from foxapi_async.sync._session import FoxSession

_WRITTEN: Final = {
    "FoxSession": FoxSession,
    "TaskHandle": TaskHandle,
    "as_completed": as_completed,
}
_LIVE: Final = live_names()
_HOLDERS: Final = holder_names()


def _names() -> list[str]:
    return sorted({*_WRITTEN, *_LIVE, *_HOLDERS}, key=export_order)


# The stub beside this module has the same list, for type checkers.
__all__ = list(_names())  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _LIVE:
        value: Any = blocking_class(getattr(foxapi_async, name))
    elif name in _HOLDERS:
        value = getattr(foxapi_async, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
