"""What a journal gives back: handles of tasks, and submissions whose outcome nobody knows."""
# pyright: reportPrivateUsage=false

from typing import Final

from msgspec import Struct

from foxapi_async._client.llm_handle import LLMHandle
from foxapi_async._client.service import Service
from foxapi_async._journal import FINISHED, Entry, Stage
from foxapi_async._wire.request import GenerationRequest

_OPEN: Final = frozenset({Stage.SENT, Stage.ACCEPTED, Stage.UNKNOWN})


class UnknownSubmission(Struct, frozen=True, kw_only=True):
    """A submission that may have been accepted, and billed: its answer was lost.

    ``request`` is what was sent, ``key`` your key of it, ``sent_at`` when, in Unix seconds.
    ``fingerprint`` is the same for every request that asks the same. ``fault`` is what was seen in
    place of the answer. ``entry`` names it for ``foxapi journal show`` and ``prune``.
    """

    entry: str
    request: GenerationRequest
    key: str | None
    fingerprint: str
    sent_at: float
    fault: str

    @property
    def model(self) -> str:
        """The model that was asked."""
        return self.request.model

    @property
    def advice(self) -> str:
        """What to do about it."""
        return (
            "look in your account whether it was accepted at that time; if it was not, forget it "
            f"with `foxapi journal prune FILE --entry {self.entry}`, and submit it again"
        )


class Recovery(Struct, frozen=True, kw_only=True):
    """What ``fox.recover()`` found. ``handles`` and ``unknown`` are in the order of submission."""

    handles: tuple[LLMHandle, ...]
    unknown: tuple[UnknownSubmission, ...]


async def recover(service: Service, *, finished: bool) -> Recovery:
    """Read what the journal has of this service."""
    stages = {*_OPEN, *FINISHED, Stage.LOST} if finished else _OPEN
    found = await service.options.journal.entries(service.account.base, stages)
    return Recovery(
        handles=tuple(
            LLMHandle._restored(service, entry) for entry in found if entry.task_id is not None
        ),
        unknown=tuple(_unknown(entry) for entry in found if entry.stage is Stage.UNKNOWN),
    )


def _unknown(entry: Entry) -> UnknownSubmission:
    return UnknownSubmission(
        entry=str(entry.note),
        request=entry.read_request(),
        key=entry.key,
        fingerprint=entry.fingerprint,
        sent_at=entry.sent_at,
        fault=entry.fault or "",
    )
