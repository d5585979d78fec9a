"""Counters of a poller."""


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
