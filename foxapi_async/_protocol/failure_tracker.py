"""How much trouble with a task is too much."""

from foxapi_async._protocol.task_status import NOT_FOUND_LIMIT, PollFailure


class FailureTracker:
    """What has come between a task and its result without a break."""

    __slots__ = ("_empty_since", "_failing_since", "_not_found")

    def __init__(self) -> None:
        self._not_found = 0
        self._failing_since: float | None = None
        self._empty_since: float | None = None

    @property
    def has_empty_result(self) -> bool:
        """Whether the task was completed without results when it was last seen."""
        return self._empty_since is not None

    @property
    def is_not_found(self) -> bool:
        """Whether the service does not know the task: the last looks all found nothing."""
        return self._not_found >= NOT_FOUND_LIMIT

    def record_failure(self, failure: PollFailure, now: float, timeout: float) -> bool:
        """Note a failed look; tell whether the task counts as lost.

        It does after ``timeout`` seconds of failure alone, or when it was missing three times in a
        row (contract Q11).
        """
        self._not_found = self._not_found + 1 if failure is PollFailure.NOT_FOUND else 0
        if self._failing_since is None:
            self._failing_since = now
        return self.is_not_found or now - self._failing_since >= timeout

    def record_empty_result(self, now: float, grace: float) -> bool:
        """Note a look that found it completed without results; tell whether it stays so.

        The results come seconds later (contract Q2); after ``timeout`` seconds they never will.
        """
        self._not_found = 0
        self._failing_since = None
        if self._empty_since is None:
            self._empty_since = now
        return now - self._empty_since >= grace
