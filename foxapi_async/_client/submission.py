"""Submits one generation: from its request to a task id."""

import asyncio
import logging
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, Final

from foxapi_async._client.service_client import ServiceClient
from foxapi_async._client.submit_options import SubmitOptions
from foxapi_async._clock import sleep
from foxapi_async._journal import FAILED, MEND, Entry, Intent, Reservation, Stage
from foxapi_async._protocol.fingerprint import fingerprint
from foxapi_async._protocol.spent import PriceUnknownError
from foxapi_async._transport import CancelledInFlight, OutcomeUnknown
from foxapi_async._wire.media_request import TaskRequest, encode_submit, kind_of, submit_path
from foxapi_async._wire.paths import find_task_id, is_task_id
from foxapi_async._wire.task import Task
from foxapi_async._wire.violation import Violation
from foxapi_async.errors import (
    APIConnectionError,
    APIStatusError,
    FoxAPIError,
    InvalidResponseError,
    JournalError,
    RequestValidationError,
    SessionClosedError,
    SubmitOutcomeUnknownError,
)
from foxapi_async.hooks import SubmitOutcomeUnknown, TaskSubmitted, TaskUnrecorded

_log = logging.getLogger("foxapi_async")

_OTHER_KEY: Final = "Use another key, or send exactly the request that the key stands for."
_FIRST_DELAY: Final = 0.02
_MAX_DELAY: Final = 0.5


