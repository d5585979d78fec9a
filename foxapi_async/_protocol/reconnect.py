"""What to do after a stream was cut."""

from enum import Enum, auto
from typing import Final

from msgspec import Struct

from foxapi_async._protocol.task_status import PollFailure, classify_error
from foxapi_async.config import StreamPolicy
from foxapi_async.errors import APIStatusError, FoxAPIError

_MAX_BLIND_REOPENS: Final = 3
_GONE_STATUSES: Final = frozenset({404, 410})


class ReconnectStep(Enum):
    """How to go on."""

    REOPEN = auto()
    """Open the stream again at the cursor."""
    CHECK_TASK = auto()
    """Look at the task first: it is the truth about the state."""
    RAISE = auto()
    """Nothing can follow."""


class Disconnect(Struct, frozen=True):
    """Why a connection ended before the stream did.

    ``reported`` says that the service, or its silence, gave a reason to look at the task at once;
    ``mismatch`` that what came cannot be the stream that was delivered.
    """

    error: FoxAPIError
    reported: bool = False
    mismatch: bool = False

    @property
    def gone(self) -> bool:
        """Whether the service has no such stream, or no longer (contract §6)."""
        return isinstance(self.error, APIStatusError) and self.error.status in _GONE_STATUSES

    @property
    def retry_after(self) -> float:
        """The seconds that the service asked to wait."""
        fault = self.error
        return (fault.retry_after or 0.0) if isinstance(fault, APIStatusError) else 0.0


def next_step(disconnect: Disconnect, count: int) -> ReconnectStep:
    """Judge the ``count``-th cut since the last chunk."""
    if disconnect.gone or disconnect.reported:
        return ReconnectStep.CHECK_TASK
    if classify_error(disconnect.error) is PollFailure.FATAL:
        return ReconnectStep.RAISE
    return ReconnectStep.CHECK_TASK if count > _MAX_BLIND_REOPENS else ReconnectStep.REOPEN


def reconnect_delay(policy: StreamPolicy, disconnect: Disconnect, count: int) -> float:
    """Return the seconds before the next connection: none after a first cut, then ever more."""
    if count <= 1 and not disconnect.gone:
        return disconnect.retry_after
    try:
        plain = policy.initial * policy.multiplier ** max(count - 2, 0)
    except OverflowError:
        plain = policy.max_delay
    return max(min(plain, policy.max_delay), disconnect.retry_after)


def should_give_up(policy: StreamPolicy, disconnect: Disconnect, count: int, waited: float) -> bool:
    """Tell whether to give up, ``waited`` seconds after the last chunk or progress of the task.

    A first cut is always followed by another connection, however long it took to be noticed. No
    hint of the service is followed beyond the patience.
    """
    if waited + disconnect.retry_after > policy.give_up_after and disconnect.retry_after:
        return True
    return count > 1 and waited >= policy.give_up_after
