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
    FileStorage,
    RemoteFiles,
    UploadRoutes,
    make_storage,
)
from foxapi_async.gateway.injection.injector import FaultInjector
from foxapi_async.gateway.media import MediaRoutes, SimulatedMedia
from foxapi_async.gateway.models import ModelRegistry, Replies, make_models
from foxapi_async.gateway.origin_check import OriginCheck
from foxapi_async.gateway.request_log import RequestLog
from foxapi_async.gateway.routes import Routes
from foxapi_async.gateway.settings import GatewayOptions, GatewaySettings
from foxapi_async.gateway.sse_response import EventStreams
from foxapi_async.gateway.stats import GatewayStats
from foxapi_async.gateway.store import Store, make_store

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
    stats = GatewayStats()
    store = make_store(settings)
    models = make_models(settings, stats)
    check_priced_models(settings, models.rules)
    keys = APIKeys(settings.credits)
    billing = Billing(settings, keys.budgets)
    storage = make_storage(settings)
    links = FileLinks(storage, settings.public_url)
    media = SimulatedMedia(settings, storage)
    engine = Engine(
        settings=settings, models=models, store=store, stats=stats, billing=billing, media=media
    )
    streams = EventStreams(stats)
    cors = CORS(settings.allow_origins)
    origin_check = OriginCheck(keys, settings.known_hosts, cors)
    faults = Faults(settings.faults, seed=settings.seed)
    injector = FaultInjector(faults, keys=keys, store=store, stats=stats, clock=settings.clock)
    error_middleware = ErrorMiddleware(
        keys=keys, origin_check=origin_check, cors=cors, faults=faults, injector=injector
    )
    ids = RequestIds()
    middlewares: list[Middleware] = [web.middleware(error_middleware)]
    if settings.log is not None:
        middlewares.insert(0, web.middleware(AccessLog(settings.log, ids, keys)))
    app = web.Application(client_max_size=settings.body_limit, middlewares=middlewares)
    app[SETTINGS] = settings
    app[STATS] = stats
    app[FAULTS] = faults
    app[REPLIES] = Replies(settings.replies)
    app[REQUESTS] = RequestLog()
    routes = Routes(
        keys=keys,
        billing=billing,
        engine=engine,
        models=models,
        store=store,
        streams=streams,
        links=links,
        stats=stats,
        replies=app[REPLIES],
        requests=app[REQUESTS],
        settings=settings,
    )
    app.add_routes(routes.table())
    app.add_routes(BillingRoutes(keys=keys, billing=billing, models=models, store=store).table())
    media_routes = MediaRoutes(
        keys=keys,
        billing=billing,
        engine=engine,
        models=models,
        media=media,
        store=store,
        links=links,
        stats=stats,
        requests=app[REQUESTS],
    )
    app.add_routes(media_routes.table())
    uploads = UploadRoutes(
        keys=keys, storage=storage, links=links, remote_files=RemoteFiles(), stats=stats
    )
    app.add_routes(uploads.table())
    downloads = DownloadRoutes(storage=storage, stats=stats, clock=settings.clock)
    app.add_routes(downloads.table())
    admin = AdminRoutes(origin_check=origin_check, faults=faults, stats=stats, clock=settings.clock)
    app.add_routes(admin.table())
    app.on_response_prepare.append(ids.on_response_prepare)
    if settings.allow_origins:
        app.on_response_prepare.append(cors.on_response_prepare)

    lifecycle = _Lifecycle(
        store=store,
        storage=storage,
        models=models,
        engine=engine,
        streams=streams,
        injector=injector,
    )
    app.on_startup.append(lifecycle.start_up)
    app.on_shutdown.append(lifecycle.shut_down)
    app.on_cleanup.append(lifecycle.clean_up)
    return app


class _Lifecycle:
    """Opens and closes the parts of an application, in their order."""

    def __init__(
        self,
        *,
        store: Store,
        storage: FileStorage,
        models: ModelRegistry,
        engine: Engine,
        streams: EventStreams,
        injector: FaultInjector,
    ) -> None:
        self._store = store
        self._storage = storage
        self._models = models
        self._engine = engine
        self._streams = streams
        self._injector = injector

    async def start_up(self, app: web.Application) -> None:
        """Open the store and the models, and continue the stored tasks."""
        del app
        restored = await self._store.open()
        # The lock of the store guards the folder of files too.
        await self._storage.open()
        await self._models.open()
        self._engine.resume(restored)

    async def shut_down(self, app: web.Application) -> None:
        """Stop the tasks and end the open responses."""
        del app
        self._injector.release()
        await self._engine.aclose()
        await self._models.aclose()
        self._store.close_readers()
        self._streams.abort_stalled()

    async def clean_up(self, app: web.Application) -> None:
        """Close the store; the last responses, some of which read it, have been sent by now."""
        del app
        await self._store.aclose()