class Submission:
    """Submits one request. It is billed if, and only if, the service accepts it."""

    def __init__(
        self,
        service: ServiceClient,
        request: TaskRequest,
        options: SubmitOptions,
    ) -> None:
        self._service = service
        self._request = request
        self._body = encode_submit(request)
        self._path = submit_path(kind_of(request), request.model)
        self._key = options.key
        self._headers = options.headers
        self._retry_failed = options.retry_failed
        self._replaces = options.replaces

    async def run(self, on_unclaimed: Callable[[Task], object]) -> Task | Entry:
        """Submit and return the task.

        If the key has an entry in the journal, that entry is returned and nothing is sent; while
        another submission with the key is under way, this one waits for its end. Two entries do not
        count: with ``retry_failed`` one that has failed before this call, and the one that
        ``replaces`` names. If this call is cancelled, it returns at once, and the POST goes on: if
        it is accepted, ``on_unclaimed`` is called with its task.

        Raises:
            FoxAPIError: The errors of ``LLM.submit``.
        """
        delay = _FIRST_DELAY
        while True:
            found: Task | Entry | None = await self._find()
            if found is None:
                found = await self._submit(lambda post: self._on_unclaimed(post, on_unclaimed))
            if isinstance(found, Task):
                return found
            if self._resolve_existing(found):
                return found
            if found.stage is Stage.SENT:
                await sleep(self._service.clock, delay)
                delay = min(2 * delay, _MAX_DELAY)

    async def _find(self) -> Entry | None:
        """Return the entry that holds the key, unless the key is free."""
        if self._key is None:
            return None
        self._service.runtime.enter()
        entry = await self._service.options.journal.find(self._service.account.base, self._key)
        if self._retry_failed and entry is not None and entry.stage in FAILED:
            self._replaces = entry.id
        # An entry that fails from now on is the result of this attempt.
        self._retry_failed = False
        if entry is None or entry.stage is Stage.REFUSED or entry.id == self._replaces:
            return None
        return entry

    def _resolve_existing(self, entry: Entry) -> bool:
        """Tell whether the entry of the key has a task; raise if it never will."""
        if entry.stage is Stage.UNREADABLE:
            raise JournalError(
                f"entry {entry.id} of the journal has key {self._key!r} and cannot be read, so "
                f"nothing was submitted: {entry.fault}; {MEND.format(entry=entry.id)}"
            )
        if entry.fingerprint != self._fingerprint:
            raise RequestValidationError([_conflict(entry)], advice=_OTHER_KEY)
        if entry.stage is Stage.UNKNOWN:
            fault = FoxAPIError(entry.fault or "its response was lost")
            raise self._unknown(fault, entry.sent_at, "earlier ", task_id=entry.task_id)
        return entry.stage is not Stage.SENT

    async def _submit(
        self, on_unclaimed: "Callable[[asyncio.Task[Task | Entry]], object]"
    ) -> Task | Entry:
        """Wait for admission, then post, unless a budget has too little left.

        The first submission to a model whose price is not known is alone, also among processes.
        """
        service, request, delay = self._service, self._request, _FIRST_DELAY
        if not service.options.budgets:
            return await self._send_admitted(self._post, on_unclaimed)
        spending = service.runtime.spending
        async with spending.first_turn(service, request.model) as turn:
            while True:
                try:
                    return await self._send_admitted(
                        partial(spending.post, service, request, turn, self._post), on_unclaimed
                    )
                except PriceUnknownError:
                    await sleep(service.clock, delay)
                    delay = min(2 * delay, _MAX_DELAY)

    async def _send_admitted(
        self,
        post: Callable[[], Coroutine[Any, Any, Task | Entry]],
        on_unclaimed: "Callable[[asyncio.Task[Task | Entry]], object]",
    ) -> Task | Entry:
        submitter, rate = self._service.runtime.submitter, self._service.rate
        if rate is None:
            return await submitter.run(post, on_unclaimed)
        tokens = rate.estimate(self._request)
        return await submitter.run(
            partial(rate.send, self._request, tokens, post),
            on_unclaimed,
            partial(rate.enter, tokens),
        )

    async def _post(self, reservation: Reservation | None = None) -> Task | Entry:
        """Record the intent, send the request, and record the outcome.

        Raises:
            SubmitOutcomeUnknownError: The request may have been accepted.
        """
        service, journal = self._service, self._service.options.journal
        sent_at = service.clock.unix()
        entry_id = await journal.record_intent(
            Intent(
                service=service.account.base,
                key=self._key,
                kind=kind_of(self._request),
                model=self._request.model,
                body=self._body,
                sent_at=sent_at,
                replaces=self._replaces,
                reservation=reservation,
            )
        )
        if isinstance(entry_id, Entry):
            return entry_id
        try:
            task = await self._send()
        except OutcomeUnknown as unknown:
            self._emit_unknown(unknown.fault)
            task_id = _find_task_id(unknown.fault)
            await self._record(journal.record_unknown(entry_id, unknown.fault, task_id))
            raise self._unknown(unknown.fault, sent_at, task_id=task_id) from None
        except (FoxAPIError, SessionClosedError) as fault:
            await self._record(journal.record_refused(entry_id, fault))
            raise
        except Exception as error:
            # A bug, perhaps in a borrowed session. The key must not stay marked as under way.
            bug = FoxAPIError(f"{type(error).__name__} was raised instead of a response")
            await self._record(journal.record_unknown(entry_id, bug))
            raise
        _log.info("accepted: task %s, model %s", task.id, task.model)
        await self._record(journal.record_accepted(entry_id, service.masked(task)), task)
        if (event_sink := service.event_sink) is not None:
            event_sink(TaskSubmitted(task_id=task.id, model=self._request.model, key=self._key))
        return task

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self._body, self._path)

    async def _send(self) -> Task:
        try:
            with self._service.runtime.submitter.cancellable_section():
                task = await self._service.submit(self._path, self._body, self._headers)
        except asyncio.CancelledError as cancelled:
            raise self._cancelled_error(sent=isinstance(cancelled, CancelledInFlight)) from None
        if not is_task_id(task.id):
            shown = self._service.account.redact(task.id)[:80]
            raise OutcomeUnknown(
                InvalidResponseError(f"the response has {shown!r}, which cannot be a task id")
            )
        if not task.status:
            raise OutcomeUnknown(
                InvalidResponseError(
                    f"the response is {task.object[:80]!r} with id {task.id}, and no task"
                )
            )
        self._service.runtime.admission.accepted(task, self._service)
        return task

    def _cancelled_error(self, *, sent: bool) -> Exception:
        """Return the error of a POST that was cancelled, by the session or by other code."""
        if sent:
            fault = "the session was closed before the service answered"
            return OutcomeUnknown(APIConnectionError(fault, sent=True))
        return SessionClosedError("the session was closed before the generation was sent")

    async def _record(self, writing: Awaitable[None], task: Task | None = None) -> None:
        """Record the outcome; log an error of the journal, which must not hide the outcome."""
        try:
            await writing
        except asyncio.CancelledError:
            # Other code cancels every task of the loop. The journal completes the write itself.
            _log.debug("the journal write of a submission was not awaited")
        except JournalError as error:
            what = "the end of a submission" if task is None else f"accepted task {task.id}"
            _log.error("the journal could not record %s: %s", what, error)
            if task is not None:
                self._service.emit(
                    TaskUnrecorded(task_id=task.id, model=self._request.model, key=self._key)
                )

    def _emit_unknown(self, fault: FoxAPIError) -> None:
        self._service.emit(
            SubmitOutcomeUnknown(
                model=self._request.model, key=self._key, fault=type(fault).__name__
            )
        )

    def _unknown(
        self, fault: FoxAPIError, sent_at: float, when: str = "", *, task_id: str | None
    ) -> SubmitOutcomeUnknownError:
        task = "" if task_id is None else f" as task {task_id}"
        return SubmitOutcomeUnknownError(
            f"the {when}generation may have been accepted{task}, and billed: {fault}; "
            "look in your account before you submit it again",
            fault=fault,
            request=self._request,
            key=self._key,
            fingerprint=self._fingerprint,
            sent_at=sent_at,
            task_id=task_id,
        )

    def _on_unclaimed(
        self, post: "asyncio.Task[Task | Entry]", on_unclaimed: Callable[[Task], object]
    ) -> None:
        if post.cancelled():
            return
        error = post.exception()
        if error is not None:
            _log.warning("a submission whose caller was cancelled ended with %r", error)
            return
        task = post.result()
        if isinstance(task, Entry):
            return
        on_unclaimed(task)
        warn_unclaimed(task.id)


def warn_unclaimed(task_id: str) -> None:
    """Warn of a task that was accepted after its caller was cancelled."""
    warnings.warn(
        f"task {task_id} was accepted, and is billed, after its caller was cancelled: "
        "its handle is in fox.unclaimed",
        RuntimeWarning,
        stacklevel=1,
    )


def _find_task_id(fault: FoxAPIError) -> str | None:
    """Return the task id in the response that left the outcome unknown, if it has one."""
    if isinstance(fault, APIStatusError | InvalidResponseError | APIConnectionError):
        return find_task_id(fault.body)
    return None


def _conflict(entry: Entry) -> Violation:
    when = datetime.fromtimestamp(entry.sent_at, UTC).isoformat(" ", "seconds")
    return Violation(
        code="key_conflict",
        param="key",
        message=f"{entry.key!r} stands for another request, sent at {when}: use another key for "
        "this one",
    )
