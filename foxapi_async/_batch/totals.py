"""The sums of a run: how its rows ended, what they used, and when. Their size is bounded."""

import math
from collections.abc import Iterator
from typing import Final, Literal

from msgspec import Struct, field

EndReason = Literal[
    "running", "done", "budget", "errors", "interrupted", "refused", "unwritable", "failed"
]
"""Why a run ended: all rows were read; ``--max-errors``; Ctrl-C; the service refused the account; a
file could not be written; an error of the session or of the input. ``running`` until then, and
after a kill."""

_MAX_KINDS: Final = 50
_MAX_EXAMPLES: Final = 3
_MAX_SLOTS: Final = 120
_OTHER: Final = "other"
# Ten bins for each factor of ten, from a millisecond to eleven days.
_BINS_PER_DECADE: Final = 10
_MIN_SECONDS: Final = 0.001
_BINS: Final = 9 * _BINS_PER_DECADE


class ErrorExample(Struct, frozen=True, kw_only=True):
    """One error of a kind."""

    line: int
    """The line of the row."""
    custom_id: str | None
    """Its id in an OpenAI Batch row."""
    message: str
    """The text of the error."""


class ErrorKind(Struct, kw_only=True):
    """All errors with one code."""

    count: int = 0
    """How many there were."""
    examples: list[ErrorExample] = field(default_factory=list[ErrorExample])
    """The first three."""


class AnswerExample(Struct, frozen=True, kw_only=True):
    """One answer."""

    line: int
    """The line of the row."""
    custom_id: str | None
    """Its id in an OpenAI Batch row."""
    text: str
    """The start of the answer."""


class Timeline(Struct, kw_only=True):
    """How many rows ended in each slot of time. When there are too many slots, two become one."""

    slot_seconds: float = 1.0
    """The length of a slot."""
    answered: list[int] = field(default_factory=list[int])
    """Answered rows by slot."""
    failed: list[int] = field(default_factory=list[int])
    """Other rows by slot."""

    def add(self, elapsed: float, *, is_answered: bool) -> None:
        """Count a row that ended ``elapsed`` seconds after the start of the run."""
        while elapsed >= self.slot_seconds * _MAX_SLOTS:
            self.slot_seconds *= 2
            self.answered = _halved(self.answered)
            self.failed = _halved(self.failed)
        slot = int(max(elapsed, 0.0) / self.slot_seconds)
        for rows in (self.answered, self.failed):
            rows.extend([0] * (slot + 1 - len(rows)))
        (self.answered if is_answered else self.failed)[slot] += 1


class Durations(Struct, kw_only=True):
    """The distribution of times, in bins that are 26 % wide."""

    bins: list[int] = field(default_factory=lambda: [0] * _BINS)
    """The number of times in each bin."""

    def add(self, seconds: float) -> None:
        """Count a time."""
        decades = math.log10(max(seconds, _MIN_SECONDS) / _MIN_SECONDS)
        self.bins[min(int(decades * _BINS_PER_DECADE), _BINS - 1)] += 1

    @property
    def count(self) -> int:
        """The number of times."""
        return sum(self.bins)

    def quantile(self, share: float) -> float | None:
        """Return the time that this share of all times did not exceed, about; in seconds."""
        left = share * self.count
        if not left:
            return None
        for end, count in self.ends():
            left -= count
            if left <= 0:
                return end
        return None

    def ends(self) -> Iterator[tuple[float, int]]:
        """Yield the end of each bin in seconds, and its count."""
        for number, count in enumerate(self.bins, 1):
            yield _MIN_SECONDS * 10 ** (number / _BINS_PER_DECADE), count


class Totals(Struct, kw_only=True):
    """How far a run has come."""

    earlier: int = 0
    """Rows that the output had before this run."""
    read: int = 0
    """Rows that were taken from the input, without those that the output had."""
    answered: int = 0
    """Rows that this run wrote to the output."""
    invalid: int = 0
    """Rows that could not be read, or have no request."""
    failed: int = 0
    """Rows whose request or task failed, or whose answer the schema refuses."""
    unknown: int = 0
    """Rows that may be billed, and whose outcome nothing shows."""
    skipped: int = 0
    """Rows of unknown outcome that ``--unknown skip`` left out."""
    prompt_tokens: int = 0
    """Tokens of the requests of all answers in the output."""
    completion_tokens: int = 0
    """Tokens of all answers in the output."""
    credits: float = 0.0
    """Credits of the tasks behind them, as far as the service says so."""
    with_credits: int = 0
    """The tasks of which the service says the credits."""
    started_at: float = 0.0
    """When the run began, in Unix seconds."""
    seconds: float = 0.0
    """How long it has run, in seconds."""
    end: EndReason = "running"
    """Why it ended."""
    errors: dict[str, ErrorKind] = field(default_factory=dict[str, ErrorKind])
    """The errors by code."""
    durations: Durations = field(default_factory=Durations)
    """The times from the submit to the result."""
    timeline: Timeline = field(default_factory=Timeline)
    """When rows ended."""
    answers: list[AnswerExample] = field(default_factory=list[AnswerExample])
    """The first three answers."""

    @property
    def errors_total(self) -> int:
        """The rows without an answer."""
        return self.invalid + self.failed + self.unknown

    @property
    def finished(self) -> int:
        """The rows that this run has ended."""
        return self.answered + self.errors_total + self.skipped

    def add_written(self, prompt_tokens: int, completion_tokens: int, spent: float | None) -> None:
        """Count a row that the output had before this run."""
        self.earlier += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        if spent is not None:
            self.credits += spent
            self.with_credits += 1

    def add_error(self, code: str, example: ErrorExample) -> None:
        """Count an error by its code."""
        if code not in self.errors and len(self.errors) >= _MAX_KINDS:
            code = _OTHER
        kind = self.errors.setdefault(code, ErrorKind())
        kind.count += 1
        if len(kind.examples) < _MAX_EXAMPLES:
            kind.examples.append(example)

    def add_answer(self, example: AnswerExample) -> None:
        """Keep one of the first answers."""
        if len(self.answers) < _MAX_EXAMPLES:
            self.answers.append(example)


class ErrorLimit(Struct, frozen=True, kw_only=True):
    """The most errors of a run, as a number or as a share of its rows."""

    rows: int | None = None
    """The number of errors."""
    share: float | None = None
    """The share of the rows that have ended, 0 to 1. It counts from 100 rows on."""

    @classmethod
    def parse(cls, text: str) -> "ErrorLimit":
        """Read ``20`` or ``5%``; ``ValueError`` for anything else."""
        if text.endswith("%"):
            share = float(text[:-1]) / 100
            if not 0 <= share <= 1:
                raise ValueError("a share is 0% to 100%")
            return cls(share=share)
        rows = int(text)
        if rows < 0:
            raise ValueError("a number of rows is 0 or more")
        return cls(rows=rows)

    def is_exceeded(self, totals: Totals) -> bool:
        """Tell whether a run has too many errors."""
        if self.rows is not None:
            return totals.errors_total > self.rows
        if self.share is None or totals.finished < _MIN_ROWS:
            return False
        return totals.errors_total > self.share * totals.finished


_MIN_ROWS: Final = 100


def _halved(counts: list[int]) -> list[int]:
    padded = [*counts, 0] if len(counts) % 2 else counts
    return [first + second for first, second in zip(padded[::2], padded[1::2], strict=True)]
