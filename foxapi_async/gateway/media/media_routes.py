"""The endpoints that make images, videos, audio and documents (contract §2, rows 5 to 9)."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec
from aiohttp import web
from msgspec import Struct

from foxapi_async._wire.media_request import MEDIA_PATHS, SUBMIT_SUNO, MediaKind, MediaRequest
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.auth import APIKeys
from foxapi_async.gateway.billing import Billing
from foxapi_async.gateway.conversation import MEDIA_PREFIX
from foxapi_async.gateway.engine import Engine
from foxapi_async.gateway.files import FileLinks
from foxapi_async.gateway.json_body import read_json_body
from foxapi_async.gateway.json_response import json_response
from foxapi_async.gateway.media.media_validation import decode, validate
from foxapi_async.gateway.media.preset_voices import LANGUAGES, preset_voices
from foxapi_async.gateway.media.simulated_media import SimulatedMedia
from foxapi_async.gateway.models import ModelRegistry
from foxapi_async.gateway.request_log import RequestLog
from foxapi_async.gateway.request_validation import parse_json
from foxapi_async.gateway.response_structs import TaskUsage, UnifiedTask
from foxapi_async.gateway.routes import CHANGE_GENERATION
from foxapi_async.gateway.stats import GatewayStats
from foxapi_async.gateway.store import Store

_ENDPOINTS: Final[tuple[tuple[str, MediaKind], ...]] = (
    *((path, kind) for kind, path in MEDIA_PATHS.items()),
    (SUBMIT_SUNO, "audio"),
)
_VOICES: Final = "/v1/configs/minimax-preset-voice-id"


class _TaskInfo(Struct, kw_only=True):
    can_cancel: bool = True
    estimated_time: int


class _CreatedTask(Struct, kw_only=True):
    """The response to a submit, which has other members than a query (contract §10)."""

    id: str
    object: str
    type: str
    model: str
    status: str
    progress: int
    created: int
    task_info: _TaskInfo
    usage: TaskUsage | msgspec.UnsetType


class MediaRoutes:
    """The handlers of media submits, and of the list of voices."""

    def __init__(
        self,
        *,
        keys: APIKeys,
        billing: Billing,
        engine: Engine,
        models: ModelRegistry,
        media: SimulatedMedia,
        store: Store,
        links: FileLinks,
        stats: GatewayStats,
        requests: RequestLog,
    ) -> None:
        self._keys = keys
        self._billing = billing
        self._engine = engine
        self._models = models
        self._media = media
        self._store = store
        self._links = links
        self._stats = stats
        self._requests = requests

    def table(self) -> list[web.RouteDef]:
        """Return the routes. The part of a name before its dot is the route of fault rules."""
        submits = [
            web.post(path, self._handler(path, kind), name=f"submit.{path.split('/')[2]}")
            for path, kind in _ENDPOINTS
        ]
        return [*submits, web.get(_VOICES, self.voices, allow_head=False)]

    async def submit(self, path: str, kind: MediaKind, request: web.Request) -> web.Response:
        """Create a task. The checks run in the order of those of a language model."""
        self._stats.submits += 1
        body = await read_json_body(request)
        value = parse_json(body)
        self._requests.add(body)
        owner = self._keys.authenticate_request(request)
        asked = decode(kind, body, value)
        if not self._models.media:
            raise APIError.invalid("model", "this gateway makes no media: it has upstreams only")
        await validate(asked, path, self._links, request)
        if CHANGE_GENERATION in request:
            changed = request[CHANGE_GENERATION](asked)
            asked = changed if isinstance(changed, MediaRequest) else asked
        cost = self._billing.reserve(asked).credits_reserved
        async with self._billing.charge(owner, cost, self._store):
            task = await self._engine.submit(asked, owner, id_prefix=MEDIA_PREFIX)
        return json_response(msgspec.json.encode(self._created(task)))

    async def voices(self, request: web.Request) -> web.Response:
        """Return the preset voices of a language, as a bare array (contract §2, row 14)."""
        self._keys.authenticate_request(request)
        language = request.query.get("language", "zh")
        if language not in LANGUAGES:
            raise APIError.invalid("language", f"language must be {' or '.join(LANGUAGES)}")
        return json_response(preset_voices(language))

    def _handler(
        self, path: str, kind: MediaKind
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        return partial(self.submit, path, kind)

    def _created(self, task: UnifiedTask) -> _CreatedTask:
        return _CreatedTask(
            id=task.id,
            object=task.object,
            type=task.type,
            model=task.model,
            status=task.status,
            progress=task.progress,
            created=task.created,
            task_info=_TaskInfo(estimated_time=self._media.estimated_time),
            usage=task.usage,
        )
