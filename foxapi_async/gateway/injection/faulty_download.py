"""Sends the bytes of a file with faults."""

from typing import Final

from aiohttp import web

from foxapi_async.gateway.faults.catalog import FaultName
from foxapi_async.gateway.faults.rule import FaultRule
from foxapi_async.gateway.files.byte_range import Conditions, Selection
from foxapi_async.gateway.files.download_routes import ReadBytes, send_pieces
from foxapi_async.gateway.injection.delays import FaultDelays

_INVERTED: Final = bytes(255 - byte for byte in range(256))


class FaultyDownload:
    """Sends one body, as far as the rules allow.

    Args:
        request: The request for the file.
        rules: The rules that act on the request.
        delays: Carries out stalls and slow writes.
    """

    def __init__(
        self, request: web.Request, rules: tuple[FaultRule, ...], delays: FaultDelays
    ) -> None:
        self._request = request
        self._delays = delays
        self._rules = {rule.fault: rule for rule in reversed(rules)}

    def select_conditions(self, conditions: Conditions) -> Conditions:
        """Return the conditions to obey: none of a client that is to get the whole file."""
        return Conditions() if FaultName.IGNORE_RANGE in self._rules else conditions

    def etag(self, etag: str) -> str:
        """Return the entity tag to show, which is another one for a changed file."""
        return f'{etag[:-1]}-changed"' if FaultName.CHANGED in self._rules else etag

    async def send(self, response: web.StreamResponse, read: ReadBytes, part: Selection) -> None:
        """Write the bytes of ``part``."""
        if FaultName.CHANGED in self._rules:
            read = _inverted(read)
        truncated = self._rules.get(FaultName.TRUNCATED)
        slow = self._rules.get(FaultName.SLOW)
        stall = self._rules.get(FaultName.STALL)
        rule = truncated or stall
        end = part.stop if rule is None else part.start + _length(rule, part)
        if slow is not None:
            await self._delays.write_slowly(response, await read(part.start, end), slow)
        else:
            await send_pieces(response, read, part._replace(stop=end))
        if truncated is not None:
            if self._request.transport is not None:
                # `close` sends what was written before it closes the connection.
                self._request.transport.close()
            return
        if stall is not None:
            await self._delays.stall(stall)
            await send_pieces(response, read, part._replace(start=end))
        await response.write_eof()


def _inverted(read: ReadBytes) -> ReadBytes:
    async def read_inverted(start: int, stop: int) -> bytes:
        return (await read(start, stop)).translate(_INVERTED)

    return read_inverted


def _length(rule: FaultRule, part: Selection) -> int:
    length = part.stop - part.start
    if rule.size is None:
        return length // 2
    return min(rule.size, max(0, length - 1))
