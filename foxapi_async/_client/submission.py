"""One billed generation on its way from a request to a task id."""

import asyncio
import logging
import warnings
from collections.abc import Callable

from foxapi_async._client.service import Service
from foxapi_async._protocol.fingerprint import fingerprint
from foxapi_async._transport import Ambiguous
from foxapi_async._wire.paths import is_task_id
from foxapi_async._wire.request import GenerationRequest
from foxapi_async._wire.task import Task
from foxapi_async.errors import FoxAPIError, InvalidResponseError, SubmitOutcomeUnknownError
from foxapi_async.hooks import SubmitOutcomeUnknown, SubmitUnclaimed, TaskSubmitted

_log = logging.getLogger("foxapi_async")


class Submission:
    """Submits one request. It is billed when, and only when, the service accepts it."""

    def __init__(
        self, service: Service, request: GenerationRequest, body: bytes, key: str | None
    ) -> None:
        self._service = service
        self._request = request
        self._body = body
        self._key = key

    async def run(self, unclaimed: Callable[[Task], object]) -> Task:
        """Submit and return the task; one whose caller has gone meanwhile goes to ``unclaimed``.

        Raises what ``_post`` raises. Cancelling returns at once and does not stop the POST.
        """
        return await self._service.core.submitter.run(
            self._post, lambda post: self._orphaned(post, unclaimed)
        )

    async def _post(self) -> Task:
        """Write down, send, write down again; ``SubmitOutcomeUnknownError`` for a lost answer."""
        service, journal = self._service, self._service.options.journal
        note = await journal.intended(self._request, self._key)
        sent_at = service.clock.unix()
        try:
            task = await self._send()
        except Ambiguous as lost:
            await journal.unknown(note, lost.fault)
            raise self._outcome_unknown(lost.fault, sent_at) from None
        except FoxAPIError as fault:
            await journal.refused(note, fault)
            raise
        await journal.accepted(note, task)
        _log.info("accepted: task %s, model %s", task.id, task.model)
        service.emit(TaskSubmitted(task_id=task.id, model=self._request.model, key=self._key))
        return task

    async def _send(self) -> Task:
        task = await self._service.submit(self._body)
        if not is_task_id(task.id):
            raise Ambiguous(
                InvalidResponseError(f"the service named an impossible task id {task.id[:80]!r}")
            )
        return task

    def _outcome_unknown(self, fault: FoxAPIError, sent_at: float) -> SubmitOutcomeUnknownError:
        self._service.emit(
            SubmitOutcomeUnknown(
                model=self._request.model, key=self._key, fault=type(fault).__name__
            )
        )
        return SubmitOutcomeUnknownError(
            f"the generation may have been accepted, and billed: {fault}; "
            "do not submit it again before you have looked",
            fault=fault,
            request=self._request,
            key=self._key,
            fingerprint=fingerprint(self._body),
            sent_at=sent_at,
        )

    def _orphaned(self, post: asyncio.Task[Task], unclaimed: Callable[[Task], object]) -> None:
        if post.cancelled():
            return
        error = post.exception()
        if error is not None:
            _log.warning("a submission whose caller had gone ended with %r", error)
            return
        task = post.result()
        unclaimed(task)
        tell_unclaimed(self._service, task.id, self._request.model, self._key)


def tell_unclaimed(service: Service, task_id: str, model: str, key: str | None) -> None:
    """Say, to everybody who may hear it, that a billed task has lost its caller."""
    _log.warning("task %s was accepted after its caller had gone", task_id)
    service.emit(SubmitUnclaimed(task_id=task_id, model=model, key=key))
    warnings.warn(
        f"task {task_id} was accepted, and is billed, after its caller had gone: "
        "its handle is in fox.unclaimed",
        RuntimeWarning,
        stacklevel=1,
    )
