"""The gateway as an application of aiohttp.web."""

import logging
from itertools import count
from random import Random
from typing import Final, Unpack

from aiohttp import web
from aiohttp.typedefs import Handler

from foxapi_async._wire.fault import ErrorBody
from foxapi_async.gateway.bearer import Bearer
from foxapi_async.gateway.engine import Engine
from foxapi_async.gateway.refusal import Refusal, envelope, translated
from foxapi_async.gateway.routes import Routes
from foxapi_async.gateway.settings import GatewayOptions, GatewaySettings
from foxapi_async.gateway.stats import Stats
from foxapi_async.gateway.store import MemoryStore
from foxapi_async.gateway.stream import Streams

_logger = logging.getLogger(__name__)

REQUEST_ID: Final = "x-request-id"
SETTINGS: Final = web.AppKey("settings", GatewaySettings)
STATS: Final = web.AppKey("stats", Stats)


def make_app(**options: Unpack[GatewayOptions]) -> web.Application:
    """Build the gateway; the keywords are the members of ``GatewaySettings``.

    ``app[foxapi_async.gateway.app.STATS]`` counts what it does. Run it with
    ``handler_cancellation=True``, so that a stream whose reader has left ends at once.
    """
    settings = GatewaySettings(**options)
    stats = Stats()
    store = MemoryStore(
        settings.clock, retention=settings.retention, task_retention=settings.task_retention
    )
    engine = Engine(settings=settings, store=store, stats=stats)
    streams = Streams(stats)
    app = web.Application(client_max_size=settings.body_limit, middlewares=[border])
    app[SETTINGS] = settings
    app[STATS] = stats
    routes = Routes(
        bearer=Bearer(settings.api_keys), engine=engine, store=store, streams=streams, stats=stats
    )
    app.add_routes(routes.table())
    app.on_response_prepare.append(_RequestIds())

    async def shut_down(_: web.Application) -> None:
        await engine.aclose()
        await store.aclose()
        streams.cut_stalled()

    app.on_shutdown.append(shut_down)
    return app


@web.middleware
async def border(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Stand between the network and the handlers: what fails leaves in the service's envelope."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return envelope(refusal.status, refusal.body)
    except web.HTTPException as error:
        return translated(error)
    except Exception:
        _logger.exception("%s %s crashed", request.method, request.path)
        return envelope(500, ErrorBody(message="the gateway crashed", type="server_error"))


class _RequestIds:
    """Gives every answer an id of its own in ``x-request-id`` (CONTRACT Q5)."""

    def __init__(self) -> None:
        # The random part tells one run of the gateway from the next in a client's log.
        self._run = f"{Random().getrandbits(32):08x}"  # noqa: S311 nothing is guarded by it
        self._numbers = count(1)

    async def __call__(self, request: web.Request, response: web.StreamResponse) -> None:
        del request
        response.headers[REQUEST_ID] = f"req-{self._run}-{next(self._numbers)}"
