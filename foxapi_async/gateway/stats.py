"""Counters of one gateway."""

from dataclasses import asdict, dataclass


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
    faults: int = 0
    """Times that a fault rule acted."""

    def as_dict(self) -> dict[str, int]:
        """Return the current values by name."""
        return asdict(self)
