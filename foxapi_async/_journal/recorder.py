"""What a journal must do, and the one that lasts as long as its session."""

from collections.abc import Collection
from itertools import count
from typing import Protocol

from msgspec.structs import replace

from foxapi_async._journal.entry import FAILED, Ending, Entry, Intent, Note, Stage
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.shape import encode
from foxapi_async._wire.task import Task
from foxapi_async.errors import ConfigError, FoxAPIError, SessionClosedError


class Recorder(Protocol):
    """Writes down each step of a submission before the next one is taken.

    A method that raises ``JournalError`` before the POST stops the submission where it stands.
    """

    async def open(self) -> None:
        """Get ready to write; further calls do nothing."""
        ...

    async def find(self, service: str, key: str) -> Entry | None:
        """Return what ``key`` was used for, as far as it is known now."""
        ...

    async def intended(self, intent: Intent) -> Note | Entry:
        """Write down that a request is about to be sent, and return the name of the entry.

        Returns the entry that holds its key, if there is one, and then nothing may be sent. An
        intent that replaces this entry takes its place: of several at once, one does.
        """
        ...

    async def accepted(self, note: Note, task: Task) -> None:
        """Write down the task that the service made of it."""
        ...

    async def refused(self, note: Note, fault: FoxAPIError | SessionClosedError) -> None:
        """Write down that the service provably did not take it."""
        ...

    async def unknown(self, note: Note, fault: FoxAPIError, task_id: str | None = None) -> None:
        """Write down that the service may have taken it, as ``task_id`` if an id was seen."""
        ...

    def finished(self, ending: Ending) -> None:
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


class MemoryRecorder:
    """Remembers the submissions that have a key, and forgets them with the session."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._names: dict[Note, tuple[str, str]] = {}
        self._entries: dict[tuple[str, str], Entry] = {}

    async def open(self) -> None:
        """Do nothing."""

    async def find(self, service: str, key: str) -> Entry | None:
        """Return what ``key`` was used for in this session."""
        return self._entries.get((service, key))

    async def intended(self, intent: Intent) -> Note | Entry:
        """Remember the intent if it has a key."""
        note = Note("memory", next(self._numbers))
        if intent.key is None:
            return note
        name = intent.service, intent.key
        holder = self._entries.get(name)
        if holder is not None and not _is_free(holder, intent):
            return holder
        self._names[note] = name
        self._entries[name] = Entry.of(note, intent)
        return note

    async def accepted(self, note: Note, task: Task) -> None:
        """Remember the task of a key."""
        if note in self._names:
            self._settle(
                note,
                stage=Stage.ACCEPTED,
                task_id=task.id,
                task=encode(task),
                streamed=task.stream is not None,
                body=None,
            )

    async def refused(self, note: Note, fault: FoxAPIError | SessionClosedError) -> None:
        """Set the key free."""
        del fault
        if note in self._names:
            self._settle(note, stage=Stage.REFUSED, body=None)

    async def unknown(self, note: Note, fault: FoxAPIError, task_id: str | None = None) -> None:
        """Remember that the key may have been used."""
        if note in self._names:
            self._settle(note, stage=Stage.UNKNOWN, fault=described(fault), task_id=task_id)

    def finished(self, ending: Ending) -> None:
        """Remember a failure, after which a key may be tried again; a result is the handle's."""
        if ending.key is None or ending.stage not in FAILED:
            return
        name = ending.service, ending.key
        entry = self._entries.get(name)
        if entry is not None and entry.task_id == ending.task.id:
            task = encode(ending.task)
            self._entries[name] = replace(entry, stage=ending.stage, task=task)

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

    def _settle(self, note: Note, **changes: object) -> None:
        name = self._names.pop(note)
        self._entries[name] = replace(self._entries[name], **changes)


def _is_free(holder: Entry, intent: Intent) -> bool:
    is_retried = holder.note == intent.replaces and holder.stage in FAILED
    return is_retried or holder.stage is Stage.REFUSED


def described(fault: FoxAPIError | SessionClosedError) -> str:
    """Return an error as a journal keeps it: its class and its text, which holds no secret."""
    return f"{type(fault).__name__}: {fault}"[:500]
