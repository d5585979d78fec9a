"""One task from pending to its end (contract §4.3)."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from foxapi_async._protocol.sse import encode_event
from foxapi_async._wire.chunk import Delta
from foxapi_async._wire.completion import Usage
from foxapi_async._wire.task import Status
from foxapi_async.gateway.billing import Billing
from foxapi_async.gateway.models import RESTARTED_MESSAGE, Model, ModelError
from foxapi_async.gateway.response_structs import TaskErrorBody, UnifiedTask, encode_chunk
from foxapi_async.gateway.stats import GatewayStats
from foxapi_async.gateway.store import Store, Unfinished
from foxapi_async.gateway.work import Work, WorkResult

CRASHED: Final = TaskErrorBody.of("generation_failed", "the model crashed")
RESTARTED: Final = TaskErrorBody.of("service_restarted", RESTARTED_MESSAGE)
_NO_MODEL: Final = TaskErrorBody.of(
    "model_unavailable", "the service was restarted and does not have this model any more"
)
# By what answered the task.
_MISSING: Final = {
    "simulated": "the model was simulated, and a real one or none has its name now; leave out "
    "--only-upstream, and --local or --upstream-model for this name",
    "upstream": "the model was that of an upstream; add --upstream URL --upstream-model NAME, or "
    "--upstreams FILE",
    "local": "the model was the local one; add --local",
}
_NO_TOKENS: Final = Usage()


def restart_error(unfinished: Unfinished, model: Model | None) -> TaskErrorBody | None:
    """Return why a task of an earlier run cannot be given to a model.

    Args:
        unfinished: The task.
        model: The model that has the name now, ``None`` if no model has it.
    """
    kind = unfinished.kind
    if model is not None and kind in {None, model.kind}:
        return None
    is_started = unfinished.task.status != Status.PENDING
    if kind == "scripted" or (is_started and kind in {"upstream", "local"}):
        return RESTARTED
    if kind not in _MISSING:
        return _NO_MODEL
    return TaskErrorBody.of(
        "model_unavailable",
        f"the service was restarted without the model of this task: {_MISSING[kind]}",
    )


class Generation:
    """Runs one task: the output of its work. Every state is stored before the next one begins.

    Args:
        task: The current snapshot of the task.
        owner: The owner of the task.
        store: Stores snapshots and chunks.
        stats: The counters.
        billing: Computes and charges what the task costs.
        written: The chunks that an earlier run of the gateway has written.
    """

    __slots__ = ("_billing", "_count", "_owner", "_stats", "_store", "_task", "written")

    def __init__(
        self,
        task: UnifiedTask,
        *,
        owner: str,
        store: Store,
        stats: GatewayStats,
        billing: Billing,
        written: Sequence[bytes] = (),
    ) -> None:
        self._task = task
        self._owner = owner
        self._store = store
        self._stats = stats
        self._billing = billing
        self._count = len(written)
        self.written: Sequence[bytes] = written
        """The chunks that an earlier run of the gateway has written."""

    @property
    def id(self) -> str:
        """The id of the task."""
        return self._task.id

    @property
    def is_started(self) -> bool:
        """Whether the task is processing: started in this run of the gateway or an earlier one."""
        return self._task.status != Status.PENDING

    @property
    def progress(self) -> int:
        """The stored progress."""
        return self._task.progress

    async def run(self, work: Work) -> None:
        """Do the work of the task and end it.

        A task that an earlier run of the gateway has started continues if its work can be repeated;
        otherwise it fails.
        """
        if self.is_started and not work.is_repeatable:
            await self.fail(RESTARTED)
            return
        try:
            outcome = await work.run(self)
        except ModelError as error:
            await self.fail(TaskErrorBody.of(error.code, error.message))
        else:
            await self._complete(outcome)

    async def fail(self, error: TaskErrorBody) -> None:
        """End the task with an error. The stream ends with its message alone (contract Q12)."""
        failed = replace(self._task, status=Status.FAILED, error=error)
        closing = msgspec.json.encode({"message": error.message})
        await self._finish(failed, encode_event("error", closing), _NO_TOKENS)
        self._stats.failed += 1

    async def start(self) -> None:
        """Change the task from pending to processing."""
        if not self.is_started:
            self._task = replace(self._task, status=Status.PROCESSING, progress=0)
            await self._store.advance(self._task, ())

    async def write(self, deltas: Sequence[Delta], *, progress: int) -> None:
        """Store chunks, if the task has a stream, together with the progress."""
        frames = [encode_chunk(delta) for delta in deltas] if self._task.stream else ()
        if progress > self._task.progress:
            self._task = replace(self._task, progress=progress)
        elif not frames:
            return
        await self._store.advance(self._task, frames)
        self._count += len(frames)
        self._stats.chunks += len(frames)

    async def _complete(self, outcome: WorkResult) -> None:
        completed = replace(
            self._task, status=Status.COMPLETED, progress=100, results=outcome.results
        )
        closing = msgspec.json.encode({"total_chunks": self._count})
        await self._finish(completed, encode_event("done", closing), outcome.usage)
        self._stats.completed += 1

    async def _finish(self, task: UnifiedTask, closing: bytes, usage: Usage | None) -> None:
        """Settle the price of the task and store its end."""
        reserved = self._task.credits
        settled = replace(task, usage=self._billing.settle(task.model, task.usage, usage))
        await self._store.finish(settled, closing)
        self._task = settled
        self._billing.adjust(self._owner, settled.credits - reserved)
