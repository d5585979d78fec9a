"""One task on its way from pending to its end (contract §4.3)."""

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
from foxapi_async.gateway.models import Frame, Script, is_costly, simulate
from foxapi_async.gateway.response_structs import TaskFault
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.stats import Stats
from foxapi_async.gateway.store import Store
from foxapi_async.gateway.timer_coalescing import CoalescedTimer

_ALMOST: Final = 99
# A task that nobody can follow chunk by chunk moves in fewer steps, to spare the loop.
_MOST_UNSEEN_STEPS: Final = 10
_SHORTEST_UNSEEN_STEP: Final = 0.05
# So many chunks may be late and written at once before others have their turn.
_BURST: Final = 32

_encode: Final = msgspec.json.Encoder().encode

CRASHED: Final = TaskFault.of("generation_failed", "the model crashed")
RESTARTED: Final = TaskFault.of(
    "service_restarted", "the service was restarted and could not go on with the task"
)


class Generation:
    """Runs one task. Every state is in the store before the next is begun."""

    def __init__(
        self,
        task: UnifiedTask,
        *,
        settings: GatewaySettings,
        beat: CoalescedTimer,
        modelling: asyncio.Lock,
        store: Store,
        stats: Stats,
    ) -> None:
        self._task = task
        self._settings = settings
        self._clock = settings.clock
        self._beat = beat
        self._modelling = modelling
        self._store = store
        self._stats = stats

    @property
    def id(self) -> str:
        """The id of the task."""
        return self._task.id

    async def run(self, request: GenerationRequest, written: Sequence[bytes] = ()) -> None:
        """Wait in the queue, write the answer at the pace of the settings, and end.

        A task that an earlier run of the gateway began goes on where it was: after the chunks that
        it has ``written``, which the model says again, or with the rest of its time.
        """
        if self._task.status == Status.PENDING:
            await sleep(self._clock, self._settings.queue_delay)
            await self._advance(status=Status.PROCESSING, progress=0)
        script = await self._script(request)
        steps = list(script.steps()) if request.stream else []
        if not _continues(steps, written):
            # Half of one answer and half of another would be neither.
            await self.fail(RESTARTED)
            return
        if request.stream:
            await self._write(steps, len(written))
        else:
            await self._pass_time(script)
        if script.fault is not None:
            await self.fail(script.fault)
        else:
            await self._complete(script, len(steps))

    async def _script(self, request: GenerationRequest) -> Script:
        name = self._task.id.removeprefix("task-llm-")
        if not is_costly(request):
            return simulate(request, completion_id=f"chatcmpl-{name}", created=self._task.created)
        async with self._modelling:
            await sleep(self._clock, 0)
            return simulate(request, completion_id=f"chatcmpl-{name}", created=self._task.created)

    async def fail(self, fault: TaskFault) -> None:
        """End the task with an error. Its stream has but a message for it (contract Q12)."""
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

    async def _write(self, steps: Sequence[Frame], written: int) -> None:
        """Write the chunks that are not yet written, each when it is due; late ones together."""
        clock = self._clock
        thinking, writing = self._settings.thinking_pace, self._settings.token_delay
        due = clock.time()
        frames: list[bytes] = []
        for number, step in enumerate(steps[written:], written + 1):
            due += thinking if step.is_thinking else writing
            is_early = due > clock.time()
            if frames and (is_early or len(frames) == _BURST):
                await self._hand_over(frames, number - 1, len(steps))
                frames = []
            if is_early:
                await self._beat.sleep_until(due)
            frames.append(_frame(step))
        if frames:
            await self._hand_over(frames, len(steps), len(steps))

    async def _hand_over(self, frames: Sequence[bytes], written: int, total: int) -> None:
        """Let chunks be seen, and then others have their turn."""
        await self._advance(progress=_ALMOST * written // total, frames=frames)
        self._stats.chunks += len(frames)
        if len(frames) == _BURST:
            await sleep(self._clock, 0)

    async def _pass_time(self, script: Script) -> None:
        """Take the time that writing would take."""
        written = script.tokens - script.thinking_tokens
        seconds = (
            script.thinking_tokens * self._settings.thinking_pace
            + written * self._settings.token_delay
        )
        steps = min(_MOST_UNSEEN_STEPS, 1 + int(seconds / _SHORTEST_UNSEEN_STEP)) if seconds else 0
        # The steps that it took before, if it was at it before: none are lost, for there are fewer
        # of them than of percents.
        taken = -(-self._task.progress * steps // _ALMOST)
        start = self._clock.time() - seconds * taken / steps if steps else 0.0
        for number in range(taken + 1, steps + 1):
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


def _frame(step: Frame) -> bytes:
    # What `encode_event` would write: JSON has no line ends, and a chunk of ours no `extra`.
    return b"event: chunk\ndata: %b\n\n" % _encode(step.chunk)


def _continues(steps: Sequence[Frame], written: Sequence[bytes]) -> bool:
    """Tell whether an answer begins with what is written."""
    return len(written) <= len(steps) and all(
        _frame(step) == frame for step, frame in zip(steps, written, strict=False)
    )
