"""What tests of this package, and of programs that use it, need: time and a network turned by hand.

``ManualClock`` stands still until it is advanced, ``settle`` lets the loop come to rest, and
``TCPCutter`` is a network that fails exactly where its script says. The faults of that script are
``Reset``, ``Close``, ``Stall``, ``Trickle``, ``Answer``, ``StripQuery``, ``Refuse`` and ``Pass``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foxapi_async._clock import ManualClock, settle
    from foxapi_async.testing.cutter import Exchange, TCPCutter
    from foxapi_async.testing.faults import (
        HALF,
        WHOLE,
        Answer,
        Close,
        Fault,
        Pass,
        Position,
        Refuse,
        Reset,
        Share,
        Stall,
        Step,
        StripQuery,
        Trickle,
    )

__all__ = [
    "HALF",
    "WHOLE",
    "Answer",
    "Close",
    "Exchange",
    "Fault",
    "ManualClock",
    "Pass",
    "Position",
    "Refuse",
    "Reset",
    "Share",
    "Stall",
    "Step",
    "StripQuery",
    "TCPCutter",
    "Trickle",
    "settle",
]

_HOMES = dict.fromkeys(__all__, "foxapi_async.testing.faults") | {
    "Exchange": "foxapi_async.testing.cutter",
    "ManualClock": "foxapi_async._clock",
    "TCPCutter": "foxapi_async.testing.cutter",
    "settle": "foxapi_async._clock",
}


def __getattr__(name: str) -> object:
    """Load a name when it is first asked for, so that a pytest run pays only for what it uses."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
