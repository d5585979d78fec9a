"""Counters of one gateway."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class UpstreamStats:
    """Counters of one upstream since the start of the gateway. Times are in seconds.

    They only grow, except ``waiting`` and ``running``.
    """

    url: str
    """The base URL of the upstream, ``local`` for the local model."""
    waiting: int = 0
    """Tasks that wait for their turn now."""
    running: int = 0
    """Tasks that have a slot of the upstream now."""
    requests: int = 0
    """Requests sent, repeated ones included."""
    retries: int = 0
    """Times that a task waited because the upstream refused a connection or answered 429 or 503."""
    answers: int = 0
    """Answers whose first chunk has come."""
    chunks: int = 0
    """Chunks received that had something for the client."""
    first_chunk_seconds: float = 0.0
    """The sum over all answers of the time from the request to the first chunk."""
    writing_seconds: float = 0.0
    """The sum over all answers of the time from the first chunk to the last one."""

    @property
    def first_chunk(self) -> float | None:
        """The mean time to the first chunk; ``None`` before the first answer."""
        return self.first_chunk_seconds / self.answers if self.answers else None

    @property
    def pace(self) -> float | None:
        """The mean number of chunks per second of an answer, ``None`` if it is unknown."""
        return self.chunks / self.writing_seconds if self.writing_seconds else None

    def as_dict(self) -> dict[str, Any]:
        """Return the current values by name."""
        return asdict(self) | {"first_chunk": self.first_chunk, "pace": self.pace}


@dataclass(slots=True)
class GatewayStats:
    """Counters since the start of the gateway. They only grow, except ``streams_open``."""

    submits: int = 0
    """POST requests for a generation, refused ones included."""
    tasks: int = 0
    """Tasks created. The service bills each of them."""
    completed: int = 0
    """Tasks that ended with a result."""
    failed: int = 0
    """Tasks that ended with an error."""
    polls: int = 0
    """Queries of a task that had a valid key."""
    streams: int = 0
    """Event streams opened."""
    streams_open: int = 0
    """Event streams that are open now."""
    chunks: int = 0
    """Chunks written by tasks, however many streams read them."""
    uploads: int = 0
    """Files that clients have stored."""
    downloads: int = 0
    """GET requests for the link of a file that got bytes of it."""
    faults: int = 0
    """Times that a fault rule acted."""
    upstreams: list[UpstreamStats] = field(default_factory=list[UpstreamStats])
    """The counters of each upstream."""

    def as_dict(self) -> dict[str, Any]:
        """Return the current values by name."""
        return asdict(self) | {"upstreams": [item.as_dict() for item in self.upstreams]}
