"""What a gateway has done so far."""

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Stats:
    """Counters that only grow, but for ``streams_open``.

    ``submits`` counts the POSTs that arrived, refused ones included; ``tasks`` those that became a
    task, which is what the service bills. ``polls`` counts the queries of tasks, ``streams`` the
    streams that were opened, ``chunks`` those that tasks wrote, however many readers they had, and
    ``faults`` how often a rule of faults acted.
    """

    submits: int = 0
    tasks: int = 0
    completed: int = 0
    failed: int = 0
    polls: int = 0
    streams: int = 0
    streams_open: int = 0
    chunks: int = 0
    faults: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name, as they are now."""
        return asdict(self)
