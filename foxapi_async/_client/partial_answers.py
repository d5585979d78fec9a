"""Iterates over the parts of a typed answer while it is written."""
# pyright: reportPrivateUsage=false

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self, final

from msgspec import UNSET

from foxapi_async._client.uncopied import Uncopied
from foxapi_async._output.output_type import OutputType
from foxapi_async._output.partials import PartialAnswer
from foxapi_async._protocol.delta_buffer import DeltaBuffer
from foxapi_async._wire.chunk import Delta


@final
class PartialAnswers(Uncopied):
    """The iterator of ``stream.partials``. A step that is cancelled can be repeated.

    Args:
        deltas: The iterator over the deltas. Dropping it closes the connection.
        buffer: The buffer in which the deltas of one read are.
        output: The type of the answer.
        finish: Called at the end of the stream; returns the data of the whole answer.
    """

    __slots__ = ("_answer", "_buffer", "_deltas", "_finish", "_has_begun")

    _instead = "call stream.partials() of another stream"

    def __init__(
        self,
        deltas: AsyncIterator[Delta],
        buffer: Callable[[], DeltaBuffer],
        output: OutputType[Any],
        finish: Callable[[], Awaitable[Any]],
    ) -> None:
        self._answer = PartialAnswer(output)
        self._deltas: AsyncIterator[Delta] | None = deltas
        self._buffer = buffer
        self._finish: Callable[[], Awaitable[Any]] | None = finish
        self._has_begun = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while self._deltas is not None:
            try:
                delta = await anext(self._deltas)
            except StopAsyncIteration:
                self._deltas = None
                break
            self._add(delta)
            if (value := self._answer.value()) is not UNSET:
                return value
        if self._finish is None:
            raise StopAsyncIteration
        value = await self._finish()
        self._finish = None
        return value

    def _add(self, delta: Delta) -> None:
        """Add a delta, and all others that the same read has brought."""
        buffer = self._buffer()
        if self._has_begun:
            self._answer.add(_text_of(delta))
            for other in buffer.ready:
                self._answer.add(_text_of(other))
            return
        # What stands before the position of a resumed stream is only known here.
        self._has_begun = True
        buffer.skip()
        self._answer.add(buffer.accumulated().text)


def _text_of(delta: Delta) -> str:
    choices = delta.choices
    if len(choices) == 1 and choices[0].index == 0:
        return delta.text
    texts = (one.delta.content for one in choices if one.index == 0 and one.delta is not None)
    return "".join(text or "" for text in texts)
