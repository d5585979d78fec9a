"""The counters of a gateway."""

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Stats:
    """Counters of a gateway. They only grow, except ``streams_open``."""

    submits: int = 0
    """POSTs that arrived, refused ones included."""
    tasks: int = 0
    """POSTs that became a task, which is what the service bills."""
    completed: int = 0
    """Tasks that are completed."""
    failed: int = 0
    """Tasks that failed."""
    polls: int = 0
    """Queries of tasks."""
    streams: int = 0
    """Streams that were opened."""
    streams_open: int = 0
    """Streams that are open now."""
    chunks: int = 0
    """Chunks that tasks wrote, however many readers they had."""
    faults: int = 0
    """How often a fault rule acted."""

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name, as they are now."""
        return asdict(self)
