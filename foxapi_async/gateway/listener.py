"""Connections of the gateway: what is no HTTP at all is answered in the envelope as well."""

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from foxapi_async._wire.error_body import ErrorBody
from foxapi_async.gateway.api_errors import envelope, error_type, from_http_exception

_BACKLOG: Final = 1024
# The access log of the gateway is its own; one that nobody listens to costs nothing.
_SILENT: Final = logging.getLogger("foxapi_async.gateway.silent")
_SILENT.setLevel(logging.CRITICAL)


class Connection(web.RequestHandler):
    """One connection. Its requests are the application's; what cannot be parsed is its own."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no request, or is too large to be one, and close the connection."""
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has been begun already")
        # A parser's own words may repeat what it read, a key included.
        reason = "the request is not valid HTTP, or its path or a header is too long"
        if isinstance(exc, UnicodeEncodeError):
            # aiohttp repeats an unknown `Expect` in its refusal, which fails if it is no text.
            status = HTTPStatus.EXPECTATION_FAILED
            reason = "the header `Expect` may be `100-continue` only"
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.logger.error("a request crashed", exc_info=exc)
            reason = "the gateway crashed"
        answer = envelope(status, ErrorBody(message=reason, type=error_type(status)))
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **options: Any) -> None:
        """Log a crash. A body that cannot be read is none: its sender was told, and that is all."""
        if not isinstance(options.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **options)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Put what is refused before any handler, such as ``Expect``, into the envelope."""
        if isinstance(resp, web.HTTPException):
            resp = from_http_exception(resp, request)
        return await super().finish_response(request, resp, start_time)


async def listen(runner: web.AppRunner, host: str, port: int) -> asyncio.Server:
    """Listen for connections to the application of a runner that is set up."""
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: Connection(server, loop=loop, access_log=_SILENT), host, port, backlog=_BACKLOG
    )
