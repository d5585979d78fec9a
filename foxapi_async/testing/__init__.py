"""What tests of this package, and of programs that use it, need: time and a network turned by hand.

The pytest plugin, which is there as soon as the package is installed, gives a test a FoxAPI of its
own: the fixtures ``foxapi_gateway``, ``foxapi_session`` and ``foxapi_clock`` and the mark
``foxapi``, all in ``foxapi_async.testing.plugin``. ``BackgroundGateway`` is what it runs.

``ManualClock`` stands still until it is advanced, ``settle`` lets the loop come to rest, and
``FaultProxy`` is a network that fails exactly where its script says. The faults of that script are
``Reset``, ``Close``, ``Stall``, ``Trickle``, ``Answer``, ``StripQuery``, ``RefuseConnection`` and
``Pass``; those that a gateway makes itself are of the class ``FaultRule``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foxapi_async._clock import ManualClock, settle
    from foxapi_async.gateway.faults.rule import FaultRule
    from foxapi_async.testing.background import BackgroundGateway
    from foxapi_async.testing.fault_proxy import Exchange, FaultProxy
    from foxapi_async.testing.faults import (
        HALF,
        WHOLE,
        Answer,
        Close,
        Fault,
        Fraction,
        Pass,
        Position,
        RefuseConnection,
        Reset,
        Stall,
        Step,
        StripQuery,
        Trickle,
    )

__all__ = [
    "HALF",
    "WHOLE",
    "Answer",
    "BackgroundGateway",
    "Close",
    "Exchange",
    "Fault",
    "FaultProxy",
    "FaultRule",
    "Fraction",
    "ManualClock",
    "Pass",
    "Position",
    "RefuseConnection",
    "Reset",
    "Stall",
    "Step",
    "StripQuery",
    "Trickle",
    "settle",
]

_HOMES = dict.fromkeys(__all__, "foxapi_async.testing.faults") | {
    "BackgroundGateway": "foxapi_async.testing.background",
    "Exchange": "foxapi_async.testing.fault_proxy",
    "FaultRule": "foxapi_async.gateway.faults.rule",
    "ManualClock": "foxapi_async._clock",
    "FaultProxy": "foxapi_async.testing.fault_proxy",
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
