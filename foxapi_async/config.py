"""The settings of a session: frozen values with the defaults that this package stands for.

Plain numbers of time are seconds. ``None`` means no limit. Every class refuses a value that cannot
work, with a ``ConfigError`` that names the setting.
"""

import math
import os
from ipaddress import ip_address
from numbers import Integral, Real
from typing import Any, Literal, Protocol, TypeGuard

from msgspec import Struct

from foxapi_async.errors import ConfigError

__all__ = [
    "Adaptive",
    "Exponential",
    "Fixed",
    "Limits",
    "PollPolicy",
    "RetryPolicy",
    "StreamPolicy",
    "Timeouts",
    "Validation",
]

Validation = Literal["known", "strict", "off"]
"""How requests are checked before they are sent: models that the catalog knows, all, or none."""


class SecretString(Protocol):
    """A text that hides itself, such as pydantic's ``SecretStr``."""

    def get_secret_value(self) -> str:
        """Return the text."""
        ...


class URLObject(Protocol):
    """A URL as an object whose ``str()`` is the URL: pydantic's ``HttpUrl``, yarl's or httpx's."""

    @property
    def scheme(self) -> Any:
        """What stands before the colon."""
        ...

    @property
    def host(self) -> Any:
        """The name or the address of the host."""
        ...


def environment(name: str) -> str | None:
    """Return an environment variable, or ``None`` when it is missing or empty."""
    return os.environ.get(name, "").strip() or None


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether it is a number, numpy's included; a truth value is none."""
    return isinstance(value, int | float | Real) and not isinstance(value, bool)


