"""The submits of one gateway, for the assertions of tests. In memory only."""

from collections import deque
from typing import Any, Final

import msgspec

_MAX_REQUESTS: Final = 10_000
_MAX_BYTES: Final = 64 * 1024 * 1024


class RequestLog:
    """Keeps the bodies of the last submits: at most 10,000, and at most 64 MiB beside the last."""

    def __init__(self) -> None:
        self._bodies: deque[bytes] = deque(maxlen=_MAX_REQUESTS)
        self._bytes = 0

    def add(self, body: bytes) -> None:
        """Append a body that is valid JSON."""
        if len(self._bodies) == _MAX_REQUESTS:
            self._bytes -= len(self._bodies.popleft())
        self._bodies.append(body)
        self._bytes += len(body)
        while self._bytes > _MAX_BYTES and len(self._bodies) > 1:
            self._bytes -= len(self._bodies.popleft())

    def decoded(self) -> list[Any]:
        """Return the bodies as JSON values, the oldest first."""
        return [msgspec.json.decode(body) for body in self._bodies]
