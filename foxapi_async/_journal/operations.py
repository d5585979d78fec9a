"""The operations on a journal file, as values. `tables` executes them as SQL in its thread."""

from enum import IntEnum
from typing import Any, NamedTuple

from foxapi_async._journal.records import EntryId, FinalRecord, Intent
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


def at(entry_id: EntryId) -> Values:
    """Return the values that match the row of an entry."""
    return {"at_run": entry_id.run, "at_number": entry_id.number}
