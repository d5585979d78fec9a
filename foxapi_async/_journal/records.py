"""The entries of a journal: one for each submission, from the intent to the result."""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Final, TypeVar

from msgspec import Raw, Struct

from foxapi_async._journal.entry_usage import EntryUsage, decode_usage
from foxapi_async._protocol.fingerprint import fingerprint
from foxapi_async._wire.completion import ChatCompletion, decode_completion
from foxapi_async._wire.media_request import Kind, TaskRequest, decode_submit, submit_path
from foxapi_async._wire.task import Task, task_decoder
from foxapi_async.config import Budget
from foxapi_async.errors import JournalError

C = TypeVar("C")
T = TypeVar("T")


class Stage(StrEnum):
    """How far a submission is known to have come."""

    SENT = "sent"
    """Its POST was about to be sent; nothing later was written."""
    ACCEPTED = "accepted"
    """The service accepted it; the task is not known to have ended."""
    COMPLETED = "completed"
    """Its task has its result."""
    FAILED = "failed"
    """Its task failed."""
    CANCELLED = "cancelled"
    """Its task was cancelled."""
    UNKNOWN = "unknown"
    """The service may have accepted it: the response was lost, or the process was killed."""
    REFUSED = "refused"
    """The service provably did not accept it, so its key is free."""
    LOST = "lost"
    """It was accepted, and later the service did not know its task: the service may no longer
    have it, or the key belongs to another account. Awaiting its handle polls the task again."""
    UNREADABLE = "unreadable"
    """Its row in the file is damaged: only ``id`` is certain, and ``fault`` says what is wrong.
    Its key is not submitted until the entry is deleted."""


FINISHED: Final = frozenset({Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED})
"""The stages of a task that will not change again."""

FAILED: Final = frozenset({Stage.FAILED, Stage.CANCELLED})
"""The stages of a task that never gives a result."""


_MOST_DIGITS: Final = 18


class EntryId(Struct, frozen=True, order=True):
    """The id of an entry. ``str`` gives the text that commands take."""

    run: str
    """The run of a process that wrote the entry: a random text for each opening of the file."""
    number: int
    """The number of the entry in that run."""

    @classmethod
    def parse(cls, text: str) -> "EntryId | None":
        """Return the id that ``text`` was made of by ``str``; ``None`` if there is none."""
        run, dash, number = text.rpartition("-")
        is_number = number.isascii() and number.isdecimal() and len(number) <= _MOST_DIGITS
        return cls(run, int(number)) if dash and is_number else None

    def __str__(self) -> str:
        return f"{self.run}-{self.number}"


class Reservation(Struct, frozen=True, kw_only=True):
    """What a submission may cost, for which the budgets must have room."""

    limits: tuple[Budget, ...]
    """The budgets."""
    tokens: int
    """How many tokens it will probably use."""


class Intent(Struct, frozen=True, kw_only=True):
    """A submission that is about to be sent."""

    service: str
    """The base URL to which it is sent."""
    key: str | None
    """Its key, or ``None``."""
    kind: Kind = "llm"
    """The kind of task."""
    model: str
    """The model of the request."""
    body: bytes
    """The JSON of the request."""
    sent_at: float
    """When it is sent, in Unix seconds."""
    replaces: EntryId | None = None
    """The entry in whose place it is sent again: one that failed, whose key it takes, or one of
    unknown outcome, which it settles."""
    reservation: Reservation | None = None
    """What it may cost; ``None`` without a budget."""

    @property
    def fingerprint(self) -> str:
        """A hash of the request, 32 characters."""
        return fingerprint(self.body, submit_path(self.kind, self.model))


class FinalRecord(Struct, frozen=True, kw_only=True):
    """How a task ended, as it is written to the journal."""

    service: str
    """The base URL of the service."""
    key: str | None = None
    """The key of the submission, or ``None``."""
    stage: Stage
    """The stage that the entry has from then on."""
    task: Task
    """The last snapshot of the task."""
    streamed_completion: ChatCompletion | None = None
    """What the stream delivered, which may be more than the task has; or ``None``."""
    stream_was_cut: bool = False
    """Whether ``streamed_completion`` is a part, and the stored result may lack some of it."""


class Entry(Struct, frozen=True, kw_only=True):
    """One submission in a journal.

    The ``read_...`` methods raise ``JournalError`` for JSON that cannot be read.
    """

    id: EntryId
    """The id of the entry."""
    service: str
    """The base URL to which it was sent."""
    key: str | None
    """The key of the submission, or ``None``."""
    kind: Kind = "llm"
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
    streamed_completion: bytes | None = None
    """The JSON of what the stream delivered, where the task has less; or ``None``."""
    stream_was_cut: bool = False
    """Whether ``streamed_completion`` is a part, and the stored result may lack some of it."""
    fault: str | None = None
    """Why the outcome is unknown, or what is damaged; or ``None``."""
    ended_at: float | None = None
    """When the task was seen finished, in Unix seconds."""

    @classmethod
    def of(cls, entry_id: EntryId, intent: Intent) -> "Entry":
        """Return the entry of an intent."""
        return cls(
            id=entry_id,
            service=intent.service,
            key=intent.key,
            kind=intent.kind,
            model=intent.model,
            fingerprint=intent.fingerprint,
            stage=Stage.SENT,
            sent_at=intent.sent_at,
            body=intent.body,
        )

    def read_request(self) -> TaskRequest:
        """Return the request. It is kept until the submission is accepted or refused."""
        if self.body is None:
            raise JournalError(f"the request of entry {self.id} is no longer kept")
        return self._read("request", partial(decode_submit, self.kind), self.body)

    def read_task(self) -> Task | None:
        """Return the last snapshot of the task."""
        return None if self.task is None else self._read("task", task_decoder.decode, self.task)

    def read_usage(self) -> EntryUsage:
        """Return what the task has used. A task that cannot be read says nothing of it."""
        return EntryUsage() if self.task is None else decode_usage(self.task)

    def read_streamed_completion(self) -> ChatCompletion | None:
        """Return what the stream delivered, where the task has less."""
        if self.streamed_completion is None:
            return None
        content = Raw(self.streamed_completion)
        return self._read("streamed completion", decode_completion, content)

    def _read(self, what: str, read: Callable[[C], T], content: C) -> T:
        try:
            return read(content)
        except (ValueError, RecursionError) as error:
            # The text of the error may quote a prompt.
            raise JournalError(
                f"the {what} of entry {self.id} in the journal is damaged "
                f"({type(error).__name__}): {MEND.format(entry=self.id)}"
            ) from None


MEND: Final = (
    "look in your account for the task, then delete the entry with "
    "`foxapi journal prune FILE --entry {entry}`"
)
"""What to do about an entry that cannot be read."""


class ContentMark(Struct, frozen=True, kw_only=True):
    """What is known of a file before all of it was read. Equal files have equal marks."""

    filename: str
    """The name under which it is uploaded."""
    size: int
    """Its size in bytes."""
    head: str
    """A hash of its first bytes."""


class StoredUpload(Struct, frozen=True, kw_only=True):
    """An upload whose link can be used again."""

    service: str
    """The base URL of the service."""
    mark: ContentMark
    digest: str
    """The SHA-256 of the file."""
    file: bytes
    """The JSON of the service's response."""
    expires_at: float
    """When the link ends, in Unix seconds."""
