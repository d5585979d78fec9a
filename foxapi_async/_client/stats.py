"""Counters of a session."""

from msgspec import Struct


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


class PollMetrics:
    """Counters of a poller, from which means are computed."""

    __slots__ = ("_delays", "_ended", "_lateness", "_polls_of_ended", "faults", "gets")

    def __init__(self) -> None:
        self.gets: int = 0
        self.faults: int = 0
        self._lateness = 0.0
        self._ended = 0
        self._polls_of_ended = 0
        self._delays = 0.0

    def poll_started(self, late_by: float) -> None:
        """Count a GET that starts ``late_by`` seconds after it was due."""
        self.gets += 1
        self._lateness += late_by

    def task_finished(self, polls: int, delay: float) -> None:
        """Count a task that took ``polls``; its end went unseen for at most ``delay`` seconds."""
        self._ended += 1
        self._polls_of_ended += polls
        self._delays += delay

    @property
    def lateness(self) -> float:
        """The mean seconds from the time when a GET is due to its start."""
        return self._lateness / self.gets if self.gets else 0.0

    @property
    def polls_per_task(self) -> float:
        """The mean number of GETs until a task was found finished."""
        return self._polls_of_ended / self._ended if self._ended else 0.0

    @property
    def detection_delay(self) -> float:
        """The mean of the longest time in seconds for which the end of a task went unseen."""
        return self._delays / self._ended if self._ended else 0.0
