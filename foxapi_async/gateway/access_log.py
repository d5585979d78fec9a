"""An id for each answer, and a line if somebody wants them."""

import sys
from itertools import count
from random import Random
from time import perf_counter
from typing import Final, Literal, TextIO

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from foxapi_async.gateway.api_errors import shown

LogFormat = Literal["text", "json"]

REQUEST_ID: Final = "x-request-id"

_LONGEST_PATH: Final = 300
_LONGEST_METHOD: Final = 32


class RequestIds:
    """Gives every answer an id of its own in ``x-request-id`` (contract Q5)."""

    def __init__(self) -> None:
        # The random part tells one run of the gateway from the next in a client's log.
        self._run = f"{Random().getrandbits(32):08x}"  # noqa: S311 nothing is guarded by it
        self._numbers = count(1)

    def give(self, answer: web.StreamResponse) -> str:
        """Return the id of an answer, which gets one if it has none."""
        given = answer.headers.get(REQUEST_ID)
        if given is None:
            given = answer.headers[REQUEST_ID] = f"req-{self._run}-{next(self._numbers)}"
        return given

    async def prepare(self, request: web.Request, answer: web.StreamResponse) -> None:
        """See to it that no answer leaves without an id."""
        del request
        self.give(answer)


class AccessLog:
    """Writes a line when an answer is there: to stderr unless told otherwise.

    Headers and queries are never written, because that is where keys are.
    """

    def __init__(self, form: LogFormat, ids: RequestIds, out: TextIO | None = None) -> None:
        self._is_json = form == "json"
        self._ids = ids
        self._out = out
        self._is_broken = False

    @web.middleware
    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Time the request and write its line, also if its client has left meanwhile."""
        started = perf_counter()
        status: int | None = None
        request_id: str | None = None
        try:
            answer = await handler(request)
            status, request_id = answer.status, self._ids.give(answer)
            return answer
        finally:
            self._write(request, status, request_id, perf_counter() - started)

    def _write(
        self, request: web.Request, status: int | None, request_id: str | None, seconds: float
    ) -> None:
        path = shown(request.rel_url.raw_path, _LONGEST_PATH)
        method = shown(request.method, _LONGEST_METHOD)
        milliseconds = round(seconds * 1000, 1)
        if self._is_json:
            members = {
                "method": method,
                "path": path,
                "status": status,
                "ms": milliseconds,
                "request_id": request_id,
            }
            line = msgspec.json.encode(members).decode()
        else:
            line = f"{method} {path} {status or 'left'} {milliseconds:g}ms"
        self._print(line)

    def _print(self, line: str) -> None:
        if self._is_broken:
            return
        try:
            print(line, file=self._out or sys.stderr, flush=True)
        except (OSError, ValueError):
            # The reader of the log has gone, and there is nobody to tell. The clients are served.
            self._is_broken = True
