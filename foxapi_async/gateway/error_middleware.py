"""The outermost handler: checks the origin of a request and puts every error into the envelope."""

import logging
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from foxapi_async._wire.error_body import ErrorBody
from foxapi_async.gateway.api_errors import (
    APIError,
    error_response,
    error_type,
    from_http_exception,
    printable,
)
from foxapi_async.gateway.auth import APIKeys
from foxapi_async.gateway.cors import CORS
from foxapi_async.gateway.faults.catalog import ROUTES
from foxapi_async.gateway.faults.plan import Faults
from foxapi_async.gateway.injection.injector import FaultInjector
from foxapi_async.gateway.origin_check import OriginCheck

_MAX_PATH: Final = 300

_logger = logging.getLogger(__name__)


class ErrorMiddleware:
    """Middleware around all routes.

    A request that fails the origin check is rejected, a preflight of an admitted web page is
    answered, a request to a route with fault rules goes through the fault injector, and every error
    becomes a response in the service's envelope.
    """

    def __init__(
        self,
        *,
        keys: APIKeys,
        origin_check: OriginCheck,
        cors: CORS,
        faults: Faults,
        injector: FaultInjector,
    ) -> None:
        self._keys = keys
        self._origin_check = origin_check
        self._cors = cors
        self._faults = faults
        self._injector = injector

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle one request."""
        try:
            self._origin_check.check(request)
            return self._cors.answer_preflight(request) or await self._respond(request, handler)
        except APIError as error:
            return error_response(error.status, error.body)
        except web.HTTPException as error:
            return from_http_exception(error, request)
        except web.RequestPayloadError:
            message = "the body cannot be read: its length or its encoding is not as announced"
            return error_response(400, ErrorBody(message=message, type=error_type(400)))
        except ConnectionError:
            # The client disconnected while its body was read or its response was written.
            raise
        except Exception:
            _logger.exception("%s crashed", self._describe(request))
            body = ErrorBody(message="the gateway crashed", type="server_error")
            return error_response(500, body)

    async def _respond(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._faults:
            # The names of routes are unique; what follows a dot tells those apart that share rules.
            route = (request.match_info.route.name or "").partition(".")[0]
            if route in ROUTES:
                return await self._injector.handle(request, handler, route)
        return await handler(request)

    def _describe(self, request: web.Request) -> str:
        text = f"{request.method} {request.rel_url.raw_path}"
        masked = self._keys.mask(text, request.headers.get(hdrs.AUTHORIZATION))
        return printable(masked, _MAX_PATH)
