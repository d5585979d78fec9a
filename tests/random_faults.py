"""A bad gateway behind a bad line: one call in ten goes wrong, in every way that both know."""

import random
from collections import Counter
from typing import Any

from msgspec.structs import replace

from foxapi_async.gateway.faults.catalog import FAULT_KINDS
from foxapi_async.gateway.faults.rule import FaultRule
from foxapi_async.testing import (
    WHOLE,
    CannedResponse,
    Close,
    FaultProxy,
    Reset,
    Stall,
    Trickle,
)

ROUTES = ("submit", "query", "stream")
# One call in ten goes wrong: half of them by the gateway, in every way that it knows on every
# route, and half by the line before it.
SHARE = 0.05
HOW: dict[str, dict[str, Any]] = {
    "status": {"status": 503},
    "truncated": {"size": 30},
    "slow": {"seconds": 0.005, "size": 100},
    "stall": {"seconds": 0.05},
    "fail": {"code": "timeout", "chunk": 1},
    "cut": {"each": 2},
    "torn": {"each": 2},
    "member": {"member": "progress", "value": "null"},
}
CUTS = (
    *(Reset(request=0), Reset(request=40), Reset(request=WHOLE)),
    *(Reset(response=0), Reset(response=1), Close(response=60), Close(body=20)),
    *(Stall(response=0), Stall(body=20), Trickle(7, 1, 30)),
    *(
        CannedResponse(b"\x16\x03\x01\x00 garbage\r\n\r\n"),
        CannedResponse.http(200, b"<html>a portal</html>"),
    ),
    *(
        CannedResponse.http(200, forward=True),
        CannedResponse.http(503),
        CannedResponse.http(503, forward=True),
    ),
)


def random_rules() -> list[FaultRule]:
    """Return a rule for each fault on each of its routes, early and late, all equally likely."""
    some = [FaultRule(on="submit", fault="status", status=429, retry_after=0)]
    for route in ROUTES:
        for name, kind in FAULT_KINDS.items():
            if route in kind.routes:
                rule = FaultRule(on=route, fault=name, **HOW.get(name, {}))
                some += [rule, replace(rule, late=True)] if "late" in kind.options else [rule]
    sizes = Counter(rule.on for rule in some)
    # A stream is seldom opened at an offset, and nothing but that can go wrong by ignoring one.
    return [
        replace(rule, probability=SHARE / (sizes[rule.on] if rule.fault != "ignore-offset" else 1))
        for rule in some
    ]


def script_cuts(fault_proxy: FaultProxy, chance: random.Random) -> None:
    """Let the line go wrong in every way, all equally likely."""
    for cut in CUTS:
        fault_proxy.when(lambda _: chance.random() < SHARE / len(CUTS), cut)
