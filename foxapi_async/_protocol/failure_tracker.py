"""How much trouble with a task is too much."""

from foxapi_async._protocol.task_status import NOT_FOUND_LIMIT, PollFailure


class FailureTracker:
    """What has come between a task and its result without a break."""

    __slots__ = ("_failing_since", "_hollow_since", "_misses")

    def __init__(self) -> None:
        self._misses = 0
        self._failing_since: float | None = None
        self._hollow_since: float | None = None

    @property
    def is_hollow(self) -> bool:
        """Whether the task was completed without results when it was last seen."""
        return self._hollow_since is not None

    @property
    def is_missing(self) -> bool:
        """Whether the service does not know the task: the last looks all found nothing."""
        return self._misses >= NOT_FOUND_LIMIT

    def fault(self, sight: PollFailure, now: float, patience: float) -> bool:
        """Note a failed look; tell whether the task counts as lost.

        It does after ``patience`` seconds of failure alone, or when it was missing three times in a
        row (contract Q11).
        """
        self._misses = self._misses + 1 if sight is PollFailure.MISSING else 0
        if self._failing_since is None:
            self._failing_since = now
        return self.is_missing or now - self._failing_since >= patience

    def hollow(self, now: float, patience: float) -> bool:
        """Note a look that found it completed without results; tell whether it stays so.

        The results come seconds later (contract Q2); after ``patience`` seconds they never will.
        """
        self._misses = 0
        self._failing_since = None
        if self._hollow_since is None:
            self._hollow_since = now
        return now - self._hollow_since >= patience
