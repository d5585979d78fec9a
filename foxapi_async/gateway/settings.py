"""What a gateway is told when it is built."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, TypedDict, cast

from foxapi_async._clock import Clock, LoopClock
from foxapi_async.errors import ConfigError

DAY: Final = 86_400.0


class GatewayOptions(TypedDict, total=False):
    """The members of ``GatewaySettings``, each of them optional."""

    api_keys: Collection[str]
    queue_delay: float
    token_delay: float
    thinking_delay: float | None
    retention: float
    task_retention: float
    body_limit: int
    seed: int | None
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """How the gateway behaves; the defaults are quick and let any bearer token in.

    ``api_keys`` are the tokens that are let in; none means every token that is not empty.
    A task is pending for ``queue_delay`` seconds, then writes a token every ``token_delay``
    seconds, or every ``thinking_delay`` while it thinks (``None``: the same pace). Once it has
    ended its stream can be read for ``retention`` seconds (CONTRACT §6), the task itself for
    ``task_retention``. ``body_limit`` is the largest request in bytes. ``seed`` makes the random
    part of task ids the same in each run. All time comes from ``clock``.

    Values that cannot work raise ``ConfigError``, which names the setting.
    """

    api_keys: Collection[str] = field(default=(), repr=False)
    queue_delay: float = 0.02
    token_delay: float = 0.002
    thinking_delay: float | None = None
    retention: float = 900.0
    task_retention: float = 30 * DAY
    body_limit: int = 64 * 1024 * 1024
    seed: int | None = None
    clock: Clock = field(default_factory=LoopClock, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_keys", _keys(self.api_keys))
        for name in ("queue_delay", "token_delay", "retention", "task_retention"):
            _refuse_bad_time(name, getattr(self, name))
        if self.thinking_delay is not None:
            _refuse_bad_time("thinking_delay", self.thinking_delay)
        if not _is_whole(self.body_limit) or self.body_limit < 1:
            raise _bad("body_limit", "a number of bytes above 0", self.body_limit)
        if self.seed is not None and not _is_whole(self.seed):
            raise _bad("seed", "a whole number or None", self.seed)

    @property
    def thinking_pace(self) -> float:
        """The seconds between two tokens of thinking."""
        return self.token_delay if self.thinking_delay is None else self.thinking_delay


def _keys(value: object) -> tuple[str, ...]:
    """Return the keys, refusing what no ``Authorization`` header could carry; none is echoed."""
    if not isinstance(value, list | tuple | set | frozenset):
        raise ConfigError("GatewaySettings.api_keys must be a list, tuple or set of keys")
    keys: list[str] = []
    for number, key in enumerate(cast("Collection[object]", value)):
        if not isinstance(key, str) or not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(f"GatewaySettings.api_keys[{number}] must be printable ASCII")
        if not key:
            raise ConfigError(f"GatewaySettings.api_keys[{number}] must not be empty")
        keys.append(key)
    return tuple(keys)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _refuse_bad_time(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad(name, "a number of seconds", value)
    if not math.isfinite(value) or value < 0:
        raise _bad(name, "finite and not negative", value)


def _bad(name: str, wanted: str, value: object) -> ConfigError:
    return ConfigError(f"GatewaySettings.{name} must be {wanted}, got {value!r}")
