"""Endpoints of the gateway that the service does not have: counters, fault rules and the clock."""

from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import Struct, ValidationError

from foxapi_async._clock import Clock, ManualClock
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.faults.loading import read_faults
from foxapi_async.gateway.faults.plan import Faults
from foxapi_async.gateway.json_body import read_json_body
from foxapi_async.gateway.json_response import json_response
from foxapi_async.gateway.origin_check import OriginCheck
from foxapi_async.gateway.request_validation import parse_json
from foxapi_async.gateway.stats import GatewayStats

_MAX_BODY: Final = 256 * 1024
_MAX_ADVANCE: Final = 10 * 365 * 86_400.0


class _ClockAdvance(Struct):
    advance: float


class AdminRoutes:
    """The handlers under ``/_gateway``, for tests in any language.

    Requests of web pages are refused.
    """

    def __init__(
        self, *, origin_check: OriginCheck, faults: Faults, stats: GatewayStats, clock: Clock
    ) -> None:
        self._origin_check = origin_check
        self._faults = faults
        self._stats = stats
        self._clock = clock

    def table(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/_gateway/stats", self.read_stats, allow_head=False),
            web.get("/_gateway/faults", self.list_faults, allow_head=False),
            web.post("/_gateway/faults", self.add_faults),
            web.delete("/_gateway/faults", self.clear_faults),
            web.get("/_gateway/clock", self.read_clock, allow_head=False),
            web.post("/_gateway/clock", self.advance_clock),
        ]

    async def read_stats(self, request: web.Request) -> web.Response:
        """Return the counters."""
        self._origin_check.check_admin(request)
        return json_response(self._stats.as_dict())

    async def list_faults(self, request: web.Request) -> web.Response:
        """Return the fault rules, and how often each has acted."""
        self._origin_check.check_admin(request)
        return json_response(self._faults.as_dict())

    async def add_faults(self, request: web.Request) -> web.Response:
        """Add the fault rules of the body: all of them, or none if one is invalid."""
        self._origin_check.check_admin(request)
        try:
            rules, seed = read_faults(await _read_body(request))
        except ConfigError as error:
            raise APIError.invalid("faults", str(error)) from None
        if seed is not None:
            self._faults.seed = seed
        self._faults.add(*rules)
        return json_response(self._faults.as_dict())

    async def clear_faults(self, request: web.Request) -> web.Response:
        """Remove all fault rules."""
        self._origin_check.check_admin(request)
        self._faults.clear()
        return json_response(self._faults.as_dict())

    async def read_clock(self, request: web.Request) -> web.Response:
        """Return the time of the gateway's clock."""
        self._origin_check.check_admin(request)
        return json_response(self._read_clock())

    async def advance_clock(self, request: web.Request) -> web.Response:
        """Advance a manual clock by the seconds of the body and run all due timers."""
        self._origin_check.check_admin(request)
        if not isinstance(self._clock, ManualClock):
            raise APIError(409, "this gateway runs in real time; start it with a manual clock")
        try:
            seconds = msgspec.convert(await _read_body(request), _ClockAdvance).advance
        except ValidationError:
            seconds = -1.0
        if not 0 <= seconds <= _MAX_ADVANCE:
            raise APIError.invalid("advance", 'send {"advance": SECONDS}, 0 or more')
        await self._clock.advance(seconds)
        return json_response(self._read_clock())

    def _read_clock(self) -> dict[str, Any]:
        is_manual = isinstance(self._clock, ManualClock)
        return {"manual": is_manual, "time": self._clock.time(), "unix": self._clock.unix()}


async def _read_body(request: web.Request) -> object:
    body = await read_json_body(request)
    if len(body) > _MAX_BODY:
        raise APIError(413, f"the body may have at most {_MAX_BODY} bytes")
    return parse_json(body)
