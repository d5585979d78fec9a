"""What to do after a stream was cut."""

from enum import Enum, auto
from typing import Final

from msgspec import Struct

from foxapi_async._protocol.task_status import PollFailure, classify_error
from foxapi_async.config import StreamPolicy
from foxapi_async.errors import APIStatusError, FoxAPIError

_CUTS_BEFORE_ASKING: Final = 3
_GONE: Final = frozenset({404, 410})


class ReconnectStep(Enum):
    """How to go on."""

    REOPEN = auto()
    """Open the stream again at the cursor."""
    ASK = auto()
    """Look at the task first: it is the truth about the state."""
    RAISE = auto()
    """Nothing can follow."""


class Disconnect(Struct, frozen=True):
    """Why a connection ended before the stream did.

    ``told`` says that the service, or its silence, gave a reason to look at the task at once;
    ``conflict`` that what came cannot be the stream that was delivered.
    """

    fault: FoxAPIError
    told: bool = False
    conflict: bool = False

    @property
    def gone(self) -> bool:
        """Whether the service has no such stream, or no longer (contract §6)."""
        return isinstance(self.fault, APIStatusError) and self.fault.status in _GONE

    @property
    def hint(self) -> float:
        """The seconds that the service asked to wait."""
        fault = self.fault
        return (fault.retry_after or 0.0) if isinstance(fault, APIStatusError) else 0.0


def next_step(cut: Disconnect, cuts: int) -> ReconnectStep:
    """Judge the ``cuts``-th cut since the last chunk."""
    if cut.gone or cut.told:
        return ReconnectStep.ASK
    if classify_error(cut.fault) is PollFailure.FORBIDDEN:
        return ReconnectStep.RAISE
    return ReconnectStep.ASK if cuts > _CUTS_BEFORE_ASKING else ReconnectStep.REOPEN


def backoff(policy: StreamPolicy, cut: Disconnect, cuts: int) -> float:
    """Return the seconds before the next connection: none after a first cut, then ever more."""
    if cuts <= 1 and not cut.gone:
        return cut.hint
    try:
        plain = policy.initial * policy.multiplier ** max(cuts - 2, 0)
    except OverflowError:
        plain = policy.max_delay
    return max(min(plain, policy.max_delay), cut.hint)


def should_give_up(policy: StreamPolicy, cut: Disconnect, cuts: int, waited: float) -> bool:
    """Tell whether to give up, ``waited`` seconds after the last chunk or progress of the task.

    A first cut is always followed by another connection, however long it took to be noticed. No
    hint of the service is followed beyond the patience.
    """
    if waited + cut.hint > policy.give_up_after and cut.hint:
        return True
    return cuts > 1 and waited >= policy.give_up_after
