"""The service's endpoints (contract §2)."""

import logging
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
from aiohttp import hdrs, web

from foxapi_async._wire import paths
from foxapi_async._wire.base import encode
from foxapi_async._wire.model_list import ModelList
from foxapi_async._wire.request import GenerationRequest, PromptRequest
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.auth import APIKeys
from foxapi_async.gateway.billing import Billing
from foxapi_async.gateway.conversation import MEDIA_PREFIX, id_prefix
from foxapi_async.gateway.engine import Engine
from foxapi_async.gateway.files import FileLinks
from foxapi_async.gateway.json_body import read_json_body
from foxapi_async.gateway.json_response import json_response
from foxapi_async.gateway.models import (
    Model,
    ModelRegistry,
    NoReplyLeftError,
    Replies,
    ScriptedModel,
)
from foxapi_async.gateway.request_log import RequestLog
from foxapi_async.gateway.request_validation import (
    decode,
    parse_json,
    to_conversation,
    validate,
)
from foxapi_async.gateway.response_structs import ModelCard, ModelCards
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.sse_response import EventStreams, read_offset
from foxapi_async.gateway.stats import GatewayStats
from foxapi_async.gateway.store import Log, Store, StoredRequest

HEALTH: Final = "/healthz"

ChangeGeneration = Callable[[StoredRequest], StoredRequest]


class StreamSender(Protocol):
    """Sends the event stream of one request."""

    async def serve(self, log: Log, offset: int) -> web.StreamResponse:
        """Send the chunks of ``log`` from ``offset`` on."""
        ...


CHANGE_GENERATION: Final = web.RequestKey[ChangeGeneration]("change_generation")
"""Set by a middleware: changes the accepted request of a submit before its task is created."""
STREAM_SENDER: Final = web.RequestKey[StreamSender]("stream_sender")
"""Set by a middleware: sends the stream in place of ``EventStreams``."""

# Clients in Python may write `True` and `False`.
_BOOLEANS: Final = {"", "true", "false", "True", "False", "1", "0"}

_logger = logging.getLogger(__name__)


class Routes:
    """The handlers of the service's endpoints, and the objects that they share."""

    def __init__(
        self,
        *,
        keys: APIKeys,
        billing: Billing,
        engine: Engine,
        models: ModelRegistry,
        store: Store,
        streams: EventStreams,
        links: FileLinks,
        stats: GatewayStats,
        replies: Replies,
        requests: RequestLog,
        settings: GatewaySettings,
    ) -> None:
        self._keys = keys
        self._billing = billing
        self._engine = engine
        self._store = store
        self._streams = streams
        self._links = links
        self._stats = stats
        self._replies = replies
        self._requests = requests
        self._settings = settings
        self._rules = models.rules
        self._media = models.media
        self._models = encode(ModelList(data=models.infos))

    def table(self) -> list[web.RouteDef]:
        """Return the routes. Their names are the routes of fault rules.

        HEAD is not allowed: a HEAD request for a stream would wait until the task ends.
        """
        return [
            web.post(paths.SUBMIT_LLM, self.submit, name="submit"),
            web.get(paths.TASK, self.query, name="query", allow_head=False),
            web.get(paths.STREAM_LLM, self.stream, name="stream", allow_head=False),
            web.get(paths.LLM_MODELS, self.models, name="models", allow_head=False),
            web.get(paths.OPENAI_MODELS, self.openai_models, allow_head=False),
            web.get(HEALTH, self.health, allow_head=False),
        ]

    async def submit(self, request: web.Request) -> web.Response:
        """Create a task.

        The checks run in the order of contract §7.1: JSON (400), key (401), required fields, model,
        content types, ``max_tokens`` (422). Credits (402) come last.
        """
        self._stats.submits += 1
        body = await read_json_body(request)
        # Malformed JSON is a 400 even without a valid key; a missing field is not.
        value = parse_json(body)
        self._requests.add(body)
        owner = self._keys.authenticate_request(request)
        asked = decode(body, value)
        warnings = validate(asked, self._rules)
        if warnings:
            self._log_warnings(request, warnings)
        generation = to_conversation(asked)
        if CHANGE_GENERATION in request:
            changed = request[CHANGE_GENERATION](generation)
            generation = changed if isinstance(changed, GenerationRequest) else generation
        cost = self._billing.reserve(generation).credits_reserved
        async with self._billing.charge(owner, cost, self._store):
            member = "prompt" if isinstance(asked, PromptRequest) else "messages"
            model = self._scripted_model(generation, member)
            task = await self._engine.submit(generation, owner, model, id_prefix=id_prefix(asked))
        return json_response(encode(task))

    async def query(self, request: web.Request) -> web.Response:
        """Return the current snapshot of a task.

        ``sync_upstream`` is checked and has no effect: there is no upstream service.
        """
        owner = self._keys.authenticate_request(request)
        self._stats.polls += 1
        if request.query_string and request.query.get("sync_upstream", "") not in _BOOLEANS:
            raise APIError.invalid("sync_upstream", "sync_upstream must be true or false")
        task_id = request.match_info["task_id"]
        snapshot = await self._store.snapshot(task_id, owner)
        if snapshot is None:
            raise APIError(404, f"task {task_id!r} was not found")
        if task_id.startswith(MEDIA_PREFIX):
            snapshot = self._links.make_absolute(snapshot, request)
        return json_response(snapshot)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Open the event stream of a task."""
        owner = self._keys.authenticate_request(request)
        offset = read_offset(request.query.get("offset", "0"))
        task_id = request.match_info["task_id"]
        log = await self._store.log(task_id, owner)
        if log is None:
            raise APIError(
                404,
                f"task {task_id!r} has no stream: the task is unknown, its stream has expired, or "
                "it was submitted without `stream`",
            )
        if STREAM_SENDER in request:
            return await request[STREAM_SENDER].serve(log, offset)
        return await self._streams.serve(request, log, offset)

    async def models(self, request: web.Request) -> web.Response:
        """List the models of the gateway."""
        self._keys.authenticate_request(request)
        return json_response(self._models)

    async def openai_models(self, request: web.Request) -> web.Response:
        """List the models in the shape of OpenAI's API, those of media after the others."""
        self._keys.authenticate_request(request)
        cards = [ModelCard(id=model_id) for model_id in self._rules]
        cards += [
            ModelCard(id=model_id, supported_endpoint_types=(f"{model.kind}-generation",))
            for model_id, model in self._media.items()
        ]
        return json_response(msgspec.json.encode(ModelCards(data=tuple(cards))))

    async def health(self, request: web.Request) -> web.Response:
        """Answer that the server is up. No key is needed."""
        del request
        return json_response({"status": "ok"})

    def _scripted_model(self, generation: GenerationRequest, member: str) -> Model | None:
        """Return the model of the next reply of the script, ``None`` without a script.

        ``member`` is the member of the request that has the prompt.
        """
        try:
            reply = self._replies.take(generation)
        except NoReplyLeftError as error:
            raise APIError(422, str(error), code="no_reply_left", param=member) from None
        return None if reply is None else ScriptedModel(self._settings, reply)

    def _log_warnings(self, request: web.Request, warnings: list[str]) -> None:
        authorization = request.headers.get(hdrs.AUTHORIZATION)
        for warning in warnings:
            _logger.warning("accepted with %s", self._keys.mask(warning, authorization))
