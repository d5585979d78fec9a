"""Which names of the package have a blocking form, and what that form is called. Pure rules.

The proxies and ``docs/sync_stub.py``, which writes the stub, share them.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from inspect import iscoroutinefunction, isfunction
from typing import Any, Final

import foxapi_async

_PACKAGE: Final = "foxapi_async."
_ASYNC_METHODS: Final = frozenset({"__aenter__", "__aiter__", "__anext__", "__await__"})

# The members that have another name in the blocking form.
RENAMED: Final = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
}
# Keywords of `FoxSession` that cannot work in the loop thread: the object belongs to another loop.
REFUSED: Final = {
    "http": "an aiohttp.ClientSession belongs to the event loop where it was opened: leave out http"
}


def is_live(kind: type[Any]) -> bool:
    """Tell whether objects of a class of the package wait for I/O in some of their methods."""
    return kind.__module__.startswith(_PACKAGE) and any(
        name in _ASYNC_METHODS or iscoroutinefunction(member)
        for base in kind.__mro__
        if base.__module__.startswith(_PACKAGE)
        for name, member in vars(base).items()
    )


def public_members(kind: type[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the own members of a live class that the blocking class has, by their async names."""
    for name, member in vars(kind).items():
        is_offered = name in RENAMED or not name.startswith("_")
        if is_offered and (isfunction(member) or isinstance(member, property)):
            yield name, member


def live_names() -> list[str]:
    """Return the public names of live classes."""
    return [name for name, value in _public() if isinstance(value, type) and is_live(value)]


def holder_names() -> list[str]:
    """Return the public names of structs that have a member of a live class."""
    return [name for name, value in _public() if isinstance(value, type) and live_fields(value)]


def function_names() -> list[str]:
    """Return the public names of functions that take or return objects of live classes."""
    return [
        name
        for name, value in _public()
        if isfunction(value) and mentions_live(value.__annotations__.values())
    ]


def export_order(name: str) -> tuple[int, str]:
    """Sort constants first, then classes, then the rest, as ruff does."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def live_fields(kind: type[Any]) -> tuple[str, ...]:
    """Return the fields of a struct of the package whose types name a live class."""
    if not kind.__module__.startswith(_PACKAGE) or is_live(kind):
        return ()
    annotations = {
        name: annotation
        for base in reversed(kind.__mro__)
        for name, annotation in vars(base).get("__annotations__", {}).items()
    }
    fields: tuple[str, ...] = getattr(kind, "__struct_fields__", ())
    return tuple(name for name in fields if mentions_live([annotations.get(name)]))


def mentions_live(annotations: Any) -> bool:
    """Tell whether one of some annotations names a live class or a type variable of handles."""
    return any(_live_pattern().search(_text(one)) for one in annotations)


@cache
def _live_pattern() -> re.Pattern[str]:
    return re.compile(rf"\b({'|'.join(live_names())})\b")


def _text(annotation: object) -> str:
    bound = "".join(
        repr(getattr(one, "__bound__", "")) for one in getattr(annotation, "__parameters__", ())
    )
    return f"{annotation!r} {bound}"


def _public() -> Iterator[tuple[str, Any]]:
    return ((name, getattr(foxapi_async, name)) for name in foxapi_async.__all__)


_THREADS: Final = "Several threads may share it."
_PHRASES: Final[tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]] = (
    (r"`async (with|for) ", r"`\1 "),
    (r"\basync (with|for)\b", r"\1"),
    (r"`await handle`", "`handle.result()`"),
    (r"`await (?=[a-z])", "`"),
    (r"\baclose\(\)", "close()"),
    (r"\baclose\b", "close"),
    (r"\b[Aa]waited\b", "waited for"),
    (r"\b[Aa]waiting\b", "waiting for"),
    (r"\bAwait\b", "Wait for"),
    (r"\bawait\b", "wait for"),
    (r"an awaitable", "a"),
    (r"It may be built outside an\s+event loop, and belongs to .+? used in\.", _THREADS),
    (r"the event loop", "the loop thread"),
    (r"async iterator", "iterator"),
    (r"\s+or\s+async\s+iterable", ""),
    (r"an\s+async\s+generator", "a generator"),
    (r"coroutine", "function"),
)


def blocking_text(text: str | None) -> str | None:
    """Return a docstring in the words of the blocking form."""
    for pattern, replacement in _PHRASES if text else ():
        text = re.sub(pattern, replacement, text or "")
    return text
