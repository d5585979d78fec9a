"""The simulated models: the script of an answer, written at the configured pace."""

import asyncio
from collections.abc import Sequence
from typing import Final

from foxapi_async._clock import sleep
from foxapi_async._wire.chunk import Delta
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async.gateway.models.model import RESTARTED_MESSAGE, Job, ModelError, ModelKind, Output
from foxapi_async.gateway.models.script import AnswerScript, ScriptedChunk
from foxapi_async.gateway.models.simulate import is_costly, simulate
from foxapi_async.gateway.response_structs import encode_chunk
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.timer_coalescing import CoalescedTimer

_MAX_PROGRESS_BEFORE_END: Final = 99
# A task without a stream shows nothing but its progress, so it takes fewer and longer steps.
_MAX_PROGRESS_STEPS: Final = 10
_MIN_PROGRESS_STEP: Final = 0.05
# Overdue chunks that are written together before other tasks of the loop run.
_MAX_BURST: Final = 32


class SimulatedModel:
    """Answers every request with its script. One instance serves all simulated models.

    Args:
        settings: The delays and the clock.
    """

    kind: ModelKind = "simulated"
    is_repeatable: bool = True

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._clock = settings.clock
        self._timer = CoalescedTimer(settings.clock)
        # At most one costly simulation per loop iteration: a restart may resume thousands of tasks.
        self._simulation_lock = asyncio.Lock()

    async def open(self) -> None:
        """Do nothing: a simulation needs no resources."""

    async def aclose(self) -> None:
        """Do nothing: a simulation holds no resources."""

    async def answer(self, job: Job, output: Output) -> ChatCompletion:
        """Wait for the queue delay, write the script at its pace and return its completion.

        Raises:
            ModelError: The prompt asks for a failure, or its schema has no value.
        """
        start = self._clock.time()
        if not output.is_started:
            # Delays count from the time when the queue delay ends, not from when its timer fires:
            # a busy loop would shift all chunks.
            start += self._settings.queue_delay
            await sleep(self._clock, self._settings.queue_delay)
            await output.start()
        script = await self._simulate(job)
        if job.request.stream:
            await self._write(list(script.chunks()), start, output)
        else:
            await self._make_progress(script, start, output)
        if script.error is not None:
            raise ModelError(script.error.code, script.error.message)
        return script.completion

    async def _simulate(self, job: Job) -> AnswerScript:
        if not is_costly(job.request):
            return simulate(job.request, completion_id=job.id, created=job.created)
        async with self._simulation_lock:
            await sleep(self._clock, 0)
            return simulate(job.request, completion_id=job.id, created=job.created)

    async def _write(self, chunks: Sequence[ScriptedChunk], start: float, output: Output) -> None:
        """Write each chunk when it is due after ``start``, overdue ones together.

        Chunks that an earlier run of the gateway has written are skipped.
        """
        written = len(output.written)
        if not _starts_with(chunks, output.written):
            # The stream must not mix two different answers.
            raise ModelError("service_restarted", RESTARTED_MESSAGE)
        clock = self._clock
        token_delay = self._settings.token_delay
        thinking_delay = self._settings.effective_thinking_delay
        due = start
        deltas: list[Delta] = []
        for number, chunk in enumerate(chunks[written:], written + 1):
            due += thinking_delay if chunk.is_thinking else token_delay
            is_early = due > clock.time()
            if deltas and (is_early or len(deltas) == _MAX_BURST):
                await self._publish(deltas, number - 1, len(chunks), output)
                deltas = []
            if is_early:
                await self._timer.sleep_until(due)
            deltas.append(chunk.delta)
        if deltas:
            await self._publish(deltas, len(chunks), len(chunks), output)

    async def _publish(
        self, deltas: Sequence[Delta], written: int, total: int, output: Output
    ) -> None:
        """Write chunks; after a full burst, let the other tasks of the loop run."""
        await output.write(deltas, progress=_MAX_PROGRESS_BEFORE_END * written // total)
        if len(deltas) == _MAX_BURST:
            await sleep(self._clock, 0)

    async def _make_progress(self, script: AnswerScript, start: float, output: Output) -> None:
        """Advance the progress for as long as writing the tokens from ``start`` on would take."""
        written = script.tokens - script.thinking_tokens
        seconds = (
            script.thinking_tokens * self._settings.effective_thinking_delay
            + written * self._settings.token_delay
        )
        steps = min(_MAX_PROGRESS_STEPS, 1 + int(seconds / _MIN_PROGRESS_STEP)) if seconds else 0
        # A resumed task skips the steps of its earlier run. The progress has at least one percent
        # for each step, so the number of those steps follows from it.
        taken = -(-output.progress * steps // _MAX_PROGRESS_BEFORE_END)
        start -= seconds * taken / steps if steps else 0.0
        for number in range(taken + 1, steps + 1):
            await sleep(self._clock, start + seconds * number / steps - self._clock.time())
            await output.write((), progress=_MAX_PROGRESS_BEFORE_END * number // steps)


def _starts_with(chunks: Sequence[ScriptedChunk], written: Sequence[bytes]) -> bool:
    return len(written) <= len(chunks) and all(
        encode_chunk(chunk.delta) == frame for chunk, frame in zip(chunks, written, strict=False)
    )
