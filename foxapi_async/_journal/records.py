"""What a journal holds of one submission, from the intent to the result."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final, TypeVar

from msgspec import Raw, Struct

from foxapi_async._protocol.fingerprint import fingerprint
from foxapi_async._wire.completion import ChatCompletion, decode_completion
from foxapi_async._wire.request import GenerationRequest, request_decoder
from foxapi_async._wire.task import Task, task_decoder
from foxapi_async.errors import JournalError

C = TypeVar("C")
T = TypeVar("T")


class Stage(StrEnum):
    """How far a submission is known to have come."""

    SENT = "sent"
    """It was about to be sent; nothing after that was written."""
    ACCEPTED = "accepted"
    """It was accepted; the task is not known to have ended."""
    COMPLETED = "completed"
    """Its task has its result."""
    FAILED = "failed"
    """Its task failed."""
    CANCELLED = "cancelled"
    """Its task was cancelled."""
    UNKNOWN = "unknown"
    """It may have been accepted: its answer was lost, or its process was killed."""
    REFUSED = "refused"
    """It was provably not accepted, so its key is free."""
    LOST = "lost"
    """It was accepted, and later the service did not know its task: the service may have forgotten
    it, or the key belongs to another account. Awaiting its handle asks again."""
    UNREADABLE = "unreadable"
    """Its row in the file is damaged: of the entry only ``note`` is certain, and ``fault`` says
    what is wrong. Its key is never submitted until the entry is deleted."""


FINISHED: Final = frozenset({Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED})
"""The stages of a task that will not change again."""

FAILED: Final = frozenset({Stage.FAILED, Stage.CANCELLED})
"""The stages of a task that never gives a result."""


_MOST_DIGITS: Final = 18


class EntryId(Struct, frozen=True, order=True):
    """Names an entry: the run of a process that wrote it, and its number there."""

    run: str
    """The run of a process that wrote the entry."""
    number: int
    """Its number in that run."""

    @classmethod
    def parse(cls, text: str) -> "EntryId | None":
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
    replaces: EntryId | None = None

    @property
    def fingerprint(self) -> str:
        """What the request asks for, in 32 characters."""
        return fingerprint(self.body)


class FinalRecord(Struct, frozen=True, kw_only=True):
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
    """One submission as it was written down.

    The ``read_...`` methods raise ``JournalError`` for JSON that cannot be read.
    """

    note: EntryId
    """Names the entry."""
    service: str
    """The base URL to which it was sent."""
    key: str | None
    """The key of the submission, or ``None``."""
    kind: str = "llm"
    """The kind of task."""
    model: str
    """The model of the request."""
    fingerprint: str
    """A hash of the request, 32 characters."""
    stage: Stage
    """How far the submission is known to have come."""
    sent_at: float
    """When it was sent, in Unix seconds."""
    body: bytes | None = None
    """The JSON of the request; kept while it may be needed to submit again."""
    streamed: bool = False
    """Whether the task was submitted with ``stream=True``."""
    task_id: str | None = None
    """The id of the task, or ``None``."""
    task: bytes | None = None
    """The JSON of the last snapshot of the task, or ``None``."""
    answer: bytes | None = None
    """The JSON of what the stream said, where the task says less; or ``None``."""
    answer_wins: bool = False
    """Whether ``answer`` is a part: the stream was cut, and the stored result may lack it."""
    fault: str | None = None
    """Why the outcome is unknown, or what is damaged; or ``None``."""
    ended_at: float | None = None
    """When the task was seen finished, in Unix seconds."""

    @classmethod
    def of(cls, note: EntryId, intent: Intent) -> "Entry":
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
        return self._read("request", request_decoder.decode, self.body)

    def read_task(self) -> Task | None:
        """Return the last snapshot of the task."""
        return None if self.task is None else self._read("task", task_decoder.decode, self.task)

    def read_answer(self) -> ChatCompletion | None:
        """Return what the stream said of it."""
        if self.answer is None:
            return None
        return self._read("answer", decode_completion, Raw(self.answer))

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
