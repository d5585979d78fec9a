"""The methods of a journal."""

from collections.abc import AsyncIterator, Collection
from typing import Protocol

from foxapi_async._journal.records import (
    ContentMark,
    Entry,
    EntryId,
    FinalRecord,
    Intent,
    Stage,
    StoredUpload,
)
from foxapi_async._protocol.spent import Spent
from foxapi_async._protocol.submit_rate import RateStore
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.task import Task
from foxapi_async.errors import FoxAPIError, SessionClosedError


class JournalBackend(Protocol):
    """Records each step of a submission before the next step is accepted.

    A method that raises ``JournalError`` before the POST stops the submission there.
    """

    @property
    def is_durable(self) -> bool:
        """Whether records outlive the process. The caller masks the API key in such records."""
        ...

    async def open(self) -> None:
        """Open the file; further calls do nothing."""
        ...

    def rate_store(self, name: str) -> RateStore | None:
        """Return the rate that processes share; ``None`` if no other one has this journal."""
        ...

    async def find(self, service: str, key: str) -> Entry | None:
        """Return the entry that holds ``key``, at its current stage."""
        ...

    async def record_intent(self, intent: Intent) -> EntryId | Entry:
        """Record that a request is about to be sent, and return the id of the new entry.

        If another entry holds the key, that entry is returned and nothing may be sent. An intent
        that replaces this entry takes its place; of several such intents at once, one does.

        Raises:
            BudgetExceededError: A budget has too little left for its reservation.
            PriceUnknownError: Another process is about to find out what a task of the model costs.
        """
        ...

    async def sum_up(self, service: str) -> Spent:
        """Count the entries of a service, before its first intent with a reservation."""
        ...

    def spent(self, service: str) -> Spent | None:
        """Return what the entries of a service have cost; ``None`` before ``sum_up``."""
        ...

    def end_turn(self, service: str, task_id: str) -> None:
        """Let others submit to the model of a task whose cost stays unknown."""
        ...

    async def record_accepted(self, entry_id: EntryId, task: Task) -> None:
        """Record the task of an accepted submission."""
        ...

    async def record_refused(
        self, entry_id: EntryId, fault: FoxAPIError | SessionClosedError
    ) -> None:
        """Record that the service provably did not accept the submission."""
        ...

    async def record_unknown(
        self, entry_id: EntryId, fault: FoxAPIError, task_id: str | None = None
    ) -> None:
        """Record that the service may have accepted it, as ``task_id`` if an id was seen."""
        ...

    def record_finished(self, record: FinalRecord) -> None:
        """Record how a task ended. It is written soon, and at the latest by ``aclose``."""
        ...

    def record_streamed(self, service: str, task_id: str, completion: ChatCompletion) -> None:
        """Record what the stream of a task delivered to its end; written as ``record_finished``."""
        ...

    def record_lost(self, service: str, task_id: str, fault: FoxAPIError) -> None:
        """Record that the service does not know the task; written as ``record_finished``."""
        ...

    async def find_uploads(
        self, service: str, mark: ContentMark, after: float
    ) -> list[StoredUpload]:
        """Return the uploads with this mark whose link is valid ``after`` that Unix time."""
        ...

    async def record_upload(self, upload: StoredUpload, now: float) -> None:
        """Record an upload, in place of one of the same file; drop what has expired ``now``."""
        ...

    async def entries(
        self, service: str | None = None, stages: Collection[Stage] | None = None
    ) -> list[Entry]:
        """Return entries in the order they were sent: all, or those at one of ``stages``.

        An entry that is ``SENT`` by a process that has ended is ``UNKNOWN`` here.
        """
        ...

    def scan(
        self, service: str | None = None, stages: Collection[Stage] | None = None
    ) -> AsyncIterator[Entry]:
        """Iterate over the entries that ``entries`` returns, with few of them in memory."""
        ...

    async def aclose(self) -> None:
        """Write what is not written yet, and close the file."""
        ...


def error_text(fault: FoxAPIError | SessionClosedError) -> str:
    """Return the class and the text of an error, as a journal stores it; it has no secret."""
    return f"{type(fault).__name__}: {fault}"[:500]
