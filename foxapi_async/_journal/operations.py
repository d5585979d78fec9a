"""The operations on a journal file, as values. `tables` executes them as SQL in its thread."""

from enum import IntEnum
from typing import Any, Literal, NamedTuple

from foxapi_async._journal.entry_usage import EntryUsage, decode_usage
from foxapi_async._journal.records import Entry, EntryId, FinalRecord, Intent, Stage
from foxapi_async._protocol.spent import Spent, TaskCost
from foxapi_async._wire.base import encode
from foxapi_async._wire.completion import ChatCompletion, encode_completion
from foxapi_async._wire.task import Task

Values = dict[str, Any]


class Statement(IntEnum):
    """The kinds of updates, in the order in which they happen to an entry."""

    MARK_ACCEPTED = 0
    MARK_REFUSED = 1
    MARK_UNKNOWN = 2
    MARK_LOST = 3
    STORE_STREAMED = 4
    MARK_FINISHED = 5


class Claim(NamedTuple):
    """An intent that is to be inserted, unless its key is in use."""

    id: EntryId
    intent: Intent


class ClaimResult(NamedTuple):
    """The result of a claim with a reservation."""

    holder: Entry | None
    """The entry that holds the key, or ``None``."""
    error: Exception | None
    """Why nothing was inserted: ``BudgetExceededError``, ``PriceUnknownError``, or the error of the
    claim."""
    spent: Spent
    """The sums after it."""


class FindEntry(NamedTuple):
    """A query for the entry of a key. It runs in the transaction of its commit."""

    service: str
    key: str


class EntryUpdate(NamedTuple):
    """An update of the rows that its values match. One that matches no row changes nothing."""

    statement: Statement
    values: Values

    @classmethod
    def accepted(cls, entry_id: EntryId, task: Task) -> "EntryUpdate":
        """Store the task; the request is deleted."""
        values = {
            **at(entry_id),
            "new_streamed": task.stream is not None,
            "new_task_id": task.id,
            "new_task": encode(task),
        }
        return cls(Statement.MARK_ACCEPTED, values)

    @classmethod
    def refused(cls, entry_id: EntryId, error: str) -> "EntryUpdate":
        """Set the key free; the request is deleted."""
        return cls(Statement.MARK_REFUSED, {**at(entry_id), "new_fault": error})

    @classmethod
    def unknown(cls, entry_id: EntryId, error: str, task_id: str | None) -> "EntryUpdate":
        """Store that the outcome is unknown; ``task_id`` is the id of the task, if one was seen."""
        values = {**at(entry_id), "new_fault": error, "new_task_id": task_id}
        return cls(Statement.MARK_UNKNOWN, values)

    @classmethod
    def lost(cls, service: str, task_id: str, error: str) -> "EntryUpdate":
        """Store that the service does not know the task."""
        values = {"of_service": service, "of_task_id": task_id, "new_fault": error}
        return cls(Statement.MARK_LOST, values)

    @classmethod
    def streamed(cls, service: str, task_id: str, completion: ChatCompletion) -> "EntryUpdate":
        """Store what a stream delivered to its end."""
        values = {
            "of_service": service,
            "of_task_id": task_id,
            "new_completion": encode_completion(completion),
            "new_cut": False,
        }
        return cls(Statement.STORE_STREAMED, values)

    @classmethod
    def finished(cls, record: FinalRecord, now: float) -> "EntryUpdate":
        """Store how a task ended."""
        completion = record.streamed_completion
        values = {
            "of_service": record.service,
            "of_task_id": record.task.id,
            "new_stage": record.stage,
            "new_end": now,
            "new_task": encode(record.task),
            "new_completion": encode_completion(completion) if completion is not None else None,
            "new_cut": record.stream_was_cut,
        }
        return cls(Statement.MARK_FINISHED, values)


CostKind = Literal["accepted", "opened", "ended", "released"]
"""What becomes of a submission: ``opened`` says that no other one waits for its end any more, and
``released`` that it was not accepted."""


class CostChange(NamedTuple):
    """A change of the cost of an entry, if it has one. Its result is the sums of the service."""

    service: str
    entry: EntryId | str
    """The entry, or the id of its task."""
    kind: CostKind
    """What has become of the submission."""
    usage: EntryUsage = EntryUsage()
    """What the task is known to have used."""
    is_completed: bool = False
    """Whether the task has its result."""

    @classmethod
    def ended(cls, record: FinalRecord, task: bytes) -> "CostChange":
        """Count what a task has used, of which ``task`` is the JSON."""
        usage = decode_usage(task)
        streamed = record.streamed_completion
        if streamed is not None and streamed.usage is not None and not usage.completion_tokens:
            usage = EntryUsage(
                credits=usage.credits,
                prompt_tokens=streamed.usage.prompt_tokens,
                completion_tokens=streamed.usage.completion_tokens,
            )
        is_completed = record.stage is Stage.COMPLETED
        return cls(record.service, record.task.id, "ended", usage, is_completed)

    def apply(self, cost: TaskCost) -> TaskCost | None:
        """Return the cost after the change; ``None`` if it does not count any more."""
        if self.kind == "released":
            return None
        if self.kind == "accepted":
            return cost.accepted(self.usage.credits)
        if self.kind == "opened":
            return cost.opened()
        return ended_cost(cost, self.usage, is_completed=self.is_completed)


def ended_cost(cost: TaskCost, usage: EntryUsage, *, is_completed: bool) -> TaskCost:
    """Return the cost of a task that has ended."""
    return cost.ended(
        credits_=usage.credits,
        prompt_tokens=usage.prompt_tokens,
        answer_tokens=usage.completion_tokens,
        is_completed=is_completed,
    )


def at(entry_id: EntryId) -> Values:
    """Return the values that match the row of an entry."""
    return {"at_run": entry_id.run, "at_number": entry_id.number}
