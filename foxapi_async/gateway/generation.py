"""One task from pending to its end (contract §4.3)."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from foxapi_async._clock import sleep
from foxapi_async._protocol.sse import encode_event
from foxapi_async._wire.base import encode
from foxapi_async._wire.request import GenerationRequest
from foxapi_async._wire.task import Status, UnifiedTask
from foxapi_async.gateway.models import Script, ScriptedChunk, is_costly, simulate
from foxapi_async.gateway.response_structs import TaskErrorBody
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.stats import GatewayStats
from foxapi_async.gateway.store import Store
from foxapi_async.gateway.timer_coalescing import CoalescedTimer

_MAX_PROGRESS_BEFORE_END: Final = 99
# A task without a stream shows nothing but its progress, so it takes fewer and longer steps.
_MAX_PROGRESS_STEPS: Final = 10
_MIN_PROGRESS_STEP: Final = 0.05
# Overdue chunks that are written together before other tasks of the loop run.
_MAX_BURST: Final = 32

_encode: Final = msgspec.json.Encoder().encode

CRASHED: Final = TaskErrorBody.of("generation_failed", "the model crashed")
RESTARTED: Final = TaskErrorBody.of(
    "service_restarted", "the service was restarted and could not continue the task"
)


class Generation:
    """Runs one task. Every state is stored before the next one begins.

    Args:
        task: The current snapshot of the task.
        settings: The delays and the clock.
        timer: Wakes the generation for its next chunk.
        simulation_lock: Held during a costly simulation.
        store: Stores snapshots and chunks.
        stats: The counters.
    """

    def __init__(
        self,
        task: UnifiedTask,
        *,
        settings: GatewaySettings,
        timer: CoalescedTimer,
        simulation_lock: asyncio.Lock,
        store: Store,
        stats: GatewayStats,
    ) -> None:
        self._task = task
        self._settings = settings
        self._clock = settings.clock
        self._timer = timer
        self._simulation_lock = simulation_lock
        self._store = store
        self._stats = stats

    @property
    def id(self) -> str:
        """The id of the task."""
        return self._task.id

    async def run(self, request: GenerationRequest, written: Sequence[bytes] = ()) -> None:
        """Wait in the queue, write the answer at the configured pace, and end the task.

        A task of an earlier run of the gateway continues: a streamed one after the chunks in
        ``written``, which the model must repeat exactly, another one after its progress.
        """
        if self._task.status == Status.PENDING:
            await sleep(self._clock, self._settings.queue_delay)
            await self._advance(status=Status.PROCESSING, progress=0)
        script = await self._simulate(request)
        chunks = list(script.chunks()) if request.stream else []
        if not _starts_with(chunks, written):
            # The stream must not mix two different answers.
            await self.fail(RESTARTED)
            return
        if request.stream:
            await self._write(chunks, len(written))
        else:
            await self._make_progress(script)
        if script.error is not None:
            await self.fail(script.error)
        else:
            await self._complete(script, len(chunks))

    async def fail(self, error: TaskErrorBody) -> None:
        """End the task with an error. The stream ends with its message alone (contract Q12)."""
        self._task = replace(self._task, status=Status.FAILED, error=error)
        closing = msgspec.json.encode({"message": error.message})
        await self._store.finish(self._task, encode_event("error", closing))
        self._stats.failed += 1

    async def _simulate(self, request: GenerationRequest) -> Script:
        completion_id = f"chatcmpl-{self._task.id.removeprefix('task-llm-')}"
        created = self._task.created
        if not is_costly(request):
            return simulate(request, completion_id=completion_id, created=created)
        async with self._simulation_lock:
            await sleep(self._clock, 0)
            return simulate(request, completion_id=completion_id, created=created)

    async def _complete(self, script: Script, chunk_count: int) -> None:
        results = (Raw(encode(script.completion)),)
        self._task = replace(self._task, status=Status.COMPLETED, progress=100, results=results)
        closing = msgspec.json.encode({"total_chunks": chunk_count})
        await self._store.finish(self._task, encode_event("done", closing))
        self._stats.completed += 1

    async def _write(self, chunks: Sequence[ScriptedChunk], written: int) -> None:
        """Write the chunks from number ``written`` on when they are due, overdue ones together."""
        clock = self._clock
        token_delay = self._settings.token_delay
        thinking_delay = self._settings.effective_thinking_delay
        due = clock.time()
        frames: list[bytes] = []
        for number, chunk in enumerate(chunks[written:], written + 1):
            due += thinking_delay if chunk.is_thinking else token_delay
            is_early = due > clock.time()
            if frames and (is_early or len(frames) == _MAX_BURST):
                await self._publish(frames, number - 1, len(chunks))
                frames = []
            if is_early:
                await self._timer.sleep_until(due)
            frames.append(_encode_chunk(chunk))
        if frames:
            await self._publish(frames, len(chunks), len(chunks))

    async def _publish(self, frames: Sequence[bytes], written: int, total: int) -> None:
        """Store chunks; after a full burst, let the other tasks of the loop run."""
        progress = _MAX_PROGRESS_BEFORE_END * written // total
        await self._advance(progress=progress, frames=frames)
        self._stats.chunks += len(frames)
        if len(frames) == _MAX_BURST:
            await sleep(self._clock, 0)

    async def _make_progress(self, script: Script) -> None:
        """Wait as long as writing the tokens would take, and advance the progress meanwhile."""
        written = script.tokens - script.thinking_tokens
        seconds = (
            script.thinking_tokens * self._settings.effective_thinking_delay
            + written * self._settings.token_delay
        )
        steps = min(_MAX_PROGRESS_STEPS, 1 + int(seconds / _MIN_PROGRESS_STEP)) if seconds else 0
        # A resumed task skips the steps of its earlier run. The progress has at least one percent
        # for each step, so the number of those steps follows from it.
        taken = -(-self._task.progress * steps // _MAX_PROGRESS_BEFORE_END)
        start = self._clock.time() - seconds * taken / steps if steps else 0.0
        for number in range(taken + 1, steps + 1):
            await sleep(self._clock, start + seconds * number / steps - self._clock.time())
            await self._advance(progress=_MAX_PROGRESS_BEFORE_END * number // steps)

    async def _advance(
        self, *, progress: int, status: str | None = None, frames: Sequence[bytes] = ()
    ) -> None:
        if progress != self._task.progress or status is not None:
            self._task = replace(self._task, status=status or self._task.status, progress=progress)
        elif not frames:
            return
        await self._store.advance(self._task, frames)


def _encode_chunk(chunk: ScriptedChunk) -> bytes:
    # The same bytes as `encode_event` would give: JSON has no line ends, and no chunk has `extra`.
    return b"event: chunk\ndata: %b\n\n" % _encode(chunk.delta)


def _starts_with(chunks: Sequence[ScriptedChunk], written: Sequence[bytes]) -> bool:
    return len(written) <= len(chunks) and all(
        _encode_chunk(chunk) == frame for chunk, frame in zip(chunks, written, strict=False)
    )
