"""The journal of a session that has no file."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Collection
from itertools import count
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from foxapi_async._journal.digest_set import DigestSet
from foxapi_async._journal.protocol import error_text
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
from foxapi_async._wire.base import encode
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.media_request import Kind
from foxapi_async._wire.task import Task
from foxapi_async._wire.violation import Violation
from foxapi_async.errors import (
    ConfigError,
    FoxAPIError,
    RequestValidationError,
    SessionClosedError,
)

KEPT: Final = 10_000
"""How many keys whose task has ended lead to their task."""


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

    A forgotten key would be billed twice, so none is. But of those whose task has ended, only the
    newest ``KEPT`` lead to their task: the others are kept as digests, and using one again is an
    error. A submission without a key takes no memory.
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
        # The names of those that have ended, the newest last, and the digests of the older ones.
        self._ended: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._older: DigestSet | None = None

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
        self._ended.pop(name, None)
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
        if record.key is None:
            return
        name = record.service, record.key
        accepted = self._accepted.get(record.service, {}).get(record.key)
        if accepted is None or accepted.task_id != record.task.id:
            return
        if record.stage in FAILED:
            entry = self._entry(name, accepted)
            self._entries[name] = replace(entry, stage=record.stage, task=encode(record.task))
            del self._accepted[record.service][record.key]
        self._ended[name] = None
        if len(self._ended) > KEPT:
            self._shorten(*self._ended.popitem(last=False)[0])

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

    def _shorten(self, service: str, key: str) -> None:
        """Keep the digest of a key alone."""
        self._entries.pop((service, key), None)
        self._accepted[service].pop(key, None)
        if self._older is None:
            self._older = DigestSet()
        self._older.add(_text((service, key)))

    def _new_id(self) -> EntryId:
        return EntryId("memory", next(self._numbers))

    def _find(self, name: tuple[str, str]) -> Entry | None:
        service, key = name
        accepted = self._accepted.get(service, {}).get(key)
        if accepted is not None:
            return self._entry(name, accepted)
        entry = self._entries.get(name)
        if entry is None and self._older is not None and _text(name) in self._older:
            raise _is_forgotten(key)
        return entry

    def _entry(self, name: tuple[str, str], accepted: _Accepted) -> Entry:
        return Entry(
            id=self._new_id(),
            service=name[0],
            key=name[1],
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


def _text(name: tuple[str, str]) -> str:
    return "\0".join(name)


def _is_forgotten(key: str) -> RequestValidationError:
    return RequestValidationError(
        [
            Violation(
                code="key_conflict",
                param="key",
                message=f"{key!r} was submitted before, and without a journal a session finds the "
                f"tasks of its {KEPT:,} newest keys only: nothing was submitted",
            )
        ],
        advice="Open FoxSession(journal='tasks.db'), which finds the task of every key.",
    )
