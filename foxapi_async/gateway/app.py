"""The gateway as an application of aiohttp.web."""

from typing import Final, Unpack

from aiohttp import web
from aiohttp.typedefs import Middleware

from foxapi_async.gateway.access_log import AccessLog, RequestIds
from foxapi_async.gateway.admin_routes import AdminRoutes
from foxapi_async.gateway.auth import APIKeys
from foxapi_async.gateway.billing import Billing, check_priced_models
from foxapi_async.gateway.billing_routes import BillingRoutes
from foxapi_async.gateway.cors import CORS
from foxapi_async.gateway.engine import Engine
from foxapi_async.gateway.error_middleware import ErrorMiddleware
from foxapi_async.gateway.faults.plan import Faults
from foxapi_async.gateway.files import (
    DownloadRoutes,
    FileLinks,
    RemoteFiles,
    UploadRoutes,
    make_storage,
)
from foxapi_async.gateway.injection.injector import FaultInjector
from foxapi_async.gateway.media import MediaRoutes, SimulatedMedia
from foxapi_async.gateway.models import Replies, make_models
from foxapi_async.gateway.origin_check import OriginCheck
from foxapi_async.gateway.request_log import RequestLog
from foxapi_async.gateway.routes import Routes
from foxapi_async.gateway.settings import GatewayOptions, GatewaySettings
from foxapi_async.gateway.sse_response import EventStreams
from foxapi_async.gateway.stats import GatewayStats
from foxapi_async.gateway.store import make_store

SETTINGS: Final = web.AppKey("settings", GatewaySettings)
STATS: Final = web.AppKey("stats", GatewayStats)
FAULTS: Final = web.AppKey("faults", Faults)
REPLIES: Final = web.AppKey("replies", Replies)
REQUESTS: Final = web.AppKey("requests", RequestLog)


def make_app(**options: Unpack[GatewayOptions]) -> web.Application:
    """Build the gateway as an aiohttp application.

    ``app[foxapi_async.gateway.app.STATS]`` has its counters. Run the application with
    ``handler_cancellation=True``: a stream then ends as soon as its client disconnects.

    Args:
        **options: The fields of ``GatewaySettings``.

    Returns:
        The application.

    Raises:
        ConfigError: A setting has a wrong value, or ``data`` lacks the extra that it needs.
    """
    settings = GatewaySettings(**options)
    parts = _Parts(settings)
    ids = RequestIds()
    middlewares: list[Middleware] = [web.middleware(parts.error_middleware)]
    if settings.log is not None:
        middlewares.insert(0, web.middleware(AccessLog(settings.log, ids, parts.keys)))
    app = web.Application(client_max_size=settings.body_limit, middlewares=middlewares)
    app[SETTINGS] = settings
    app[STATS] = parts.stats
    app[FAULTS] = parts.faults
    app[REPLIES] = parts.replies
    app[REQUESTS] = parts.requests
    _add_routes(app, parts)
    app.on_response_prepare.append(ids.on_response_prepare)
    if settings.allow_origins:
        app.on_response_prepare.append(parts.cors.on_response_prepare)
    app.on_startup.append(parts.start_up)
    app.on_shutdown.append(parts.shut_down)
    app.on_cleanup.append(parts.clean_up)
    return app


class _Parts:
    """The parts of an application, which open and close in their order."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.stats = GatewayStats()
        self.replies = Replies(settings.replies)
        self.requests = RequestLog()
        self.store = make_store(settings)
        self.models = make_models(settings, self.stats)
        check_priced_models(settings, self.models.rules)
        self.keys = APIKeys(settings.credits)
        self.billing = Billing(settings, self.keys.budgets)
        self.storage = make_storage(settings)
        self.links = FileLinks(self.storage, settings.public_url)
        self.media = SimulatedMedia(settings, self.storage)
        self.engine = Engine(
            settings=settings,
            models=self.models,
            store=self.store,
            stats=self.stats,
            billing=self.billing,
            media=self.media,
        )
        self.streams = EventStreams(self.stats)
        self.cors = CORS(settings.allow_origins)
        self.origin_check = OriginCheck(self.keys, settings.known_hosts, self.cors)
        self.faults = Faults(settings.faults, seed=settings.seed)
        self.injector = FaultInjector(
            self.faults, keys=self.keys, store=self.store, stats=self.stats, clock=settings.clock
        )
        self.error_middleware = ErrorMiddleware(
            keys=self.keys,
            origin_check=self.origin_check,
            cors=self.cors,
            faults=self.faults,
            injector=self.injector,
        )

    async def start_up(self, app: web.Application) -> None:
        """Open the store and the models, and continue the stored tasks."""
        del app
        restored = await self.store.open()
        # The lock of the store guards the folder of files too.
        await self.storage.open()
        await self.models.open()
        self.engine.resume(restored)

    async def shut_down(self, app: web.Application) -> None:
        """Stop the tasks and end the open responses."""
        del app
        self.injector.release()
        await self.engine.aclose()
        await self.models.aclose()
        self.store.close_readers()
        self.streams.abort_stalled()

    async def clean_up(self, app: web.Application) -> None:
        """Close the store; the last responses, some of which read it, have been sent by now."""
        del app
        await self.store.aclose()


def _add_routes(app: web.Application, parts: _Parts) -> None:
    keys, billing, models, store = parts.keys, parts.billing, parts.models, parts.store
    stats, clock = parts.stats, parts.settings.clock
    routes = Routes(
        keys=keys,
        billing=billing,
        engine=parts.engine,
        models=models,
        store=store,
        streams=parts.streams,
        links=parts.links,
        stats=stats,
        replies=parts.replies,
        requests=parts.requests,
        settings=parts.settings,
    )
    media = MediaRoutes(
        keys=keys,
        billing=billing,
        engine=parts.engine,
        models=models,
        media=parts.media,
        store=store,
        links=parts.links,
        stats=stats,
        requests=parts.requests,
    )
    uploads = UploadRoutes(
        keys=keys,
        storage=parts.storage,
        links=parts.links,
        remote_files=RemoteFiles(),
        stats=stats,
    )
    for table in (
        routes.table(),
        BillingRoutes(keys=keys, billing=billing, models=models, store=store).table(),
        media.table(),
        uploads.table(),
        DownloadRoutes(storage=parts.storage, stats=stats, clock=clock).table(),
        AdminRoutes(
            origin_check=parts.origin_check, faults=parts.faults, stats=stats, clock=clock
        ).table(),
    ):
        app.add_routes(table)
