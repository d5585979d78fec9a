"""What a journal holds of one submission, from the intent to the result."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final, TypeVar

from msgspec import Raw, Struct

from foxapi_async._protocol.fingerprint import fingerprint
from foxapi_async._wire.completion import ChatCompletion, read_completion
from foxapi_async._wire.request import GenerationRequest, requests
from foxapi_async._wire.task import Task, tasks
from foxapi_async.errors import JournalError

C = TypeVar("C")
T = TypeVar("T")


class Stage(StrEnum):
    """How far a submission is known to have come."""

    SENT = "sent"
    """It was about to be sent, and no more was written down."""
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """It may have been accepted: its answer was lost, or the process that sent it."""
    REFUSED = "refused"
    """It was provably not accepted, so its key is free."""
    LOST = "lost"
    """It was accepted, and then the service knew its task no more: it may have been forgotten, or
    asked for with another account's key. Awaiting its handle asks again."""
    UNREADABLE = "unreadable"
    """Its row in the file is damaged: of the entry only ``note`` is certain, and ``fault`` says
    what is wrong. Its key is never submitted until the entry is deleted."""


FINISHED: Final = frozenset({Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED})
"""The stages of a task that will not change again."""

FAILED: Final = frozenset({Stage.FAILED, Stage.CANCELLED})
"""The stages of a task that never gives a result."""


_MOST_DIGITS: Final = 18


class Note(Struct, frozen=True, order=True):
    """Names an entry: the run of a process that wrote it, and its number there."""

    run: str
    number: int

    @classmethod
    def parse(cls, text: str) -> "Note | None":
        """Return the note that ``str`` made ``text`` of; ``None`` if it cannot be one."""
        run, dash, number = text.rpartition("-")
        is_number = number.isascii() and number.isdecimal() and len(number) <= _MOST_DIGITS
        return cls(run, int(number)) if dash and is_number else None

    def __str__(self) -> str:
        return f"{self.run}-{self.number}"


class Intent(Struct, frozen=True, kw_only=True):
    """A submission that is about to be sent. ``service`` is the base URL that it is sent to.

    ``replaces`` is the entry in whose place it is sent again: one that failed, whose key it takes,
    or one of unknown outcome, which it settles.
    """

    service: str
    key: str | None
    model: str
    body: bytes
    sent_at: float
    replaces: Note | None = None

    @property
    def fingerprint(self) -> str:
        """What the request asks for, in 32 characters."""
        return fingerprint(self.body)


class Ending(Struct, frozen=True, kw_only=True):
    """How a task ended. ``answer`` is what its stream said, where the task alone says less.

    With ``answer_wins`` it is a part: the stream was cut, and the stored answer may lack it.
    """

    service: str
    key: str | None = None
    stage: Stage
    task: Task
    answer: ChatCompletion | None = None
    answer_wins: bool = False


class Entry(Struct, frozen=True, kw_only=True):
    """One submission as it was written down; times are Unix seconds.

    ``body`` is the request's JSON, kept only as long as it may be needed to submit again. ``task``
    is the JSON of the last snapshot, ``answer`` that of what the stream said beyond it. The
    ``read_...`` methods raise ``JournalError`` for JSON that is not what it should be.
    """

    note: Note
    service: str
    key: str | None
    kind: str = "llm"
    model: str
    fingerprint: str
    stage: Stage
    sent_at: float
    body: bytes | None = None
    streamed: bool = False
    task_id: str | None = None
    task: bytes | None = None
    answer: bytes | None = None
    answer_wins: bool = False
    fault: str | None = None
    ended_at: float | None = None

    @classmethod
    def of(cls, note: Note, intent: Intent) -> "Entry":
        """Return what is written down of an intent."""
        return cls(
            note=note,
            service=intent.service,
            key=intent.key,
            model=intent.model,
            fingerprint=intent.fingerprint,
            stage=Stage.SENT,
            sent_at=intent.sent_at,
            body=intent.body,
        )

    def read_request(self) -> GenerationRequest:
        """Return the request; there is one as long as the outcome is open."""
        if self.body is None:
            raise JournalError(f"the request of entry {self.note} is no longer kept")
        return self._read("request", requests.read, self.body)

    def read_task(self) -> Task | None:
        """Return the last snapshot of the task."""
        return None if self.task is None else self._read("task", tasks.read, self.task)

    def read_answer(self) -> ChatCompletion | None:
        """Return what the stream said of it."""
        if self.answer is None:
            return None
        return self._read("answer", read_completion, Raw(self.answer))

    def _read(self, what: str, read: Callable[[C], T], content: C) -> T:
        try:
            return read(content)
        except (ValueError, RecursionError) as error:
            # Never the text of the error: it may quote a prompt.
            raise JournalError(
                f"the {what} of entry {self.note} in the journal is damaged "
                f"({type(error).__name__}): {MEND.format(note=self.note)}"
            ) from None


MEND: Final = (
    "look in your account for what became of it, then delete the entry with "
    "`foxapi journal prune FILE --entry {note}`"
)
"""What to do about an entry that cannot be read."""
