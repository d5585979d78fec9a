"""What a model of the gateway is: one coroutine that writes an answer as it comes."""

from collections.abc import Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct

from foxapi_async._wire.chunk import Delta
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.request import GenerationRequest

RESTARTED_MESSAGE: Final = "the service was restarted and could not continue the task"


ModelKind = Literal["simulated", "scripted", "upstream", "local"]
"""What answers: a simulation, a scripted reply, an upstream or a process on this machine."""


class ModelError(Exception):
    """The answer cannot be finished.

    Args:
        code: The code of the failed task (contract §8.3).
        message: The message of the failed task. It must not contain a key of an upstream.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code: str = code
        """The code of the failed task."""
        self.message: str = message
        """The message of the failed task."""


class Job(Struct, frozen=True, kw_only=True):
    """One request that a model answers."""

    id: str
    """The id of the completion, also on each chunk."""
    created: int
    """The time at which the task was created, in Unix seconds."""
    request: GenerationRequest
    """The request. ``stream`` tells whether the chunks are read."""
    owner: str = ""
    """The hash of the API key, empty without keys."""


class Output(Protocol):
    """Where a model writes its answer. Each call returns when what it was given is stored."""

    @property
    def is_started(self) -> bool:
        """Whether the task is processing: started in this run of the gateway or an earlier one."""
        ...

    @property
    def progress(self) -> int:
        """The stored progress, 0 to 99."""
        ...

    @property
    def written(self) -> Sequence[bytes]:
        """The encoded chunks of an earlier run of the gateway."""
        ...

    async def start(self) -> None:
        """Change the task from pending to processing. A second call has no effect."""
        ...

    async def write(self, deltas: Sequence[Delta], *, progress: int) -> None:
        """Append chunks, and advance the progress, which never goes back.

        Chunks of a task without a stream are dropped.
        """
        ...


class Model(Protocol):
    """Answers requests."""

    @property
    def kind(self) -> ModelKind:
        """What answers. Stored with each task, so that a restart does not give it to another."""
        ...

    @property
    def is_repeatable(self) -> bool:
        """Whether the same job always gives the same chunks.

        A restarted gateway continues the answers of such a model, and ends those of other models
        with ``service_restarted``.
        """
        ...

    async def open(self) -> None:
        """Prepare to answer. Called once, before the first job."""
        ...

    async def answer(self, job: Job, output: Output) -> ChatCompletion:
        """Wait for the turn of the job, start it, write its chunks and return the completion.

        Cancelled when the gateway shuts down.

        Raises:
            ModelError: The task fails, after the chunks that were written.
        """
        ...

    async def aclose(self) -> None:
        """Release what the model holds.

        Called once, after the last job has ended, or after a model could not be opened.
        """
        ...
