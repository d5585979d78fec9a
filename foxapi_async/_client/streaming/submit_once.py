"""The generation that a stream submits when it is first used."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foxapi_async._client.llm_handle import LLMHandle


class SubmitOnce:
    """Submits once, however often the first use is cancelled and tried again.

    A generation that is accepted when nobody is left to take its handle is ``disowned``.
    """

    __slots__ = ("_disowned", "_is_taken", "_submission", "_submit")

    def __init__(
        self,
        submit: "Callable[[], Coroutine[Any, Any, LLMHandle]]",
        disowned: "Callable[[LLMHandle], object]",
    ) -> None:
        self._submit = submit
        self._disowned = disowned
        self._submission: asyncio.Task[LLMHandle] | None = None
        self._is_taken = False

    @property
    def handle(self) -> "LLMHandle | None":
        """The handle, as soon as there is one."""
        submission = self._submission
        if submission is None or not submission.done() or submission.cancelled():
            return None
        return None if submission.exception() else submission.result()

    async def run(self) -> "LLMHandle":
        """Return the handle, or raise what the submit raised. Cancelling stops nothing."""
        if self._submission is None:
            self._submission = asyncio.get_running_loop().create_task(self._submit())
            self._submission.add_done_callback(_consume_exception)
        await asyncio.wait((self._submission,))
        self._is_taken = True
        return self._submission.result()

    def abandon(self) -> None:
        """Take the handle no more: a submission under way ends in ``fox.unclaimed``."""
        if self._submission is None or self._is_taken:
            return
        self._is_taken = True
        if self.handle is not None:
            self._disowned(self.handle)
        else:
            self._submission.cancel()


def _consume_exception(submission: "asyncio.Task[LLMHandle]") -> None:
    """Take note of an error that nobody may be left to be told of."""
    if not submission.cancelled():
        submission.exception()
