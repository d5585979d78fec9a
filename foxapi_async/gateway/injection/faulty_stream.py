"""Sends the event stream of a task with faults."""

import re
from typing import Final

from aiohttp import web

from foxapi_async._protocol.sse import encode_event
from foxapi_async.gateway.faults.catalog import FaultName
from foxapi_async.gateway.faults.rule import FaultRule
from foxapi_async.gateway.injection.delays import FaultDelays
from foxapi_async.gateway.sse_response import HEADERS
from foxapi_async.gateway.stats import GatewayStats
from foxapi_async.gateway.store import Log

_TOTAL_CHUNKS: Final = re.compile(rb'"total_chunks":(\d+)')
_INTERRUPTIONS: Final = {FaultName.CUT, FaultName.TORN, FaultName.STALL}
_COMMENT: Final = b": a comment\nid: %d\nretry: 3000\n\n"


class FaultyStream:
    """Sends one stream chunk by chunk, so that a fault can happen between any two chunks.

    It is separate from ``EventStreams``, so that streams without faults do not pay for it.

    Args:
        request: The request for the stream.
        rules: The rules that act on the request.
        delays: Carries out stalls and slow writes.
        stats: The counters.
    """

    def __init__(
        self,
        request: web.Request,
        rules: tuple[FaultRule, ...],
        *,
        delays: FaultDelays,
        stats: GatewayStats,
    ) -> None:
        self._request = request
        self._delays = delays
        self._stats = stats
        self._rules = {rule.fault: rule for rule in reversed(rules)}
        self._interruptions = tuple(rule for rule in rules if rule.fault in _INTERRUPTIONS)
        self._response = web.StreamResponse(headers=HEADERS)

    async def serve(self, log: Log, offset: int) -> web.StreamResponse:
        """Send the chunks from ``offset`` on, as far as the rules allow."""
        await self._response.prepare(self._request)
        self._stats.streams += 1
        self._stats.streams_open += 1
        try:
            if await self._send(log, 0 if FaultName.IGNORE_OFFSET in self._rules else offset):
                await self._response.write_eof()
        except ConnectionResetError:
            # The client disconnected. It may resume the stream later.
            pass
        finally:
            self._stats.streams_open -= 1
        return self._response

    async def _send(self, log: Log, first: int) -> bool:
        """Send the log from chunk ``first`` on; ``False`` if a rule closed the connection."""
        number = first
        while frames := await log.read(number):
            for frame in frames:
                if not await self._interrupt(number, first, frame):
                    return False
                await self._write(self._decorated(frame, number))
                number += 1
        if log.closing:
            if not await self._interrupt(number, first, log.closing):
                return False
            if FaultName.NO_DONE not in self._rules:
                await self._write(self._decorated(self._closing(log.closing), number))
        return True

    async def _interrupt(self, number: int, first: int, frame: bytes) -> bool:
        """Apply the rules that act before chunk ``number``; ``False`` if one ends the stream."""
        for rule in self._interruptions:
            if number != _chunk_number(rule, first):
                continue
            if rule.fault == FaultName.STALL:
                await self._delays.stall(rule)
                continue
            if rule.fault == FaultName.TORN:
                await self._write(frame[: len(frame) // 2])
            if self._request.transport is not None:
                # `close` sends what was written before, but not the end of the chunked body.
                self._request.transport.close()
            return False
        return True

    def _decorated(self, frame: bytes, number: int) -> bytes:
        if FaultName.COMMENTS in self._rules:
            frame = _COMMENT % number + frame
        if FaultName.UNKNOWN_EVENTS in self._rules:
            frame = encode_event("heartbeat", b'{"alive":true}') + frame
        return frame.replace(b"\n", b"\r\n") if FaultName.CRLF in self._rules else frame

    def _closing(self, frame: bytes) -> bytes:
        rule = self._rules.get(FaultName.WRONG_TOTAL)
        if rule is None:
            return frame
        total = rule.total
        return _TOTAL_CHUNKS.sub(
            lambda found: b'"total_chunks":%d' % (int(found[1]) + 1 if total is None else total),
            frame,
        )

    async def _write(self, data: bytes) -> None:
        slow = self._rules.get(FaultName.SLOW)
        if slow is None:
            await self._response.write(data)
        else:
            await self._delays.write_slowly(self._response, data, slow)


def _chunk_number(rule: FaultRule, first: int) -> int:
    """Return the number of the chunk before which a rule acts."""
    if rule.chunk is not None:
        return rule.chunk
    return first + (rule.each or 0)
