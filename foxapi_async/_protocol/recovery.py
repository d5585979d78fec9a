"""What to do after a stream was cut."""

from enum import Enum, auto
from typing import Final

from msgspec import Struct

from foxapi_async._protocol.verdict import Sight, judge_fault
from foxapi_async.config import StreamPolicy
from foxapi_async.errors import APIStatusError, FoxAPIError, RateLimitError

_CUTS_BEFORE_ASKING: Final = 3
_GONE: Final = frozenset({404, 410})


class Step(Enum):
    """How to go on."""

    REOPEN = auto()
    """Open the stream again at the cursor."""
    ASK = auto()
    """Look at the task first: it is the truth about the state."""
    RAISE = auto()
    """Nothing can follow."""


class Cut(Struct, frozen=True):
    """Why a connection ended before the stream did.

    ``told`` says that the service, or its silence, gave a reason to look at the task at once.
    """

    fault: FoxAPIError
    told: bool = False

    @property
    def gone(self) -> bool:
        """Whether the service has no such stream, or no longer (CONTRACT §6)."""
        return isinstance(self.fault, APIStatusError) and self.fault.status in _GONE


def next_step(cut: Cut, cuts: int) -> Step:
    """Judge the ``cuts``-th cut since the last chunk."""
    if cut.gone or cut.told:
        return Step.ASK
    if judge_fault(cut.fault) is Sight.FORBIDDEN:
        return Step.RAISE
    return Step.ASK if cuts > _CUTS_BEFORE_ASKING else Step.REOPEN


def backoff(policy: StreamPolicy, cut: Cut, cuts: int) -> float:
    """Return the seconds before the next connection: none after a first cut, then ever more."""
    asked = cut.fault.retry_after if isinstance(cut.fault, RateLimitError) else None
    if cuts <= 1 and not cut.gone:
        return asked or 0.0
    try:
        plain = policy.first * policy.factor ** max(cuts - 2, 0)
    except OverflowError:
        plain = policy.cap
    return max(min(plain, policy.cap), asked or 0.0)
