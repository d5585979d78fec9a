"""Request ids and the access log."""

import sys
from itertools import count
from random import Random
from time import perf_counter
from typing import Final, TextIO

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from foxapi_async.gateway.api_errors import printable
from foxapi_async.gateway.auth import APIKeys
from foxapi_async.gateway.settings import LogFormat

REQUEST_ID: Final = "x-request-id"

_MAX_PATH: Final = 300
_MAX_METHOD: Final = 32


class RequestIds:
    """Gives every response a unique id in ``x-request-id`` (contract Q5)."""

    def __init__(self) -> None:
        # The random prefix distinguishes runs of the gateway in a client's log.
        self._prefix = f"{Random().getrandbits(32):08x}"  # noqa: S311 not a secret
        self._numbers = count(1)

    def assign(self, response: web.StreamResponse) -> str:
        """Return the id of a response; set one if it has none."""
        request_id = response.headers.get(REQUEST_ID)
        if request_id is None:
            request_id = f"req-{self._prefix}-{next(self._numbers)}"
            response.headers[REQUEST_ID] = request_id
        return request_id

    async def on_response_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Set the id of a response that is about to be sent (a signal of aiohttp)."""
        del request
        self.assign(response)


class AccessLog:
    """Middleware that writes one line for each response.

    A line has the method, the path, the status and the duration. Headers and queries are never
    written, and API keys in the method or the path are masked.

    Args:
        log_format: ``text`` or ``json``.
        ids: The source of request ids.
        keys: Masks API keys.
        out: Where lines go; stderr by default.
    """

    def __init__(
        self,
        log_format: LogFormat,
        ids: RequestIds,
        keys: APIKeys,
        out: TextIO | None = None,
    ) -> None:
        self._is_json = log_format == "json"
        self._ids = ids
        self._keys = keys
        self._out = out
        self._is_broken = False

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle a request and write its line, even if the client disconnects meanwhile."""
        started = perf_counter()
        status: int | None = None
        request_id: str | None = None
        try:
            response = await handler(request)
            status, request_id = response.status, self._ids.assign(response)
            return response
        finally:
            self._write(request, status, request_id, perf_counter() - started)

    def _write(
        self, request: web.Request, status: int | None, request_id: str | None, seconds: float
    ) -> None:
        authorization = request.headers.get(hdrs.AUTHORIZATION)
        path = self._keys.mask(request.rel_url.raw_path, authorization)
        method = self._keys.mask(request.method, authorization)
        path, method = printable(path, _MAX_PATH), printable(method, _MAX_METHOD)
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
            line = f"{method} {path} {status or 'disconnected'} {milliseconds:g}ms"
        self._print(line)

    def _print(self, line: str) -> None:
        if self._is_broken:
            return
        try:
            print(line, file=self._out or sys.stderr, flush=True)
        except (OSError, ValueError):
            # The log's reader closed the pipe. Requests are still answered, without log lines.
            self._is_broken = True
