"""The endpoints, each as thin as it can be (contract §2)."""

from typing import Final

import msgspec
from aiohttp import hdrs, web

from foxapi_async._catalog import MODELS
from foxapi_async._wire import paths
from foxapi_async._wire.base import encode
from foxapi_async._wire.results import ModelInfo, ModelList
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.auth import APIKeys
from foxapi_async.gateway.engine import Engine
from foxapi_async.gateway.faults.faulty_stream import FaultyStream
from foxapi_async.gateway.faults.inject import FaultInjector, active_rules, with_forced_failure
from foxapi_async.gateway.request_validation import decode, validate
from foxapi_async.gateway.sse_response import Streams, read_offset
from foxapi_async.gateway.stats import Stats
from foxapi_async.gateway.store import Store

HEALTH: Final = "/healthz"

_BOOLEANS: Final = {"", "true", "false", "1", "0"}


class Routes:
    """The handlers and what they share."""

    def __init__(
        self,
        *,
        keys: APIKeys,
        engine: Engine,
        store: Store,
        streams: Streams,
        spoiler: FaultInjector,
        stats: Stats,
    ) -> None:
        self._keys = keys
        self._spoiler = spoiler
        self._engine = engine
        self._store = store
        self._streams = streams
        self._stats = stats
        models = (ModelInfo(id=item.id, capabilities=item.capabilities) for item in MODELS.values())
        self._models = encode(ModelList(data=tuple(models)))

    def table(self) -> list[web.RouteDef]:
        """Return the routes; the names are those that rules of faults use.

        HEAD is not among the methods: it would leave a stream waiting.
        """
        return [
            web.post(paths.SUBMIT_LLM, self.submit, name="submit"),
            web.get(paths.TASK, self.query, name="query", allow_head=False),
            web.get(paths.STREAM_LLM, self.stream, name="stream", allow_head=False),
            web.get(paths.LLM_MODELS, self.models, name="models", allow_head=False),
            web.get(HEALTH, self.health, allow_head=False),
        ]

    async def submit(self, request: web.Request) -> web.Response:
        """Create a task: JSON first, then the key, then the rules (contract §7.1)."""
        self._stats.submits += 1
        if request.content_type != "application/json":
            raise APIError(400, "send JSON with the header `Content-Type: application/json`")
        generation = decode(await request.read())
        owner = self._owner(request)
        if isinstance(generation, APIError):
            raise generation
        accepted = with_forced_failure(validate(generation), active_rules())
        await self._keys.charge(owner, self._store)
        try:
            task = await self._engine.submit(accepted, owner)
        except Exception:
            # A client that has left is charged: its task is made all the same.
            self._keys.refund(owner)
            raise
        return _json(encode(task))

    async def query(self, request: web.Request) -> web.Response:
        """Answer with the task as it is now. There is no upstream to ask, so both ways are one."""
        owner = self._owner(request)
        self._stats.polls += 1
        if request.query_string and request.query.get("sync_upstream", "") not in _BOOLEANS:
            raise APIError.invalid("sync_upstream", "sync_upstream must be true or false")
        task_id = request.match_info["task_id"]
        answer = await self._store.answer(task_id, owner)
        if answer is None:
            raise APIError(404, f"task {task_id!r} was not found")
        return _json(answer)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Open the event stream of a task."""
        owner = self._owner(request)
        offset = read_offset(request.query.get("offset", "0"))
        task_id = request.match_info["task_id"]
        log = await self._store.log(task_id, owner)
        if log is None:
            raise APIError(
                404, f"there is no stream of task {task_id!r}: unknown, expired or not asked for"
            )
        if active_rules():
            spoilt = FaultyStream(request, spoiler=self._spoiler, stats=self._stats)
            return await spoilt.serve(log, offset)
        return await self._streams.serve(request, log, offset)

    async def models(self, request: web.Request) -> web.Response:
        """List the models of the catalog."""
        self._owner(request)
        return _json(self._models)

    async def health(self, request: web.Request) -> web.Response:
        """Say that the server is up, to anybody."""
        del request
        return _json(msgspec.json.encode({"status": "ok"}))

    def _owner(self, request: web.Request) -> str:
        """Return whose request it is; whoever has no valid key is refused."""
        return self._keys.admit(request.headers.get(hdrs.AUTHORIZATION))


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")
