"""What a session has done and is doing."""

from msgspec import Struct

from foxapi_async._client.service import Core


class Stats(Struct, frozen=True, kw_only=True):
    """Counts of one session and its ``with_options`` copies, at one instant. Times are in seconds.

    ``submits`` POSTs were started, ``submits_in_flight`` are under way and ``waiting_for_room``
    wait for their turn, for ``paused`` seconds at least because the service asked for it. ``tasks``
    were accepted; ``unfinished`` count for ``limits.in_flight``, if that is set. ``unclaimed``
    tasks have lost their caller.

    ``waiting`` waits are under way, for which ``polls`` GETs were made, of which ``faults`` failed.
    ``polls_in_flight`` are under way, ``polls_ready`` are due and wait for their turn. They start
    ``lateness`` after they are due in the mean. ``gets_per_second`` is what is allowed now: the
    limit, or less after a 429. A task seen finished took ``polls_per_task`` GETs and its end went
    unseen for ``delay`` at the most, both in the mean. ``streams`` are open.
    """

    submits: int
    submits_in_flight: int
    waiting_for_room: int
    paused: float
    tasks: int
    unfinished: int
    unclaimed: int
    waiting: int
    polls: int
    polls_in_flight: int
    polls_ready: int
    polls_per_task: float
    faults: int
    lateness: float
    delay: float
    gets_per_second: float | None
    streams: int


def read_stats(core: Core) -> Stats:
    """Read the counters of ``core``."""
    room, poller, tally = core.room, core.poller, core.poller.tally
    return Stats(
        submits=core.submitter.submits,
        submits_in_flight=core.submitter.in_flight,
        waiting_for_room=room.waiting,
        paused=room.paused,
        tasks=room.tasks,
        unfinished=room.unfinished,
        unclaimed=len(core.unclaimed),
        waiting=poller.waiting,
        polls=tally.gets,
        polls_in_flight=poller.in_flight,
        polls_ready=poller.ready,
        polls_per_task=tally.polls_per_task,
        faults=tally.faults,
        lateness=tally.lateness,
        delay=tally.delay,
        gets_per_second=poller.gets_per_second,
        streams=len(core.streams),
    )
