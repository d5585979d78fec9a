"""Counters of a session."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from foxapi_async._wire.display import html_card

_MAX_MODELS: Final = 64
_OTHER: Final = "other"


class ModelUsage(Struct, frozen=True, kw_only=True, gc=False):
    """What the tasks that a session submitted to one model have used."""

    tasks: int = 0
    """Tasks that were accepted."""
    prompt_tokens: int = 0
    """Tokens of the requests, of the tasks whose result is known in this session."""
    completion_tokens: int = 0
    """Tokens of the results that are known in this session."""
    credits: float = 0.0
    """What the tasks cost as far as the service says so: the consumed credits, or the reserved
    ones."""


class Stats(Struct, frozen=True, kw_only=True):
    """Counters of one session and its ``with_options`` copies, at one instant."""

    submits: int
    """POSTs that were started."""
    submits_in_flight: int
    """POSTs that are under way."""
    submits_waiting: int
    """Submits that wait for ``limits.max_unfinished``, ``limits.submits_in_flight``, a rate or the
    end of a pause.
    """
    submits_queued: int
    """Those of them that wait for ``limits.submits_per_minute`` or ``limits.tokens_per_minute``."""
    next_submit_in: float
    """Seconds until a rate lets the next of them go; 0 if none waits for its time."""
    paused: float
    """Seconds until submissions continue after a 429; 0 without a pause."""
    tasks: int
    """Tasks that were accepted, and are billed."""
    unfinished: int
    """Tasks that count for ``limits.max_unfinished``; 0 if that is not set."""
    unclaimed: int
    """Handles in ``fox.unclaimed``."""
    waiting: int
    """Waits for tasks that have not ended."""
    polls: int
    """Polls that were started."""
    polls_in_flight: int
    """Polls that are under way."""
    polls_queued: int
    """Polls that are due and wait for a worker or for the rate limit."""
    polls_per_task: float
    """The mean number of polls until a task was found finished."""
    faults: int
    """Polls that failed."""
    lateness: float
    """The mean seconds from the time when a poll is due to its start."""
    delay: float
    """The mean seconds from the last poll that found a task unfinished to its end."""
    polls_held_back: float
    """Seconds in which due polls waited for ``limits.polls_per_second``, or for the end of a pause
    after a 429. Results come later than they could if this grows."""
    polls_per_second: float | None
    """Polls a second that are allowed now: the limit, or less after a 429. ``None``: no limit."""
    streams: int
    """Streams that are open."""
    rows_in_flight: int
    """Rows that a running ``fox.llm.map`` has read and that have no outcome yet."""
    rows_limit: int
    """How many rows the running maps may have in flight; with ``in_flight="auto"`` it changes."""
    usage: Mapping[str, ModelUsage]
    """What the submitted tasks have used, by model; after 64 models, the others are ``"other"``."""

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the counters that are not 0, and the usage by model."""
        counters = {name: getattr(self, name) for name in self.__struct_fields__ if name != "usage"}
        rows = [(name, _three_digits(value)) for name, value in counters.items() if value]
        return html_card("Stats", [*rows, *map(_usage_row, self.usage.items())])


def _three_digits(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value


def _usage_row(item: tuple[str, ModelUsage]) -> tuple[str, str]:
    model, used = item
    tokens = f"{used.prompt_tokens} + {used.completion_tokens} tokens"
    return model, f"{used.tasks} tasks, {tokens}, {used.credits:g} credits"


class TaskAmounts(NamedTuple):
    """What one task has used, as far as it is counted."""

    tasks: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    credits: float = 0.0


NOTHING_USED: Final = TaskAmounts()
_DIGITS: Final = 9


class UsageMeter:
    """Sums the usage of tasks by model."""

    __slots__ = ("_models",)

    def __init__(self) -> None:
        self._models: dict[str, TaskAmounts] = {}

    def __contains__(self, model: str) -> bool:
        return model in self._models

    def add(self, model: str, before: TaskAmounts, after: TaskAmounts) -> None:
        """Add what the usage of one task has become more since it was last counted."""
        if model not in self._models and len(self._models) >= _MAX_MODELS:
            model = _OTHER
        tasks, prompt, completion, cost = self._models.get(model, NOTHING_USED)
        self._models[model] = TaskAmounts(
            tasks + after[0] - before[0],
            prompt + after[1] - before[1],
            completion + after[2] - before[2],
            cost + after[3] - before[3],
        )

    def by_model(self) -> Mapping[str, ModelUsage]:
        """Return the sums."""
        return {model: _rounded(sums) for model, sums in self._models.items()}


def _rounded(sums: TaskAmounts) -> ModelUsage:
    # Sums of fractions such as 0.1 are not exact.
    return ModelUsage(**sums._replace(credits=round(sums.credits, _DIGITS))._asdict())


class PollMetrics:
    """Counters of a poller, from which means are computed."""

    __slots__ = (
        "_delays",
        "_ended",
        "_held_back_until",
        "_lateness",
        "_polls_of_ended",
        "faults",
        "gets",
        "held_back",
    )

    def __init__(self) -> None:
        self.held_back: float = 0.0
        self._held_back_until = 0.0
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

    def polls_held_back(self, now: float, until: float) -> None:
        """Count the time from ``now`` to ``until``, in which due polls wait for the rate limit."""
        self.held_back += max(until - max(now, self._held_back_until), 0.0)
        self._held_back_until = max(until, self._held_back_until)

    def task_finished(self, polls: int, delay: float) -> None:
        """Count a finished task; ``delay`` seconds passed since it was last found unfinished."""
        self._ended += 1
        self._polls_of_ended += polls
        self._delays += delay

    @property
    def lateness(self) -> float:
        """The mean seconds from the time when a GET is due to its start."""
        return self._lateness / self.gets if self.gets else 0.0

    @property
    def polls_per_task(self) -> float:
        """The mean number of polls until a task was found finished."""
        return self._polls_of_ended / self._ended if self._ended else 0.0

    @property
    def detection_delay(self) -> float:
        """The mean seconds from the last poll that found a task unfinished to its end."""
        return self._delays / self._ended if self._ended else 0.0
