"""A line for each answer, if somebody wants them."""

import sys
from time import perf_counter
from typing import Final, Literal, TextIO

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

LogFormat = Literal["text", "json"]

_LONGEST_PATH: Final = 300


class AccessLog:
    """Writes a line when an answer has been sent: to stderr unless told otherwise.

    Headers and queries are never written, because that is where keys are.
    """

    def __init__(self, form: LogFormat, out: TextIO | None = None) -> None:
        self._is_json = form == "json"
        self._out = out

    @web.middleware
    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Time the request and write its line, also if its client has left meanwhile."""
        started = perf_counter()
        status: int | None = None
        request_id: str | None = None
        try:
            answer = await handler(request)
            status, request_id = answer.status, answer.headers.get("x-request-id")
            return answer
        finally:
            self._write(request, status, request_id, perf_counter() - started)

    def _write(
        self, request: web.Request, status: int | None, request_id: str | None, seconds: float
    ) -> None:
        path = request.rel_url.raw_path[:_LONGEST_PATH]
        milliseconds = round(seconds * 1000, 1)
        if self._is_json:
            members = {
                "method": request.method,
                "path": path,
                "status": status,
                "ms": milliseconds,
                "request_id": request_id,
            }
            line = msgspec.json.encode(members).decode()
        else:
            line = f"{request.method} {path} {status or 'left'} {milliseconds:g}ms"
        print(line, file=self._out or sys.stderr, flush=True)