def is_loopback(host: str) -> bool:
    """Tell whether ``host``, a name or an address, can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse_bad_values(
    settings: Struct,
    *,
    positive: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
    whole: tuple[str, ...] = (),
) -> None:
    """Refuse what is not a finite number of at least zero, and zero for the names in ``positive``.

    A default tells whether a setting is a number, a whole number or a truth value; one that is
    ``None`` stands for a number. A ``factor`` below 1 would turn a backoff into a hurry, so it is
    refused too.
    """
    for name, default in zip(settings.__struct_fields__, settings.__struct_defaults__, strict=True):
        value = getattr(settings, name)
        where = f"{type(settings).__name__}.{name}"
        if isinstance(default, bool):
            if not isinstance(value, bool):
                raise ConfigError(f"{where} must be True or False, got {value!r}")
            continue
        if (value is None and name in optional) or not is_number(
            0.0 if default is None else default
        ):
            continue
        if not is_number(value):
            raise ConfigError(f"{where} must be a number, got {value!r}")
        if (isinstance(default, int) or name in whole) and not _is_whole(value):
            raise ConfigError(f"{where} must be a whole number, got {value!r}")
        if not _is_finite(value) or value < 0:
            raise ConfigError(f"{where} must be finite and not negative, got {value!r}")
        if value == 0 and name in positive:
            raise ConfigError(f"{where} must be more than 0")
        if name == "factor" and value < 1:
            raise ConfigError(f"{where} must be at least 1, got {value!r}")


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        # An integer that no float can hold.
        return False


class Timeouts(Struct, frozen=True, kw_only=True):
    """Four clocks with four owners.

    ``connect`` and ``read`` bound one attempt; ``submit`` is the read clock of a billed POST,
    longer because the service may re-host inline media first (CONTRACT Q13). ``call`` bounds one
    call with all its retries, ``wait`` is the default patience of ``handle.result()``. Silence on
    a stream is ``StreamPolicy.silence``.
    """

    connect: float = 10.0
    read: float = 30.0
    submit: float = 120.0
    call: float | None = None
    wait: float | None = None

    def __post_init__(self) -> None:
        _refuse_bad_values(self, positive=("connect", "read", "submit"), optional=("call", "wait"))


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """How a failed call is tried again.

    The wait before attempt ``n + 1`` is drawn between half and all of ``first * factor ** (n -
    1)``, at most ``cap``; a ``Retry-After`` up to ``retry_after_cap`` wins, a longer one ends the
    call. No attempt starts after ``elapsed`` seconds. ``attempts`` counts the first one too.

    A billed POST is sent again only when it provably never left. ``resubmit_on_429`` allows it for
    a 429 too: ``"envelope"`` when the body is the service's own ``rate_limit_error``, ``"always"``
    for every 429. Both may bill twice: a limit that is hit after the request was accepted, or a
    proxy's 429, looks the same. By default (``"never"``) a 429 ends the submission with
    ``RateLimitError``, and the caller decides (CONTRACT §8.4).
    """

    attempts: int = 4
    first: float = 0.5
    factor: float = 2.0
    cap: float = 8.0
    elapsed: float = 60.0
    retry_after_cap: float = 60.0
    resubmit_on_429: Literal["envelope", "always", "never"] = "never"

    def __post_init__(self) -> None:
        _refuse_bad_values(self, positive=("attempts",))
        if self.resubmit_on_429 not in ("envelope", "always", "never"):
            raise ConfigError(
                "RetryPolicy.resubmit_on_429 must be 'envelope', 'always' or 'never', "
                f"got {self.resubmit_on_429!r}"
            )


class Fixed(Struct, frozen=True):
    """Poll every ``seconds``, at most 30.

    The first interval is drawn between half and all of it, so that tasks submitted together do not
    stay together.
    """

    seconds: float = 1.0

    def __post_init__(self) -> None:
        _refuse_bad_values(self, positive=("seconds",))


class Exponential(Struct, frozen=True, kw_only=True):
    """Poll after ``first`` seconds, then ``factor`` times later each time, up to ``cap``.

    Each interval is spread by ``jitter``, a share of it, so that tasks submitted together do not
    stay together.
    """

    first: float = 0.5
    factor: float = 1.5
    cap: float = 10.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        _refuse_bad_values(self, positive=("first", "cap"))
        if self.jitter >= 1:
            raise ConfigError(f"Exponential.jitter must be less than 1, got {self.jitter!r}")


class Adaptive(Struct, frozen=True):
    """Poll when the task is likely to have finished, as the session learns from those that did.

    ``price`` is what one GET is worth in seconds of delay: at 0.05, twenty GETs may be spent where
    they save a second of waiting. A higher price means fewer polls and later news. A task's own
    ``progress`` and ``estimated_time`` may only shorten an interval, and none is longer than 30
    seconds.
    """

    price: float = 0.05

    def __post_init__(self) -> None:
        _refuse_bad_values(self, positive=("price",))


class PollPolicy(Struct, frozen=True, kw_only=True):
    """How a task is asked for its state while somebody waits.

    ``pacing`` is ``Adaptive``, ``Exponential`` or ``Fixed``: when the next poll is due.
    ``give_up_after`` bounds unbroken failure of the polls, after which ``TaskLostError`` is raised;
    ``hollow`` bounds how long a completed task may lack its results (CONTRACT Q2).
    ``sync_upstream`` asks the service to look upstream at each poll; it is known to make Q2 more
    frequent (CONTRACT Q3).
    """

    pacing: Adaptive | Exponential | Fixed = Adaptive()
    give_up_after: float = 300.0
    hollow: float = 60.0
    sync_upstream: bool = False

    def __post_init__(self) -> None:
        if type(self.pacing) not in {Adaptive, Exponential, Fixed}:
            raise ConfigError(
                "PollPolicy.pacing must be Adaptive(...), Exponential(...) or Fixed(...), "
                f"got {self.pacing!r}"
            )
        _refuse_bad_values(self)


class StreamPolicy(Struct, frozen=True, kw_only=True):
    """How a stream is followed.

    After ``silence`` seconds without a byte the connection counts as cut. A cut stream is reopened
    at its offset: at once, then after ``first`` seconds, ``factor`` times later each time, up to
    ``cap``; a delivered chunk starts over. ``give_up_after`` seconds without a chunk or progress of
    the task end it with ``StreamInterruptedError``.
    """

    silence: float = 60.0
    first: float = 0.25
    factor: float = 2.0
    cap: float = 5.0
    give_up_after: float = 300.0

    def __post_init__(self) -> None:
        _refuse_bad_values(self, positive=("silence",))


class Limits(Struct, frozen=True, kw_only=True):
    """What one session and its ``with_options`` copies may use at a time.

    ``polls_in_flight`` and ``gets_per_second`` bound the polls of all tasks together: whatever is
    due waits for its turn, the nearest deadline first. A poll that has been under way for three
    seconds no longer counts, so that tasks whose polls hang do not keep the others waiting; but
    twice ``polls_in_flight`` is never exceeded. ``streams`` are followed live at a time; the other
    tasks are polled. ``submits_in_flight`` bounds the POSTs, ``in_flight`` the tasks that are
    submitted and not finished: a submit waits for room in either, and nothing is dropped.
    ``body`` and ``frame`` are bytes: the largest answer, and the largest event of a stream.
    """

    polls_in_flight: int = 64
    gets_per_second: float | None = 200.0
    streams: int = 100
    submits_in_flight: int = 64
    in_flight: int | None = None
    body: int = 64 * 1024 * 1024
    frame: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        _refuse_bad_values(
            self,
            optional=("gets_per_second", "in_flight"),
            whole=("in_flight",),
            positive=(
                "polls_in_flight",
                "gets_per_second",
                "submits_in_flight",
                "in_flight",
                "body",
                "frame",
            ),
        )
