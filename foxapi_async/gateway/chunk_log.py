"""The chunks of one task, written once and read by any number of streams."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager


class ChunkLog:
    """An append-only list of encoded events.

    Every reader keeps its own offset and shares the bytes, so a further reader costs a callback
    while it waits and nothing else. Writing never waits for a reader.
    """

    __slots__ = ("_frames", "_listeners", "closing", "ended")

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self.ended: bool = False
        self._listeners: set[Callable[[], object]] = set()
        self.closing: bytes = b""
        """The event that ends the stream; empty while chunks are to come, or if none ever will."""

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def size(self) -> int:
        """The bytes of all chunks."""
        return sum(map(len, self._frames))

    def extend(self, frames: Sequence[bytes]) -> None:
        """Add chunks and wake the readers."""
        self._frames.extend(frames)
        self._wake()

    def end(self, closing: bytes = b"") -> None:
        """Let the readers come to an end; without a closing event they are cut off."""
        self.closing = closing
        self.ended = True
        self._wake()

    async def read(self, offset: int, limit: int = 256) -> Sequence[bytes]:
        """Return chunks from ``offset`` on once there are any; none means the log has ended."""
        while offset >= len(self._frames) and not self.ended:
            await self._change()
        return self.since(offset, limit)

    def since(self, offset: int, limit: int = 256) -> Sequence[bytes]:
        """Return the chunks from ``offset`` on that there are by now."""
        return self._frames[offset : offset + limit]

    @contextmanager
    def heard(self, listener: Callable[[], object]) -> Generator[None]:
        """Call ``listener``, which must not raise, after each change while the context is open."""
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    async def _change(self) -> None:
        # A future for each reader: two tasks that wait for one future are cancelled together.
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        with self.heard(wake):
            await woken

    def _wake(self) -> None:
        for listener in self._listeners:
            listener()
