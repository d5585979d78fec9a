"""Decides how a stream goes on after its connection was lost."""

from enum import Enum, auto
from typing import Final

from msgspec import Struct

from foxapi_async._protocol.retry import exponential_delay
from foxapi_async._protocol.task_status import PollFailure, classify_error
from foxapi_async.config import StreamPolicy
from foxapi_async.errors import APIStatusError, FoxAPIError

_MAX_BLIND_REOPENS: Final = 3
_GONE_STATUSES: Final = frozenset({404, 410})


class ReconnectStep(Enum):
    """The next step after a lost connection."""

    REOPEN = auto()
    """Open the stream again at the cursor."""
    CHECK_TASK = auto()
    """Query the task first: its state is authoritative."""
    RAISE = auto()
    """Raise the error: the stream cannot be resumed."""


class Disconnect(Struct, frozen=True):
    """Why a connection ended before its stream did."""

    error: FoxAPIError
    """The error of the connection."""
    reported: bool = False
    """Whether an error event or an idle timeout ended it, so that the task is queried at once."""
    mismatch: bool = False
    """Whether the received chunks contradict the delivered ones."""

    @property
    def gone(self) -> bool:
        """Whether the service does not have the stream, or no longer has it (contract §6)."""
        return isinstance(self.error, APIStatusError) and self.error.status in _GONE_STATUSES

    @property
    def retry_after(self) -> float:
        """The delay in seconds that the service asked for; 0 without one."""
        error = self.error
        return (error.retry_after or 0.0) if isinstance(error, APIStatusError) else 0.0


def next_step(disconnect: Disconnect, count: int) -> ReconnectStep:
    """Return the step after ``count`` lost connections since the last chunk."""
    if disconnect.gone or disconnect.reported:
        return ReconnectStep.CHECK_TASK
    if classify_error(disconnect.error) is PollFailure.FATAL:
        return ReconnectStep.RAISE
    return ReconnectStep.CHECK_TASK if count > _MAX_BLIND_REOPENS else ReconnectStep.REOPEN


def reconnect_delay(policy: StreamPolicy, disconnect: Disconnect, count: int) -> float:
    """Return the seconds until the next connection: 0 after the first loss, then growing."""
    if count <= 1 and not disconnect.gone:
        return disconnect.retry_after
    plain = exponential_delay(
        policy.initial, policy.multiplier, policy.max_delay, max(count - 2, 0)
    )
    return max(plain, disconnect.retry_after)


def should_give_up(policy: StreamPolicy, disconnect: Disconnect, count: int, waited: float) -> bool:
    """Tell whether to stop reconnecting.

    After the first loss there is always another connection, unless the service asks for a delay
    beyond ``policy.give_up_after``.

    Args:
        policy: The stream policy of the session.
        disconnect: The last loss.
        count: Lost connections since the last chunk.
        waited: Seconds since the last chunk or progress of the task.

    Returns:
        Whether the stream fails now.
    """
    if waited + disconnect.retry_after > policy.give_up_after and disconnect.retry_after:
        return True
    return count > 1 and waited >= policy.give_up_after
