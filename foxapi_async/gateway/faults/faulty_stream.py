"""The event stream of a task when something is wrong with it."""

import re
from typing import Final

from aiohttp import web

from foxapi_async._protocol.sse import encode_event
from foxapi_async.gateway.faults.inject import FaultInjector, active_rules
from foxapi_async.gateway.faults.rule import FaultRule
from foxapi_async.gateway.sse_response import HEADERS
from foxapi_async.gateway.stats import Stats
from foxapi_async.gateway.store import Log

_ONE_TOO_MANY: Final = re.compile(rb'"total_chunks":(\d+)')
_COMMENT: Final = b": a comment\nid: %d\nretry: 3000\n\n"


class FaultyStream:
    """One stream to one reader, sent chunk by chunk so that anything can go wrong between two.

    It is apart from ``Streams`` so that streams without a fault pay nothing for it.
    """

    def __init__(self, request: web.Request, *, spoiler: FaultInjector, stats: Stats) -> None:
        self._request = request
        self._spoiler = spoiler
        self._stats = stats
        self._rules = {rule.fault: rule for rule in reversed(active_rules())}
        self._places = tuple(
            rule for rule in active_rules() if rule.fault in {"cut", "torn", "stall"}
        )
        self._response = web.StreamResponse(headers=HEADERS)

    async def serve(self, log: Log, offset: int) -> web.StreamResponse:
        """Send the chunks from ``offset`` on, as the rules of the request allow."""
        await self._response.prepare(self._request)
        self._stats.streams += 1
        self._stats.streams_open += 1
        try:
            if await self._send(log, 0 if "ignore-offset" in self._rules else offset):
                await self._response.write_eof()
        except ConnectionResetError:
            # The reader has left, which it may do at any time.
            pass
        finally:
            self._stats.streams_open -= 1
        return self._response

    async def _send(self, log: Log, first: int) -> bool:
        """Send everything; ``False`` when the connection is gone."""
        number = first
        while frames := await log.read(number):
            for frame in frames:
                if not await self._pass(number, first, frame):
                    return False
                await self._write(self._decorated(frame, number))
                number += 1
        if log.closing:
            if not await self._pass(number, first, log.closing):
                return False
            if "no-done" not in self._rules:
                await self._write(self._decorated(self._closing(log.closing), number))
        return True

    async def _pass(self, number: int, first: int, frame: bytes) -> bool:
        """Do what is to be done before the chunk of this number; ``False`` if it was the end."""
        for rule in self._places:
            if number != _place(rule, first):
                continue
            if rule.fault == "stall":
                await self._spoiler.stand_still(rule)
                continue
            if rule.fault == "torn":
                await self._write(frame[: len(frame) // 2])
            if self._request.transport is not None:
                # What was written before the cut still arrives; its end does not.
                self._request.transport.close()
            return False
        return True

    def _decorated(self, frame: bytes, number: int) -> bytes:
        if "comments" in self._rules:
            frame = _COMMENT % number + frame
        if "unknown-events" in self._rules:
            frame = encode_event("heartbeat", b'{"alive":true}') + frame
        return frame.replace(b"\n", b"\r\n") if "crlf" in self._rules else frame

    def _closing(self, frame: bytes) -> bytes:
        rule = self._rules.get("wrong-total")
        if rule is None:
            return frame
        total = rule.total
        return _ONE_TOO_MANY.sub(
            lambda found: b'"total_chunks":%d' % (int(found[1]) + 1 if total is None else total),
            frame,
        )

    async def _write(self, data: bytes) -> None:
        slow = self._rules.get("slow")
        if slow is None:
            await self._response.write(data)
        else:
            await self._spoiler.send_slowly(self._response, data, slow)


def _place(rule: FaultRule, first: int) -> int:
    """Return the number of the chunk before which a rule acts."""
    if rule.chunk is not None:
        return rule.chunk
    return first + (rule.each or 0)
