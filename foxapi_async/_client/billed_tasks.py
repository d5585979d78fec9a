"""Submits billed tasks of one type of handle, and waits for their results."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from msgspec import UnsetType

from foxapi_async._client.handle import TaskHandle
from foxapi_async._client.params import validate
from foxapi_async._client.recover import UnknownSubmission, resource_of
from foxapi_async._client.service_client import ServiceClient
from foxapi_async._client.submission import Submission
from foxapi_async._client.submit_options import SubmitOptions
from foxapi_async._journal import Entry, EntryId
from foxapi_async._wire.media_request import TaskRequest
from foxapi_async._wire.task import Task
from foxapi_async.errors import ConfigError, FoxAPIError, TaskError

H = TypeVar("H", bound=TaskHandle[Any])


class BilledTasks(Generic[H]):
    """Every kind of task is submitted, found by its key and waited for here.

    Args:
        service: The service of the session.
        new_handle: Makes the handle of a task that was just accepted, or has this key.
        from_journal: Makes the handle of the task of an entry.
    """

    def __init__(
        self,
        service: ServiceClient,
        new_handle: Callable[[ServiceClient, Task, str | None], H],
        from_journal: Callable[[ServiceClient, Entry], H],
    ) -> None:
        self._service = service
        self._new_handle = new_handle
        self._from_journal = from_journal

    async def submit(self, request: TaskRequest, options: SubmitOptions) -> H:
        """Submit, or find the task of the key.

        Raises:
            FoxAPIError: The errors of ``LLM.submit``.
        """
        handle, _ = await self.submit_or_find(request, options)
        return handle

    async def submit_or_find(self, request: TaskRequest, options: SubmitOptions) -> tuple[H, bool]:
        """Submit, or find the task of the key; tell whether a request was sent."""
        service, key = self._service, options.key
        service.runtime.enter()
        validate(request, service.options.validation)

        def handle_of(task: Task) -> H:
            handle = self._new_handle(service, task, key)
            if key is not None:
                service.handles[task.id] = handle
            return handle

        submission = Submission(service, request, options)
        found = await submission.run(
            lambda task: self.add_unclaimed(handle_of(task), request, options)
        )
        if isinstance(found, Entry):
            return self._from_journal(service, found), False
        return handle_of(found), True

    async def resubmit(self, submission: UnknownSubmission, *, resource: str) -> H:
        """Submit a generation of unknown outcome again, with its request and its key.

        ``resource`` is the name of the caller, such as ``llm``.

        Raises:
            ConfigError: ``submission`` names no entry, or belongs to another resource.
            FoxAPIError: The errors of ``LLM.submit``.
        """
        entry_id = EntryId.parse(submission.entry)
        if entry_id is None:
            raise ConfigError(
                f"{submission.entry[:80]!r} is no entry: pass one of fox.recover().unknown"
            )
        if (other := resource_of(submission.kind)) != resource:
            raise ConfigError(
                f"entry {submission.entry} is a submission of another kind: call "
                f"fox.{other}.resubmit(...)"
            )
        return await self.submit(
            submission.request, SubmitOptions(key=submission.key, replaces=entry_id)
        )

    async def generate(
        self, request: TaskRequest, options: SubmitOptions, timeout: float | None | UnsetType
    ) -> Any:
        """Submit and wait for the result. A wait that is cut short leaves its handle unclaimed."""
        handle = await self.submit(request, options)
        try:
            return await handle.result(timeout=timeout)
        except BaseException as error:
            # The outcome of the task itself loses nothing, even if it has no task id.
            is_outcome = handle.done() and isinstance(error, FoxAPIError)
            if not is_outcome and not isinstance(error, TaskError):
                self.add_unclaimed(handle, request, options)
            raise

    def add_unclaimed(self, handle: H, request: TaskRequest, options: SubmitOptions) -> None:
        """Keep the handle of a billed task that was not returned."""
        self._service.add_unclaimed(handle, task_id=handle.id, model=request.model, key=options.key)
