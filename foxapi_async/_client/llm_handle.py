"""A generation of a language model as something to wait for, or to follow live."""

from typing import final

from foxapi_async._client.handle import Kind, TaskHandle
from foxapi_async._client.reader import StreamReader
from foxapi_async._client.service import Service
from foxapi_async._client.stream import ChatStream
from foxapi_async._protocol.accumulate import complete
from foxapi_async._protocol.cursor import Cursor
from foxapi_async._protocol.verdict import judge
from foxapi_async._wire.completion import ChatCompletion, read_completion
from foxapi_async._wire.task import Task
from foxapi_async.errors import StreamUnavailableError


@final
class LLMHandle(TaskHandle[ChatCompletion]):
    """A generation at the service; its result is a ``ChatCompletion``."""

    __slots__ = ("_cursor", "_streamed", "_streams")

    def __init__(
        self,
        service: Service | None,
        task_id: str,
        *,
        task: Task | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(service, task_id, task=task, key=key)
        # Only the answer to a submit is proof; a later one may leave the member out (CONTRACT §4.2).
        self._streams = task.stream is not None if task is not None else None
        self._streamed: ChatCompletion | None = None
