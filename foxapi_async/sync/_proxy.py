"""Blocking proxies of the objects of an asynchronous session, made from their classes."""
# pyright: reportPrivateUsage=false

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from functools import partial, wraps
from inspect import isfunction
from operator import attrgetter
from types import GenericAlias
from typing import Any, ClassVar, Final, NoReturn, Self, cast

from msgspec.structs import replace

from foxapi_async.sync._caller import SessionCaller, call_without_loop
from foxapi_async.sync._rules import (
    RENAMED,
    blocking_text,
    is_live,
    live_fields,
    public_members,
)

_MODULE: Final = "foxapi_async.sync"


class Proxy:
    """Stands for one object of an asynchronous session.

    Two proxies of one object are equal.
    """

    __slots__ = ("__weakref__", "_async", "_caller")

    _async: Any
    _caller: Any
    # Whether properties only read what never changes half: they need not run in the loop.
    _reads_directly: ClassVar[bool] = False

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__name__} is not built by hand: a FoxSession returns it")

    @classmethod
    def _of(cls, target: object, caller: SessionCaller | None) -> Self:
        """Return a proxy of ``target``; without a caller it is bound to no session."""
        proxy = object.__new__(cls)
        proxy._async = target
        proxy._caller = caller
        proxy._prepare()
        return proxy

    def _prepare(self) -> None:
        """Set what a subclass needs."""

    def _call(self, function: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        """Call a function of the asynchronous object with these arguments, and wrap its result."""
        caller = self._caller
        call = call_without_loop if caller is None else caller.call
        if args or keywords:
            args = tuple(map(unwrap, args))
            result = call(function, self._async, *args, **unwrap_keywords(keywords, caller))
        else:
            result = call(function, self._async)
        return self if result is self._async else wrap(result, caller)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute that the asynchronous object has and its class has not."""
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return wrap(getattr(self._async, name), self._caller)

    def __dir__(self) -> list[str]:
        own = [name for name in getattr(self._async, "__dict__", ()) if not name.startswith("_")]
        return [*super().__dir__(), *own]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Proxy) and self._async is other._async

    def __hash__(self) -> int:
        return hash(self._async)

    def __repr__(self) -> str:
        return repr(self._async)

    def _repr_html_(self) -> str | None:
        show: Callable[[], str] | None = getattr(self._async, "_repr_html_", None)
        return show() if show else None

    def __reduce__(self) -> str | tuple[Any, ...]:
        instead = getattr(self._async, "_instead", "use the session that it belongs to")
        raise TypeError(f"{type(self).__name__} can be neither copied nor pickled: {instead}")

    def __class_getitem__(cls, item: Any) -> GenericAlias:
        return GenericAlias(cls, item)


class IterableProxy(Proxy):
    """A proxy of an object that is iterated over, such as a stream."""

    __slots__ = ("_undelivered",)

    _undelivered: deque[Any]

    def _prepare(self) -> None:
        # An item that came when the wait for it was interrupted: the next step returns it.
        self._undelivered = deque()

    def __iter__(self) -> Iterator[Any]:
        caller = self._caller
        call = call_without_loop if caller is None else caller.call
        iterator: AsyncIterator[Any] = call(_aiter, self._async)
        return BlockingIterator(iterator, caller, self._undelivered)

    def __next__(self) -> Any:
        return _next(self._async, self._caller, self._undelivered)

    def __del__(self) -> None:
        _drop(self, "_async")


class BlockingIterator(Iterator[Any]):
    """Iterates over an asynchronous iterator. An interrupted step can be repeated."""

    def __init__(
        self,
        iterator: AsyncIterator[Any],
        caller: SessionCaller | None,
        undelivered: deque[Any] | None = None,
    ) -> None:
        self._iterator = iterator
        self._caller = caller
        self._undelivered: deque[Any] = deque() if undelivered is None else undelivered

    def __next__(self) -> Any:
        return _next(self._iterator, self._caller, self._undelivered)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} can be neither copied nor pickled")

    def __del__(self) -> None:
        _drop(self, "_iterator")


def _next(
    iterator: AsyncIterator[Any], caller: SessionCaller | None, undelivered: deque[Any]
) -> Any:
    if undelivered:
        return wrap(undelivered.popleft(), caller)
    try:
        if caller is None:
            return call_without_loop(_anext, iterator)
        item = caller.call(_anext, iterator, on_undelivered=undelivered.append)
    except StopAsyncIteration:
        raise StopIteration from None
    return wrap(item, caller)


def _aiter(iterable: AsyncIterable[Any]) -> AsyncIterator[Any]:
    return aiter(iterable)


async def _anext(iterator: AsyncIterator[Any]) -> Any:
    return await anext(iterator)


def _drop(owner: Proxy | BlockingIterator, name: str) -> None:
    """Drop the asynchronous object of ``owner`` in the loop, where it ends its waits."""
    caller = getattr(owner, "_caller", None)
    if caller is not None:
        # Nothing here may refer to the object when the loop drops it.
        holder = [getattr(owner, name)]
        delattr(owner, name)
        caller.drop(holder)


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def method(self: Proxy, /, *args: Any, **keywords: Any) -> Any:
        return self._call(function, *args, **keywords)

    return method


def _read_directly(name: str) -> Callable[[Proxy], Any]:
    read = attrgetter("_async." + name)
    return lambda self: wrap(read(self), self._caller)


def _read_in_loop(member: property) -> Callable[[Proxy], Any]:
    if member.fget is None:
        raise TypeError("a property that cannot be read has no blocking form")
    read = member.fget
    return lambda self: self._call(read)


def mirror(live: type[Any], blocking: type[Proxy]) -> None:
    """Add the public members of ``live`` to a blocking class, except those that it has."""
    for name, member in public_members(live):
        known = RENAMED.get(name, name)
        if known in vars(blocking) or (known in {"__iter__", "__next__"}):
            continue
        if isfunction(member):
            added: Any = _method(member)
            added.__name__, added.__qualname__ = known, f"{blocking.__name__}.{known}"
            added.__doc__ = blocking_text(member.__doc__)
        else:
            direct = blocking._reads_directly
            read = _read_directly(name) if direct else _read_in_loop(member)
            added = property(read, doc=blocking_text(member.__doc__))
        setattr(blocking, known, added)


_classes: dict[type[Any], type[Proxy]] = {}


def blocks(live: type[Any]) -> Callable[[type[Proxy]], type[Proxy]]:
    """Return a decorator for the blocking class of ``live`` that is written by hand in part."""

    def register(blocking: type[Proxy]) -> type[Proxy]:
        blocking.__doc__ = blocking_text(live.__doc__)
        blocking.__module__ = _MODULE
        mirror(live, blocking)
        _classes[live] = blocking
        return blocking

    return register


def blocking_class(live: type[Any]) -> type[Proxy]:
    """Return the blocking class of a live class; the first call makes it."""
    known = _classes.get(live)
    if known is None:
        bases = tuple(blocking_class(base) for base in live.__bases__ if is_live(base))
        iterates = hasattr(live, "__aiter__") or hasattr(live, "__anext__")
        kind = IterableProxy if iterates else Proxy
        known = cast("type[Proxy]", type(live.__name__, bases or (kind,), {"__slots__": ()}))
        blocks(live)(known)
    return known


# Wrapping and unwrapping

Wrap = Callable[[Any, SessionCaller | None], Any]
_wrappers: dict[type[Any], Wrap | None] = {}


def wrap(value: Any, caller: SessionCaller | None) -> Any:
    """Return the blocking form of a value; plain data is returned as it is."""
    plain: object = value
    kind = type(plain)
    if kind not in _wrappers:
        _wrappers[kind] = _wrapper_of(kind)
    wrapper = _wrappers[kind]
    return value if wrapper is None else wrapper(value, caller)


def _wrapper_of(kind: type[Any]) -> Wrap | None:
    if kind is tuple or kind is list:
        return _wrap_items
    if is_live(kind) and not kind.__name__.startswith("_"):
        return blocking_class(kind)._of
    if hasattr(kind, "__anext__"):
        return BlockingIterator
    fields = live_fields(kind)
    return partial(_wrap_fields, fields) if fields else None


def _wrap_items(items: Any, caller: SessionCaller | None) -> Any:
    wrapped = [wrap(item, caller) for item in items]
    return items if all(map(_is_same, items, wrapped)) else type(items)(wrapped)


def _is_same(one: object, other: object) -> bool:
    return one is other


def _wrap_fields(fields: tuple[str, ...], struct: Any, caller: SessionCaller | None) -> Any:
    return replace(struct, **{name: wrap(getattr(struct, name), caller) for name in fields})


def unwrap(value: Any) -> Any:
    """Return the asynchronous form of an argument: of a proxy, and of those in a list."""
    if isinstance(value, Proxy):
        return value._async
    if type(value) in {list, tuple} and any(isinstance(item, Proxy) for item in value):
        return type(value)(map(unwrap, value))
    return value


def _unwrap_keyword(name: str, value: Any, caller: SessionCaller | None) -> Any:
    if name == "progress" and callable(value):
        return partial(_call_wrapped, value, caller)
    return unwrap(value)


def _call_wrapped(
    function: Callable[[Any], object], caller: SessionCaller | None, event: object
) -> object:
    return function(wrap(event, caller))


def unwrap_keywords(keywords: Mapping[str, Any], caller: SessionCaller | None) -> dict[str, Any]:
    """Return the asynchronous forms of keywords. A function for progress gets blocking handles."""
    return {name: _unwrap_keyword(name, value, caller) for name, value in keywords.items()}
