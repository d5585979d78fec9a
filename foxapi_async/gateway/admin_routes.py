"""The gateway's own endpoints, which the service does not have: counters, faults and time."""

from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import DecodeError, Struct, ValidationError

from foxapi_async._clock import Clock, ManualClock
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.bounds import check_bounds
from foxapi_async.gateway.faults.loading import read_faults
from foxapi_async.gateway.faults.plan import Faults
from foxapi_async.gateway.origin_check import OriginCheck
from foxapi_async.gateway.stats import Stats

_LARGEST_BODY: Final = 256 * 1024
_LONGEST_STEP: Final = 10 * 365 * 86_400.0


class _Step(Struct):
    advance: float


class AdminRoutes:
    """The handlers under ``/_gateway``: for tests in any language, never for web pages."""

    def __init__(self, *, doors: OriginCheck, faults: Faults, stats: Stats, clock: Clock) -> None:
        self._doors = doors
        self._faults = faults
        self._stats = stats
        self._clock = clock

    def table(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/_gateway/stats", self.stats, allow_head=False),
            web.get("/_gateway/faults", self.list_faults, allow_head=False),
            web.post("/_gateway/faults", self.add_faults),
            web.delete("/_gateway/faults", self.clear_faults),
            web.get("/_gateway/clock", self.tell_time, allow_head=False),
            web.post("/_gateway/clock", self.move_time),
        ]

    async def stats(self, request: web.Request) -> web.Response:
        """Tell what the gateway has done so far."""
        self._doors.check_control(request)
        return _json(self._stats.as_dict())

    async def list_faults(self, request: web.Request) -> web.Response:
        """Tell the rules, and how often each has acted."""
        self._doors.check_control(request)
        return _json(self._faults.as_dict())

    async def add_faults(self, request: web.Request) -> web.Response:
        """Add the rules of the body; all of them or, when one cannot work, none."""
        self._doors.check_control(request)
        try:
            rules, seed = read_faults(await _body(request))
        except ConfigError as error:
            raise APIError.invalid("faults", str(error)) from None
        if seed is not None:
            self._faults.seed = seed
        self._faults.add(*rules)
        return _json(self._faults.as_dict())

    async def clear_faults(self, request: web.Request) -> web.Response:
        """Forget all rules."""
        self._doors.check_control(request)
        self._faults.clear()
        return _json(self._faults.as_dict())

    async def tell_time(self, request: web.Request) -> web.Response:
        """Tell what time it is for the gateway."""
        self._doors.check_control(request)
        return _json(self._time())

    async def move_time(self, request: web.Request) -> web.Response:
        """Advance a manual clock by the seconds of the body, and answer when all is done."""
        self._doors.check_control(request)
        if not isinstance(self._clock, ManualClock):
            raise APIError(409, "this gateway lives in real time; start it with a manual clock")
        try:
            seconds = msgspec.convert(await _body(request), _Step).advance
        except ValidationError:
            seconds = -1.0
        if not 0 <= seconds <= _LONGEST_STEP:
            raise APIError.invalid("advance", 'send {"advance": SECONDS}, 0 or more')
        await self._clock.advance(seconds)
        return _json(self._time())

    def _time(self) -> dict[str, Any]:
        is_manual = isinstance(self._clock, ManualClock)
        return {"manual": is_manual, "time": self._clock.time(), "unix": self._clock.unix()}


async def _body(request: web.Request) -> object:
    if request.content_type != "application/json":
        raise APIError(400, "send JSON with the header `Content-Type: application/json`")
    body = await request.read()
    if len(body) > _LARGEST_BODY:
        raise APIError(413, f"at most {_LARGEST_BODY} bytes")
    check_bounds(body)
    try:
        value: object = msgspec.json.decode(body)
    except (DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise APIError(400, f"the body is not valid JSON: {error}") from None
    return value


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
