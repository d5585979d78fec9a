"""``fox.tasks``: tasks that were submitted here or anywhere."""
# pyright: reportPrivateUsage=false

from typing import Literal, final, overload

from foxapi_async._client.handle import Kind, TaskHandle
from foxapi_async._client.llm_handle import LLMHandle
from foxapi_async._client.media_handle import MediaHandle
from foxapi_async._client.service import Service, check_task_id
from foxapi_async._wire.media import MediaResult
from foxapi_async._wire.task import Task

MediaKind = Literal["image", "video", "audio", "document"]


@final
class Tasks:
    """Finds tasks by their id."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def get(self, task_id: str) -> Task:
        """Return the task as it is now, retrying as a read is (unbilled).

        Raises ``NotFoundError`` for a task that the service does not know, ``InvalidTaskIdError``
        before anything is sent for an id that could not be one.
        """
        return await self._service.fetch_task(check_task_id(task_id))

    @overload
    def handle(self, task_id: str, kind: Literal["llm"] = "llm") -> LLMHandle: ...
    @overload
    def handle(self, task_id: str, kind: MediaKind) -> TaskHandle[MediaResult]: ...
    def handle(self, task_id: str, kind: Kind = "llm") -> LLMHandle | TaskHandle[MediaResult]:
        """Return a handle of a task that was submitted anywhere, any day. Sends nothing.

        ``kind`` decides the type of the result; the id does not tell it.
        """
        task_id = check_task_id(task_id)
        if kind == "llm":
            return LLMHandle(self._service, task_id)._take_up()
        return MediaHandle(self._service, task_id, kind)._take_up()
