"""What a session has done and is doing."""

from msgspec import Struct

from foxapi_async._client.runtime import Runtime


class Stats(Struct, frozen=True, kw_only=True):
    """Counters of one session and its ``with_options`` copies, at one instant."""

    submits: int
    """POSTs that were started."""
    submits_in_flight: int
    """POSTs that are under way."""
    waiting_for_room: int
    """Submits that wait for ``limits.max_unfinished``, ``limits.submits_in_flight`` or the end of a
    pause.
    """
    paused: float
    """Seconds until submits go on, after a 429 or a ``Retry-After``; else 0."""
    tasks: int
    """Tasks that were accepted, and so are billed."""
    unfinished: int
    """Tasks that count for ``limits.max_unfinished``; 0 if that is not set."""
    unclaimed: int
    """Handles in ``fox.unclaimed``."""
    waiting: int
    """Waits for tasks that are under way."""
    polls: int
    """GETs that were made for waits."""
    polls_in_flight: int
    """Polls that are under way."""
    polls_ready: int
    """Polls that are due and wait for their turn."""
    polls_per_task: float
    """GETs for each task that was seen finished, in the mean."""
    faults: int
    """Polls that failed."""
    lateness: float
    """Seconds from the time when a poll is due to its start, in the mean."""
    delay: float
    """Seconds for which the end of a task went unseen, at most, in the mean."""
    polls_per_second: float | None
    """Polls a second that are allowed now: the limit, or less after a 429. ``None``: no limit."""
    streams: int
    """Streams that are open."""


def read_stats(runtime: Runtime) -> Stats:
    """Read the counters of ``runtime``."""
    admission, poller, metrics = runtime.admission, runtime.poller, runtime.poller.metrics
    return Stats(
        submits=runtime.submitter.submits,
        submits_in_flight=runtime.submitter.in_flight,
        waiting_for_room=admission.waiting,
        paused=admission.paused,
        tasks=admission.tasks,
        unfinished=admission.unfinished,
        unclaimed=len(runtime.unclaimed),
        waiting=poller.waiting,
        polls=metrics.gets,
        polls_in_flight=poller.in_flight,
        polls_ready=poller.queued,
        polls_per_task=metrics.polls_per_task,
        faults=metrics.faults,
        lateness=metrics.lateness,
        delay=metrics.detection_delay,
        polls_per_second=poller.polls_per_second,
        streams=len(runtime.streams),
    )
