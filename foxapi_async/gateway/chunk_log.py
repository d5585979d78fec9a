"""The chunks of one task, shared by all of its streams."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager


class ChunkLog:
    """An append-only list of encoded events.

    Every stream keeps its own offset and shares the bytes: a further stream costs one callback
    while it waits. The writer never waits for a stream.
    """

    __slots__ = ("_frames", "_listeners", "closing", "ended")

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self.ended: bool = False
        """No further chunk will be added."""
        self._listeners: set[Callable[[], object]] = set()
        self.closing: bytes = b""
        """The last event of the stream. Empty before the end, and after an end without one."""

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def size(self) -> int:
        """The bytes of all chunks."""
        return sum(map(len, self._frames))

    def extend(self, frames: Sequence[bytes]) -> None:
        """Add chunks and notify the listeners."""
        self._frames.extend(frames)
        self._notify()

    def end(self, closing: bytes = b"") -> None:
        """End the log. Without a closing event the streams end without one."""
        self.closing = closing
        self.ended = True
        self._notify()

    async def read(self, offset: int, limit: int = 256) -> Sequence[bytes]:
        """Wait for chunks from ``offset`` on and return them; none means that the log ended."""
        while offset >= len(self._frames) and not self.ended:
            await self._wait_for_change()
        return self.since(offset, limit)

    def since(self, offset: int, limit: int = 256) -> Sequence[bytes]:
        """Return the chunks from ``offset`` on that exist now."""
        return self._frames[offset : offset + limit]

    @contextmanager
    def subscribe(self, listener: Callable[[], object]) -> Generator[None]:
        """Call ``listener`` after each change while the context is open. It must not raise."""
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    async def _wait_for_change(self) -> None:
        # One future per waiter: cancelling one waiter of a shared future would cancel all.
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def resolve() -> None:
            if not changed.done():
                changed.set_result(None)

        with self.subscribe(resolve):
            await changed

    def _notify(self) -> None:
        for listener in self._listeners:
            listener()
