"""The methods of a journal, and the journal of a session that has no file."""

from collections.abc import AsyncIterator, Collection
from itertools import count
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from foxapi_async._journal.records import (
    FAILED,
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
from foxapi_async._wire.base import encode
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.media_request import Kind
from foxapi_async._wire.task import Task
from foxapi_async.errors import ConfigError, FoxAPIError, SessionClosedError


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


class _Accepted(Struct, frozen=True, gc=False):
    """An accepted submission in few bytes: a session may make a million."""

    task_id: str
    model: str
    fingerprint: bytes
    sent_at: float
    streamed: bool
    kind: Kind = "llm"


class InMemoryJournal:
    """Holds the submissions that have a key, until the session is closed.

    A forgotten key would be billed twice, so each is kept, in about 350 bytes. A submission without
    a key takes no memory.
    """

    is_durable: bool = False

    def __init__(self) -> None:
        self._numbers = count(1)
        self._names: dict[EntryId, tuple[str, str]] = {}
        # Submissions under way, failed, or of unknown outcome, by service and key.
        self._entries: dict[tuple[str, str], Entry] = {}
        # Accepted submissions, by service and key.
        self._accepted: dict[str, dict[str, _Accepted]] = {}
        self._uploads: dict[tuple[str, ContentMark, str], StoredUpload] = {}

    async def open(self) -> None:
        """Do nothing."""

    def rate_store(self, name: str) -> None:
        """Return ``None``: no other process has this journal."""

    async def find(self, service: str, key: str) -> Entry | None:
        """Return what ``key`` was used for in this session."""
        return self._find((service, key))

    async def record_intent(self, intent: Intent) -> EntryId | Entry:
        """Remember the intent if it has a key."""
        entry_id = self._new_id()
        if intent.key is None:
            return entry_id
        name = intent.service, intent.key
        holder = self._find(name)
        if holder is not None and not _is_retried(holder, intent):
            return holder
        self._names[entry_id] = name
        self._entries[name] = Entry.of(entry_id, intent)
        return entry_id

    async def sum_up(self, service: str) -> Spent:
        """Return nothing: the session counts what it spends itself."""
        del service
        return Spent()

    def spent(self, service: str) -> Spent | None:
        """Return ``None``."""
        del service
        return None

    def end_turn(self, service: str, task_id: str) -> None:
        """Do nothing: no other process waits."""

    async def record_accepted(self, entry_id: EntryId, task: Task) -> None:
        """Remember the task of a key."""
        name = self._names.pop(entry_id, None)
        if name is None:
            return
        entry = self._entries.pop(name)
        self._accepted.setdefault(entry.service, {})[name[1]] = _Accepted(
            task_id=task.id,
            model=entry.model,
            fingerprint=bytes.fromhex(entry.fingerprint),
            sent_at=entry.sent_at,
            streamed=task.stream is not None,
            kind=entry.kind,
        )

    async def record_refused(
        self, entry_id: EntryId, fault: FoxAPIError | SessionClosedError
    ) -> None:
        """Set the key free."""
        del fault
        name = self._names.pop(entry_id, None)
        if name is not None:
            del self._entries[name]

    async def record_unknown(
        self, entry_id: EntryId, fault: FoxAPIError, task_id: str | None = None
    ) -> None:
        """Remember that the key may have been used."""
        name = self._names.pop(entry_id, None)
        if name is not None:
            entry, why = self._entries[name], error_text(fault)
            self._entries[name] = replace(entry, stage=Stage.UNKNOWN, fault=why, task_id=task_id)

    def record_finished(self, record: FinalRecord) -> None:
        """Remember a failure, which lets the key be retried; a result is kept by the handle."""
        if record.key is None or record.stage not in FAILED:
            return
        name = record.service, record.key
        entry = self._find(name)
        if entry is not None and entry.task_id == record.task.id:
            task = encode(record.task)
            self._entries[name] = replace(entry, stage=record.stage, task=task)
            self._accepted.get(record.service, {}).pop(record.key, None)

    def record_streamed(self, service: str, task_id: str, completion: ChatCompletion) -> None:
        """Do nothing: the handle keeps it."""

    def record_lost(self, service: str, task_id: str, fault: FoxAPIError) -> None:
        """Do nothing: the waiter gets the error."""

    async def find_uploads(
        self, service: str, mark: ContentMark, after: float
    ) -> list[StoredUpload]:
        """Return the uploads of this session with this mark."""
        return [
            upload
            for upload in self._uploads.values()
            if (upload.service, upload.mark) == (service, mark) and upload.expires_at > after
        ]

    async def record_upload(self, upload: StoredUpload, now: float) -> None:
        """Remember an upload."""
        self._uploads = {
            name: known for name, known in self._uploads.items() if known.expires_at > now
        }
        self._uploads[upload.service, upload.mark, upload.digest] = upload

    async def entries(
        self, service: str | None = None, stages: Collection[Stage] | None = None
    ) -> list[Entry]:
        """Raise ``ConfigError``: nothing outlives the session."""
        del service, stages
        raise _no_journal()

    def scan(
        self, service: str | None = None, stages: Collection[Stage] | None = None
    ) -> AsyncIterator[Entry]:
        """Raise ``ConfigError``: nothing outlives the session."""
        del service, stages
        raise _no_journal()

    async def aclose(self) -> None:
        """Do nothing."""

    def _new_id(self) -> EntryId:
        return EntryId("memory", next(self._numbers))

    def _find(self, name: tuple[str, str]) -> Entry | None:
        service, key = name
        accepted = self._accepted.get(service, {}).get(key)
        if accepted is None:
            return self._entries.get(name)
        return Entry(
            id=self._new_id(),
            service=service,
            key=key,
            kind=accepted.kind,
            model=accepted.model,
            fingerprint=accepted.fingerprint.hex(),
            stage=Stage.ACCEPTED,
            sent_at=accepted.sent_at,
            streamed=accepted.streamed,
            task_id=accepted.task_id,
        )


def _no_journal() -> ConfigError:
    return ConfigError("this session keeps no journal: build it as FoxSession(journal='tasks.db')")


def _is_retried(holder: Entry, intent: Intent) -> bool:
    return holder.id == intent.replaces and holder.stage in FAILED


def error_text(fault: FoxAPIError | SessionClosedError) -> str:
    """Return the class and the text of an error, as a journal stores it; it has no secret."""
    return f"{type(fault).__name__}: {fault}"[:500]
