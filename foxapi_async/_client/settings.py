"""Whether the settings of a session can work, said when it is built and not when it is used."""

import ssl
from collections.abc import Callable, Iterable
from inspect import iscoroutinefunction
from typing import Any, Final, cast

from foxapi_async._clock import is_clock
from foxapi_async.config import Limits, PollPolicy, RetryPolicy, StreamPolicy, Timeouts
from foxapi_async.errors import ConfigError
from foxapi_async.hooks import Hook


def check_settings(**settings: object) -> None:
    """Raise ``ConfigError`` for the first setting that is of a wrong type; tell the right one."""
    for name, value in settings.items():
        if name in _RULES:
            fits, wanted = _RULES[name]
            if not fits(value):
                raise ConfigError(f"{name} must be {wanted}, got {_shown(value)}")


def hooks_of(hooks: object) -> tuple[Hook, ...]:
    """Return the hooks; ``ConfigError`` for what cannot be told of an event."""
    if callable(hooks) or not isinstance(hooks, Iterable):
        raise ConfigError(f"hooks must be a list of functions, got {_shown(hooks)}: pass [hook]")
    listed = tuple(cast("Iterable[object]", hooks))
    for number, hook in enumerate(listed):
        if not callable(hook):
            raise ConfigError(
                f"hooks[{number}] must be a function of one event, got {_shown(hook)}"
            )
        if iscoroutinefunction(hook):
            raise ConfigError(
                f"hooks[{number}] must not be a coroutine function: nobody would await it; start a "
                "task in a plain function"
            )
    return cast("tuple[Hook, ...]", listed)


def _one_of(kind: type, *, optional: bool = False) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kind) or (optional and value is None)


def _shown(value: object) -> str:
    # Never the value itself: a misplaced argument may be the key.
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


_RULES: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "timeouts": (_one_of(Timeouts), "Timeouts(...), as in Timeouts(wait=60)"),
    "retry": (_one_of(RetryPolicy), "RetryPolicy(...), as in RetryPolicy(attempts=3)"),
    "polling": (_one_of(PollPolicy), "PollPolicy(...), as in PollPolicy(pacing=Fixed(5))"),
    "streaming": (_one_of(StreamPolicy), "StreamPolicy(...), as in StreamPolicy(idle_timeout=30)"),
    "limits": (_one_of(Limits), "Limits(...), as in Limits(max_unfinished=50)"),
    "validation": (
        lambda value: isinstance(value, str) and value in {"known", "strict", "off"},
        "'known', 'strict' or 'off'",
    ),
    "allow_http": (_one_of(bool, optional=True), "True, False or None"),
    "trust_env": (_one_of(bool), "True or False"),
    "ssl": (
        _one_of(ssl.SSLContext, optional=True),
        "an ssl.SSLContext or None, as in ssl.create_default_context(cafile=...)",
    ),
    "clock": (
        lambda value: value is None or is_clock(value),
        "an object with time(), unix() and call_at(), or None",
    ),
}
