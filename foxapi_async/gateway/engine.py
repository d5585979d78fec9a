"""Creates tasks and owns what runs them."""

import asyncio
import logging
from random import Random
from string import ascii_lowercase, digits
from typing import Final

from foxapi_async._wire.paths import stream_path
from foxapi_async._wire.request import GenerationRequest
from foxapi_async._wire.task import Status, StreamRef, UnifiedTask
from foxapi_async.gateway.generation import Generation
from foxapi_async.gateway.refusal import Refusal
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.sparse import TaskFault
from foxapi_async.gateway.stats import Stats
from foxapi_async.gateway.store import Store

_logger = logging.getLogger(__name__)

_ID_ALPHABET: Final = digits + ascii_lowercase
_ID_LENGTH: Final = 8


class Engine:
    """Owns one asyncio task for each generation that has not ended."""

    def __init__(self, *, settings: GatewaySettings, store: Store, stats: Stats) -> None:
        self._settings = settings
        self._store = store
        self._stats = stats
        self._random = Random(settings.seed)  # noqa: S311 ids must differ, not be secret
        self._running: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def submit(self, request: GenerationRequest, owner: str = "") -> UnifiedTask:
        """Create the task of a checked request, start it, and return it as it was created."""
        if self._is_closed:
            raise Refusal(503, "the gateway is shutting down")
        task = self._new_task(request)
        # No id is given twice, not even by a seed or a clock that stands still.
        while not await self._store.add(task, request, owner):
            task = self._new_task(request)
        self._stats.tasks += 1
        running = asyncio.create_task(self._run(task, request), name=task.id)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return task

    async def aclose(self) -> None:
        """Stop every generation where it is, and wait until all have stopped."""
        self._is_closed = True
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _new_task(self, request: GenerationRequest) -> UnifiedTask:
        created = int(self._settings.clock.unix())
        suffix = "".join(self._random.choices(_ID_ALPHABET, k=_ID_LENGTH))
        task_id = f"task-llm-{created}-{suffix}"
        return UnifiedTask(
            id=task_id,
            object="llm.generation.task",
            type="llm",
            model=request.model,
            status=Status.PENDING,
            created=created,
            stream=StreamRef(url=stream_path(task_id)) if request.stream else None,
        )

    async def _run(self, task: UnifiedTask, request: GenerationRequest) -> None:
        generation = Generation(task, settings=self._settings, store=self._store, stats=self._stats)
        try:
            await generation.run(request)
        except Exception:
            # Nobody awaits this: without an end the task would be polled and streamed for ever.
            _logger.exception("task %s crashed", task.id)
            await generation.fail(TaskFault.of("generation_failed", "the model crashed"))
