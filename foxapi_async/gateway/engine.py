"""Creates tasks and runs their generations."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from random import Random
from string import ascii_lowercase, digits
from typing import Final

from foxapi_async._wire.media_request import MediaRequest, kind_of
from foxapi_async._wire.paths import stream_path
from foxapi_async._wire.request import GenerationRequest
from foxapi_async._wire.task import Status, StreamRef
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.billing import Billing
from foxapi_async.gateway.conversation import LLM_PREFIX, without_prefix
from foxapi_async.gateway.generation import CRASHED, RESTARTED, Generation, restart_error
from foxapi_async.gateway.models import Job, Model, ModelRegistry
from foxapi_async.gateway.response_structs import UnifiedTask
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.stats import GatewayStats
from foxapi_async.gateway.store import (
    MEDIA,
    Restored,
    Store,
    StoreError,
    Unfinished,
    UnstorableError,
)
from foxapi_async.gateway.work import MediaModels, ModelRequest, ModelWork, Work

_logger = logging.getLogger(__name__)

_ID_ALPHABET: Final = digits + ascii_lowercase
_ID_LENGTH: Final = 8


class Engine:
    """Runs one asyncio task for each generation that has not ended."""

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        models: ModelRegistry,
        store: Store,
        stats: GatewayStats,
        billing: Billing | None = None,
        media: MediaModels | None = None,
    ) -> None:
        self._settings = settings
        self._models = models
        self._store = store
        self._stats = stats
        self._billing = billing or Billing(settings)
        self._media = media
        self._random = Random(settings.seed)  # noqa: S311 ids must be unique, not secret
        # The asyncio task of each generation, with the future of the task that it creates.
        self._tasks: dict[asyncio.Task[None], asyncio.Future[UnifiedTask]] = {}
        self._is_closed = False

    def resume(self, restored: Restored) -> None:
        """Continue the tasks that earlier runs of the gateway have not finished."""
        if restored.runs and self._settings.seed is not None:
            # The seed alone would repeat the ids of earlier runs, which a client may still use.
            self._random.seed(f"{self._settings.seed}/{restored.runs}")
        for unfinished in restored.unfinished:
            created = asyncio.get_running_loop().create_future()
            created.set_result(unfinished.task)
            self._start(self._resume(unfinished), created)

    async def submit(
        self,
        request: ModelRequest,
        owner: str = "",
        model: Model | None = None,
        *,
        id_prefix: str = LLM_PREFIX,
    ) -> UnifiedTask:
        """Create a task for a valid request, start it, and return it as it was created.

        Cancelling does not stop the task.

        Args:
            request: The request.
            owner: The owner of the task.
            model: Answers in place of the language model that the request names.
            id_prefix: How the id of the task begins.

        Returns:
            The task, pending.

        Raises:
            APIError: 503 while the gateway shuts down or cannot store tasks; 400 for a value that
                cannot be stored.
        """
        if self._is_closed:
            raise APIError(503, "the gateway is shutting down")
        model = model or self._models.find(request.model)
        if model is None and not isinstance(request, MediaRequest):
            raise ValueError(f"the gateway has no model {request.model!r}")
        # If the client disconnects while its task is being stored, the task still has to run.
        created: asyncio.Future[UnifiedTask] = asyncio.get_running_loop().create_future()
        self._start(self._begin(request, owner, created, model, id_prefix), created)
        return await created

    async def aclose(self) -> None:
        """Stop all generations and wait until they have stopped."""
        self._is_closed = True
        for running, created in self._tasks.items():
            # A submit whose task is still being stored gets its response.
            if created.done():
                running.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(
        self, work: Coroutine[None, None, None], created: asyncio.Future[UnifiedTask]
    ) -> None:
        task = asyncio.create_task(work)
        self._tasks[task] = created
        task.add_done_callback(self._tasks.pop)

    async def _begin(
        self,
        request: ModelRequest,
        owner: str,
        created: asyncio.Future[UnifiedTask],
        model: Model | None,
        id_prefix: str,
    ) -> None:
        """Create a task, resolve ``created``, and run the task."""
        try:
            task = await self._create(request, owner, id_prefix, model)
        except StoreError as error:
            _logger.error("a task could not be stored: %s", error)  # noqa: TRY400 the text has it
            if not created.done():
                created.set_exception(APIError(503, "the gateway cannot store tasks"))
            return
        except UnstorableError:
            _logger.exception("a task could not be stored")
            if not created.done():
                created.set_exception(
                    APIError(400, "the request has a value that cannot be stored")
                )
            return
        except Exception as error:
            if created.done():
                raise
            # `submit` raises it, and the error middleware logs it.
            created.set_exception(error)
            return
        self._stats.tasks += 1
        if not created.done():
            created.set_result(task)
        # A stored task that is not started continues in the next run of the gateway.
        if not self._is_closed:
            generation = self._generation(task, owner)
            work = self._work(request, task, owner, model)
            await self._supervise(generation, generation.run(work))

    def _work(
        self, request: ModelRequest, task: UnifiedTask, owner: str, model: Model | None
    ) -> Work:
        if isinstance(request, MediaRequest):
            if self._media is None:
                raise ValueError("the gateway makes no media")
            return self._media.work(request, task, owner)
        if model is None:
            raise ValueError(f"the gateway has no model {request.model!r}")
        job = Job(
            id=f"chatcmpl-{without_prefix(task.id)}",
            created=task.created,
            request=request,
            owner=owner,
        )
        return ModelWork(model, job)

    async def _create(
        self, request: ModelRequest, owner: str, id_prefix: str, model: Model | None
    ) -> UnifiedTask:
        task = self._new_task(request, id_prefix)
        kind = MEDIA if model is None or isinstance(request, MediaRequest) else model.kind
        # An id may be taken: a fixed seed and a manual clock repeat ids.
        while not await self._store.add(task, request, owner, kind=kind):
            task = self._new_task(request, id_prefix)
        return task

    async def _resume(self, unfinished: Unfinished) -> None:
        generation = self._generation(unfinished.task, unfinished.owner, unfinished.frames)
        await self._supervise(generation, self._continue(generation, unfinished))

    def _continue(
        self, generation: Generation, unfinished: Unfinished
    ) -> Coroutine[None, None, None]:
        request = unfinished.request
        if request is None:
            return generation.fail(RESTARTED)
        model = self._models.find(request.model)
        if not isinstance(request, MediaRequest):
            error = restart_error(unfinished, model)
            if error is not None:
                return generation.fail(error)
        return generation.run(self._work(request, unfinished.task, unfinished.owner, model))

    def _generation(
        self, task: UnifiedTask, owner: str, written: Sequence[bytes] = ()
    ) -> Generation:
        return Generation(
            task,
            owner=owner,
            store=self._store,
            stats=self._stats,
            billing=self._billing,
            written=written,
        )

    def _new_task(self, request: ModelRequest, id_prefix: str) -> UnifiedTask:
        created = int(self._settings.clock.unix())
        suffix = "".join(self._random.choices(_ID_ALPHABET, k=_ID_LENGTH))
        task_id = f"{id_prefix}{created}-{suffix}"
        kind = kind_of(request)
        has_stream = isinstance(request, GenerationRequest) and bool(request.stream)
        return UnifiedTask(
            id=task_id,
            object=f"{kind}.generation.task",
            type=kind,
            model=request.model,
            status=Status.PENDING,
            created=created,
            stream=StreamRef(url=stream_path(task_id)) if has_stream else None,
            usage=self._billing.reserve(request),
        )

    async def _supervise(self, generation: Generation, work: Coroutine[None, None, None]) -> None:
        try:
            try:
                await work
            except StoreError:
                raise
            except Exception:
                # The task must end, or clients would poll and stream it without end.
                _logger.exception("task %s crashed", generation.id)
                await generation.fail(CRASHED)
        except StoreError:
            # A state that is not stored must not be visible. The next run of the gateway continues.
            _logger.exception("task %s cannot be stored and is suspended", generation.id)
