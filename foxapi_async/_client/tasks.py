"""``fox.tasks`` and ``fox.models``: tasks by their ids, and the models of the service."""
# pyright: reportPrivateUsage=false

from typing import Literal, final, overload

from foxapi_async._client.handle import MediaHandle, TaskHandle
from foxapi_async._client.llm_handle import LLMHandle
from foxapi_async._client.service_client import ServiceClient, check_task_id
from foxapi_async._wire.media_request import KINDS, Kind, MediaKind
from foxapi_async._wire.media_results import MediaResults
from foxapi_async._wire.model_list import ModelInfo
from foxapi_async._wire.task import Task
from foxapi_async.errors import ConfigError


@final
class Tasks:
    """``fox.tasks``: finds tasks by their ids."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def get(self, task_id: str) -> Task:
        """Return the current snapshot of a task (unbilled). Failed attempts are retried.

        Args:
            task_id: The id of the task.

        Returns:
            The snapshot.

        Raises:
            InvalidTaskIdError: The text cannot be a task id. Nothing was sent.
            NotFoundError: The service does not know the task.
            FoxAPIError: The error of the last attempt.
        """
        return await self._service.fetch_task(check_task_id(task_id))

    @overload
    def handle(self, task: str, kind: Literal["llm"] = "llm") -> LLMHandle: ...
    @overload
    def handle(self, task: Task, kind: Literal["llm"]) -> LLMHandle: ...
    @overload
    def handle(self, task: str | Task, kind: MediaKind) -> TaskHandle[MediaResults]: ...
    @overload
    def handle(self, task: Task, kind: None = None) -> LLMHandle | TaskHandle[MediaResults]: ...
    def handle(
        self, task: str | Task, kind: Kind | None = None
    ) -> LLMHandle | TaskHandle[MediaResults]:
        """Return a handle of a task that was submitted anywhere, at any time. Sends nothing.

        Args:
            task: The id of the task, or a ``Task``. A final ``Task`` gives a handle whose result is
                known.
            kind: What the task makes, which decides the type of the result. By default that of the
                ``Task``, and ``"llm"`` for an id.

        Returns:
            The handle.

        Raises:
            InvalidTaskIdError: The text cannot be a task id.
            ConfigError: ``kind`` is not one of the five, or differs from that of the ``Task``.
        """
        snapshot = task if isinstance(task, Task) else None
        task_id = check_task_id(task if snapshot is None else snapshot.id)
        kind = _kind_of(snapshot, kind)
        handle = (
            LLMHandle(self._service, task_id)
            if kind == "llm"
            else MediaHandle(self._service, task_id, kind)
        )
        if snapshot is not None:
            handle._offer(snapshot)
        return handle


def _kind_of(task: Task | None, kind: str | None) -> Kind:
    of_task = task.type if task is not None else None
    # Older responses name the type of a language model "text" (contract §15).
    of_task = "llm" if of_task == "text" else of_task
    found = kind or of_task or "llm"
    if found not in KINDS or (kind and of_task and kind != of_task):
        raise ConfigError(
            f"tasks.handle(kind={kind!r}) of a task of type {of_task!r}: "
            f"kind must be one of {', '.join(KINDS)} and equal the type of the task"
        )
    return found


@final
class Models:
    """``fox.models``: the models of the service."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def list(self) -> tuple[ModelInfo, ...]:
        """Return the models that this key may use (unbilled). Failed attempts are retried.

        Returns:
            The models.

        Raises:
            FoxAPIError: The error of the last attempt.
        """
        return await self._service.fetch_models()
