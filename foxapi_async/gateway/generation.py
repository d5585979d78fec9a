"""One task on its way from pending to its end (CONTRACT §4.3)."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from foxapi_async._clock import sleep
from foxapi_async._protocol.sse import encode_event
from foxapi_async._wire.request import GenerationRequest
from foxapi_async._wire.shape import encode
from foxapi_async._wire.task import Status, UnifiedTask
from foxapi_async.gateway.models import Script, simulate
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.sparse import TaskFault
from foxapi_async.gateway.stats import Stats
from foxapi_async.gateway.store import Store

_ALMOST: Final = 99
# A task that nobody can follow chunk by chunk moves in fewer steps, to spare the loop.
_MOST_UNSEEN_STEPS: Final = 10
_SHORTEST_UNSEEN_STEP: Final = 0.05
# So many chunks may be late and written at once before others have their turn.
_BURST: Final = 32


class Generation:
    """Runs one task. Every state is in the store before the next is begun."""

    def __init__(
        self, task: UnifiedTask, *, settings: GatewaySettings, store: Store, stats: Stats
    ) -> None:
        self._task = task
        self._settings = settings
        self._clock = settings.clock
        self._store = store
        self._stats = stats

    async def run(self, request: GenerationRequest) -> None:
        """Wait in the queue, write the answer at the pace of the settings, and end."""
        await sleep(self._clock, self._settings.queue_delay)
        await self._advance(status=Status.PROCESSING, progress=0)
        name = self._task.id.removeprefix("task-llm-")
        script = simulate(request, completion_id=f"chatcmpl-{name}", created=self._task.created)
        if request.stream:
            chunks = await self._write(script)
        else:
            chunks = 0
            await self._pass_time(script)
        if script.fault is not None:
            await self.fail(script.fault)
        else:
            await self._complete(script, chunks)

    async def fail(self, fault: TaskFault) -> None:
        """End the task with an error. Its stream has but a message for it (CONTRACT Q12)."""
        self._task = replace(self._task, status=Status.FAILED, error=fault)
        closing = msgspec.json.encode({"message": fault.message})
        await self._store.finish(self._task, encode_event("error", closing))
        self._stats.failed += 1

    async def _complete(self, script: Script, chunks: int) -> None:
        results = (Raw(encode(script.completion)),)
        self._task = replace(self._task, status=Status.COMPLETED, progress=100, results=results)
        closing = msgspec.json.encode({"total_chunks": chunks})
        await self._store.finish(self._task, encode_event("done", closing))
        self._stats.completed += 1

    async def _write(self, script: Script) -> int:
        """Write the chunks, each when it is due, and return how many there were."""
        due = self._clock.time()
        steps = list(script.steps())
        for number, step in enumerate(steps, 1):
            due += self._settings.thinking_pace if step.is_thinking else self._settings.token_delay
            if due > self._clock.time() or number % _BURST == 0:
                await sleep(self._clock, due - self._clock.time())
            frame = encode_event("chunk", encode(step.chunk))
            await self._advance(progress=_ALMOST * number // len(steps), frames=(frame,))
            self._stats.chunks += 1
        return len(steps)

    async def _pass_time(self, script: Script) -> None:
        """Take the time that writing would take."""
        written = script.tokens - script.thinking_tokens
        seconds = (
            script.thinking_tokens * self._settings.thinking_pace
            + written * self._settings.token_delay
        )
        steps = min(_MOST_UNSEEN_STEPS, 1 + int(seconds / _SHORTEST_UNSEEN_STEP)) if seconds else 0
        start = self._clock.time()
        for number in range(1, steps + 1):
            await sleep(self._clock, start + seconds * number / steps - self._clock.time())
            await self._advance(progress=_ALMOST * number // steps)

    async def _advance(
        self, *, progress: int, status: str | None = None, frames: Sequence[bytes] = ()
    ) -> None:
        if progress != self._task.progress or status is not None:
            self._task = replace(self._task, status=status or self._task.status, progress=progress)
        elif not frames:
            return
        await self._store.advance(self._task, frames)
