"""A submission that starts at the first use of a stream."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from foxapi_async._client.polling.tracked_task import TrackedTask

T_co = TypeVar("T_co", covariant=True)


class HasTracked(Protocol):
    """What the submission of a stream returns: a handle."""

    def _find_tracked(self) -> TrackedTask: ...


class SubmitOnce(Generic[T_co]):
    """Submits once, however often `run` is cancelled and called again.

    Args:
        submit: Makes the submission and returns what stands for it, such as a handle.
        on_unclaimed: Called with the result of a submission that was abandoned after it returned.
    """

    __slots__ = ("_is_taken", "_on_unclaimed", "_submission", "_submit")

    def __init__(
        self,
        submit: Callable[[], Coroutine[Any, Any, T_co]],
        on_unclaimed: Callable[[T_co], object],
    ) -> None:
        self._submit = submit
        self._on_unclaimed = on_unclaimed
        self._submission: asyncio.Task[T_co] | None = None
        self._is_taken = False

    @property
    def result(self) -> T_co | None:
        """The result of the submission; ``None`` while there is none."""
        submission = self._submission
        if submission is None or not submission.done() or submission.cancelled():
            return None
        return None if submission.exception() else submission.result()

    async def run(self) -> T_co:
        """Return the result of the submission, or raise its error. Cancelling does not stop it."""
        if self._submission is None:
            self._submission = asyncio.get_running_loop().create_task(self._submit())
            self._submission.add_done_callback(_consume_exception)
        await asyncio.wait((self._submission,))
        self._is_taken = True
        return self._submission.result()

    def abandon(self) -> None:
        """Give up the result: a pending submission is cancelled, which leaves its task unclaimed.

        Does nothing before the submission starts, and after `run` has returned.
        """
        if self._submission is None or self._is_taken:
            return
        self._is_taken = True
        if (result := self.result) is not None:
            self._on_unclaimed(result)
        else:
            self._submission.cancel()


def _consume_exception(submission: asyncio.Task[Any]) -> None:
    """Mark the error as retrieved: `run` may never be called again to raise it."""
    if not submission.cancelled():
        submission.exception()
