"""Reads a journal at a restart: handles of tasks, and submissions of unknown outcome."""
# pyright: reportPrivateUsage=false

from typing import Final

from msgspec import Struct

from foxapi_async._client.handle import MediaHandle, TaskHandle
from foxapi_async._client.llm_handle import LLMHandle
from foxapi_async._client.service_client import ServiceClient
from foxapi_async._journal import FINISHED, MEND, Entry, Stage
from foxapi_async._wire.media_request import Kind, TaskRequest, kind_of
from foxapi_async._wire.media_results import MediaResults
from foxapi_async.errors import JournalError

_OPEN: Final = frozenset({Stage.SENT, Stage.ACCEPTED, Stage.UNKNOWN})


class UnknownSubmission(Struct, frozen=True, kw_only=True):
    """A submission that may have been accepted and billed: its response was lost."""

    entry: str
    """The id of the entry, as ``foxapi journal`` shows it."""
    request: TaskRequest
    """The request that was sent."""
    key: str | None
    """The key of the submission, or ``None``."""
    fingerprint: str
    """A hash of the request, 32 characters."""
    sent_at: float
    """When it was sent, in Unix seconds."""
    fault: str
    """Why the outcome is unknown."""

    @property
    def model(self) -> str:
        """The model of the request."""
        return self.request.model

    @property
    def kind(self) -> Kind:
        """The kind of task: ``llm``, ``image``, ``video``, ``audio`` or ``document``."""
        return kind_of(self.request)

    @property
    def advice(self) -> str:
        """What the user can do."""
        return (
            "look in your account whether it was accepted at that time; if not, submit it again "
            f"with fox.{resource_of(self.kind)}.resubmit(...), or remove it with `foxapi journal "
            f"prune FILE --entry {self.entry}`; `foxapi journal settle FILE` does either for "
            "all entries"
        )


class UnreadableEntry(Struct, frozen=True, kw_only=True):
    """An entry of the journal whose row in the file is damaged.

    It may belong to a task that was accepted and billed. Only submissions with its key fail.
    """

    entry: str
    """The id of the entry, as ``foxapi journal`` shows it."""
    key: str | None
    """The key, if it can still be read."""
    task_id: str | None
    """The id of the task, if it can still be read."""
    fault: str
    """What is damaged."""

    @property
    def advice(self) -> str:
        """What the user can do."""
        return MEND.format(entry=self.entry)


class Recovery(Struct, frozen=True, kw_only=True):
    """The result of ``fox.recover()``; each tuple is in the order of submission."""

    handles: tuple[LLMHandle | TaskHandle[MediaResults], ...]
    """Handles of the tasks that are not finished, bound to this session."""
    unknown: tuple[UnknownSubmission, ...]
    """Submissions that may have been accepted and billed."""
    unreadable: tuple[UnreadableEntry, ...] = ()
    """Entries whose rows are damaged."""


async def recover(service: ServiceClient, *, finished: bool) -> Recovery:
    """Return what the journal holds of this service."""
    stages = {*_OPEN, *FINISHED, Stage.LOST} if finished else _OPEN
    handles: list[LLMHandle | TaskHandle[MediaResults]] = []
    unknown: list[UnknownSubmission] = []
    unreadable: list[UnreadableEntry] = []
    for entry in await service.options.journal.entries(service.account.base, stages):
        try:
            if entry.stage is Stage.UNREADABLE:
                unreadable.append(_unreadable(entry, entry.fault or ""))
            elif entry.task_id is not None:
                handles.append(_handle_of(service, entry))
            elif entry.stage is Stage.UNKNOWN:
                unknown.append(_unknown(entry))
        except JournalError as error:
            unreadable.append(_unreadable(entry, str(error)))
    return Recovery(handles=tuple(handles), unknown=tuple(unknown), unreadable=tuple(unreadable))


def _handle_of(service: ServiceClient, entry: Entry) -> LLMHandle | TaskHandle[MediaResults]:
    if entry.kind == "llm":
        return LLMHandle._from_journal(service, entry)
    return MediaHandle._from_journal(service, entry)


def resource_of(kind: Kind) -> str:
    """Return the name of the attribute of a session that submits tasks of this kind."""
    return kind if kind == "llm" else f"{kind}s"


def _unreadable(entry: Entry, fault: str) -> UnreadableEntry:
    return UnreadableEntry(entry=str(entry.id), key=entry.key, task_id=entry.task_id, fault=fault)


def _unknown(entry: Entry) -> UnknownSubmission:
    return UnknownSubmission(
        entry=str(entry.id),
        request=entry.read_request(),
        key=entry.key,
        fingerprint=entry.fingerprint,
        sent_at=entry.sent_at,
        fault=entry.fault or "",
    )
