"""Decides which fault rules act on a call."""

from collections.abc import Iterable
from random import Random
from typing import Any, Final

import msgspec
from msgspec import Struct

from foxapi_async.gateway.faults.catalog import FAULT_KINDS, FaultName
from foxapi_async.gateway.faults.rule import FaultRule

_DEFAULT_POLLS: Final = 3
# Tasks that a rule of the fault `empty-result` remembers; the oldest are forgotten first.
_MAX_TASKS: Final = 100_000


class CallInfo(Struct, frozen=True, kw_only=True):
    """What a rule can test about a call of a route."""

    on: str
    """The route."""
    task: str | None = None
    """The id of the task."""
    model: str | None = None
    """The model of the task, if a rule tests it."""
    offset: int = 0
    """The offset of a stream."""
    completed: bool = False
    """The response of a query shows a completed task."""


def matches(rule: FaultRule, call: CallInfo) -> bool:
    """Return whether a rule applies to a call. A rule counts only the calls that it applies to."""
    if rule.on not in {call.on, "any"}:
        return False
    if rule.task not in {None, call.task} or rule.model not in {None, call.model}:
        return False
    if call.completed != (rule.fault == FaultName.EMPTY_RESULT):
        return False
    if rule.fault == FaultName.IGNORE_OFFSET:
        return call.offset > 0
    # A stream that was cut at a chunk is resumed there, and must get past it.
    return rule.chunk is None or call.offset <= max(0, rule.chunk - 1)


def fires(rule: FaultRule, *, seen: int, hits: int, rand: float) -> bool:
    """Return whether a rule acts on call number ``seen`` of those that it applies to.

    Args:
        rule: The rule.
        seen: The number of the call; the first is 1.
        hits: How often the rule has acted.
        rand: A random number from 0 to 1.
    """
    if rule.times is not None and hits >= rule.times:
        return False
    if rule.nth is not None and seen != rule.nth:
        return False
    if rule.every is not None and seen % rule.every:
        return False
    return rule.probability is None or rand < rule.probability


class _RuleState:
    """A rule with its counters."""

    __slots__ = ("empty_polls", "hits", "number", "rule", "seen")

    def __init__(self, rule: FaultRule, number: int) -> None:
        self.rule = rule
        self.number = number
        self.seen = 0
        self.hits = 0
        # Polls without results, by task.
        self.empty_polls: dict[str, int] = {}

    def fires(self, call: CallInfo, seed: int) -> bool:
        rule = self.rule
        rand = 0.0
        if rule.probability is not None:
            # One generator for each rule and call: other rules do not change the numbers drawn.
            rand = Random(f"{seed}/{self.number}/{self.seen}").random()  # noqa: S311 no secret
        if not fires(rule, seen=self.seen, hits=self.hits, rand=rand):
            return False
        if rule.fault == FaultName.EMPTY_RESULT and not self._is_empty(call.task or ""):
            return False
        self.hits += 1
        return True

    def _is_empty(self, task: str) -> bool:
        polls = self.empty_polls.get(task, 0)
        if polls >= (self.rule.polls or _DEFAULT_POLLS):
            return False
        if polls == 0 and len(self.empty_polls) >= _MAX_TASKS:
            del self.empty_polls[next(iter(self.empty_polls))]
        self.empty_polls[task] = polls + 1
        return True


class Faults:
    """The fault rules of a gateway. They can be added and cleared while it runs.

    The same seed and the same calls in the same order give the same faults.

    Args:
        rules: The first rules, as objects or in the short form.
        seed: The seed of random numbers; without one, a seed is drawn.

    Raises:
        ConfigError: A rule is invalid.
    """

    def __init__(self, rules: Iterable[FaultRule | str] = (), *, seed: int | None = None) -> None:
        self.seed: int = Random().getrandbits(32) if seed is None else seed  # noqa: S311 no secret
        """The seed of the random numbers."""
        self._states: tuple[_RuleState, ...] = ()
        self._added = 0
        self.add(*rules)

    def add(self, *rules: FaultRule | str) -> None:
        """Add rules after the existing ones.

        Args:
            *rules: Rules, as objects or in the short form.

        Raises:
            ConfigError: A rule is invalid. None is added then.
        """
        added = [FaultRule.of(rule) for rule in rules]
        # One assignment: a test may add rules in another thread.
        self._states = (
            *self._states,
            *(_RuleState(rule, number) for number, rule in enumerate(added, self._added)),
        )
        self._added += len(added)

    def clear(self) -> None:
        """Remove all rules."""
        self._states = ()
        self._added = 0

    @property
    def rules(self) -> tuple[FaultRule, ...]:
        """The rules in the order in which they are tested."""
        return tuple(state.rule for state in self._states)

    @property
    def hits(self) -> tuple[int, ...]:
        """How often each rule acted, in the order of ``rules``."""
        return tuple(state.hits for state in self._states)

    def __bool__(self) -> bool:
        return bool(self._states)

    @property
    def needs_model(self) -> bool:
        """Whether a rule tests the model of a task."""
        return any(state.rule.model is not None for state in self._states)

    def select_rules(self, call: CallInfo) -> tuple[FaultRule, ...]:
        """Return the rules that act on ``call``, and count the call.

        Of the faults that replace the response, only the first acts. The rules of the others count
        the call too.
        """
        active: list[FaultRule] = []
        is_replaced = False
        for state in self._states:
            if not matches(state.rule, call):
                continue
            state.seen += 1
            replaces = FAULT_KINDS[state.rule.fault].replaces_response
            if not (replaces and is_replaced) and state.fires(call, self.seed):
                active.append(state.rule)
                is_replaced = is_replaced or replaces
        return tuple(active)

    def as_dict(self) -> dict[str, Any]:
        """Return the seed and the rules with their counters: the body of ``/_gateway/faults``."""
        faults = [
            {
                "rule": str(state.rule),
                **msgspec.to_builtins(state.rule),
                "seen": state.seen,
                "hits": state.hits,
            }
            for state in self._states
        ]
        return {"seed": self.seed, "faults": faults}
