"""Tools for tests: a local FoxAPI, a clock that the test advances, and a proxy with faults.

pytest loads the plugin ``foxapi_async.testing.plugin`` if the package is installed. It has the
fixtures ``foxapi_gateway``, ``foxapi_session`` and ``foxapi_clock`` and the mark ``foxapi``. The
fixtures run a ``BackgroundGateway``.

The time of ``ManualClock`` changes only by ``advance``; ``settle`` runs all ready callbacks.
``FaultProxy`` is a TCP proxy that injects faults at chosen bytes of chosen requests. Its faults are
``Reset``, ``Close``, ``Stall``, ``Trickle``, ``CannedResponse``, ``StripQuery``,
``RefuseConnection`` and ``Pass``. The faults of the gateway itself are ``FaultRule``.
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
        CannedResponse,
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
    "BackgroundGateway",
    "CannedResponse",
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

_MODULES = dict.fromkeys(__all__, "foxapi_async.testing.faults") | {
    "BackgroundGateway": "foxapi_async.testing.background",
    "Exchange": "foxapi_async.testing.fault_proxy",
    "FaultRule": "foxapi_async.gateway.faults.rule",
    "ManualClock": "foxapi_async._clock",
    "FaultProxy": "foxapi_async.testing.fault_proxy",
    "settle": "foxapi_async._clock",
}


def __getattr__(name: str) -> object:
    """Import the module of a name at its first use, so that unused tools cost nothing."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
