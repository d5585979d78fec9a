"""Fault rules: their forms, and the calls on which they act."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async.errors import ConfigError
from foxapi_async.gateway.faults.catalog import CONDITIONS, FAULT_KINDS, OPTIONS, ROUTES
from foxapi_async.gateway.faults.loading import load_faults, read_faults
from foxapi_async.gateway.faults.plan import CallInfo, Faults, fires, matches
from foxapi_async.gateway.faults.rule import FaultRule

NEEDS: dict[str, dict[str, Any]] = {
    "status": {"status": 503},
    "fail": {"code": "timeout"},
    "cut": {"each": 5},
    "torn": {"chunk": 5},
    "member": {"member": "status"},
}
# The routes of the options of a stall that work on one route only.
STALLED = {"chunk": "stream", "each": "stream", "size": "download"}
SAMPLES: dict[str, Any] = {
    "nth": 2,
    "every": 3,
    "probability": 0.25,
    "times": 4,
    "model": "kimi-k2.6",
    "task": "task-llm-1-abcdefgh",
    "late": True,
    "status": 502,
    "code": "timeout",
    "message": "no luck",
    "retry_after": 1.5,
    "seconds": 0.5,
    "size": 7,
    "polls": 2,
    "chunk": 6,
    "each": 8,
    "total": 9,
    "member": "id",
    "value": '"canceled"',
}


def test_the_tables_list_every_field() -> None:
    """Each field of a rule is in the tables, and each option of a fault is a field."""
    members = set(FaultRule.__struct_fields__)
    assert members == {"on", "fault", *CONDITIONS, *OPTIONS}
    assert set(SAMPLES) == {*CONDITIONS, *OPTIONS}
    for kind in FAULT_KINDS.values():
        assert set(kind.options) <= set(OPTIONS)
        assert set(kind.routes) <= set(ROUTES)


@pytest.mark.parametrize("fault", FAULT_KINDS)
def test_every_fault_takes_its_options(fault: str) -> None:
    """A rule with each option of its fault is unchanged after it was written and read."""
    kind = FAULT_KINDS[fault]
    for route in kind.routes:
        for name in (*kind.options, *CONDITIONS):
            if fault == "stall" and STALLED.get(name, route) != route:
                continue
            rule = FaultRule(
                on=route, fault=fault, **(NEEDS.get(fault, {}) | {name: SAMPLES[name]})
            )
            assert FaultRule.of(str(rule)) == rule
            assert FaultRule.of(msgspec.json.decode(msgspec.json.encode(rule))) == rule


@given(
    nth=st.none() | st.integers(1, 10**6),
    probability=st.none() | st.floats(0, 1),
    seconds=st.none() | st.floats(0, 1e9),
    late=st.booleans(),
)
def test_the_short_form_loses_nothing(
    nth: int | None, probability: float | None, seconds: float | None, *, late: bool
) -> None:
    """The short form of a rule reads as the same rule, for any numbers."""
    rule = FaultRule(
        on="any", fault="stall", nth=nth, probability=probability, seconds=seconds, late=late
    )
    assert FaultRule.of(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "write ROUTE:FAULT"),
        ("submit", "write ROUTE:FAULT"),
        ("submit:", "write ROUTE:FAULT"),
        ("sumbit:503", "did you mean 'submit'"),
        ("nowhere:503", "choose one of submit"),
        ("submit:rest", "did you mean 'reset'"),
        ("submit:99", "status lies between 200 and 599"),
        ("submit:cut:chunk=1", "cut works on stream, not submit"),
        ("stream:cut", "cut needs chunk or each"),
        ("submit:fail", "fail needs a code"),
        ("submit:fail:code=Time-out", "fail needs a code"),
        ("submit:status", "write it in its place, as in submit:503"),
        ("submit:503:nth", "nth must be a whole number"),
        ("submit:503:nth=", "nth has no value"),
        ("submit:503:nth=two", "nth must be a whole number"),
        ("submit:503:nth=0", "nth must be 1 or more"),
        ("submit:503:retry_after=-1", "retry_after must be 0 or more"),
        ("submit:503:retry_after=nan", "retry_after must be 0 or more"),
        ("submit:503:late=maybe", "late must be true or false"),
        ("submit:503:probability=2", "probability lies between 0 and 1"),
        ("submit:503:chunk=0", "status takes no chunk; it takes status, code"),
        ("submit:503:nht=2", "there is no 'nht'; did you mean 'nth'"),
        ("submit:503:nth=1,nth=2", "nth is given twice"),
        ("submit:503:=2", "an option has no name"),
        ("query:stall:each=2", "stall takes chunk and each on a stream"),
    ],
)
def test_an_error_names_the_wrong_part(text: str, complaint: str) -> None:
    """The error of an invalid rule names the wrong part, the fix and the whole text."""
    with pytest.raises(ConfigError) as caught:
        FaultRule.of(text)
    assert complaint in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("value", [5, None, [], {"on": "submit"}, {"on": 5, "fault": "html"}])
def test_other_values_are_not_rules(value: Any) -> None:
    """A value that is neither a text nor a complete object is a ``ConfigError``."""
    with pytest.raises(ConfigError, match="fault"):
        FaultRule.of(value)


@given(st.text(max_size=40))
def test_any_text_is_a_rule_or_an_error(text: str) -> None:
    """Any text is a rule or a ``ConfigError``."""
    try:
        rule = FaultRule.of(text)
    except ConfigError:
        return
    assert FaultRule.of(str(rule)) == rule


@given(
    seen=st.integers(1, 50),
    hits=st.integers(0, 50),
    rand=st.floats(0, 1, exclude_max=True),
    nth=st.none() | st.integers(1, 50),
    every=st.none() | st.integers(1, 10),
    times=st.none() | st.integers(1, 10),
)
def test_a_rule_needs_all_its_conditions(
    seen: int, hits: int, rand: float, nth: int | None, every: int | None, times: int | None
) -> None:
    """A rule acts exactly where each of its conditions alone would act."""

    def alone(**condition: Any) -> bool:
        rule = FaultRule(on="any", fault="html", **condition)
        return fires(rule, seen=seen, hits=hits, rand=rand)

    assert alone(nth=nth, every=every, times=times, probability=0.5) == all(
        (alone(nth=nth), alone(every=every), alone(times=times), alone(probability=0.5))
    )


@pytest.mark.parametrize(
    ("rule", "calls", "expected"),
    [
        ("submit:503:nth=2", 4, [False, True, False, False]),
        ("any:503:every=2", 4, [False, True, False, True]),
        ("submit:503:times=2", 4, [True, True, False, False]),
        ("submit:503:every=2,times=1", 4, [False, True, False, False]),
        ("submit:503:probability=0", 3, [False, False, False]),
        ("submit:503:probability=1", 3, [True, True, True]),
        ("query:503", 2, [False, False]),
        ("submit:503:model=kimi-k2.6", 2, [False, False]),
    ],
)
def test_a_rule_counts_its_calls(rule: str, calls: int, expected: list[bool]) -> None:
    """A rule counts the calls that it applies to, and acts on those that meet its conditions."""
    faults = Faults([rule])
    call = CallInfo(on="submit", model="gpt-5.5")
    assert [bool(faults.select_rules(call)) for _ in range(calls)] == expected
    assert faults.hits == (sum(expected),)


def test_the_seed_repeats_the_faults() -> None:
    """The same seed gives the same faults, and another seed gives others."""

    def run(seed: int) -> list[bool]:
        faults = Faults(["any:503:probability=0.5"], seed=seed)
        return [bool(faults.select_rules(CallInfo(on="models"))) for _ in range(64)]

    assert run(7) == run(7) != run(8)
    assert 16 < sum(run(7)) < 48


def test_the_first_replacement_wins() -> None:
    """Of the faults that replace the response only the first acts; other faults act as well."""
    faults = Faults(["any:slow", "submit:503:nth=1", "submit:html", "any:stall"])
    first = faults.select_rules(CallInfo(on="submit"))
    assert [rule.fault for rule in first] == ["slow", "status", "stall"]
    second = faults.select_rules(CallInfo(on="submit"))
    assert [rule.fault for rule in second] == ["slow", "html", "stall"]
    assert [item["seen"] for item in faults.as_dict()["faults"]] == [2, 2, 2, 2]
    assert faults.hits == (2, 1, 1, 2)


@given(offset=st.integers(0, 20), chunk=st.integers(0, 20))
def test_a_resumed_stream_gets_past_the_cut(offset: int, chunk: int) -> None:
    """A cut applies to streams that begin before its chunk, so a resumed stream gets past it."""
    rule = FaultRule(on="stream", fault="cut", chunk=chunk)
    assert matches(rule, CallInfo(on="stream", offset=offset)) == (offset < max(chunk, 1))


def test_an_empty_result_fills_up() -> None:
    """The first polls of each completed task are empty; polls of unfinished tasks do not count."""
    faults = Faults(["query:empty-result:polls=2"])
    for task in ("one", "two"):
        assert not faults.select_rules(CallInfo(on="query", task=task))
        done = CallInfo(on="query", task=task, completed=True)
        assert [bool(faults.select_rules(done)) for _ in range(4)] == [True, True, False, False]


def test_rules_are_read_from_a_file(tmp_path: Path) -> None:
    """A TOML file has rules as texts or tables, and an optional seed."""
    path = tmp_path / "faults.toml"
    path.write_text('seed = 7\nfaults = ["submit:503", {on = "query", fault = "html"}]\n', "utf-8")
    rules, seed = load_faults(path)
    assert [str(rule) for rule in rules] == ["submit:503", "query:html"]
    assert seed == 7
    path.write_text('[[faults]]\non = "stream"\nfault = "cut"\nchunk = 3\n', "utf-8")
    assert load_faults(path) == ((FaultRule(on="stream", fault="cut", chunk=3),), None)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"faults = [", "it is not TOML"),
        (b"\xff", "it is not UTF-8"),
        (b"rules = []", "it names no `faults`"),
        (b"faults = ['submit:503']\nseeds = 1", "there is no 'seeds'"),
        (b"faults = ['submit:503']\nseed = 'x'", "seed must be a whole number"),
        (b"[[faults]]\non = 'submit'", "`fault` is missing"),
    ],
)
def test_an_error_names_the_file(tmp_path: Path, content: bytes, complaint: str) -> None:
    """The error of an invalid file has its path and the wrong part."""
    path = tmp_path / "faults.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_faults(path)
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)
    with pytest.raises(ConfigError, match="No such file"):
        load_faults(tmp_path / "missing.toml")


def test_one_rule_or_many_are_read() -> None:
    """A single rule, a list and an object with ``faults`` are read, up to 1,000 rules."""
    rule = FaultRule(on="submit", fault="html")
    for value in ("submit:html", ["submit:html"], {"on": "submit", "fault": "html"}):
        assert read_faults(value) == ((rule,), None)
    assert read_faults({"faults": ["submit:html"], "seed": 3}) == ((rule,), 3)
    with pytest.raises(ConfigError, match="at most 1000"):
        read_faults(["submit:html"] * 1001)
