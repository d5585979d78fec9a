"""The gateway as an application of aiohttp.web."""

import logging
from typing import Final, Unpack

from aiohttp import web
from aiohttp.typedefs import Handler

from foxapi_async._wire.error_body import ErrorBody
from foxapi_async.gateway.access_log import AccessLog, RequestIds
from foxapi_async.gateway.admin_routes import AdminRoutes
from foxapi_async.gateway.api_errors import APIError, envelope, error_type, from_http_exception
from foxapi_async.gateway.auth import APIKeys
from foxapi_async.gateway.engine import Engine
from foxapi_async.gateway.faults.catalog import ROUTES
from foxapi_async.gateway.faults.inject import FaultInjector
from foxapi_async.gateway.faults.plan import Faults
from foxapi_async.gateway.origin_check import OriginCheck
from foxapi_async.gateway.routes import Routes
from foxapi_async.gateway.settings import GatewayOptions, GatewaySettings
from foxapi_async.gateway.sse_response import Streams
from foxapi_async.gateway.stats import Stats
from foxapi_async.gateway.store import open_store

_logger = logging.getLogger(__name__)

SETTINGS: Final = web.AppKey("settings", GatewaySettings)
STATS: Final = web.AppKey("stats", Stats)
FAULTS: Final = web.AppKey("faults", Faults)


def make_app(**options: Unpack[GatewayOptions]) -> web.Application:
    """Build the gateway; the keywords are the members of ``GatewaySettings``.

    ``app[foxapi_async.gateway.app.STATS]`` counts what it does. Run it with
    ``handler_cancellation=True``, so that a stream whose reader has left ends at once.
    """
    settings = GatewaySettings(**options)
    stats = Stats()
    store = open_store(settings)
    engine = Engine(settings=settings, store=store, stats=stats)
    streams = Streams(stats)
    keys = APIKeys(settings.credits, price=settings.price)
    doors = OriginCheck(keys, settings.hosts)
    faults = Faults(settings.faults, seed=settings.seed)
    spoiler = FaultInjector(faults, keys=keys, store=store, stats=stats, clock=settings.clock)
    border = ErrorMiddleware(doors, faults, spoiler)
    ids = RequestIds()
    middlewares = [border.guard]
    if settings.log is not None:
        middlewares.insert(0, AccessLog(settings.log, ids).watch)
    app = web.Application(
        client_max_size=settings.body_limit,
        middlewares=middlewares,
    )
    app[SETTINGS] = settings
    app[STATS] = stats
    app[FAULTS] = faults
    routes = Routes(
        keys=keys, engine=engine, store=store, streams=streams, spoiler=spoiler, stats=stats
    )
    app.add_routes(routes.table())
    control = AdminRoutes(doors=doors, faults=faults, stats=stats, clock=settings.clock)
    app.add_routes(control.table())
    app.on_response_prepare.append(ids.prepare)

    async def start_up(_: web.Application) -> None:
        engine.resume(await store.open())

    async def shut_down(_: web.Application) -> None:
        spoiler.release()
        await engine.aclose()
        store.cut()
        streams.cut_stalled()

    async def clean_up(_: web.Application) -> None:
        # By now the last answers are sent, those of the store included.
        await store.aclose()

    app.on_startup.append(start_up)
    app.on_shutdown.append(shut_down)
    app.on_cleanup.append(clean_up)
    return app


class ErrorMiddleware:
    """Stands between the network and the handlers.

    What comes through a wrong door is turned away, and what fails leaves in the service's envelope.
    """

    def __init__(self, doors: OriginCheck, faults: Faults, spoiler: FaultInjector) -> None:
        self._doors = doors
        self._faults = faults
        self._spoiler = spoiler

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer one request, whatever happens to it."""
        try:
            self._doors.check(request)
            if self._faults and (on := request.match_info.route.name) in ROUTES:
                return await self._spoiler.handle(request, handler, on)
            return await handler(request)
        except APIError as refusal:
            return envelope(refusal.status, refusal.body)
        except web.HTTPException as error:
            return from_http_exception(error, request)
        except web.RequestPayloadError:
            message = "the body cannot be read: its length or its encoding is not as announced"
            return envelope(400, ErrorBody(message=message, type=error_type(400)))
        except ConnectionError:
            # The client has left while its body was read or its answer written.
            raise
        except Exception:
            _logger.exception("%s %s crashed", request.method, request.rel_url.raw_path)
            return envelope(500, ErrorBody(message="the gateway crashed", type="server_error"))
