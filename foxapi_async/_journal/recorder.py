"""What a journal must do, and the one that keeps nothing."""

from typing import Protocol

from foxapi_async._wire.request import GenerationRequest
from foxapi_async._wire.task import Task
from foxapi_async.errors import FoxAPIError


class Recorder(Protocol):
    """Writes down each step of a submission before the next one is taken.

    A method that raises ``JournalError`` stops the submission where it stands.
    """

    async def intended(self, request: GenerationRequest, key: str | None) -> int:
        """Note that ``request`` is about to be submitted; return the number of the note."""
        ...

    async def accepted(self, note: int, task: Task) -> None:
        """Note the task that the service made of it."""
        ...

    async def refused(self, note: int, fault: FoxAPIError) -> None:
        """Note that the service provably did not take it."""
        ...

    async def unknown(self, note: int, fault: FoxAPIError) -> None:
        """Note that the service may have taken it."""
        ...


class NullRecorder:
    """Keeps nothing."""

    async def intended(self, request: GenerationRequest, key: str | None) -> int:
        """Keep nothing."""
        del request, key
        return 0

    async def accepted(self, note: int, task: Task) -> None:
        """Keep nothing."""

    async def refused(self, note: int, fault: FoxAPIError) -> None:
        """Keep nothing."""

    async def unknown(self, note: int, fault: FoxAPIError) -> None:
        """Keep nothing."""
