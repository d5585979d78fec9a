"""The settings of a session, as frozen structs.

Times are in seconds. ``None`` means no limit. A value that cannot work raises ``ConfigError``,
whose text names the setting.
"""

import math
from ipaddress import ip_address
from numbers import Integral, Real
from typing import Any, Final, Literal, Protocol, TypeGuard

from msgspec import UNSET, Struct, UnsetType

from foxapi_async._environment import environment
from foxapi_async.errors import ConfigError

__all__ = [
    "Adaptive",
    "Budget",
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
"""How requests are checked before they are sent.

``"known"`` checks the requests for models of the catalog, ``"strict"`` all requests, and rejects
unknown models, ``"off"`` none.
"""


# Thirty years: a longer timeout needs no timer.
_MAX_TIMEOUT: Final = 1e9

_ON: Final = frozenset({"1", "true", "yes", "on"})
_OFF: Final = frozenset({"0", "false", "no", "off"})


class SecretString(Protocol):
    """A text that its repr does not show, such as pydantic's ``SecretStr``."""

    def get_secret_value(self) -> str:
        """Return the text."""
        ...


class URLObject(Protocol):
    """A URL as an object whose ``str()`` is the URL: pydantic's ``HttpUrl``, yarl's or httpx's."""

    @property
    def scheme(self) -> Any:
        """The scheme, such as ``https``."""
        ...

    @property
    def host(self) -> Any:
        """The name or address of the host."""
        ...


def environment_switch(name: str, *, default: bool) -> bool:
    """Return whether an environment variable is on; ``default`` when it is missing or empty."""
    text = environment(name)
    if text is None:
        return default
    value = text.lower()
    if value not in _ON | _OFF:
        raise ConfigError(f"{name} must be 1 or 0, got {text[:40]!r}")
    return value in _ON


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether ``value`` is a number, of numpy too; booleans are not."""
    return isinstance(value, int | float | Real) and not isinstance(value, bool)


def is_whole_number(value: object) -> TypeGuard[int]:
    """Tell whether ``value`` is an integer, numpy's included; a boolean is not."""
    return isinstance(value, int | Integral) and not isinstance(value, bool)


def is_finite(value: float) -> bool:
    """Tell whether ``value`` is a finite number that fits into a float."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def is_loopback(host: str) -> bool:
    """Tell whether ``host``, a name or an address, is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _reject_bad_values(
    settings: Struct,
    *,
    positive: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
    whole: tuple[str, ...] = (),
) -> None:
    """Raise ``ConfigError`` for a value that is not a finite number of at least 0.

    The type of a default is the type of the setting: a number, a whole number or a boolean;
    ``None`` stands for a number. A ``multiplier`` is at least 1.

    Args:
        settings: The struct, as built.
        positive: The names of settings that must be above 0.
        optional: The names of settings that may be ``None``.
        whole: The names of settings whose default ``None`` stands for a whole number.
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
        if (isinstance(default, int) or name in whole) and not is_whole_number(value):
            raise ConfigError(f"{where} must be a whole number, got {value!r}")
        if not is_finite(value) or value < 0:
            raise ConfigError(f"{where} must be finite and not negative, got {value!r}")
        if value == 0 and name in positive:
            raise ConfigError(f"{where} must be more than 0")
        if name == "multiplier" and value < 1:
            raise ConfigError(f"{where} must be at least 1, got {value!r}")


class Timeouts(Struct, frozen=True, kw_only=True):
    """Four timeouts: of one attempt, of a billed POST, of a call, of a wait for a task.

    A silent stream is ended by ``StreamPolicy.idle_timeout``.
    """

    connect: float = 10.0
    """Seconds to open a connection: name lookup, TCP and TLS."""
    read: float = 30.0
    """Seconds of one attempt, from its start to the end of the response, or to the headers of a
    stream.
    """
    submit: float = 120.0
    """Seconds of a billed POST. It is longer than ``read``, because the service may store inline
    media before it answers (contract Q13).
    """
    call: float | None = None
    """Seconds of one call with all its retries. ``None``: only the attempts are limited."""
    wait: float | None = None
    """Seconds that ``handle.result()`` and ``generate()`` wait by default. ``None``: no limit. 0:
    one poll.
    """

    def __post_init__(self) -> None:
        _reject_bad_values(self, positive=("connect", "read", "submit"), optional=("call", "wait"))


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """How failed calls are retried.

    A ``Retry-After`` up to ``max_retry_after`` replaces the delay.

    A billed POST is sent again only if it provably never left this machine. By default a 429 ends
    the submission with ``RateLimitError``, because it may come after the request was accepted, or
    from a proxy (contract §8.4).
    """

    attempts: int = 4
    """The maximum number of attempts, the first included."""
    initial: float = 0.5
    """Seconds before the second attempt, at most. The delay before attempt ``n + 1`` is random,
    from half to all of ``initial * multiplier ** (n - 1)``.
    """
    multiplier: float = 2.0
    """The factor by which the delay grows with each attempt; at least 1."""
    max_delay: float = 8.0
    """The maximum delay, in seconds."""
    max_elapsed: float = 60.0
    """Seconds after the start of the call; no attempt starts later."""
    max_retry_after: float = 60.0
    """The maximum ``Retry-After`` to wait for, in seconds. A longer one ends the call with its
    error.
    """
    resubmit_on_429: Literal["envelope", "always", "never"] = "never"
    """Whether a billed POST is sent again after a 429: ``"never"``; ``"envelope"``, if the body is
    the service's own ``rate_limit_error``; ``"always"``. The last two may bill twice.
    """

    def __post_init__(self) -> None:
        _reject_bad_values(self, positive=("attempts",))
        if self.resubmit_on_429 not in ("envelope", "always", "never"):
            raise ConfigError(
                "RetryPolicy.resubmit_on_429 must be 'envelope', 'always' or 'never', "
                f"got {self.resubmit_on_429!r}"
            )


class Fixed(Struct, frozen=True):
    """Poll every ``seconds``.

    The first interval is random, from half to all of it, so that tasks that were submitted together
    are not polled together.
    """

    seconds: float = 1.0
    """Seconds between two polls of a task, at most 30."""

    def __post_init__(self) -> None:
        _reject_bad_values(self, positive=("seconds",))


class Exponential(Struct, frozen=True, kw_only=True):
    """Poll at intervals that grow by a factor, with random spread.

    The spread keeps tasks that were submitted together from being polled together.
    """

    initial: float = 0.5
    """Seconds before the first poll."""
    multiplier: float = 1.5
    """The factor by which the interval grows with each poll; at least 1."""
    max_delay: float = 10.0
    """The maximum interval, in seconds."""
    jitter: float = 0.1
    """The random spread of each interval, as a fraction of it; at least 0 and less than 1."""

    def __post_init__(self) -> None:
        _reject_bad_values(self, positive=("initial", "max_delay"))
        if self.jitter >= 1:
            raise ConfigError(f"Exponential.jitter must be less than 1, got {self.jitter!r}")


class Adaptive(Struct, frozen=True):
    """Poll when a task is likely to be finished, as learnt from the finished tasks of the session.

    The ``progress`` and ``estimated_time`` of a task can only shorten an interval. No interval is
    longer than 30 seconds.
    """

    poll_cost: float = 0.05
    """The cost of a poll in seconds of delay. At 0.05, up to twenty polls are made to get a result
    one second earlier. A higher cost means fewer polls and later results.
    """

    def __post_init__(self) -> None:
        _reject_bad_values(self, positive=("poll_cost",))


class PollPolicy(Struct, frozen=True, kw_only=True):
    """How a task is polled while something waits for it."""

    pacing: Adaptive | Exponential | Fixed = Adaptive()
    """When the next poll of a task is due: ``Adaptive``, ``Exponential`` or ``Fixed``."""
    give_up_after: float = 300.0
    """Seconds of consecutive failed polls of a task after which ``TaskLostError`` is raised."""
    empty_result_grace: float = 60.0
    """Seconds that a completed task may lack its results before ``EmptyResultError`` is raised
    (contract Q2).
    """
    sync_upstream: bool = False
    """Whether each poll makes the service query its provider. Completed tasks without results
    become more frequent (contract Q3).
    """

    def __post_init__(self) -> None:
        if type(self.pacing) not in {Adaptive, Exponential, Fixed}:
            raise ConfigError(
                "PollPolicy.pacing must be Adaptive(...), Exponential(...) or Fixed(...), "
                f"got {self.pacing!r}"
            )
        _reject_bad_values(self)


class StreamPolicy(Struct, frozen=True, kw_only=True):
    """How a stream is followed and reconnected."""

    idle_timeout: float = 60.0
    """Seconds without a byte after which a connection is given up."""
    initial: float = 0.25
    """Seconds before the second reconnect; the first one is immediate."""
    multiplier: float = 2.0
    """The factor by which the delay grows with each reconnect; at least 1. A chunk resets it."""
    max_delay: float = 5.0
    """The maximum delay, in seconds."""
    give_up_after: float = 300.0
    """Seconds of waiting without a chunk or progress of the task after which
    ``StreamInterruptedError`` is raised. The time between two reads does not count.
    """

    def __post_init__(self) -> None:
        _reject_bad_values(self, positive=("idle_timeout",))


class Limits(Struct, frozen=True, kw_only=True):
    """What one session and its ``with_options`` copies may use at a time.

    Polls and submissions above a limit wait, polls in the order of their deadlines.
    """

    polls_in_flight: int = 64
    """Polls under way. A poll older than three seconds no longer counts, but never more than twice
    this number are under way.
    """
    polls_per_second: float | None = 200.0
    """Polls a second, for all tasks. ``None``: no limit."""
    streams: int = 100
    """Streams that are followed for ``await handle``; other tasks are polled."""
    submits_in_flight: int = 64
    """Submissions whose POST is under way."""
    max_unfinished: int | None = None
    """Unfinished tasks, submissions under way included. ``None``: no limit."""
    submits_per_minute: float | None = None
    """Submissions a minute, evenly spread. ``None``: no limit. All sessions with the same base URL,
    API key and journal share the rate: those of the process, or of all processes that have the
    journal.
    """
    tokens_per_minute: float | None = None
    """Tokens of prompts and answers a minute, shared in the same way. ``None``: no limit. A
    submission counts by an estimate: a fourth of the bytes of its texts, and ``max_tokens`` or the
    mean of the model's answers, the smaller. The real usage replaces it when the task has finished.
    """
    max_response_bytes: int = 64 * 1024 * 1024
    """The maximum size of a response body, in bytes after decompression."""
    max_event_bytes: int = 16 * 1024 * 1024
    """The maximum size of a stream event, in bytes."""
    max_download_bytes: int = 8 * 1024 * 1024 * 1024
    """The maximum size of a downloaded file, in bytes."""
    transfers: int = 8
    """Uploads and downloads of files under way."""

    def __post_init__(self) -> None:
        _reject_bad_values(
            self,
            optional=(
                "polls_per_second",
                "max_unfinished",
                "submits_per_minute",
                "tokens_per_minute",
            ),
            whole=("max_unfinished",),
            positive=(
                "polls_in_flight",
                "polls_per_second",
                "submits_in_flight",
                "max_unfinished",
                "submits_per_minute",
                "tokens_per_minute",
                "max_response_bytes",
                "max_event_bytes",
                "max_download_bytes",
                "transfers",
            ),
        )


class Budget(Struct, frozen=True, kw_only=True):
    """What the submissions of a session, or of one ``fox.llm.map``, may cost in all.

    A submission counts before it is sent. Its cost is what the service reserves for tasks of the
    model, or what its finished tasks have taken. It counts by its real cost when its task has
    finished, and no longer if the service did not accept it. A submission of unknown outcome
    counts. What would exceed the budget raises ``BudgetExceededError``, and nothing is sent.

    With a journal the budget includes all that the journal holds for the base URL of the session,
    so that a second run does not begin anew. All processes that use the journal with a budget share
    it: each has its own limits, and what any of them submits counts for all.
    """

    credits: float | None = None
    """Credits. ``None``: no limit. Until the service has said what a task of a model costs, in the
    response to a submit or at the end of a task, submissions to that model are sent one after
    another: the next one waits for the end of the task before. A model whose tasks are completed
    without credits is not limited: add ``tasks``.
    """
    tokens: int | None = None
    """Tokens of prompts and answers. ``None``: no limit. The tokens of an answer count by
    ``max_tokens``, or by those of the model's finished tasks; before the first one finishes, they
    are not known and do not count.
    """
    tasks: int | None = None
    """Tasks. ``None``: no limit."""

    def __post_init__(self) -> None:
        _reject_bad_values(self, optional=("credits", "tokens", "tasks"), whole=("tokens", "tasks"))
        if self.credits is None and self.tokens is None and self.tasks is None:
            raise ConfigError("Budget() limits nothing: give credits=, tokens= or tasks=")


def validate_timeout(timeout: float | None | UnsetType) -> None:
    """Raise ``ConfigError`` for a ``timeout=`` of a wait that is not a number of seconds.

    ``generate`` calls it before it submits, which is billed.
    """
    # A comparison with NaN is false, as the one with a negative number is.
    if timeout is not None and timeout is not UNSET and not (is_number(timeout) and timeout >= 0):
        raise ConfigError(f"timeout= must be seconds of at least 0 or None, got {timeout!r}")


def validate_reading_timeout(timeout: float | None) -> None:
    """Raise ``ConfigError`` for a ``timeout=`` of a stream that is not ``None`` or above 0."""
    if timeout is not None and not (is_number(timeout) and timeout > 0):
        raise ConfigError(f"stream(timeout=) must be seconds above 0 or None, got {timeout!r}")


def normalize_timeout(seconds: float | None) -> float | None:
    """Return ``None``, which means no limit, for more seconds than a timer can be set to."""
    return None if seconds is None or seconds > _MAX_TIMEOUT else seconds
