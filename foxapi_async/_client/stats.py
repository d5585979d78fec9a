"""What a session has done and is doing."""

from typing import Self

from msgspec import Struct

from foxapi_async._client.service import Core


class Stats(Struct, frozen=True, kw_only=True):
    """Counts of one session and its ``with_options`` copies, at one instant.

    ``submits`` POSTs were started, ``submits_in_flight`` are under way and ``waiting_for_room``
    wait for their turn. ``polls`` looks were taken at tasks, of which ``faults`` failed.
    ``waiting`` awaits are under way and ``streams`` are open. ``unclaimed`` tasks have lost their
    caller.
    """

    submits: int
    submits_in_flight: int
    waiting_for_room: int
    polls: int
    faults: int
    waiting: int
    streams: int
    unclaimed: int

    @classmethod
    def of(cls, core: Core) -> Self:
        """Read the counters of ``core``."""
        return cls(
            submits=core.submitter.submits,
            submits_in_flight=core.submitter.in_flight,
            waiting_for_room=core.submitter.waiting_for_room,
            polls=core.poller.gets,
            faults=core.poller.faults,
            waiting=core.poller.waiting,
            streams=len(core.streams),
            unclaimed=len(core.unclaimed),
        )
