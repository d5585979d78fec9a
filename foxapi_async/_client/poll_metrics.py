"""What a poller has done so far, in figures."""


class PollMetrics:
    """What the poller has done so far."""

    __slots__ = ("_delays", "_ended", "_lateness", "_polls_of_ended", "faults", "gets")

    def __init__(self) -> None:
        self.gets: int = 0
        self.faults: int = 0
        self._lateness = 0.0
        self._ended = 0
        self._polls_of_ended = 0
        self._delays = 0.0

    def started(self, late_by: float) -> None:
        """Count a GET that starts ``late_by`` seconds after it was due."""
        self.gets += 1
        self._lateness += late_by

    def saw_end(self, polls: int, delay: float) -> None:
        """Count a task seen finished by its ``polls``th, ``delay`` seconds after the one before."""
        self._ended += 1
        self._polls_of_ended += polls
        self._delays += delay

    @property
    def lateness(self) -> float:
        """The mean seconds from the due time of a GET to its start."""
        return self._lateness / self.gets if self.gets else 0.0

    @property
    def polls_per_task(self) -> float:
        """The mean GETs of a task until it was seen finished."""
        return self._polls_of_ended / self._ended if self._ended else 0.0

    @property
    def delay(self) -> float:
        """The mean seconds that the end of a task went unseen, at the most."""
        return self._delays / self._ended if self._ended else 0.0
