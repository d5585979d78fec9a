"""What a task does between its start and its end, whatever it makes."""

from typing import NamedTuple, Protocol

from msgspec import Raw

from foxapi_async._wire.base import encode
from foxapi_async._wire.completion import Usage
from foxapi_async._wire.media_request import MediaRequest
from foxapi_async._wire.request import GenerationRequest
from foxapi_async.gateway.models import Job, Model, Output
from foxapi_async.gateway.response_structs import UnifiedTask

ModelRequest = GenerationRequest | MediaRequest
"""A request as a model reads it."""


class WorkResult(NamedTuple):
    """What a task has made."""

    results: tuple[Raw, ...]
    """The elements of ``results``."""
    usage: Usage | None = None
    """The counted tokens; ``None`` if they are not known."""


class Work(Protocol):
    """The work of one task."""

    @property
    def is_repeatable(self) -> bool:
        """Whether a restarted gateway can begin it again and gets the same."""
        ...

    async def run(self, output: Output) -> WorkResult:
        """Do the work.

        Raises:
            ModelError: The task fails.
        """
        ...


class MediaModels(Protocol):
    """What makes images, videos, audio and documents."""

    def work(self, request: MediaRequest, task: UnifiedTask, owner: str) -> Work:
        """Return the work of a task."""
        ...


class ModelWork:
    """The answer of a language model."""

    def __init__(self, model: Model, job: Job) -> None:
        self._model = model
        self._job = job

    @property
    def is_repeatable(self) -> bool:
        """Whether the model repeats itself."""
        return self._model.is_repeatable

    async def run(self, output: Output) -> WorkResult:
        """Let the model answer."""
        completion = await self._model.answer(self._job, output)
        return WorkResult((Raw(encode(completion)),), completion.usage)
