"""Which rules act on a call."""

from collections.abc import Iterable
from random import Random
from typing import Any, Final

import msgspec
from msgspec import Struct

from foxapi_async.gateway.faults.catalog import KINDS
from foxapi_async.gateway.faults.rule import FaultRule

_POLLS: Final = 3
# So many tasks are remembered for each hollow rule; the oldest are forgotten first.
_MOST_TASKS: Final = 100_000


class Call(Struct, frozen=True, kw_only=True):
    """What a rule can ask about a call. ``completed`` is known only once a query was answered."""

    on: str
    task: str | None = None
    model: str | None = None
    offset: int = 0
    completed: bool = False


def matches(rule: FaultRule, call: Call) -> bool:
    """Tell whether a rule is about such a call at all: only those are counted."""
    if rule.on not in {call.on, "any"}:
        return False
    if rule.task not in {None, call.task} or rule.model not in {None, call.model}:
        return False
    if call.completed != (rule.fault == "hollow"):
        return False
    if rule.fault == "ignore-offset":
        return call.offset > 0
    # A stream that goes on where it was cut must get past that place.
    return rule.chunk is None or call.offset <= max(0, rule.chunk - 1)


def fires(rule: FaultRule, *, seen: int, hits: int, roll: float) -> bool:
    """Tell whether a rule acts on the call number ``seen`` of those that concern it."""
    if rule.times is not None and hits >= rule.times:
        return False
    if rule.nth is not None and seen != rule.nth:
        return False
    if rule.every is not None and seen % rule.every:
        return False
    return rule.probability is None or roll < rule.probability


class _RuleState:
    """A rule and how often it was looked at."""

    __slots__ = ("hits", "number", "rule", "seen", "told")

    def __init__(self, rule: FaultRule, number: int) -> None:
        self.rule = rule
        self.number = number
        self.seen = 0
        self.hits = 0
        self.told: dict[str, int] = {}

    def acts(self, call: Call, seed: int) -> bool:
        rule = self.rule
        roll = 0.0
        if rule.probability is not None:
            # A generator for each call: what is drawn depends on the call's number alone, however
            # many other rules there are.
            roll = Random(f"{seed}/{self.number}/{self.seen}").random()  # noqa: S311 no secret
        if not fires(rule, seen=self.seen, hits=self.hits, roll=roll):
            return False
        if rule.fault == "hollow" and not self._is_still_hollow(call.task or ""):
            return False
        self.hits += 1
        return True

    def _is_still_hollow(self, task: str) -> bool:
        told = self.told.get(task, 0)
        if told >= (self.rule.polls or _POLLS):
            return False
        if told == 0 and len(self.told) >= _MOST_TASKS:
            del self.told[next(iter(self.told))]
        self.told[task] = told + 1
        return True


class Faults:
    """The faults of a gateway: rules that can be added and cleared while it runs.

    The same seed and the same calls in the same order give the same faults; without a seed one is
    drawn, and ``seed`` tells which.
    """

    def __init__(self, rules: Iterable[FaultRule | str] = (), *, seed: int | None = None) -> None:
        self.seed: int = Random().getrandbits(32) if seed is None else seed  # noqa: S311 a die
        """The seed of the random draws."""
        self._armed: tuple[_RuleState, ...] = ()
        self._added = 0
        self.add(*rules)

    def add(self, *rules: FaultRule | str) -> None:
        """Put rules behind those that are there; ``ConfigError`` for one that cannot work."""
        read = [FaultRule.of(rule) for rule in rules]
        # One assignment, because a test may add rules from another thread.
        self._armed = (
            *self._armed,
            *(_RuleState(rule, number) for number, rule in enumerate(read, self._added)),
        )
        self._added += len(read)

    def clear(self) -> None:
        """Forget all rules: from now on everything goes well."""
        self._armed = ()
        self._added = 0

    @property
    def rules(self) -> tuple[FaultRule, ...]:
        """The rules in the order in which they are looked at."""
        return tuple(armed.rule for armed in self._armed)

    @property
    def hits(self) -> tuple[int, ...]:
        """How often each rule acted, in the order of ``rules``."""
        return tuple(armed.hits for armed in self._armed)

    def __bool__(self) -> bool:
        return bool(self._armed)

    @property
    def asks_for_models(self) -> bool:
        """Whether a rule needs to know of which model a task is."""
        return any(armed.rule.model is not None for armed in self._armed)

    def decide(self, call: Call) -> tuple[FaultRule, ...]:
        """Return the rules that act on ``call``, and count it.

        Of those that take the place of an answer the first acts alone; the others count the call
        all the same.
        """
        acting: list[FaultRule] = []
        is_answered = False
        for armed in self._armed:
            if not matches(armed.rule, call):
                continue
            armed.seen += 1
            answers = KINDS[armed.rule.fault].answers
            if not (answers and is_answered) and armed.acts(call, self.seed):
                acting.append(armed.rule)
                is_answered = is_answered or answers
        return tuple(acting)

    def as_dict(self) -> dict[str, Any]:
        """Return the seed and the rules with what they have done, as ``/_gateway/faults`` does."""
        faults = [
            {
                "rule": str(armed.rule),
                **msgspec.to_builtins(armed.rule),
                "seen": armed.seen,
                "hits": armed.hits,
            }
            for armed in self._armed
        ]
        return {"seed": self.seed, "faults": faults}
