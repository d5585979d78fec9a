"""What a journal must do, and the one that lasts as long as its session."""

from collections.abc import Collection
from itertools import count
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from foxapi_async._journal.records import FAILED, Entry, EntryId, FinalRecord, Intent, Stage
from foxapi_async._wire.base import encode
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.task import Task
from foxapi_async.errors import ConfigError, FoxAPIError, SessionClosedError


class JournalBackend(Protocol):
    """Writes down each step of a submission before the next one is taken.

    A method that raises ``JournalError`` before the POST stops the submission where it stands.
    """

    async def open(self) -> None:
        """Get ready to write; further calls do nothing."""
        ...

    async def find(self, service: str, key: str) -> Entry | None:
        """Return what ``key`` was used for, as far as it is known now."""
        ...

    async def intended(self, intent: Intent) -> EntryId | Entry:
        """Write down that a request is about to be sent, and return the name of the entry.

        Returns the entry that holds its key, if there is one, and then nothing may be sent. An
        intent that replaces this entry takes its place: of several at once, one does.
        """
        ...

    async def accepted(self, note: EntryId, task: Task) -> None:
        """Write down the task that the service made of it."""
        ...

    async def refused(self, note: EntryId, fault: FoxAPIError | SessionClosedError) -> None:
        """Write down that the service provably did not take it."""
        ...

    async def unknown(self, note: EntryId, fault: FoxAPIError, task_id: str | None = None) -> None:
        """Write down that the service may have taken it, as ``task_id`` if an id was seen."""
        ...

    def finished(self, ending: FinalRecord) -> None:
        """Note how a task ended, to be written down soon, and at the latest by ``aclose``."""
        ...

    def heard(self, service: str, task_id: str, answer: ChatCompletion, *, wins: bool) -> None:
        """Note what the stream of a task has said, whose end nobody has looked at yet."""
        ...

    def lost(self, service: str, task_id: str, fault: FoxAPIError) -> None:
        """Note that the service does not know a task, which it may yet know again."""
        ...

    async def entries(
        self, service: str | None = None, stages: Collection[Stage] | None = None
    ) -> list[Entry]:
        """Return entries in the order they were sent: all of them, or those of these stages.

        Nobody is left in doubt: what a process that has ended had just sent is ``UNKNOWN`` here.
        """
        ...

    async def aclose(self) -> None:
        """Write down what is still to be written, and let go of the file."""
        ...


class _Taken(Struct, frozen=True, gc=False):
    """What is left of an accepted submission: a session may make a million, and forgets none."""

    task_id: str
    model: str
    fingerprint: bytes
    sent_at: float
    streamed: bool


class InMemoryJournal:
    """Remembers the submissions that have a key, and forgets them with the session.

    A forgotten key would be billed twice, so none is; each takes about 350 bytes. What has no key
    takes none.
    """

    def __init__(self) -> None:
        self._numbers = count(1)
        self._names: dict[EntryId, tuple[str, str]] = {}
        # Those under way, and those whose end is unknown or a failure.
        self._entries: dict[tuple[str, str], Entry] = {}
        # The others, by service and key.
        self._taken: dict[str, dict[str, _Taken]] = {}

    async def open(self) -> None:
        """Do nothing."""

    async def find(self, service: str, key: str) -> Entry | None:
        """Return what ``key`` was used for in this session."""
        return self._find((service, key))

    async def intended(self, intent: Intent) -> EntryId | Entry:
        """Remember the intent if it has a key."""
        note = self._note()
        if intent.key is None:
            return note
        name = intent.service, intent.key
        holder = self._find(name)
        if holder is not None and not _is_retried(holder, intent):
            return holder
        self._names[note] = name
        self._entries[name] = Entry.of(note, intent)
        return note

    async def accepted(self, note: EntryId, task: Task) -> None:
        """Remember the task of a key."""
        name = self._names.pop(note, None)
        if name is None:
            return
        entry = self._entries.pop(name)
        self._taken.setdefault(entry.service, {})[name[1]] = _Taken(
            task_id=task.id,
            model=entry.model,
            fingerprint=bytes.fromhex(entry.fingerprint),
            sent_at=entry.sent_at,
            streamed=task.stream is not None,
        )

    async def refused(self, note: EntryId, fault: FoxAPIError | SessionClosedError) -> None:
        """Set the key free."""
        del fault
        name = self._names.pop(note, None)
        if name is not None:
            del self._entries[name]

    async def unknown(self, note: EntryId, fault: FoxAPIError, task_id: str | None = None) -> None:
        """Remember that the key may have been used."""
        name = self._names.pop(note, None)
        if name is not None:
            entry, why = self._entries[name], error_text(fault)
            self._entries[name] = replace(entry, stage=Stage.UNKNOWN, fault=why, task_id=task_id)

    def finished(self, ending: FinalRecord) -> None:
        """Remember a failure, after which a key may be tried again; a result is the handle's."""
        if ending.key is None or ending.stage not in FAILED:
            return
        name = ending.service, ending.key
        entry = self._find(name)
        if entry is not None and entry.task_id == ending.task.id:
            task = encode(ending.task)
            self._entries[name] = replace(entry, stage=ending.stage, task=task)
            self._taken.get(ending.service, {}).pop(ending.key, None)

    def heard(self, service: str, task_id: str, answer: ChatCompletion, *, wins: bool) -> None:
        """Do nothing: the handle keeps it."""

    def lost(self, service: str, task_id: str, fault: FoxAPIError) -> None:
        """Do nothing: whoever waits is told."""

    async def entries(
        self, service: str | None = None, stages: Collection[Stage] | None = None
    ) -> list[Entry]:
        """Refuse: what a session forgets cannot be recovered from it."""
        del service, stages
        raise ConfigError(
            "this session keeps no journal: build it as FoxSession(journal='tasks.db')"
        )

    async def aclose(self) -> None:
        """Do nothing."""

    def _note(self) -> EntryId:
        return EntryId("memory", next(self._numbers))

    def _find(self, name: tuple[str, str]) -> Entry | None:
        service, key = name
        taken = self._taken.get(service, {}).get(key)
        if taken is None:
            return self._entries.get(name)
        return Entry(
            note=self._note(),
            service=service,
            key=key,
            model=taken.model,
            fingerprint=taken.fingerprint.hex(),
            stage=Stage.ACCEPTED,
            sent_at=taken.sent_at,
            streamed=taken.streamed,
            task_id=taken.task_id,
        )


def _is_retried(holder: Entry, intent: Intent) -> bool:
    return holder.note == intent.replaces and holder.stage in FAILED


def error_text(fault: FoxAPIError | SessionClosedError) -> str:
    """Return an error as a journal keeps it: its class and its text, which holds no secret."""
    return f"{type(fault).__name__}: {fault}"[:500]
