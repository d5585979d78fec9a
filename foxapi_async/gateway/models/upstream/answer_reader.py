"""Reads the event stream of one answer and writes its chunks."""

import asyncio
from collections.abc import Iterator
from typing import Final

import aiohttp

from foxapi_async._protocol.mask import Mask
from foxapi_async._protocol.sse import EventDecoder, ServerEvent, decode_frame
from foxapi_async._wire.base import decode_json
from foxapi_async._wire.chunk import Delta
from foxapi_async.gateway.models.model import Job, ModelError, Output
from foxapi_async.gateway.models.upstream.chat_chunks import ChatAnswer
from foxapi_async.gateway.models.upstream.chat_client import OpenAnswer
from foxapi_async.gateway.stats import UpstreamStats

# After the last finish reason only the usage and `[DONE]` are missing.
_TAIL_TIMEOUT: Final = 2.0
# Comments and events without a choice, by which servers show that they work, prolong the silence to
# so many times the timeout at most.
_MAX_KEEP_ALIVE: Final = 4
_MAX_EVENT: Final = 4 * 1024 * 1024
_MAX_ANSWER: Final = 64 * 1024 * 1024
_MAX_PROGRESS: Final = 99
# Half of the progress of an answer of unknown length.
_HALF: Final = 200
_DONE: Final = b"[DONE]"


class AnswerReader:
    """Reads one answer.

    Args:
        job: The job.
        output: Where the chunks are written.
        stats: The counters of the upstream.
        mask: Masks the key of the upstream, if it has one.
        timeout: The longest silence, in seconds.
    """

    def __init__(
        self,
        job: Job,
        output: Output,
        *,
        stats: UpstreamStats,
        mask: Mask | None,
        timeout: float,
    ) -> None:
        self.answer: ChatAnswer = ChatAnswer(job, mask)
        """What was read."""
        self._output = output
        self._stats = stats
        self._mask = mask
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        # `_last` is the time of the last chunk, `_last_event` that of the last event with a choice.
        self._begin = self._last = self._last_event = self._loop.time()
        self._chunks = 0
        self._is_done = False
        self._has_tail_timeout = False
        limits = (job.request.max_completion_tokens, job.request.max_tokens)
        self._limit = next((item for item in limits if isinstance(item, int) and item > 0), None)

    @property
    def is_whole(self) -> bool:
        """Whether the answer is proved to be whole.

        ``[DONE]`` is no proof: servers send it after an answer that was interrupted, too.
        """
        answer = self.answer
        return answer.is_finished and (self._is_done or answer.has_all_choices)

    async def read(self, opened: OpenAnswer, silence: asyncio.Timeout) -> None:
        """Read the events until ``[DONE]`` or the end of the response, and write their chunks.

        Args:
            opened: The response and what was read of it.
            silence: Is rescheduled while something comes.

        Raises:
            ModelError: An event is an error or no chunk, or too long.
        """
        events = EventDecoder(_MAX_EVENT)
        size = 0
        data = opened.head
        try:
            while data:
                size += len(data)
                if block := events.extract_block(data):
                    await self._write(events.split_block(block))
                    self._reschedule(silence)
                if self._is_done:
                    return
                if events.error is not None or size > _MAX_ANSWER:
                    raise ModelError(
                        "service_unavailable", "the answer of the upstream is too long"
                    )
                data = await opened.response.content.readany()
        except aiohttp.ClientError:
            # `is_whole` decides what a lost connection means.
            pass
        if _is_whole_event(events.rest):
            await self._write([events.rest])

    def _reschedule(self, silence: asyncio.Timeout) -> None:
        """Give the next event its time. What follows a whole answer has one time for all."""
        if not self.is_whole:
            last = self._last_event + _MAX_KEEP_ALIVE * self._timeout
            silence.reschedule(min(self._loop.time() + self._timeout, last))
        elif not self._has_tail_timeout:
            self._has_tail_timeout = True
            silence.reschedule(self._loop.time() + min(_TAIL_TIMEOUT, self._timeout))

    async def _write(self, frames: list[bytes]) -> None:
        """Write the chunks of the events, also of those before an error."""
        deltas: list[Delta] = []
        events = self.answer.events
        try:
            for event in self._events(frames):
                delta = self.answer.add(event.name, event.data)
                if delta is not None:
                    deltas.append(delta)
        finally:
            if self.answer.events > events:
                self._last_event = self._loop.time()
            if deltas:
                self._count(len(deltas))
                await self._output.write(deltas, progress=self._progress())

    def _events(self, frames: list[bytes]) -> Iterator[ServerEvent]:
        for frame in frames:
            event = decode_frame(self._masked(frame))
            if event is None or not event.data:
                continue
            if event.data.strip() == _DONE:
                self._is_done = True
                return
            yield event

    def _masked(self, frame: bytes) -> bytes:
        """Return an event without the key, which an upstream may repeat."""
        if self._mask is None or not self._mask.may_contain(frame):
            return frame
        text = frame.decode("utf-8", "surrogateescape")
        return self._mask.name(text).encode("utf-8", "surrogateescape")

    def _count(self, chunks: int) -> None:
        now = self._loop.time()
        if not self._chunks:
            self._stats.answers += 1
            self._stats.first_chunk_seconds += now - self._begin
        else:
            self._stats.writing_seconds += now - self._last
        self._last = now
        self._chunks += chunks
        self._stats.chunks += chunks

    def _progress(self) -> int:
        """Return the share of the token limit, or a value that approaches the end."""
        total = self._chunks + _HALF if self._limit is None else self._limit
        return min(_MAX_PROGRESS, 100 * self._chunks // total)


def _is_whole_event(frame: bytes) -> bool:
    """Tell whether a frame without its blank line is whole: it is, if its data is JSON."""
    event = decode_frame(frame)
    if event is None:
        return False
    try:
        decode_json(event.data)
    except ValueError:
        return event.data.strip() == _DONE
    return True
