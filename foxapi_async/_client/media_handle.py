"""A media task as something to wait for."""

from collections.abc import Callable
from typing import Any, final

from foxapi_async._client.handle import Kind, TaskHandle
from foxapi_async._client.service import Service
from foxapi_async._wire.results import MediaResult, decode_media
from foxapi_async._wire.task import Task


@final
class MediaHandle(TaskHandle[MediaResult]):
    """A task that makes images, videos, audio or documents."""

    __slots__ = ("_kind",)

    def __init__(
        self, service: Service | None, task_id: str, kind: Kind, *, key: str | None = None
    ) -> None:
        super().__init__(service, task_id, key=key)
        self._kind: Kind = kind

    @property
    def kind(self) -> Kind:
        """What the task makes."""
        return self._kind

    def _read(self, task: Task) -> MediaResult:
        return decode_media(task.results or ())

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return MediaHandle, (None, self._id, self._kind)
