"""Creates tasks and owns what runs them."""

import asyncio
import logging
from collections.abc import Coroutine
from random import Random
from string import ascii_lowercase, digits
from typing import Final

from foxapi_async._wire.paths import stream_path
from foxapi_async._wire.request import GenerationRequest
from foxapi_async._wire.task import Status, StreamRef, UnifiedTask
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.generation import CRASHED, RESTARTED, Generation
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.stats import Stats
from foxapi_async.gateway.store import Restored, Store, StoreError, Unfinished, UnstorableError
from foxapi_async.gateway.timer_coalescing import CoalescedTimer

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
        # Each generation, and the future of the task that it begins with.
        self._runs: dict[asyncio.Task[None], asyncio.Future[UnifiedTask]] = {}
        self._beat = CoalescedTimer(settings.clock)
        # One costly answer in each turn of the loop: after a restart there may be thousands.
        self._modelling = asyncio.Lock()
        self._is_closed = False

    def resume(self, found: Restored) -> None:
        """Go on with what earlier runs of the gateway have left."""
        if found.runs and self._settings.seed is not None:
            # The seed must not draw the ids of the earlier runs again, some of them long expired.
            self._random.seed(f"{self._settings.seed}/{found.runs}")
        for unfinished in found.unfinished:
            created = asyncio.get_running_loop().create_future()
            created.set_result(unfinished.task)
            self._start(self._resume(unfinished), created)

    async def submit(self, request: GenerationRequest, owner: str = "") -> UnifiedTask:
        """Create the task of a checked request, start it, and return it as it was created."""
        if self._is_closed:
            raise APIError(503, "the gateway is shutting down")
        # The client may leave while its task is being kept. The task is then there, and must run.
        created: asyncio.Future[UnifiedTask] = asyncio.get_running_loop().create_future()
        self._start(self._begin(request, owner, created), created)
        return await created

    async def aclose(self) -> None:
        """Stop every generation where it is, and wait until all have stopped."""
        self._is_closed = True
        for run, created in self._runs.items():
            # A submit that is open gets its answer.
            if created.done():
                run.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)

    def _start(
        self, run: Coroutine[None, None, None], created: asyncio.Future[UnifiedTask]
    ) -> None:
        task = asyncio.create_task(run)
        self._runs[task] = created
        task.add_done_callback(self._runs.pop)

    async def _begin(
        self, request: GenerationRequest, owner: str, created: asyncio.Future[UnifiedTask]
    ) -> None:
        """Create a task, tell who waits for it, and run it."""
        try:
            task = await self._create(request, owner)
        except StoreError as error:
            _logger.error("a task was refused: %s", error)  # noqa: TRY400 the cause is in the text
            if not created.done():
                created.set_exception(APIError(503, "the gateway cannot keep any task"))
            return
        except UnstorableError:
            _logger.exception("a task was refused")
            if not created.done():
                created.set_exception(APIError(400, "the request holds a value that no task can"))
            return
        except Exception as error:
            if created.done():
                raise
            # Whoever waits is told of it, and logs it.
            created.set_exception(error)
            return
        self._stats.tasks += 1
        if not created.done():
            created.set_result(task)
        # What is kept and not begun goes on with the next run of the gateway.
        if not self._is_closed:
            generation = self._generation(task)
            await self._run(generation, generation.run(request))

    async def _create(self, request: GenerationRequest, owner: str) -> UnifiedTask:
        task = self._new_task(request)
        # No id is given twice, not even by a seed or a clock that stands still.
        while not await self._store.add(task, request, owner):
            task = self._new_task(request)
        return task

    async def _resume(self, unfinished: Unfinished) -> None:
        generation = self._generation(unfinished.task)
        if unfinished.request is None:
            await self._run(generation, generation.fail(RESTARTED))
        else:
            run = generation.run(unfinished.request, written=unfinished.frames)
            await self._run(generation, run)

    def _generation(self, task: UnifiedTask) -> Generation:
        return Generation(
            task,
            settings=self._settings,
            beat=self._beat,
            modelling=self._modelling,
            store=self._store,
            stats=self._stats,
        )

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

    async def _run(self, generation: Generation, run: Coroutine[None, None, None]) -> None:
        try:
            try:
                await run
            except StoreError:
                raise
            except Exception:
                # Nobody awaits this: without an end the task would be polled and streamed for ever.
                _logger.exception("task %s crashed", generation.id)
                await generation.fail(CRASHED)
        except StoreError:
            # A state that cannot be kept must not be seen. The next run of the gateway goes on.
            _logger.exception("task %s stands still", generation.id)
